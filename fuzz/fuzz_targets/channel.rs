//! A queue whose state and records are arbitrary.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brigade::fuzzing::channel(bytes));
