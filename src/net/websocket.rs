//! The proof in a WebSocket handshake that both sides mean one: the client's nonce and the server's answer to it.
//!
//! Frames are nobody's matter here: they pass the gateway unread. Callers: the API door, and the sample upstream of
//! `demo`.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::random::{self, RandomError};

/// What every server appends to the nonce (RFC 6455 §1.3).
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a nonce (RFC 6455 §4.1).
const NONCE_BYTES: usize = 16;

/// A fresh `Sec-WebSocket-Key` (RFC 6455 §4.1).
pub fn new_key() -> Result<String, RandomError> {
    Ok(STANDARD.encode(random::bytes::<NONCE_BYTES>()?))
}

/// Is `key` the base64 text of 16 bytes (RFC 6455 §4.2.1)?
pub fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == NONCE_BYTES)
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2). SHA-1 is no protection here, and needs to be
/// none: the value only shows that the server read the key.
pub fn accept_for(key: &[u8]) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(SUFFIX);
    STANDARD.encode(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_rfc_6455() {
        assert_eq!(accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_the_base64_of_sixteen_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for other in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"c2hvcnQ=",
            b"dGhlIHNhbXBsZSBub25jZTE3",
            b"not base64 at all!!==",
        ] {
            assert!(!is_key(other), "{other:?}");
        }
    }

    #[test]
    fn keys_are_fresh_and_well_formed() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        assert!(is_key(one.as_bytes()) && is_key(other.as_bytes()));
        assert_ne!(one, other);
    }
}
