//! Which cipher suite a connection gets: AES-128-GCM, unless its client says that it would rather have `ChaCha20`.
//!
//! Both are what every client of TLS 1.3 has or should have (RFC 8446 §9.1), and SHA-256, which processors have
//! instructions for, is their hash: a handshake with SHA-384 costs a third more (docs/decisions/0031). A client that puts
//! `ChaCha20` first has no instructions for AES. It is told by its hello, before any configuration takes part.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{Acceptor, ClientHello};
use rustls::{CipherSuite, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// The library's suites, those of AES-128-GCM first.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

/// Shakes hands with a client by `config`, whose own order of suites counts.
///
/// # Errors
/// The handshake failed; the client was told why.
pub(super) async fn accept(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = if prefers_chacha20(&begun.client_hello()) { by_clients_order(&config) } else { config };
    begun.into_stream(config).await
}

/// The same with suites by the client's order.
fn by_clients_order(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.ignore_client_order = false;
    Arc::new(config)
}

fn prefers_chacha20(hello: &ClientHello<'_>) -> bool {
    // Others may stand before, which are no suites, or none that we have (RFC 8701).
    let first = hello.cipher_suites().iter().find(|suite| is_aes(**suite) || is_chacha20(**suite));
    first.is_some_and(|suite| is_chacha20(*suite))
}

fn is_aes(suite: CipherSuite) -> bool {
    use CipherSuite as S;
    is_aes_128(suite)
        || matches!(
            suite,
            S::TLS13_AES_256_GCM_SHA384
                | S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        )
}

const fn is_aes_128(suite: CipherSuite) -> bool {
    use CipherSuite as S;
    matches!(
        suite,
        S::TLS13_AES_128_GCM_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

const fn is_chacha20(suite: CipherSuite) -> bool {
    use CipherSuite as S;
    matches!(
        suite,
        S::TLS13_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::testing::{Folder, server_config_of};
    use super::*;

    /// What a client gets that offers the library's suites, those first that are `first`.
    async fn suite_for(
        version: &'static SupportedProtocolVersion,
        first: impl Fn(CipherSuite) -> bool,
    ) -> CipherSuite {
        let folder = Folder::new();
        let files = folder.pair("one", &["one.example"]);
        let server = server_config_of(&files, &[]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut offered = aws_lc_rs::default_provider();
        offered.cipher_suites.sort_by_key(|suite| !first(suite.suite()));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(offered))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connecting = async {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let name = ServerName::try_from("one.example").unwrap();
            TlsConnector::from(Arc::new(client)).connect(name, stream).await
        };
        let accepting = async { accept(server, listener.accept().await.unwrap().0).await };
        let (client, server) = tokio::join!(connecting, accepting);
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.get_ref().1.protocol_version(), Some(version.version));
        let suite = server.get_ref().1.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(client.get_ref().1.negotiated_cipher_suite().unwrap().suite(), suite);
        suite
    }

    #[tokio::test]
    async fn whoever_does_not_put_chacha20_first_gets_aes_128() {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let is_13 = version.version == ProtocolVersion::TLSv1_3;
            let (aes_128, chacha20) = if is_13 {
                (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)
            } else {
                (
                    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                )
            };
            assert_eq!(suite_for(version, |suite| is_aes(suite) && !is_aes_128(suite)).await, aes_128);
            assert_eq!(suite_for(version, is_aes_128).await, aes_128);
            assert_eq!(suite_for(version, is_chacha20).await, chacha20);
        }
    }
}
