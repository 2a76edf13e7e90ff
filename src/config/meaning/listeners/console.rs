//! `protocol: console`: what browsers call it by, and that passwords do not travel in clear beyond this machine.

use std::net::SocketAddr;

use super::Shared;
use crate::config::faults::KeyPath;
use crate::config::meaning::{Review, host_and_port};
use crate::config::public_url::PublicUrlFault;
use crate::config::{ConsoleListener, PlaintextCredentials, PublicUrl, WebScheme};

/// The public URL of the first console, and where it stands.
pub(super) type FirstPublicUrl = Option<(PublicUrl, String)>;

/// A console at `address`, if that is sound.
pub(super) fn console_listener(
    public_url: Option<String>,
    address: Option<SocketAddr>,
    shared: Shared,
    path: &KeyPath,
    first: &mut FirstPublicUrl,
    review: &mut Review<'_>,
) -> Option<ConsoleListener> {
    let public_url = self::public_url(public_url, path, first, review);
    let Shared { tls, plaintext_credentials, client_address, allow_list } = shared;
    let tls = tls.ok()?;
    let url_path = path.key("public_url");
    match (&tls, &public_url) {
        (Some(_), Some(url)) if url.scheme() == WebScheme::Http => {
            let help = "or leave `tls` out";
            review.refuse(&url_path, "must be https, because the listener speaks TLS", Some(help));
        }
        (None, _) if plaintext_credentials == PlaintextCredentials::Refuse && is_beyond(address) => {
            let message =
                "passwords would go in clear: there is no `tls`, and the address is not a loopback one";
            let help = "name a certificate in `tls`; or, behind something trusted that ends TLS, write `plaintext_credentials: allow`";
            review.refuse(&path.key("address"), message, Some(help));
        }
        _ => {}
    }
    Some(ConsoleListener { tls, public_url: public_url?, client_address, allow_list })
}

/// Can others than this machine reach it?
fn is_beyond(address: Option<SocketAddr>) -> bool {
    address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
}

fn public_url(
    text: Option<String>,
    path: &KeyPath,
    first: &mut FirstPublicUrl,
    review: &mut Review<'_>,
) -> Option<PublicUrl> {
    let Some(text) = text else {
        let what_for =
            "what browsers call the console by, such as https://console.example or http://localhost:8444";
        review.refuse_missing(path, "public_url", what_for);
        return None;
    };
    let path = path.key("public_url");
    let url = match parse(&text) {
        Ok(url) => url,
        Err(fault) => {
            let help = "for example https://console.example: the address that people type, without path, query or user";
            review.refuse(&path, fault.to_string(), Some(help));
            return None;
        }
    };
    // Security keys, cookies and links belong to one address; two consoles would share none of them.
    match first {
        Some((other, place)) if *other != url => {
            review.refuse(&path, format!("differs from {place}; all consoles need the same one"), None);
        }
        Some(_) => {}
        None => *first = Some((url.clone(), path.to_string())),
    }
    Some(url)
}

/// Strict about the form, so that nothing that a browser would silently repair becomes the name of a relying party.
fn parse(text: &str) -> Result<PublicUrl, PublicUrlFault> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    authority.and_then(host_and_port).ok_or(PublicUrlFault::NoUrl)?;
    PublicUrl::parse(text)
}

#[cfg(test)]
mod tests {
    use crate::config::ListenerProtocol;
    use crate::config::testing::TestFolder;

    use super::*;

    /// A console whose keys beside name and protocol are `rest`, from line 4 on.
    fn text(rest: &str) -> String {
        format!(
            "listeners:\n  - name: console\n    protocol: console\n    {}\n",
            rest.replace("; ", "\n    ")
        )
    }

    const AT: &str = "address: 127.0.0.1:8444; ";
    const BEYOND: &str = "address: 0.0.0.0:8444; ";
    const TLS: &str = "tls: { certificate: certs/dev.crt, private_key: certs/dev.key }; ";

