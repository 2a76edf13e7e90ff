//! `tls:` of a listener, what it means: one spelling of several, and files that are there.
//!
//! Looks for the files, not into them: a key that is another certificate's is found where they are loaded.

use std::net::IpAddr;

use super::{Review, is_host};
use crate::config::faults::KeyPath;
use crate::config::raw::{RawCertificate, RawTls, Required};
use crate::config::{CertificateSource, TlsFiles, TlsSettings};

const CERTIFICATE_HELP: &str =
    "`latchkey init` makes one for development; certs/README.md tells how to make others with openssl";

/// What stands for `certificate` and `private_key`.
const SPELLINGS: [&str; 2] = ["certificates", "acme_hosts"];
/// As many names as authorities take in one order.
const HOSTS_MAX: usize = 100;

/// What `raw` means, which stands at `path`.
pub(super) fn tls(raw: RawTls, path: &KeyPath, review: &mut Review<'_>) -> Option<TlsSettings> {
    let RawTls { certificate, private_key, certificates, acme_hosts, unknown_names } = raw;
    if let Some(hosts) = acme_hosts {
        let others = [
            ("certificate", certificate.is_some()),
            ("private_key", private_key.is_some()),
            ("certificates", certificates.is_some()),
        ];
        if let Some((beside, _)) = others.into_iter().find(|(_, is_there)| *is_there) {
            let message = format!("stands beside `{beside}`; keep one of them");
            review.refuse(&path.key("acme_hosts"), message, None);
            return None;
        }
        let certificates = CertificateSource::Acme(self::hosts(hosts, &path.key("acme_hosts"), review)?);
        return Some(TlsSettings { certificates, unknown_names });
    }
    let certificates = match (certificate, private_key, certificates) {
        (None, None, Some(several)) => {
            CertificateSource::Files(files(several, &path.key("certificates"), review)?)
        }
        (certificate, _, Some(_)) => {
            let beside = if certificate.is_some() { "certificate" } else { "private_key" };
            let message = format!("stands beside `{beside}`; keep one of them");
            review.refuse(&path.key("certificates"), message, None);
            return None;
        }
        // Told already: what is missing is not.
        (None, None, None) if SPELLINGS.iter().any(|key| review.faults.cover(&path.key(key))) => return None,
        (certificate, private_key, None) => {
            let what_for = "the two belong together, unless `certificates` stands for them";
            for (key, value) in [("certificate", &certificate), ("private_key", &private_key)] {
                if value.is_none() {
                    review.refuse_missing(path, key, what_for);
                }
            }
            CertificateSource::Only(pair(Required(certificate), Required(private_key), path, review)?)
        }
    };
    Some(TlsSettings { certificates, unknown_names })
}

/// The names that a certificate is to be issued for.
fn hosts(raw: Vec<Required<String>>, path: &KeyPath, review: &mut Review<'_>) -> Option<Vec<String>> {
    if review.tree.find(&KeyPath::default().key("acme")).is_none() {
        let help = "for example acme: { directory: https://…, terms_accepted: true }";
        review.refuse(path, "needs the section `acme`, which says who issues the certificate", Some(help));
        return None;
    }
    if raw.is_empty() || raw.len() > HOSTS_MAX {
        review.refuse(path, format!("must hold 1 to {HOSTS_MAX} host names"), None);
        return None;
    }
    let mut sound = Vec::new();
    for (position, text) in raw.into_iter().enumerate() {
        let (text, path) = (text.0?, path.index(position));
        let host = text.to_ascii_lowercase();
        let help =
            "for example api.example.com; names with `*` and addresses cannot be shown to be yours this way";
        if !is_host(&host) || host.parse::<IpAddr>().is_ok() || host.contains('_') {
            review.refuse(&path, "must be a host name", Some(help));
            return None;
        }
        if sound.contains(&host) {
            let named = review.named(&path, &host);
            review.refuse(&path, format!("the name{named} stands here twice"), None);
            return None;
        }
        sound.push(host);
    }
    sound.sort_unstable();
    Some(sound)
}

/// The pairs of a list; `None` where one of them is unsound.
fn files(
    raw: Vec<Required<RawCertificate>>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<Vec<TlsFiles>> {
    if raw.is_empty() {
        let help = "for example certificates: [{ certificate: a.crt, private_key: a.key }]";
        review.refuse(path, "is empty; at least one certificate is needed", Some(help));
        return None;
    }
    // All are looked for, so that all faults are told at once.
    let found: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(position, raw)| {
            let RawCertificate { certificate, private_key } = raw.0?;
            pair(certificate, private_key, &path.index(position), review)
        })
        .collect();
    found.into_iter().collect()
}

