//! `acme:` what it means, and what listeners ask of it.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::Review;
use crate::config::faults::KeyPath;
use crate::config::raw::{RawAcme, RawChallenge, RawExternalAccount, Required};
use crate::config::{
    AcmeChallenge, AcmeSettings, CertificateSource, ExternalAccount, Listener, ListenerProtocol,
};
use crate::model::Secret;

/// So short a key could be guessed.
const HMAC_KEY_MIN_BYTES: usize = 16;

/// From whom certificates are ordered; `None` where it is unsound, which has been told.
pub(super) fn acme(raw: RawAcme, review: &mut Review<'_>) -> Option<AcmeSettings> {
    let path = KeyPath::default().key("acme");
    if raw.terms_accepted.0 == Some(false) {
        let help = "the authority's directory names them; leave `acme` out to order nothing";
        review.refuse(&path.key("terms_accepted"), "must be true: the authority asks for it", Some(help));
    }
    let directory = directory(raw.directory.0, &path.key("directory"), review);
    let contact = contact(raw.contact, &path.key("contact"), review);
    let challenge = challenge(raw.challenge, raw.http_01_address.as_deref(), &path, review);
    let cache = review.path(&path.key("cache"), raw.cache);
    let ca = match raw.ca {
        Some(file) => {
            let help = "the certificate of whoever certified the directory's server, as PEM";
            review.existing_file(&path.key("ca"), Required(Some(file)), help).map(Some)
        }
        None => Some(None),
    };
    let external_account = match raw.external_account {
        Some(raw) => external_account(raw, &path.key("external_account"), review).map(Some),
        None => Some(None),
    };
    raw.terms_accepted.0.filter(|accepted| *accepted)?;
    Some(AcmeSettings {
        directory: directory?,
        contact: contact?,
        challenge: challenge?,
        cache: cache?,
        ca: ca?,
        external_account: external_account?,
    })
}

/// Faults of `acme` and the listeners together.
pub(super) fn review_use(settings: &AcmeSettings, listeners: &[Listener], review: &mut Review<'_>) {
    let path = KeyPath::default().key("acme");
    let orders = |listener: &&Listener| {
        let tls = match &listener.protocol {
            ListenerProtocol::Http(http) => http.tls.as_ref(),
            ListenerProtocol::IsProxy(isproxy) => isproxy.tls.as_ref(),
            ListenerProtocol::Console(console) => console.tls.as_ref(),
            ListenerProtocol::ForwardAuth(asked) => asked.tls.as_ref(),
            ListenerProtocol::Ops => None,
        };
        tls.is_some_and(|tls| matches!(tls.certificates, CertificateSource::Acme(_)))
    };
    let ordering: Vec<&Listener> = listeners.iter().filter(orders).collect();
    let is_asked = |listener: &&Listener| !matches!(listener.protocol, ListenerProtocol::IsProxy(_));
    match settings.challenge {
        AcmeChallenge::TlsAlpn01 if !ordering.is_empty() && !ordering.iter().any(is_asked) => {
            let message = "`tls-alpn-01` is answered by http, forward_auth and console listeners with `acme_hosts`, and there is none";
            let help = "isproxy listeners speak TLS behind STARTTLS only; write `challenge: http-01`";
            review.refuse(&path.key("challenge"), message, Some(help));
        }
        AcmeChallenge::TlsAlpn01 => {}
        AcmeChallenge::Http01(address) => {
            if let Some(owner) = listeners.iter().find(|listener| listener.address == address) {
                let message = format!("this address is taken by the listener `{}`", owner.name);
                review.refuse(&path.key("http_01_address"), message, None);
            }
        }
    }
}

