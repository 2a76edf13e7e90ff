#![no_main]

#[path = "../bodies/key_form.rs"]
mod key_form;

libfuzzer_sys::fuzz_target!(|input: &[u8]| key_form::run(input));
