//! The console's cookies: their names and attributes, and how they are read, set and deleted.
//!
//! What they hold means something to `auth` only; here they are texts. Called by the guards and by the pages.
//!
//! Where the console is https, names begin with `__Host-` and cookies are `Secure`: no other host, and no page in clear
//! of the same host, can put one in their place (RFC 6265bis §4.1.3.2). On `http://localhost` both are left out: Chromium
//! keeps `Secure` cookies of that host (measured), but not every browser does, and nobody could sign in with those.
//!
//! `SameSite` is `Lax` and not `Strict`: a link to the console from a mail or a chat is to find its user signed in. What
//! `Strict` would keep out besides, requests from elsewhere that change something, `origin_check` refuses.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::{PublicUrl, WebScheme};
use crate::model::{COOKIE_PREFIX, Secret};

/// The longest value that is read or set, in bytes: ours have 43, the base64 of 256 bits.
const VALUE_MAX_BYTES: usize = 128;
/// How long a browser is known as one that its user has signed in with: 30 days.
const DEVICE_SECONDS: u32 = 30 * 24 * 3600;

/// The cookies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleCookie {
    /// Names a session; gone with the browser, and ended by the server long before.
    Session,
    /// Tells a browser that its user has signed in with before; kept for 30 days.
    Device,
}

/// How the cookies of one console are named and guarded, as its public URL allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies(WebScheme);

/// A value that cannot be a cookie's: empty, too long, or not of letters, digits, `-` and `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cannot be the value of a cookie")]
pub struct InvalidCookieValue;

impl Cookies {
    /// Those of the console that browsers call by `public_url`.
    pub const fn of(public_url: &PublicUrl) -> Self {
        Self(public_url.scheme())
    }

    /// The name of `cookie`.
    pub fn name(self, cookie: ConsoleCookie) -> String {
        let prefix = match self.0 {
            WebScheme::Https => "__Host-",
            WebScheme::Http => "",
        };
        let name = match cookie {
            ConsoleCookie::Session => "session",
            ConsoleCookie::Device => "device",
        };
        format!("{prefix}{COOKIE_PREFIX}{name}")
    }

    /// The value of `cookie` in a request with `headers`.
    ///
    /// `None` also where it is there twice, since nobody could tell which one is ours, or cannot be one of ours.
    pub fn value(self, headers: &HeaderMap, cookie: ConsoleCookie) -> Option<Secret<String>> {
        let name = self.name(cookie);
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut values = fields
            .flat_map(|field| field.split(';'))
            .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
            .filter_map(|(other, value)| (other == name).then_some(value));
        let (value, None) = (values.next()?, values.next()) else { return None };
        is_value(value).then(|| Secret::new(value.to_owned()))
    }

    /// The field of `Set-Cookie` that gives `cookie` this value.
    ///
    /// # Errors
    ///
    /// The value cannot be a cookie's.
    pub fn set(
        self,
        cookie: ConsoleCookie,
        value: &Secret<String>,
    ) -> Result<HeaderValue, InvalidCookieValue> {
        if !is_value(value.expose()) {
            return Err(InvalidCookieValue);
        }
        let kept = match cookie {
            ConsoleCookie::Session => String::new(),
            ConsoleCookie::Device => format!("; Max-Age={DEVICE_SECONDS}"),
        };
        self.field(cookie, value.expose(), &kept)
    }

    /// The field of `Set-Cookie` that makes a browser forget `cookie`.
    ///
    /// # Errors
    ///
    /// Never: its text is always a header's value.
    pub fn delete(self, cookie: ConsoleCookie) -> Result<HeaderValue, InvalidCookieValue> {
        self.field(cookie, "", "; Max-Age=0")
    }

    fn field(
        self,
        cookie: ConsoleCookie,
        value: &str,
        kept: &str,
    ) -> Result<HeaderValue, InvalidCookieValue> {
        let secure = match self.0 {
            WebScheme::Https => "; Secure",
            WebScheme::Http => "",
        };
        let name = self.name(cookie);
        // One allocation, which the header's value takes over.
        let text = format!("{name}={value}; Path=/; HttpOnly{secure}; SameSite=Lax{kept}");
        let mut field = HeaderValue::try_from(text).map_err(|_| InvalidCookieValue)?;
        // Not shown when headers are printed, and not indexed by HTTP/2's compression.
        field.set_sensitive(true);
        Ok(field)
    }
}

fn is_value(text: &str) -> bool {
    (1..=VALUE_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::is_own_cookie;

    const SAFE: Cookies = Cookies(WebScheme::Https);
    const LOCAL: Cookies = Cookies(WebScheme::Http);

    fn value(cookies: Cookies, fields: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, field.parse().unwrap());
        }
        cookies.value(&headers, ConsoleCookie::Session).map(|value| value.expose().clone())
    }

    fn text(field: &Result<HeaderValue, InvalidCookieValue>) -> &str {
        field.as_ref().unwrap().to_str().unwrap()
    }

    #[test]
    fn s84_a_session_cookie_is_for_its_host_alone_and_out_of_reach_of_scripts() {
        let secret = Secret::new(String::from("abc-_123"));
        let set = SAFE.set(ConsoleCookie::Session, &secret);
        assert_eq!(text(&set), "__Host-latchkey-session=abc-_123; Path=/; HttpOnly; Secure; SameSite=Lax");
        assert!(set.as_ref().unwrap().is_sensitive() && !format!("{set:?}").contains("abc"));
        assert_eq!(
            text(&LOCAL.set(ConsoleCookie::Device, &secret)),
            "latchkey-device=abc-_123; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        );
        assert_eq!(
            text(&SAFE.delete(ConsoleCookie::Session)),
            "__Host-latchkey-session=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0"
        );
        for bad in ["", "a;b", "a b", "é", "a\r\nX: y", &"x".repeat(129)] {
            let bad = Secret::new(bad.to_owned());
            assert_eq!(SAFE.set(ConsoleCookie::Session, &bad), Err(InvalidCookieValue));
        }
    }

    #[test]
    fn s92_the_doors_know_the_cookies_for_ours() {
        for cookies in [SAFE, LOCAL] {
            for cookie in [ConsoleCookie::Session, ConsoleCookie::Device] {
                assert!(is_own_cookie(cookies.name(cookie).as_bytes()));
            }
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_under_its_very_name() {
        let found = Some(String::from("abc"));
        assert_eq!(value(SAFE, &["__Host-latchkey-session=abc"]), found);
        assert_eq!(value(SAFE, &["a=b; x; __Host-latchkey-session=abc;c=d"]), found);
        assert_eq!(value(SAFE, &["a=b", "__Host-latchkey-session=abc"]), found);
        assert_eq!(value(LOCAL, &["latchkey-session=abc"]), found);
        for other in [
            "",
            "latchkey-session=abc",
            "__host-latchkey-session=abc",
            "__Host-latchkey-session=",
            "__Host-latchkey-session",
            "__Host-latchkey-session =abc",
            "__Host-latchkey-session=\"abc\"",
            "__Host-latchkey-session=a b",
            "__Host-latchkey-session=abc; __Host-latchkey-session=abc",
        ] {
            assert_eq!(value(SAFE, &[other]), None, "{other}");
        }
        assert_eq!(value(SAFE, &["__Host-latchkey-session=abc", "__Host-latchkey-session=def"]), None);
    }
}
