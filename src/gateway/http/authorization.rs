//! The `Authorization` header as a credential. Pure: it reads, and judges nothing.
//!
//! Exactly one header, with exactly one credential, is read; whatever else comes is unreadable, which the door
//! answers like a wrong credential. Keys in a query, a body or another header are never looked for (PROTOCOL
//! section 2). Called by `server::handle_request` for every request.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::auth::{Credential, PresentedKey};
use crate::model::Secret;

/// RFC 4648 §4, padded or not: clients differ, and both read as the same bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longest `Basic` text that is decoded, in bytes; names and passwords are far shorter.
const BASIC_MAX_BYTES: usize = 2_048;

/// A readable `Authorization` header.
#[derive(Debug)]
pub enum Authorization<'a> {
    /// `ApiKey <key>`.
    ApiKey(PresentedKey<'a>),
    /// `Session <key>`.
    Session(PresentedKey<'a>),
    /// `Basic <base64 of customer/user:password>`.
    Basic(UserAndPassword),
}

/// The decoded text of a `Basic` credential.
#[derive(Debug)]
pub struct UserAndPassword {
    text: Secret<String>,
    colon: usize,
}

impl Authorization<'_> {
    /// The credential to be judged; a user's name is borrowed from here.
    pub fn credential(&self) -> Credential<'_> {
        match self {
            Self::ApiKey(key) => Credential::ApiKey(*key),
            Self::Session(key) => Credential::Session(*key),
            Self::Basic(basic) => {
                let (user, rest) = basic.text.expose().split_at_checked(basic.colon).unwrap_or_default();
                let password = rest.strip_prefix(':').unwrap_or_default();
                Credential::Password { user, password: Secret::new(password.to_owned()) }
            }
        }
    }
}

/// Reads the request's only `Authorization` header; `None`: there is none, more than one, or it cannot be read.
pub fn parse_authorization(headers: &HeaderMap) -> Option<Authorization<'_>> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    parse_credential(field.as_bytes())
}

/// Reads `<scheme> <credential>` (RFC 9110 §11.4): the scheme in any case, one or more blanks, and nothing behind.
pub fn parse_credential(field: &[u8]) -> Option<Authorization<'_>> {
    let blank = field.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = field.split_at_checked(blank)?;
    let credential = rest.trim_ascii_start();
    // Blanks, commas of a list and control bytes are no part of one credential; a key may hold a comma.
    if credential.is_empty() || !credential.iter().fold(true, |so_far, byte| so_far & byte.is_ascii_graphic())
    {
        return None;
    }
    if scheme.eq_ignore_ascii_case(b"ApiKey") {
        Some(Authorization::ApiKey(PresentedKey(credential)))
    } else if scheme.eq_ignore_ascii_case(b"Session") {
        Some(Authorization::Session(PresentedKey(credential)))
    } else if scheme.eq_ignore_ascii_case(b"Basic") {
        decode_basic(credential).map(Authorization::Basic)
    } else {
        None
    }
}

/// Splits at the first `:`, so that a password may hold others (RFC 7617 §2). Control characters end in refusal.
fn decode_basic(encoded: &[u8]) -> Option<UserAndPassword> {
    if encoded.len() > BASIC_MAX_BYTES {
        return None;
    }
    let text = match String::from_utf8(BASE64.decode(encoded).ok()?) {
        Ok(text) => Secret::new(text),
        Err(error) => {
            // The bytes may be a password in another character set: wiped like one.
            drop(Secret::new(error.into_bytes()));
            return None;
        }
    };
    let colon = text.expose().find(':')?;
    if text.expose().chars().any(char::is_control) {
        return None;
    }
    Some(UserAndPassword { text, colon })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// What was read, in words.
    fn read(field: &[u8]) -> String {
        match parse_credential(field) {
            None => "unreadable".to_owned(),
            Some(authorization) => match authorization.credential() {
                Credential::ApiKey(key) => format!("key {}", String::from_utf8_lossy(key.0)),
                Credential::Session(key) => format!("session {}", String::from_utf8_lossy(key.0)),
                Credential::Password { user, password } => {
                    format!("user {user} password {}", password.expose())
                }
            },
        }
    }

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    #[test]
    fn keys_are_read_with_the_scheme_in_any_case() {
        for field in ["ApiKey abc/+=", "apikey abc/+=", "APIKEY   abc/+="] {
            assert_eq!(read(field.as_bytes()), "key abc/+=", "{field}");
        }
    }

    #[test]
    fn sessions_are_read_with_the_scheme_in_any_case() {
        for field in ["Session ABCDEFGHIJ0123456789", "SESSION ABCDEFGHIJ0123456789"] {
            assert_eq!(read(field.as_bytes()), "session ABCDEFGHIJ0123456789", "{field}");
        }
    }

    #[test]
    fn passwords_are_split_at_the_first_colon() {
        assert_eq!(read(&basic("acme/alex:pass:word")), "user acme/alex password pass:word");
        assert_eq!(read(&basic("acme/alex:")), "user acme/alex password ");
        assert_eq!(read(&basic("acme/alex:pässwörd")), "user acme/alex password pässwörd");
        let unpadded = basic("acme/alex:pass").into_iter().filter(|byte| *byte != b'=').collect::<Vec<_>>();
        assert_eq!(read(&unpadded), "user acme/alex password pass");
    }

    #[test]
    fn s11_lists_trailing_text_and_malformed_credentials_are_unreadable() {
        let no_colon = basic("no colon here");
        let control = basic("acme/alex:pass\0word");
        let line = basic("acme/alex\r\nX: y:pass");
        let too_long = basic(&format!("acme/alex:{}", "x".repeat(3_000)));
        let latin1 = [b"Basic ".as_slice(), STANDARD.encode(b"acme/alex:\xe4").as_bytes()].concat();
        let cases: [&[u8]; 20] = [
            b"",
            b"ApiKey",
            b"ApiKey ",
            b" ApiKey abc",
            b"ApiKey\tabc",
            b"ApiKey abc def",
            b"ApiKey abc, Basic def",
            b"ApiKey abc\0",
            b"ApiKey \xffabc",
            b"ApiKey: abc",
            b"Bearer abc",
            b"Session ABCDEFGHIJ 0123456789",
            b"abc",
            b"Basic ???",
            b"Basic YWJj ZGVm",
            &no_colon,
            &control,
            &line,
            &too_long,
            &latin1,
        ];
        for field in cases {
            assert_eq!(read(field), "unreadable", "{}", String::from_utf8_lossy(field));
        }
    }

    #[test]
    fn s11_two_headers_are_unreadable_even_if_they_are_equal() {
        let mut headers = HeaderMap::new();
        assert!(parse_authorization(&headers).is_none());
        headers.append(AUTHORIZATION, HeaderValue::from_static("ApiKey abc"));
        assert!(parse_authorization(&headers).is_some());
        headers.append(AUTHORIZATION, HeaderValue::from_static("ApiKey abc"));
        assert!(parse_authorization(&headers).is_none());
    }

    #[test]
    fn s40_what_was_read_prints_no_secret() {
        let printed =
            format!("{:?} {:?}", parse_credential(b"ApiKey abc"), parse_credential(&basic("a/b:secret")));
        assert!(!printed.contains("abc") && !printed.contains("secret"), "{printed}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(field in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&field).len() < 2_000);
        }

        #[test]
        fn every_user_and_password_survives_its_encoding(user in "[a-z]{1,9}/[a-z]{1,9}", password in "[^\\pC]{0,40}") {
            prop_assert_eq!(read(&basic(&format!("{user}:{password}"))), format!("user {user} password {password}"));
        }
    }
}