fn pair(
    certificate: Required<String>,
    private_key: Required<String>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<TlsFiles> {
    let certificate = review.existing_file(&path.key("certificate"), certificate, CERTIFICATE_HELP);
    let private_key = review.existing_file(&path.key("private_key"), private_key, CERTIFICATE_HELP);
    Some(TlsFiles { certificate: certificate?, private_key: private_key? })
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{BASE, TestFolder};
    use crate::config::{CertificateSource, ListenerProtocol, TlsFiles, TlsSettings, UnknownNames};

    fn with(setting: &str) -> String {
        let text = BASE.replacen("    routes:", &format!("    tls: {{ {setting} }}\n    routes:"), 1);
        assert_ne!(text, BASE);
        text
    }

    /// What is told about a listener with these keys of `tls`; one fault is expected.
    fn told(setting: &str) -> String {
        let told = TestFolder::new().faults(&with(setting));
        assert!(told.ends_with("\n1 error"), "{told}");
        told
    }

    fn parsed(folder: &TestFolder, setting: &str) -> TlsSettings {
        let config = folder.parse(&with(setting)).unwrap_or_else(|faults| panic!("{faults}"));
        match config.listeners.into_iter().next().map(|listener| listener.protocol) {
            Some(ListenerProtocol::Http(http)) => http.tls.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn pair(folder: &TestFolder, name: &str) -> TlsFiles {
        TlsFiles {
            certificate: folder.path(&format!("certs/{name}.crt")),
            private_key: folder.path(&format!("certs/{name}.key")),
        }
    }

    const ONE: &str = "certificate: certs/dev.crt, private_key: certs/dev.key";

    #[test]
    fn certificates_must_be_there_and_start_at_the_folder() {
        let folder = TestFolder::new();
        let certificates = CertificateSource::Only(pair(&folder, "dev"));
        assert_eq!(parsed(&folder, ONE), TlsSettings { certificates, unknown_names: UnknownNames::First });
        let with = |certificate: &str| format!("certificate: {certificate}, private_key: certs/dev.key");
        assert!(told(&with("certs/none.crt")).starts_with(
            "f.yaml:5:25  error  listeners[0].tls.certificate: file not found: certs/none.crt\n\
             \x20            help   `latchkey init` makes one for development"
        ));
        assert!(told(&with("certs")).contains("tls.certificate: not a file: certs"));
        assert!(told(&with("\"${SECRET}\"")).contains("tls.certificate: file not found\n"));
        assert!(
            told("certificate: certs/dev.crt")
                .contains("f.yaml:5:10  error  listeners[0].tls: missing key `private_key`")
        );
        assert!(told("private_key: certs/dev.key").contains("listeners[0].tls: missing key `certificate`"));
    }

    #[test]
    fn several_certificates_are_a_list_of_pairs() {
        let folder = TestFolder::new();
        folder.write("certs/other.crt", "");
        folder.write("certs/other.key", "");
        let other = "certificate: certs/other.crt, private_key: certs/other.key";
        let setting = format!("certificates: [{{ {ONE} }}, {{ {other} }}], unknown_names: refuse");
        let certificates = CertificateSource::Files(vec![pair(&folder, "dev"), pair(&folder, "other")]);
        assert_eq!(
            parsed(&folder, &setting),
            TlsSettings { certificates, unknown_names: UnknownNames::Refuse }
        );
    }

    #[test]
    fn a_certificate_is_issued_for_host_names_in_lower_case() {
        let folder = TestFolder::new();
        let acme = "acme: { directory: https://ca.example/dir, terms_accepted: true }\n";
        let text = |setting: &str| format!("{acme}{}", with(setting));
        let names = vec![String::from("api.example"), String::from("b.example")];
        for written in ["acme_hosts: [API.example, b.example]", "acme_hosts: [b.example, api.example]"] {
            let config = folder.parse(&text(written)).unwrap();
            let ListenerProtocol::Http(http) = &config.listeners[0].protocol else { panic!("not HTTP") };
            assert_eq!(http.tls.as_ref().unwrap().certificates, CertificateSource::Acme(names.clone()));
        }
        let many = vec!["a.example"; 101].join(", ");
        for (setting, expected) in [
            ("acme_hosts: []", "acme_hosts: must hold 1 to 100 host names"),
            (&format!("acme_hosts: [{many}]"), "acme_hosts: must hold 1 to 100 host names"),
            ("acme_hosts: [\"*.example\"]", "acme_hosts[0]: must be a host name"),
            ("acme_hosts: [a.example, 192.0.2.1]", "acme_hosts[1]: must be a host name"),
            ("acme_hosts: [a.example, A.example]", "acme_hosts[1]: the name `a.example` stands here twice"),
            (
                &format!("{ONE}, acme_hosts: [a.example]"),
                "acme_hosts: stands beside `certificate`; keep one of them",
            ),
            ("certificates: [], acme_hosts: [a.example]", "acme_hosts: stands beside `certificates`"),
        ] {
            let told = folder.faults(&text(setting));
            assert!(told.contains(expected) && told.ends_with("\n1 error"), "{setting}: {told}");
        }
        assert!(told("acme_hosts: [a.example]").contains("acme_hosts: needs the section `acme`"));
    }

    #[test]
    fn each_fault_of_several_certificates_is_told_at_its_place() {
        for (setting, expected) in [
            (
                "certificates: []",
                "listeners[0].tls.certificates: is empty; at least one certificate is needed",
            ),
            (
                &format!("{ONE}, certificates: []"),
                "listeners[0].tls.certificates: stands beside `certificate`; keep one of them",
            ),
            (
                "private_key: certs/dev.key, certificates: []",
                "listeners[0].tls.certificates: stands beside `private_key`; keep one of them",
            ),
            (
                &format!("certificates: [{{ {ONE} }}, {{ certificate: certs/dev.crt }}]"),
                "listeners[0].tls.certificates[1]: missing key `private_key`",
            ),
            (
                "certificates: [{ certificate: certs/dev.crt, private_key: none.key }]",
                "listeners[0].tls.certificates[0].private_key: file not found: none.key",
            ),
            (
                &format!("{ONE}, unknown_names: close"),
                "listeners[0].tls.unknown_names: unknown value `close`; allowed: first, refuse",
            ),
        ] {
            let told = told(setting);
            assert!(told.contains(expected), "{setting}: {told}");
        }
        let both = TestFolder::new().faults(&with(
            "certificates: [{ certificate: a, private_key: b }, { certificate: c, private_key: d }]",
        ));
        assert!(both.ends_with("\n4 errors"), "{both}");
        let none = TestFolder::new().faults(&with("unknown_names: first"));
        assert!(none.ends_with("\n2 errors") && none.contains("missing key `certificate`"), "{none}");
    }
}
