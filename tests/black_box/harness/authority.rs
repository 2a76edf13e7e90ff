//! An authority of the test's own, and a server certificate from it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates for `localhost` and 127.0.0.1, as PEM.
pub struct Authority {
    /// The authority's certificate.
    pub certificate: String,
    /// The server's certificate.
    pub server_certificate: String,
    /// The server's private key.
    pub server_key: String,
    roots: Arc<RootCertStore>,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct Certified {
    certificate: String,
    key: KeyPair,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// Once, and no more.
    Over,
}

impl Certified {
    /// Writes `NAME.crt` and `NAME.key` into `folder`.
    pub fn write_to(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.crt")), &self.certificate).unwrap();
        fs::write(folder.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }
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
            issuer,
        }
    }

    /// A certificate for `name`, a host name or address.
    pub fn certify(&self, name: &str, validity: Validity) -> Certified {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if validity == Validity::Over {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certified { certificate, key }
    }

    /// A TLS server with a certificate for `name`.
    pub fn server(&self, name: &str, validity: Validity) -> Arc<ServerConfig> {
        self.server_with(name, validity, Arc::new(NoClientAuth))
    }

    /// A TLS server that talks only to clients with a certificate of this authority.
    pub fn demanding_server(&self, name: &str) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider);
        self.server_with(name, Validity::Now, verifier.build().unwrap())
    }

    fn server_with(
        &self,
        name: &str,
        validity: Validity,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Arc<ServerConfig> {
        let certified = self.certify(name, validity);
        let chain = vec![CertificateDer::from_pem_slice(certified.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::try_from(certified.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_client_cert_verifier(clients).with_single_cert(chain, key);
        Arc::new(config.unwrap())
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