fn directory(text: Option<String>, path: &KeyPath, review: &mut Review<'_>) -> Option<String> {
    let text = text?;
    let is_sound = Url::parse(&text).is_ok_and(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    let message = if !is_sound {
        "must be an https URL without user, password and fragment"
    } else if text.parse::<http::Uri>().is_err() {
        // A browser would write it anew, and an HTTP client does not.
        "holds what a request cannot; write `%20` for a blank, and `xn--…` for a host in other letters"
    } else {
        return Some(text);
    };
    review.refuse(path, message, Some("for example https://acme-v02.api.letsencrypt.org/directory"));
    None
}

fn contact(raw: Vec<Required<String>>, path: &KeyPath, review: &mut Review<'_>) -> Option<Vec<String>> {
    let mut sound = Vec::new();
    for (position, text) in raw.into_iter().enumerate() {
        let text = text.0?;
        let address = text.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        // A header or a second address may not follow (RFC 8555 §7.3).
        let is_one = !text.contains([',', '?']);
        if !is_one || !address.is_some_and(|(user, host)| is_plain(user) && is_plain(host)) {
            let help = Some("for example mailto:ops@example.com");
            review.refuse(&path.index(position), "must be a mailto URL with one address", help);
            return None;
        }
        sound.push(text);
    }
    Some(sound)
}

fn challenge(
    raw: RawChallenge,
    address: Option<&str>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<AcmeChallenge> {
    let address_path = path.key("http_01_address");
    match (raw, address) {
        (RawChallenge::TlsAlpn01, None) => Some(AcmeChallenge::TlsAlpn01),
        (RawChallenge::TlsAlpn01, Some(_)) => {
            let help = Some("write `challenge: http-01`, or leave the address out");
            review.refuse(&address_path, "is for `http-01`, and `challenge` is `tls-alpn-01`", help);
            None
        }
        (RawChallenge::Http01, None) => {
            let what_for = "where port 80 of the names leads to, for example 0.0.0.0:80";
            review.refuse_missing(path, "http_01_address", what_for);
            None
        }
        (RawChallenge::Http01, Some(text)) => {
            let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
            if address.is_none() {
                let help = "for example 0.0.0.0:80 or [::]:80; an address, not a name";
                review.refuse(&address_path, "must be ADDRESS:PORT", Some(help));
            }
            address.map(AcmeChallenge::Http01)
        }
    }
}

fn external_account(
    raw: RawExternalAccount,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<ExternalAccount> {
    let key_id = raw.key_id.0.filter(|id| {
        let is_sound = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound {
            review.refuse(&path.key("key_id"), "must be visible ASCII characters without a blank", None);
        }
        is_sound
    });
    let key_path = path.key("hmac_key_file");
    let help = "a file of mode 0600 with the key that the authority shows beside its id";
    let text = review.secret_text(raw.hmac_key_file.0?, &key_path, HMAC_KEY_MIN_BYTES, help)?;
    let hmac_key = URL_SAFE_NO_PAD.decode(text.expose().trim_end_matches('=')).ok();
    if hmac_key.is_none() {
        review.refuse(&key_path, "the file must hold base64url: a-z, A-Z, 0-9, `-` and `_`", None);
    }
    Some(ExternalAccount { key_id: key_id?, hmac_key: Secret::new(hmac_key?) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::testing::{BASE, TestFolder};

    const SOUND: &str = "directory: https://ca.example/dir, terms_accepted: true";

    /// A configuration whose API listener gets its certificate by an `acme` of these keys.
    fn with(acme: &str) -> String {
        let listener = "    tls: { acme_hosts: [api.example] }\n    routes:";
        format!("acme: {{ {acme} }}\n{}", BASE.replacen("    routes:", listener, 1))
    }

    fn parsed(folder: &TestFolder, acme: &str) -> AcmeSettings {
        folder.parse(&with(acme)).unwrap_or_else(|faults| panic!("{faults}")).acme.unwrap()
    }

    #[test]
    fn the_smallest_section_takes_every_default() {
        let folder = TestFolder::new();
        assert_eq!(
            parsed(&folder, SOUND),
            AcmeSettings {
                directory: String::from("https://ca.example/dir"),
                contact: Vec::new(),
                challenge: AcmeChallenge::TlsAlpn01,
                cache: folder.path("acme"),
                ca: None,
                external_account: None,
            }
        );
    }

    #[test]
    fn every_key_is_taken() {
        let folder = TestFolder::new();
        let key = folder.write("eab.key", "aGVsbG8taGVsbG8taGVsbG8\n");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let settings = parsed(
            &folder,
            &format!(
                "{SOUND}, contact: [\"mailto:ops@example.com\"], challenge: http-01, http_01_address: \"0.0.0.0:80\", cache: certs/acme, ca: certs/dev.crt, external_account: {{ key_id: kid-1, hmac_key_file: eab.key }}"
            ),
        );
        assert_eq!(settings.contact, ["mailto:ops@example.com"]);
        assert_eq!(settings.challenge, AcmeChallenge::Http01("0.0.0.0:80".parse().unwrap()));
        assert_eq!(settings.cache, folder.path("certs/acme"));
        assert_eq!(settings.ca, Some(folder.path("certs/dev.crt")));
        let account = settings.external_account.unwrap();
        assert_eq!(
            (account.key_id.as_str(), account.hmac_key.expose().as_slice()),
            ("kid-1", &b"hello-hello-hello"[..])
        );
        assert!(!format!("{account:?}").contains("hello"));
    }

    #[test]
    fn faults_are_told_at_their_keys_and_say_what_is_allowed() {
        let folder = TestFolder::new();
        let key = folder.write("bad.key", "not+base64url/at*all!\n");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let more = |keys: &str| format!("{SOUND}, {keys}");
        for (acme, expected) in [
            (String::from("directory: https://ca.example/dir"), "acme: missing key `terms_accepted`"),
            (
                String::from("directory: https://ca.example/dir, terms_accepted: false"),
                "acme.terms_accepted: must be true: the authority asks for it",
            ),
            (String::from("terms_accepted: true"), "acme: missing key `directory`"),
            (
                String::from("directory: http://ca.example/dir, terms_accepted: true"),
                "acme.directory: must be an https URL without user, password and fragment",
            ),
            (
                String::from("directory: \"https://ca.example/a b\", terms_accepted: true"),
                "acme.directory: holds what a request cannot",
            ),
            (
                String::from("directory: \"https://münchen.example/dir\", terms_accepted: true"),
                "acme.directory: holds what a request cannot",
            ),
            (more("contact: [ops@example.com]"), "acme.contact[0]: must be a mailto URL with one address"),
            (more("contact: [\"mailto:a@b?cc=c@d\"]"), "acme.contact[0]: must be a mailto URL"),
            (more("challenge: dns-01"), "acme.challenge: unknown value `dns-01`"),
            (
                more("challenge: http-01"),
                "acme: missing key `http_01_address`: where port 80 of the names leads to",
            ),
            (
                more("http_01_address: \"0.0.0.0:80\""),
                "acme.http_01_address: is for `http-01`, and `challenge` is `tls-alpn-01`",
            ),
            (
                more("challenge: http-01, http_01_address: \"localhost:80\""),
                "acme.http_01_address: must be ADDRESS:PORT",
            ),
            (
                more("challenge: http-01, http_01_address: \"127.0.0.1:8443\""),
                "acme.http_01_address: this address is taken by the listener `api`",
            ),
            (more("ca: none.pem"), "acme.ca: file not found: none.pem"),
            (
                more("external_account: { key_id: kid-1, hmac_key_file: bad.key }"),
                "acme.external_account.hmac_key_file: the file must hold base64url",
            ),
        ] {
            let told = folder.faults(&with(&acme));
            assert!(told.contains(expected) && told.ends_with("\n1 error"), "{acme}: {told}");
        }
    }

    #[test]
    fn tls_alpn_01_needs_a_listener_that_speaks_tls_from_the_first_byte() {
        let folder = TestFolder::new();
        let relay =
            "    protocol: isproxy\n    tls: { acme_hosts: [api.example] }\n    upstream: availability\n";
        let text = BASE.replacen("    protocol: http\n", relay, 1).replacen(
            "    routes:\n      - { path: /, upstream: registry }\n",
            "",
            1,
        ) + "  - { name: availability, protocol: isproxy, servers: [\"127.0.0.1:9001\"] }\n";
        let told = folder.faults(&format!("acme: {{ {SOUND} }}\n{text}"));
        assert!(
            told.contains(
                "acme.challenge: `tls-alpn-01` is answered by http, forward_auth and console listeners"
            ),
            "{told}"
        );
        let http =
            format!("acme: {{ {SOUND}, challenge: http-01, http_01_address: \"0.0.0.0:80\" }}\n{text}");
        assert!(folder.parse(&http).is_ok());
    }
}
