#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isa_services::fuzz::values(data));
