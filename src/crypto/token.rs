//! Random tokens of the console: sessions, one-time links, forms, device cookies, ceremonies.
//!
//! The token itself goes to the browser and is kept nowhere; the store keeps its digest. A digest is of one purpose, so
//! that what was handed out for one thing is never taken for another. No I/O. Callers: `auth`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize;

use super::digest::DigestKey;
use super::random::{self, RandomError};
use crate::model::{Secret, TokenDigest};

const RANDOM_BYTES: usize = 32;
/// Length of a token: 256 bits in base64url.
const CHARACTERS: usize = 43;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenPurpose {
    /// The cookie of a console session.
    Session,
    /// A one-time link.
    Link,
    /// The hidden field of a form.
    Form,
    /// The cookie of a browser that signed in before.
    Device,
    /// A ceremony of a second factor that is under way.
    Challenge,
}

impl TokenPurpose {
    /// Every purpose.
    pub const ALL: [Self; 5] = [Self::Session, Self::Link, Self::Form, Self::Device, Self::Challenge];

    /// What the digest is bound to.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Link => "link",
            Self::Form => "form",
            Self::Device => "device",
            Self::Challenge => "challenge",
        }
    }
}

/// Draws a token: 256 random bits as base64url, fit for cookies, forms and addresses.
pub fn draw_token() -> Result<Secret<String>, RandomError> {
    let mut drawn = random::bytes::<RANDOM_BYTES>()?;
    let text = URL_SAFE_NO_PAD.encode(drawn);
    drawn.zeroize();
    Ok(Secret::new(text))
}

/// Has `text` the form of a token? Anything else need not be looked up.
pub fn is_token(text: &str) -> bool {
    text.len() == CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl DigestKey {
    /// The digest of a token that was handed out for `purpose`; meant for the key of [`super::KeyPurpose::Console`].
    pub fn digest_token(&self, purpose: TokenPurpose, token: &str) -> TokenDigest {
        TokenDigest(self.digest_parts([b"token ", purpose.as_str().as_bytes(), b" ", token.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_have_256_bits_and_none_is_drawn_twice() {
        let tokens: HashSet<String> = (0..10_000).map(|_| draw_token().unwrap().expose().clone()).collect();
        assert_eq!(tokens.len(), 10_000);
        assert!(tokens.iter().all(|token| is_token(token)));
        assert!(tokens.iter().all(|token| URL_SAFE_NO_PAD.decode(token).unwrap().len() == RANDOM_BYTES));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let [short, long] = [42, 44].map(|length| "a".repeat(length));
        let [plus, padded, umlaut, blank] = ["+", "=", "ä", " "].map(|end| {
            let front = "a".repeat(CHARACTERS - end.len());
            format!("{front}{end}")
        });
        for text in ["", &short, &long, &plus, &padded, &umlaut, &blank] {
            assert!(!is_token(text), "{text}");
        }
    }

    #[test]
    fn a_digest_is_of_one_key_one_purpose_and_one_token() {
        let (key, token, other) = (DigestKey::new([1; 32]), draw_token().unwrap(), draw_token().unwrap());
        let token = token.expose();
        let digests: HashSet<_> =
            TokenPurpose::ALL.map(|purpose| key.digest_token(purpose, token)).into_iter().collect();
        assert_eq!(digests.len(), TokenPurpose::ALL.len());
        let digest = key.digest_token(TokenPurpose::Session, token);
        assert!(digest == key.digest_token(TokenPurpose::Session, token));
        assert!(digest != key.digest_token(TokenPurpose::Session, other.expose()));
        assert!(digest != DigestKey::new([2; 32]).digest_token(TokenPurpose::Session, token));
        assert!(!digests.contains(&TokenDigest(key.digest(token.as_bytes()).0)));
    }
}
