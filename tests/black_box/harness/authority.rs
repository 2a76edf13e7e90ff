//! An authority of the test's own, and a server certificate from it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Certificates for `localhost` and 127.0.0.1, as PEM.
pub struct Authority {
    /// The authority's certificate.
    pub certificate: String,
    /// The server's certificate.
    pub server_certificate: String,
    /// The server's private key.
    pub server_key: String,
    roots: Arc<RootCertStore>,
}

/// One for all tests of the process: what differs between tests is never the certificate.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::make);

impl Authority {
    /// The authority that all gateways of this process are certified by.
    pub fn shared() -> &'static Self {
        &AUTHORITY
    }

    fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "Latchkey test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        Self {
            certificate: issuer.pem(),
            server_certificate: server.pem(),
            server_key: key.serialize_pem(),
            roots: Arc::new(roots),
        }
    }

    /// Writes `ca.crt`, `server.crt` and `server.key` into `folder`.
    pub fn write_to(&self, folder: &Path) {
        fs::write(folder.join("ca.crt"), &self.certificate).unwrap();
        fs::write(folder.join("server.crt"), &self.server_certificate).unwrap();
        fs::write(folder.join("server.key"), &self.server_key).unwrap();
    }

    /// A client that trusts this authority, and offers `protocols` by ALPN.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS, protocols)
    }

    /// Such a client that speaks only `versions` of TLS.
    pub fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
