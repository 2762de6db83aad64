//! Bytes as the body of a webhook's POST. The checks are in `whaply_fuzz::checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whaply_fuzz::checks::webhook::check(input));
