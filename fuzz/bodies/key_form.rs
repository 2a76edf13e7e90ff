//! Any bytes as an API key: never a panic, and never taken for one of ours by chance.

use latchkey::crypto::{KeyForm, TagKey, recognise_key};

/// Runs the target on one input.
pub fn run(text: &[u8]) {
    let tag_key = TagKey::new([7; 32]);
    // Finding a right tag by chance takes 2^32 tries; the fuzzer cannot see the tag's key.
    assert_ne!(recognise_key(text, &tag_key), Ok(KeyForm::Own), "a made-up text passed for a key: {text:?}");
    let with_prefix = [b"lk1_".as_slice(), text].concat();
    assert_ne!(recognise_key(&with_prefix, &tag_key), Ok(KeyForm::Own));
}
