//! libFuzzer's way in: see `webhook`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::webhook::hold(input));
