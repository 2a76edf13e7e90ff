//! The signature of what is posted to a webhook, by which its receiver knows it for ours.
//!
//! HMAC-SHA-256, because receivers check it with what their language brings along. Caller: `app::security_hook`.

use std::fmt::Write;

use aws_lc_rs::hmac;

use crate::model::Secret;

/// `v1=` and the hexadecimal HMAC-SHA-256 of `timestamp.body` with `secret`; `timestamp` in seconds since 1970.
///
/// The moment is signed too, so that a receiver can refuse what somebody has recorded and sends again.
pub fn sign_event(secret: &Secret<String>, timestamp: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()));
    context.update(timestamp.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut text = String::from("v1=");
    for byte in context.sign().as_ref() {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_computes() {
        // printf '1800000000.{"event":"mfa.added"}' | openssl dgst -sha256 -hmac 'a secret of 24 characters'
        let secret = Secret::new(String::from("a secret of 24 characters"));
        let signature = sign_event(&secret, 1_800_000_000, br#"{"event":"mfa.added"}"#);
        assert_eq!(signature, "v1=0ed8ca5608271332a2e092a0da631cdf5cbdf1c9665941a2aa968904b9bd6de6");
    }
}
