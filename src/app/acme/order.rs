//! One order from its beginning to the certificate: the names to be shown, the key, the chain.
//!
//! `instant_acme` speaks the protocol (RFC 8555); what authorities ask is answered by `net` in handshakes, or by
//! `questions`. The private key is made here and goes to the caller and nowhere else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RenewalInfo, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::cache::{Cache, CacheError};
use super::directory::Directory;
use super::questions::QuestionListener;
use crate::config::{AcmeChallenge, AcmeSettings};
use crate::net::{Certificate, Challenges, ExpectedQuestion, TlsError};

/// How the state of an order is asked for again and again.
const ASK_AGAIN: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(Duration::from_mins(2));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority does not accept the name {host}: {why}")]
    Refused { host: String, why: String },
    #[error("the authority offers no challenge {challenge} for the name {host}")]
    NotOffered { host: String, challenge: &'static str },
    #[error("the address {address} for the authority's questions cannot be opened: {source}")]
    Closed { address: std::net::SocketAddr, source: io::Error },
    #[error("a key or request could not be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error("the account is not well-formed: {0}")]
    Account(#[from] serde_json::Error),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Answer(#[from] TlsError),
    #[error("the authority issued a certificate that is not for the name {0}")]
    OtherName(String),
}

/// Who orders, and how authorities are answered.
#[derive(Debug)]
pub(super) struct Orderer {
    pub(super) settings: Arc<AcmeSettings>,
    pub(super) directory: Directory,
    pub(super) cache: Cache,
    pub(super) challenges: Arc<Challenges>,
}

/// What is answered while an order waits for the authority.
enum Open {
    Handshakes(Vec<ExpectedQuestion>),
    Requests(QuestionListener),
}

impl Orderer {
    /// When the authority would have `certificate` replaced (RFC 9773); `None`: it does not say.
    pub(super) async fn renewal_info(
        &self,
        account: &Account,
        certificate: &Certificate,
    ) -> Result<Option<RenewalInfo>, OrderError> {
        let Some(identifier) = identifier_of(certificate) else { return Ok(None) };
        match account.renewal_info(&identifier).await {
            Ok((info, _)) => Ok(Some(info)),
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A certificate for `hosts`, which is kept before it is answered. `replaced` is named to the authority.
    pub(super) async fn obtain(
        &self,
        account: &Account,
        hosts: &[String],
        replaced: Option<&Certificate>,
    ) -> Result<Certificate, OrderError> {
        let identifiers: Vec<_> = hosts.iter().cloned().map(Identifier::Dns).collect();
        let mut wanted = NewOrder::new(&identifiers);
        if let Some(identifier) = replaced.and_then(identifier_of) {
            wanted = wanted.replaces(identifier);
        }
        let mut order = account.new_order(&wanted).await?;
        let open = self.answer_questions(&mut order).await?;
        let status = order.poll_ready(&ASK_AGAIN).await;
        drop(open);
        if !matches!(status, Ok(OrderStatus::Ready)) {
            return Err(why_refused(&mut order, status).await);
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&ASK_AGAIN).await?;
        let mut pem = Zeroizing::new(key.serialize_pem());
        pem.push_str(&chain);
        let certificate = self.cache.parse_certificate(hosts, &pem)?;
        if let Some(other) = hosts.iter().find(|host| !certificate.covers(host)) {
            return Err(OrderError::OtherName(other.clone()));
        }
        self.cache.keep_certificate(hosts, &pem)?;
        Ok(certificate)
    }

    /// Makes everything ready that the authority will ask for, and lets it ask.
    async fn answer_questions(&self, order: &mut Order) -> Result<Open, OrderError> {
        let (mut open, kind, challenge) = match self.settings.challenge {
            AcmeChallenge::TlsAlpn01 => {
                (Open::Handshakes(Vec::new()), ChallengeType::TlsAlpn01, "tls-alpn-01")
            }
            AcmeChallenge::Http01(address) => {
                let opened = QuestionListener::open(address).await;
                let opened = opened.map_err(|source| OrderError::Closed { address, source })?;
                tracing::debug!(address = %opened.address(), "the authority's questions are answered");
                (Open::Requests(opened), ChallengeType::Http01, "http-01")
            }
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let host = authorization.identifier().to_string();
            match authorization.status {
                // Shown before, and good still.
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(OrderError::Refused { host, why: format!("it is {other:?}") }),
            }
            let found = authorization.challenge(kind.clone());
            let mut found = found.ok_or(OrderError::NotOffered { host: host.clone(), challenge })?;
            self.expect(&mut open, &host, &found)?;
            found.set_ready().await?;
        }
        Ok(open)
    }

    fn expect(&self, open: &mut Open, host: &str, found: &ChallengeHandle<'_>) -> Result<(), OrderError> {
        let answer = found.key_authorization();
        match open {
            Open::Handshakes(expected) => {
                let (certificate, key) = answering_certificate(host, answer.digest().as_ref())?;
                expected.push(self.challenges.expect(host, certificate, &key)?);
            }
            Open::Requests(listener) => listener.expect(&found.token, answer.as_str()),
        }
        Ok(())
    }
}

/// What a handshake shows to an authority (RFC 8737 §3): it holds the name and the answer, and nobody certifies it.
fn answering_certificate(
    host: &str,
    digest: &[u8],
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), OrderError> {
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let made = params.self_signed(&key)?;
    Ok((made.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

fn identifier_of(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let identifier = CertificateIdentifier::try_from(certificate.leaf()?);
    identifier.ok().map(CertificateIdentifier::into_owned)
}

/// What the authority says of the first name that it does not accept; of the order, where it says nothing of a name.
async fn why_refused(order: &mut Order, status: Result<OrderStatus, instant_acme::Error>) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let (host, why) = (authorization.identifier().to_string(), problem.to_string());
            return OrderError::Refused { host, why };
        }
    }
    match status {
        Err(error) => error.into(),
        Ok(status) => instant_acme::Error::Other(format!("the order is {status:?}").into()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answering_certificate_holds_the_name_and_the_answer_as_a_critical_extension() {
        let digest = [7; 32];
        let (made, key) = answering_certificate("a.example", &digest).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&made).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        let name = x509_parser::extensions::GeneralName::DNSName("a.example");
        assert_eq!(names.value.general_names, [name]);
        let extension = parsed.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let extension = extension.unwrap();
        assert!(extension.critical);
        // An OCTET STRING of 32 bytes.
        assert_eq!(extension.value, [&[0x04, 0x20][..], &digest].concat());
        assert!(Arc::<Challenges>::default().expect("a.example", made.clone(), &key).is_ok());
    }
}
