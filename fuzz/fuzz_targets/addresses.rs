//! JIDs, phone numbers, and the addresses that proxies tell. The checks are in `whaply_fuzz::checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whaply_fuzz::checks::addresses::check(input));
