//! Certificates for development: an authority of one's own, and a server certificate for this machine's names.
//!
//! Called by `demo`, which keeps them fresh in a folder of its own, and by the module above for `init`, which throws the
//! authority's key away. Not for production: whoever can read a demo's folder can make more. The authority is therefore
//! limited to this machine's names, so that trusting it in a browser risks nothing else.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use time::OffsetDateTime;

use crate::model::Timestamp;

const DAY_SECONDS: i64 = 86_400;
/// Ten years, two leap days among them.
const AUTHORITY_DAYS: i64 = 3_652;
/// Browsers allow 398 days at most, Mozilla's guidelines 366.
const SERVER_DAYS: i64 = 365;
/// Certificates are made anew when they would not be valid for this much longer.
const RENEW_BEFORE_DAYS: i64 = 7;
/// Certificates begin in the past, so that clients whose clocks are behind take them.
const BACKDATED_SECONDS: i64 = 3_600;

const DNS_NAME: &str = "localhost";
const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Where the development certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevelopmentCertificates {
    /// The authority's certificate: what clients are told to trust.
    pub authority: PathBuf,
    /// The server's chain, leaf first.
    pub server_chain: PathBuf,
    /// The server's private key, mode 0600.
    pub server_key: PathBuf,
}

/// Why there are no development certificates.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentCertificateError {
    /// A file or the folder cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// What stood in the way.
        source: io::Error,
    },
    /// The certificates cannot be made.
    #[error("development certificates cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate would begin or end outside the calendar.
    #[error("development certificates cannot be made for the time {0}")]
    Time(Timestamp),
}

/// Answers the certificates of `folder`: `ca.crt`, `ca.key`, `server.crt`, `server.key`. What is there is used as long
/// as it holds together and is valid for a week from `now`; otherwise all four are made anew.
///
/// # Errors
///
/// The folder or a file cannot be written, or a certificate cannot be made.
pub fn make_development_certificates(
    folder: &Path,
    now: Timestamp,
) -> Result<DevelopmentCertificates, DevelopmentCertificateError> {
    let certificates = DevelopmentCertificates {
        authority: folder.join("ca.crt"),
        server_chain: folder.join("server.crt"),
        server_key: folder.join("server.key"),
    };
    if !are_usable(&certificates, now.plus_seconds(RENEW_BEFORE_DAYS * DAY_SECONDS)) {
        let made = make(now)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| DevelopmentCertificateError::Write { path: folder.to_owned(), source })?;
        write(&folder.join("ca.key"), &made.authority_key, 0o600)?;
        write(&certificates.authority, &made.authority, 0o644)?;
        write(&certificates.server_key, &made.server_key, 0o600)?;
        write(&certificates.server_chain, &made.server_chain, 0o644)?;
    }
    Ok(certificates)
}

/// Would a client that trusts the authority take the server at that moment? Any fault, a missing file too, is a no.
fn are_usable(certificates: &DevelopmentCertificates, at: Timestamp) -> bool {
    let Ok(authority) = CertificateDer::from_pem_file(&certificates.authority) else { return false };
    let Ok(chain) = CertificateDer::pem_file_iter(&certificates.server_chain)
        .and_then(Iterator::collect::<Result<Vec<CertificateDer<'static>>, _>>)
    else {
        return false;
    };
    let Ok(key) = PrivateKeyDer::from_pem_file(&certificates.server_key) else { return false };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if CertifiedKey::from_der(chain.clone(), key, &provider).is_err() {
        return false;
    }

    let mut roots = RootCertStore::empty();
    if roots.add(authority).is_err() {
        return false;
    }
    let Ok(verifier) =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider)).build()
    else {
        return false;
    };
    let Some((leaf, intermediates)) = chain.split_first() else { return false };
    let Ok(seconds) = u64::try_from(at.unix_seconds()) else { return false };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let names = ServerName::try_from(DNS_NAME).into_iter().chain(ADDRESSES.map(ServerName::from));
    names.into_iter().all(|name| verifier.verify_server_cert(leaf, intermediates, &name, &[], at).is_ok())
}