    fn console(rest: &str) -> ConsoleListener {
        let config = TestFolder::new().parse(&text(rest)).unwrap_or_else(|faults| panic!("{rest}: {faults}"));
        assert!(config.public_url().is_some());
        match config.listeners.into_iter().next().map(|listener| listener.protocol) {
            Some(ListenerProtocol::Console(console)) => console,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_console_has_a_public_url_and_takes_what_an_api_listener_takes() {
        let found = console(&format!(
            "{AT}{TLS}public_url: https://localhost:8444; trusted_proxies: [10.0.0.1]; proxy_protocol: accept; allow_list: [192.0.2.0/24]"
        ));
        assert_eq!(found.public_url.origin(), "https://localhost:8444");
        assert!(found.tls.is_some() && !found.allow_list.is_empty());
        assert!(!found.client_address.trusted_proxies.is_empty());
        let by_address = console(&format!("{AT}{TLS}public_url: https://127.0.0.1:8444"));
        assert_eq!(by_address.public_url.relying_party(), None);
    }

    #[test]
    fn without_tls_passwords_stay_on_this_machine_or_somebody_says_that_they_may_travel() {
        for rest in [
            format!("{AT}public_url: http://localhost:8444"),
            format!("{AT}public_url: https://console.example"),
            String::from("address: \"[::1]:8444\"; public_url: http://localhost:8444"),
            format!("{BEYOND}plaintext_credentials: allow; public_url: https://console.example"),
        ] {
            assert_eq!(console(&rest).tls, None, "{rest}");
        }
        let told = TestFolder::new().faults(&text(&format!("{BEYOND}public_url: https://console.example")));
        assert!(
            told.starts_with("f.yaml:4:14  error  listeners[0].address: passwords would go in clear"),
            "{told}"
        );
    }

    #[test]
    fn a_public_url_that_browsers_could_not_use_is_refused() {
        let is_wrong = |url: &str| format!("{AT}{TLS}public_url: {url}");
        let cases = [
            (is_wrong("http://localhost:8444"), "must be https, because the listener speaks TLS"),
            (is_wrong("http://console.example"), "http is for `localhost` alone"),
            (is_wrong("http://127.0.0.1:8444"), "they never take an IP address"),
            (is_wrong("https://console.example/console"), "must be https://HOST[:PORT]"),
            (is_wrong("https://console.example:0"), "must be https://HOST[:PORT]"),
            (is_wrong("https://user@console.example"), "must be https://HOST[:PORT]"),
            (is_wrong("\"https://console.example?\""), "must be https://HOST[:PORT]"),
            (is_wrong("\"https:\\\\\\\\console.example\""), "must be https://HOST[:PORT]"),
            (is_wrong("console.example"), "must be https://HOST[:PORT]"),
            (
                format!("{AT}{TLS}"),
                "listeners[0]: missing key `public_url`: what browsers call the console by",
            ),
        ];
        for (rest, expected) in cases {
            let told = TestFolder::new().faults(&text(rest.trim_end_matches("; ")));
            assert!(told.contains(expected) && told.ends_with("\n1 error"), "{rest}: {told}");
        }
    }

    #[test]
    fn all_consoles_are_called_the_same() {
        let second = |url: &str| {
            let first = text(&format!("{AT}public_url: http://localhost:8444"));
            format!(
                "{first}  - {{ name: two, protocol: console, address: \"[::1]:8444\", public_url: \"{url}\" }}\n"
            )
        };
        assert_eq!(TestFolder::new().parse(&second("http://localhost:8444")).unwrap().listeners.len(), 2);
        let told = TestFolder::new().faults(&second("http://localhost:8445"));
        assert!(told.contains("listeners[1].public_url: differs from listeners[0].public_url"), "{told}");
    }

    #[test]
    fn keys_of_doors_are_refused() {
        let folder = TestFolder::new();
        let told = folder.faults(&text(&format!("{AT}public_url: http://localhost:8444; upstream: names")));
        assert!(told.contains("key `upstream` belongs to protocol isproxy, not console"), "{told}");
    }
}
