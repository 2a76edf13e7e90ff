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
use tokio::task::{JoinError, spawn_blocking};
use zeroize::Zeroizing;

use super::cache::{Cache, CacheError};
use super::questions::QuestionListener;
use super::unwritten::Unwritten;
use crate::config::{AcmeChallenge, AcmeSettings};
use crate::model::Timestamp;
use crate::net::{Certificate, Challenges, ExpectedQuestion, TlsError};

/// How the state of an order is asked for again and again: at first at once, at the end once a minute. The library gives
/// up where the next wait, which is longer by a quarter than the one before, would reach beyond the time that it is given,
/// so that of six minutes it waits for almost four.
const ASK_AGAIN: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.25)
    .timeout(Duration::from_mins(6));
/// As much of an authority's text is passed on, into a line of the log and a row of the audit trail.
const TOLD_MAX_BYTES: usize = 1024;

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
    Tls(#[from] TlsError),
    #[error("the authority asks for {asked} names, and {wanted} were ordered")]
    TooManyNames { asked: usize, wanted: usize },
    #[error("the authority issued a certificate that is not for the name {0}")]
    OtherName(String),
    #[error(
        "the authority issued a certificate that ends on {0}: that is over, or the clock of this machine is wrong"
    )]
    Over(Timestamp),
    #[error("the authority issued a certificate that ends on {0}, no later than the present one")]
    NoLonger(Timestamp),
    #[error("nothing came of it within a quarter of an hour")]
    TooLate,
    #[error("the order was broken off: {0}")]
    Broke(#[from] JoinError),
}

impl OrderError {
    /// What is told of it. What the authority says is a peer's text, of any length.
    pub(super) fn told(&self) -> String {
        let mut text = self.to_string();
        if text.len() > TOLD_MAX_BYTES {
            text.truncate(text.floor_char_boundary(TOLD_MAX_BYTES));
            text.push('…');
        }
        text
    }
}

/// Who orders, and how authorities are answered.
#[derive(Debug)]
pub(super) struct Orderer {
    pub(super) settings: Arc<AcmeSettings>,
    pub(super) cache: Cache,
    pub(super) challenges: Arc<Challenges>,
}

/// What is ordered.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) hosts: &'a [String],
    /// The certificate for the same names that it is to follow.
    pub(super) present: Option<&'a Certificate>,
    /// Does the authority want to know which one is replaced?
    pub(super) replacing: Replacing,
    pub(super) now: Timestamp,
}

/// Is the authority told which certificate the new one replaces (RFC 9773 §5)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacing {
    /// Where it takes that.
    Told,
    /// It has said nothing of it, so that it may not know what that is.
    Untold,
}

/// What came of an order.
pub(super) struct Issued {
    pub(super) certificate: Certificate,
    /// Its key and its chain.
    pub(super) pem: Zeroizing<String>,
}

/// What is answered while an order waits for the authority.
enum Open {
    Handshakes(Vec<ExpectedQuestion>),
    Requests(QuestionListener),
}

