//! TLS towards upstreams: whom to trust, and what to show, as a rustls configuration.
//!
//! Certificates are always verified, name and chain; there is no switch against it (S78). Without an authority of its
//! own an upstream is judged by the system's, which operators keep up to date and add their own to, rather than by a
//! list that is built in and grows old. Called by the doors' upstreams.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::tls::{TlsError, load_chain, load_key};
use crate::config::UpstreamTls;

/// What `tls` says, offering `alpn`, the most wanted protocol first. Share it: sessions are resumed between all who do.
///
/// # Errors
/// A file cannot be used, a key does not belong to its certificate, or there is nobody to trust.
pub fn client_config(tls: &UpstreamTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let file = || tls.ca.clone().unwrap_or_default();
    let refused = |source| TlsError::Refused { file: file(), source };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused)?
        .with_root_certificates(authorities(tls)?);
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = (load_chain(&files.certificate)?, load_key(&files.private_key)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch {
                    certificate: files.certificate.clone(),
                    private_key: files.private_key.clone(),
                },
                source => TlsError::Refused { file: files.certificate.clone(), source },
            })?
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn authorities(tls: &UpstreamTls) -> Result<RootCertStore, TlsError> {
    let mut trusted = RootCertStore::empty();
    if let Some(file) = &tls.ca {
        let refused = |source| TlsError::Refused { file: file.clone(), source };
        for certificate in load_chain(file)? {
            trusted.add(certificate).map_err(refused)?;
        }
        return Ok(trusted);
    }
    // A system's list may hold a few that nobody can use: those are passed over.
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if trusted.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(trusted) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::TlsFiles;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn pair(&self, name: &str) -> TlsFiles {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            TlsFiles {
                certificate: self.write(&format!("{name}.crt"), &made.cert.pem()),
                private_key: self.write(&format!("{name}.key"), &made.signing_key.serialize_pem()),
            }
        }
    }

    #[test]
    fn an_own_authority_and_a_client_certificate_are_loaded() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (ca, client) = (folder.pair("ca").certificate, folder.pair("client"));
        let tls = UpstreamTls { ca: Some(ca), client: Some(client), server_name: None };
        let config = client_config(&tls, &[b"http/1.1"]).unwrap();
        assert!(config.client_auth_cert_resolver.has_certs());
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
        assert!(!config.enable_early_data, "early data can be replayed");
    }

    #[test]
    fn faults_name_the_file() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (one, other) = (folder.pair("one"), folder.pair("other"));
        let empty = folder.write("empty.pem", "nothing in here\n");
        let mixed = TlsFiles { private_key: other.private_key, ..one.clone() };
        for (ca, client, expected) in [
            (folder.0.path().join("missing.pem"), None, "missing.pem: file not found"),
            (empty, None, "empty.pem: holds no PEM block with a certificate"),
            (one.certificate.clone(), Some(mixed), "one.crt"),
        ] {
            let tls = UpstreamTls { ca: Some(ca), client, server_name: None };
            let error = client_config(&tls, &[]).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