/// A server's certificate and what vouches for it, PEM; the authority's key is gone.
pub struct DrawnCertificates {
    /// The authority's certificate: what clients are told to trust.
    pub authority: String,
    /// The server's chain, leaf first.
    pub server_chain: String,
    /// The server's private key.
    pub server_key: String,
}

/// Makes certificates that are valid from `now`, and writes nothing.
///
/// # Errors
///
/// A certificate cannot be made.
pub fn draw_development_certificates(
    now: Timestamp,
) -> Result<DrawnCertificates, DevelopmentCertificateError> {
    let Made { authority, server_chain, server_key, .. } = make(now)?;
    Ok(DrawnCertificates { authority, server_chain, server_key })
}

/// The four files' contents, PEM.
struct Made {
    authority: String,
    authority_key: String,
    server_chain: String,
    server_key: String,
}

fn make(now: Timestamp) -> Result<Made, DevelopmentCertificateError> {
    let authority = CertifiedIssuer::self_signed(authority_params(now)?, KeyPair::generate()?)?;
    let server_key = KeyPair::generate()?;
    let server = server_params(now)?.signed_by(&server_key, &authority)?;
    Ok(Made {
        authority: authority.pem(),
        authority_key: authority.key().serialize_pem(),
        server_chain: server.pem() + &authority.pem(),
        server_key: server_key.serialize_pem(),
    })
}

