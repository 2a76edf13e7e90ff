//! `public_url:` what browsers call the console by.
//!
//! Everything that depends on the console's own name takes it from here: which `Host` is its own, which origin a change
//! may come from, what security keys are bound to, and the links that are handed out. Made by `meaning` only, which
//! tells what is wrong with a text that is none.

use std::fmt;

use url::{Host, Url};

/// The console's own URL: `https://HOST[:PORT]`, or `http://localhost[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    authority: String,
    host: Host,
    scheme: WebScheme,
}

/// What a URL of the web begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebScheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// Why a text is no [`PublicUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PublicUrlFault {
    #[error("must be https://HOST[:PORT], or http://localhost[:PORT]")]
    NoUrl,
    #[error(
        "must be https: http is for `localhost` alone, where browsers allow security keys without TLS; they never take an IP address for one"
    )]
    InClear,
}

impl PublicUrl {
    /// Reads `text`, whose host and port [`super::meaning`] has found to be in form.
    pub(super) fn parse(text: &str) -> Result<Self, PublicUrlFault> {
        let url = Url::parse(text).map_err(|_| PublicUrlFault::NoUrl)?;
        let scheme = match url.scheme() {
            "https" => WebScheme::Https,
            "http" => WebScheme::Http,
            _ => return Err(PublicUrlFault::NoUrl),
        };
        let host = url.host().ok_or(PublicUrlFault::NoUrl)?.to_owned();
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !is_bare || !url.username().is_empty() || url.password().is_some() {
            return Err(PublicUrlFault::NoUrl);
        }
        if scheme == WebScheme::Http && host != Host::Domain(String::from("localhost")) {
            return Err(PublicUrlFault::InClear);
        }
        // Without the port where it is the usual one, as browsers write it too.
        let origin = url.origin().ascii_serialization();
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        Ok(Self { origin, authority, host, scheme })
    }

    /// As browsers write it in `Origin` (RFC 6454 §6.2): no path, and no port where it is the usual one.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// As browsers write it in `Host`: the host, and the port where it is not the usual one.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, without the port.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// What security keys are bound to (`WebAuthn` Level 3 §5.1.2, the relying party's id): the host's name; `None`: it
    /// is an IP address, which browsers refuse, so that security keys cannot be used.
    pub fn relying_party(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// How browsers reach it.
    pub const fn scheme(&self) -> WebScheme {
        self.scheme
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_read_as_a_browser_reads_it() {
        for (text, origin, authority, relying_party) in [
            (
                "https://console.example",
                "https://console.example",
                "console.example",
                Some("console.example"),
            ),
            (
                "https://Console.Example:443/",
                "https://console.example",
                "console.example",
                Some("console.example"),
            ),
            ("https://localhost:8444", "https://localhost:8444", "localhost:8444", Some("localhost")),
            ("http://localhost:8703", "http://localhost:8703", "localhost:8703", Some("localhost")),
            ("http://localhost:80", "http://localhost", "localhost", Some("localhost")),
            ("https://192.0.2.1:8444", "https://192.0.2.1:8444", "192.0.2.1:8444", None),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]", "[2001:db8::1]", None),
            // Browsers take a name that ends in a number for an address.
            ("https://0x7f.1", "https://127.0.0.1", "127.0.0.1", None),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!((url.origin(), url.authority()), (origin, authority), "{text}");
            assert_eq!(url.relying_party(), relying_party, "{text}");
            assert_eq!(url.to_string(), origin);
        }
    }

    #[test]
    fn what_is_no_public_url_is_refused() {
        for text in [
            "",
            "localhost:8444",
            "ftp://localhost",
            "https://",
            "https://a.example/console",
            "https://a.example/?",
            "https://a.example/#",
            "https://user@a.example",
            "https://:pw@a.example",
        ] {
            assert_eq!(PublicUrl::parse(text), Err(PublicUrlFault::NoUrl), "{text}");
        }
        for text in ["http://a.example", "http://127.0.0.1:8444", "http://[::1]", "http://a.localhost"] {
            assert_eq!(PublicUrl::parse(text), Err(PublicUrlFault::InClear), "{text}");
        }
    }
}
