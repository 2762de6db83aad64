//! Answers of language models. The checks are in `whaply_fuzz::checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whaply_fuzz::checks::providers::check(input));
