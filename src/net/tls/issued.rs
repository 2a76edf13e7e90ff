//! A certificate that an authority issues while a listener is open, and the authority's questions in a TLS handshake.
//!
//! A question (RFC 8737) is a handshake that offers `acme-tls/1` and nothing else. It is shown a certificate made for it,
//! while one is expected, and ends with the handshake: nothing is ever read of such a connection. Who asks the authority
//! to ask stands in `app`.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Certificate, TlsError};
use crate::config::UnknownNames;

/// The protocol that authorities ask by (RFC 8737 §6.2).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// The certificate that is shown at present, put in the place of another one without a listener being touched.
#[derive(Debug, Default)]
pub struct IssuedCertificate(ArcSwapOption<Certificate>);

impl IssuedCertificate {
    /// What is shown; `None`: nothing was issued yet, and handshakes are refused.
    pub fn present(&self) -> Option<Arc<Certificate>> {
        self.0.load_full()
    }

    /// Handshakes that begin from now on show `certificate`.
    pub fn replace(&self, certificate: impl Into<Arc<Certificate>>) {
        self.0.store(Some(certificate.into()));
    }
}

/// What authorities are shown that ask, by the name that they ask for.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Challenges {
    /// Shows `certificate` to authorities that ask for `host`, until what is answered is dropped.
    ///
    /// # Errors
    /// The key is of no kind that a handshake is done with.
    pub fn expect(
        self: &Arc<Self>,
        host: &str,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<ExpectedQuestion, TlsError> {
        let key = aws_lc_rs::sign::any_supported_type(key).map_err(TlsError::Library)?;
        // Not compared with each other as others are: the answer stands in a critical extension, which only authorities
        // know, and whoever compares would refuse it.
        let shown = CertifiedKey::new(vec![certificate], key);
        self.lock().insert(host.to_owned(), Arc::new(shown));
        Ok(ExpectedQuestion { challenges: Arc::clone(self), host: host.to_owned() })
    }

    fn answer(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().get(host).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is answered while this lives.
#[derive(Debug)]
pub struct ExpectedQuestion {
    challenges: Arc<Challenges>,
    host: String,
}

impl Drop for ExpectedQuestion {
    fn drop(&mut self) {
        self.challenges.lock().remove(&self.host);
    }
}

/// Shows an issued certificate, and answers authorities.
#[derive(Debug)]
pub struct IssuedByName {
    /// What clients are shown.
    pub issued: Arc<IssuedCertificate>,
    /// What authorities are shown; `None`: they do not ask here.
    pub challenges: Option<Arc<Challenges>>,
    /// What clients get that ask for another name, or for none.
    pub unknown_names: UnknownNames,
}

impl IssuedByName {
    fn choose<'a>(
        &self,
        name: Option<&str>,
        mut alpn: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = &self.challenges
            && alpn.clone().any(|protocol| protocol == ACME_TLS_ALPN)
        {
            // RFC 8737 §3: it is offered alone, and with a name.
            return alpn
                .all(|protocol| protocol == ACME_TLS_ALPN)
                .then(|| challenges.answer(name?))
                .flatten();
        }
        let present = self.issued.present()?;
        let is_shown =
            self.unknown_names == UnknownNames::First || name.is_some_and(|name| present.covers(name));
        is_shown.then(|| Arc::clone(present.key()))
    }
}

impl ResolvesServerCert for IssuedByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let alpn: Vec<&[u8]> = hello.alpn().map(Iterator::collect).unwrap_or_default();
        self.choose(name.as_deref(), alpn.iter().copied())
    }
}

