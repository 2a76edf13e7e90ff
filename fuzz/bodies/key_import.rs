//! Any text as keys to import, a line each: a key that is taken is long and irregular enough to be none by chance, is found
//! by its very text, and belongs to who is named.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::OnceLock;

use latchkey::auth::{ImportOrder, KeyStrength, MissingUsers, parse_key_line};
use latchkey::crypto::KeyRing;
use latchkey::model::UserName;

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let alex: UserName = "acme/alex".parse().expect("a name");
    for line in input.split(|byte| *byte == b'\n') {
        for strength in [KeyStrength::Usual, KeyStrength::Weak] {
            for user in [None, Some(&alex)] {
                check_line(line, strength, user);
            }
        }
    }
}

fn key_ring() -> &'static KeyRing {
    static RING: OnceLock<KeyRing> = OnceLock::new();
    RING.get_or_init(|| KeyRing::fill(|_| Ok::<_, Infallible>([7; 32])).expect("a key ring"))
}

fn check_line(line: &[u8], strength: KeyStrength, user: Option<&UserName>) {
    let order = ImportOrder {
        user: user.cloned(),
        missing_users: MissingUsers::Refuse,
        strength,
        scope: "api".parse().expect("a scope"),
    };
    let read = match parse_key_line(line, &order, key_ring()) {
        Ok(read) => read,
        Err(fault) => {
            let told = fault.to_string();
            assert!(!told.is_empty() && !told.chars().any(char::is_control), "{told:?}");
            return;
        }
    };
    let text = std::str::from_utf8(line).expect("text");
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let Some(read) = read else {
        assert!(words.is_empty());
        return;
    };
    let key = words[0];
    let shortest = if strength == KeyStrength::Usual { 32 } else { 16 };
    assert!((shortest..=256).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(key.bytes().collect::<HashSet<_>>().len() >= 10, "{key} is too regular");
    assert!(!key.starts_with("lk1_"), "a made-up text passed for a key of ours");
    assert_eq!(read.digest, key_ring().digest.digest(key.as_bytes()));
    assert!(read.last_characters.len() == 4 && key.ends_with(&read.last_characters));
    match words.get(1) {
        Some(name) => assert_eq!(read.user.to_string(), *name),
        None => assert_eq!(Some(&read.user), user),
    }
    assert!(words.len() <= 2);
}
