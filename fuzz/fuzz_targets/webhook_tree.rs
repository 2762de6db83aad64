//! Webhooks made of the names that the reader looks for, with odd values. The checks are in `whaply_fuzz::checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whaply_fuzz::checks::webhook_tree::check(input));