/// Shakes hands with a client that is to be served.
///
/// # Errors
/// The handshake failed, or it was an authority's question, which is answered with it: such a connection serves nobody.
pub async fn shake_hands(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut stream = TlsAcceptor::from(config).accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS_ALPN) {
        // The authority may be gone already.
        let _ = stream.shutdown().await;
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "an authority has asked for a name"));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use rustls::ClientConfig;
    use rustls_pki_types::ServerName;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::testing::Folder;
    use super::super::{Sessions, load_chain, load_key, server_config};
    use super::*;

    const HTTP: &[u8] = b"http/1.1";

    fn certificate(folder: &Folder, name: &str, host: &str) -> Certificate {
        Certificate::load(&folder.pair(name, &[host])).unwrap()
    }

    /// As an order makes it (RFC 8737 §3), with its critical extension.
    fn answering(host: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        (made.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    fn shows(challenges: Option<&Arc<Challenges>>, unknown_names: UnknownNames) -> IssuedByName {
        IssuedByName { issued: Arc::default(), challenges: challenges.cloned(), unknown_names }
    }

    #[test]
    fn nothing_is_shown_until_a_certificate_is_there_and_the_latest_from_then_on() {
        let folder = Folder::new();
        let shown = shows(None, UnknownNames::First);
        let choose = |name| shown.choose(name, [HTTP].into_iter());
        assert!(choose(Some("api.example")).is_none());
        for name in ["one", "two"] {
            shown.issued.replace(certificate(&folder, name, "api.example"));
            let present = shown.issued.present().unwrap();
            for asked in [Some("api.example"), Some("other.example"), None] {
                assert!(Arc::ptr_eq(&choose(asked).unwrap(), present.key()), "{name}, {asked:?}");
            }
        }
        let refusing = IssuedByName { unknown_names: UnknownNames::Refuse, ..shown };
        let choose = |name| refusing.choose(name, [HTTP].into_iter());
        assert!(choose(Some("api.example")).is_some());
        assert!(choose(Some("other.example")).is_none() && choose(None).is_none());
    }

    #[test]
    fn authorities_are_answered_while_they_are_expected_and_only_by_their_own_protocol() {
        let folder = Folder::new();
        let challenges = Arc::default();
        let shown = shows(Some(&challenges), UnknownNames::First);
        shown.issued.replace(certificate(&folder, "issued", "api.example"));
        let (answer, key) = answering("api.example");
        let ask = |name, alpn: &[&'static [u8]]| shown.choose(name, alpn.iter().copied());
        assert!(ask(Some("api.example"), &[ACME_TLS_ALPN]).is_none(), "nobody is expected");
        let expected = challenges.expect("api.example", answer.clone(), &key).unwrap();
        assert_eq!(ask(Some("api.example"), &[ACME_TLS_ALPN]).unwrap().cert, [answer]);
        assert!(ask(Some("other.example"), &[ACME_TLS_ALPN]).is_none());
        assert!(ask(None, &[ACME_TLS_ALPN]).is_none());
        assert!(ask(Some("api.example"), &[HTTP, ACME_TLS_ALPN]).is_none(), "it is offered alone");
        let client = ask(Some("api.example"), &[HTTP]).unwrap();
        assert!(Arc::ptr_eq(&client, shown.issued.present().unwrap().key()), "clients see nothing of it");
        drop(expected);
        assert!(ask(Some("api.example"), &[ACME_TLS_ALPN]).is_none());
    }

    #[tokio::test]
    async fn s76_a_question_ends_with_its_handshake_and_is_never_served() {
        let folder = Folder::new();
        let files = folder.pair("answer", &["api.example"]);
        let challenges = Arc::default();
        let shown = shows(Some(&challenges), UnknownNames::First);
        shown.issued.replace(Certificate::load(&files).unwrap());
        let (answer, key) = (load_chain(&files.certificate).unwrap().remove(0), load_key(&files.private_key));
        let _expected = challenges.expect("api.example", answer, &key.unwrap()).unwrap();
        let server = server_config(Arc::new(shown), &[HTTP, ACME_TLS_ALPN], Sessions::New).unwrap();
        let mut trusted = rustls::RootCertStore::empty();
        trusted.add(load_chain(&files.certificate).unwrap().remove(0)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (alpn, served) in [(ACME_TLS_ALPN, false), (HTTP, true)] {
            let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(trusted.clone())
                .with_no_client_auth();
            client.alpn_protocols = vec![alpn.to_vec()];
            let name = ServerName::try_from("api.example").unwrap();
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            let (connected, accepted) = tokio::join!(connecting, listener.accept());
            let connector = TlsConnector::from(Arc::new(client));
            let (client, server) = tokio::join!(
                connector.connect(name, connected.unwrap()),
                shake_hands(Arc::clone(&server), accepted.unwrap().0)
            );
            let mut client = client.unwrap();
            assert_eq!(client.get_ref().1.alpn_protocol(), Some(alpn));
            assert_eq!(server.is_ok(), served);
            if !served {
                assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "it is closed");
            }
        }
    }
}
