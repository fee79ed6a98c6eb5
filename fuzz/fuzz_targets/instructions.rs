//! What a child is told first, and what it may say last.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brigade::fuzzing::instructions(bytes));
