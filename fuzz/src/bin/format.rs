//! libFuzzer's way in: see `format`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::format::hold(input));
