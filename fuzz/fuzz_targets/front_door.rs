//! Bytes as a connection of the HTTP listener brings them. The checks are in `whaply_fuzz::checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whaply_fuzz::checks::front_door::check(input));