/// RFC 5280 §4.2.1: what a certificate that signs others must say, and the names it may sign for.
fn authority_params(now: Timestamp) -> Result<CertificateParams, DevelopmentCertificateError> {
    let mut params = valid_for(AUTHORITY_DAYS, now)?;
    params.distinguished_name.push(DnType::CommonName, "Latchkey development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName(DNS_NAME.to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::LOCALHOST.octets(), 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

fn server_params(now: Timestamp) -> Result<CertificateParams, DevelopmentCertificateError> {
    let mut params = valid_for(SERVER_DAYS, now)?;
    params.distinguished_name.push(DnType::CommonName, DNS_NAME);
    params.subject_alt_names = vec![SanType::DnsName(DNS_NAME.try_into()?)];
    params.subject_alt_names.extend(ADDRESSES.map(SanType::IpAddress));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The common ground of both: a life of `days`, and no name yet.
fn valid_for(days: i64, now: Timestamp) -> Result<CertificateParams, DevelopmentCertificateError> {
    let begin = now.plus_seconds(-BACKDATED_SECONDS);
    let moment = |at: Timestamp| {
        OffsetDateTime::from_unix_timestamp(at.unix_seconds())
            .map_err(|_| DevelopmentCertificateError::Time(now))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = moment(begin)?;
    params.not_after = moment(begin.plus_seconds(days * DAY_SECONDS))?;
    Ok(params)
}

/// Writes beside the file and moves it into place, so that nobody reads half a file, nor a key with an old file's mode.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevelopmentCertificateError> {
    let beside = path.with_added_extension("new");
    let written = || -> io::Result<()> {
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        // The process's mask may have taken bits away from a certificate that others are meant to read.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    written().map_err(|source| DevelopmentCertificateError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23".parse().unwrap()
    }

    fn days_later(days: i64) -> Timestamp {
        now().plus_seconds(days * DAY_SECONDS)
    }

    fn contents(folder: &Path) -> BTreeMap<String, (String, u32)> {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let read = |entry: std::fs::DirEntry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), (text, mode))
        };
        entries.map(read).collect()
    }

    #[test]
    fn the_folder_holds_four_files_and_only_the_owner_reads_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let made = make_development_certificates(&folder.path().join("certs"), now()).unwrap();
        let files = contents(made.authority.parent().unwrap());
        let modes: Vec<(&str, u32)> = files.iter().map(|(name, (_, mode))| (name.as_str(), *mode)).collect();
        assert_eq!(
            modes,
            [("ca.crt", 0o644), ("ca.key", 0o600), ("server.crt", 0o644), ("server.key", 0o600)]
        );
        assert_eq!(files["server.crt"].0.matches("BEGIN CERTIFICATE").count(), 2, "the chain");
        assert!(files["server.crt"].0.ends_with(&files["ca.crt"].0), "leaf first");
    }

    #[test]
    fn certificates_are_used_again_until_a_week_before_their_end() {
        let folder = tempfile::tempdir().unwrap();
        make_development_certificates(folder.path(), now()).unwrap();
        let first = contents(folder.path());
        for days in [0, 1, SERVER_DAYS - RENEW_BEFORE_DAYS - 1] {
            make_development_certificates(folder.path(), days_later(days)).unwrap();
            assert_eq!(contents(folder.path()), first, "after {days} days");
        }
        let late = days_later(SERVER_DAYS - RENEW_BEFORE_DAYS);
        let made = make_development_certificates(folder.path(), late).unwrap();
        assert_ne!(contents(folder.path())["server.crt"], first["server.crt"]);
        assert!(are_usable(&made, late));
    }

    #[test]
    fn what_does_not_hold_together_is_made_anew() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 5] = [
            ("a missing key", |folder| std::fs::remove_file(folder.join("server.key")).unwrap()),
            ("half a certificate", |folder| {
                std::fs::write(folder.join("server.crt"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
            }),
            ("no chain", |folder| std::fs::write(folder.join("server.crt"), "").unwrap()),
            ("another authority", |folder| {
                std::fs::write(folder.join("ca.crt"), make(now()).unwrap().authority).unwrap();
            }),
            ("another server's key", |folder| {
                std::fs::write(folder.join("server.key"), make(now()).unwrap().server_key).unwrap();
            }),
        ];
        for (what, damage) in damages {
            let folder = tempfile::tempdir().unwrap();
            let made = make_development_certificates(folder.path(), now()).unwrap();
            assert!(are_usable(&made, now()), "{what}");
            damage(folder.path());
            assert!(!are_usable(&made, now()), "{what}");
            make_development_certificates(folder.path(), now()).unwrap();
            assert!(are_usable(&made, now()), "{what}");
            assert_eq!(contents(folder.path()).len(), 4, "{what}: nothing is left beside");
        }
    }

    #[test]
    fn a_key_file_that_others_could_read_is_replaced_by_one_that_they_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("server.key");
        std::fs::write(&key, "old").unwrap();
        std::fs::set_permissions(&key, Permissions::from_mode(0o666)).unwrap();
        make_development_certificates(folder.path(), now()).unwrap();
        assert_eq!(contents(folder.path())["server.key"].1, 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = make_development_certificates(Path::new("/dev/null/certs"), now()).unwrap_err();
        assert!(error.to_string().starts_with("/dev/null/certs: "), "{error}");
        let end = Timestamp::from_unix_milliseconds(i64::MAX);
        assert!(matches!(
            make_development_certificates(Path::new("/dev/null/certs"), end),
            Err(DevelopmentCertificateError::Time(_))
        ));
    }

    #[test]
    fn the_authority_cannot_vouch_for_names_beyond_this_machine() {
        let authority =
            CertifiedIssuer::self_signed(authority_params(now()).unwrap(), KeyPair::generate().unwrap())
                .unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = server_params(now()).unwrap();
        params.subject_alt_names = vec![SanType::DnsName("bank.example".try_into().unwrap())];
        let forged = params.signed_by(&key, &authority).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now().unix_seconds().unsigned_abs()));
        let name = ServerName::try_from("bank.example").unwrap();
        let refusal = verifier.verify_server_cert(forged.der(), &[], &name, &[], at).unwrap_err();
        assert!(format!("{refusal:?}").contains("NameConstraintViolation"), "{refusal:?}");
    }

    #[test]
    fn openssl_takes_the_chain_strictly_for_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let made = make_development_certificates(folder.path(), now()).unwrap();
        for name in [["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"]] {
            let output = Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", "sslserver", "-attime"])
                .arg(now().unix_seconds().to_string())
                .args(name)
                .arg("-CAfile")
                .args([&made.authority, &made.server_chain])
                .output()
                .expect("openssl is installed");
            assert!(output.status.success(), "{name:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
