//! Packets on a socket, put together to parcels with handles.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brigade::fuzzing::packets(bytes));
