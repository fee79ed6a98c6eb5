//! Messages of whatever origin, decoded as many types.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brigade::fuzzing::decode(bytes));
