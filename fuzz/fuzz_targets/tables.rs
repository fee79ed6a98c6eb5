//! Items, permits, gates, waiters and rounds in arbitrary bytes.
#![no_main]

#[path = "../../crates/brigade-sys/tests/heap/entries.rs"]
#[expect(dead_code, reason = "shared with other targets and with a test")]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::use_tables(bytes));
