//! What a model writes, on its way to WhatsApp. The checks are in `whaply_fuzz::checks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whaply_fuzz::checks::whatsapp_text::check(input));
