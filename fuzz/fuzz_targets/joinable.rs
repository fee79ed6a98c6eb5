//! A joinable queue whose counts, lists and items are arbitrary.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brigade::fuzzing::joinable(bytes));