impl Orderer {
    /// When the authority would have `certificate` replaced (RFC 9773); `None`: it does not say, or does not know us.
    pub(super) async fn renewal_info(
        &self,
        certificate: &Certificate,
        unwritten: &mut Unwritten,
    ) -> Result<Option<RenewalInfo>, OrderError> {
        let Some(identifier) = identifier_of(certificate) else { return Ok(None) };
        let Some(account) = self.kept_account(unwritten).await? else { return Ok(None) };
        match account.renewal_info(&identifier).await {
            Ok((info, _)) => Ok(Some(info)),
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A certificate for what is `wanted`, better than the present one. Nothing is ordered that could not be kept; the
    /// certificate itself the caller keeps.
    pub(super) async fn obtain(
        &self,
        wanted: &Wanted<'_>,
        unwritten: &mut Unwritten,
    ) -> Result<Issued, OrderError> {
        let cache = self.cache.clone();
        spawn_blocking(move || cache.prove_writable()).await??;
        let account = self.account(unwritten).await?;
        let hosts = wanted.hosts;
        let mut order = begin(&account, wanted).await?;
        let asked = order.state().authorizations.len();
        if asked > hosts.len() {
            return Err(OrderError::TooManyNames { asked, wanted: hosts.len() });
        }
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
        let end = certificate.not_after();
        if end <= wanted.now {
            return Err(OrderError::Over(end));
        }
        if wanted.present.is_some_and(|present| end <= present.not_after()) {
            return Err(OrderError::NoLonger(end));
        }
        Ok(Issued { certificate, pem })
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

/// Begins an order, which names the present certificate where the authority takes that.
async fn begin(account: &Account, wanted: &Wanted<'_>) -> Result<Order, OrderError> {
    let identifiers: Vec<_> = wanted.hosts.iter().cloned().map(Identifier::Dns).collect();
    let plain = NewOrder::new(&identifiers);
    let replaced = wanted.present.filter(|_| wanted.replacing == Replacing::Told).and_then(identifier_of);
    let Some(replaced) = replaced else { return Ok(account.new_order(&plain).await?) };
    match account.new_order(&NewOrder::new(&identifiers).replaces(replaced)).await {
        Err(error) if may_be_about_replacing(&error) => {
            let error = OrderError::from(error).told();
            tracing::debug!(?error, "the certificate authority does not want to know what is replaced");
            Ok(account.new_order(&plain).await?)
        }
        begun => Ok(begun?),
    }
}

/// Was it because the replaced certificate was named? An authority may say so in any words.
fn may_be_about_replacing(error: &instant_acme::Error) -> bool {
    match error {
        instant_acme::Error::Api(problem) => {
            problem.r#type.as_deref() != Some("urn:ietf:params:acme:error:rateLimited")
        }
        instant_acme::Error::Unsupported(_) => true,
        // The library's own comparison with what the authority answers has no kind of its own.
        instant_acme::Error::Other(other) => other.to_string().starts_with("replaces field mismatch"),
        _ => false,
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
    use super::super::testing::{FakeAuthority, Replaces, orderer};
    use super::*;
    use crate::auth::testing::NOW;

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

    /// Orders a certificate to follow `present`.
    async fn order(authority: &FakeAuthority, present: Option<&Certificate>) -> Result<Issued, String> {
        let ours = orderer(&authority.settings());
        let hosts = [String::from("a.example")];
        let wanted = Wanted { hosts: &hosts, present, replacing: Replacing::Told, now: NOW };
        ours.obtain(&wanted, &mut Unwritten::default()).await.map_err(|error| error.told())
    }

    async fn refusal(authority: &FakeAuthority, present: Option<&Certificate>) -> String {
        order(authority, present).await.err().unwrap()
    }

    #[tokio::test]
    async fn a_certificate_that_is_over_or_ends_no_later_than_the_present_one_is_refused() {
        let authority = FakeAuthority::start().await;
        authority.behave(|manners| manners.life = (0, 1_000));
        let present = order(&authority, None).await.unwrap().certificate;
        assert_eq!((present.not_before(), present.not_after()), (NOW, NOW.plus_seconds(1_000)));
        assert!(refusal(&authority, Some(&present)).await.ends_with("no later than the present one"));
        authority.behave(|manners| manners.life = (500, 1_001));
        // From when on it is good is no matter: clocks differ.
        order(&authority, Some(&present)).await.unwrap();
        authority.behave(|manners| manners.life = (-1_000, 0));
        let told = refusal(&authority, None).await;
        assert!(told.contains("that is over, or the clock of this machine is wrong"), "{told}");
    }

    #[tokio::test]
    async fn what_is_replaced_is_named_and_left_out_only_where_the_authority_will_not_hear_of_it() {
        let authority = FakeAuthority::start().await;
        let present = order(&authority, None).await.unwrap().certificate;
        for (answer, orders) in [(Replaces::Taken, 1), (Replaces::Ignored, 2), (Replaces::Refused, 2)] {
            authority.behave(|manners| (manners.replaces, manners.life) = (answer, (0, 200 * 86_400)));
            let before = authority.asked("/order").len();
            order(&authority, Some(&present)).await.unwrap();
            let asked: Vec<_> = authority.asked("/order").into_iter().skip(before).collect();
            let named: Vec<bool> = asked.iter().map(|order| order.get("replaces").is_some()).collect();
            assert_eq!(named, [true, false][..orders], "{answer:?}");
        }
        // Another refusal says nothing of it.
        let before = authority.asked("/order").len();
        authority.behave(|manners| {
            manners.replaces = Replaces::Taken;
            manners.order_problem = Some(("rateLimited", String::from("too many")));
        });
        refusal(&authority, Some(&present)).await;
        assert_eq!(authority.asked("/order").len(), before + 1);
    }

    #[tokio::test]
    async fn an_authority_that_asks_for_more_names_than_were_ordered_is_left() {
        let authority = FakeAuthority::start().await;
        authority.behave(|manners| manners.authorizations = 1_000);
        let told = refusal(&authority, None).await;
        assert_eq!(told, "the authority asks for 1000 names, and 1 were ordered");
        assert!(authority.asked("/authorization/1").is_empty());
    }

    #[tokio::test]
    async fn what_an_authority_says_is_cut() {
        let authority = FakeAuthority::start().await;
        let long = "ä".repeat(100_000);
        authority.behave(|manners| manners.order_problem = Some(("malformed", long)));
        let told = refusal(&authority, None).await;
        assert!(told.len() <= TOLD_MAX_BYTES + 3 && told.contains("ää") && told.ends_with('…'), "{told}");
    }

    #[tokio::test]
    async fn nothing_is_ordered_that_could_not_be_kept() {
        let authority = FakeAuthority::start().await;
        let settings = authority.settings();
        std::fs::write(&settings.cache, "a file where the folder belongs").unwrap();
        let told = refusal(&authority, None).await;
        assert!(told.contains("acme"), "{told}");
        assert!(authority.asked("/account").is_empty());
    }
}
