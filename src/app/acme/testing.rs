//! An authority of unit tests: it speaks as much of ACME as an order needs, asks nobody whose the names are, and
//! misbehaves as it is told to.
//!
//! Compiled for tests only. What a real authority makes of an order stands in the black-box tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::cache::Cache;
use super::order::Orderer;
use crate::auth::testing::NOW;
use crate::config::{AcmeChallenge, AcmeSettings};
use crate::net::shake_hands;
use crate::net::tls_testing::{Folder, server_config_of};

/// Where it may write to.
const CONTACT: &str = "mailto:ops@example.com";

/// A running authority, and a folder for who orders from it.
pub(super) struct FakeAuthority {
    folder: Folder,
    state: Arc<State>,
    _serving: AbortOnDropHandle<()>,
}

/// How it answers.
pub(super) struct Manners {
    /// From when to when certificates are good, in seconds from [`NOW`].
    pub(super) life: (i64, i64),
    /// What it says of when the state of an order may be asked for again.
    pub(super) retry_after: Option<&'static str>,
    /// So many names it asks for.
    pub(super) authorizations: usize,
    pub(super) replaces: Replaces,
    /// The type and the text of its refusal of each order.
    pub(super) order_problem: Option<(&'static str, String)>,
}

/// What it makes of an order that names the certificate to be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replaces {
    Taken,
    /// The answer says nothing of it.
    Ignored,
    Refused,
}

struct State {
    address: SocketAddr,
    manners: Mutex<Manners>,
    /// Paths, and what came with them.
    asked: Mutex<Vec<(String, Value)>>,
    /// What the latest order was answered, and its certificate.
    order: Mutex<(Value, String)>,
}

/// A public key that stood in a request for a certificate.
struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl FakeAuthority {
    /// Issues certificates of ninety days.
    pub(super) async fn start() -> Self {
        let folder = Folder::new();
        let tls = server_config_of(&folder.pair("ca", &["localhost"]), &[]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manners = Manners {
            life: (0, 90 * 86_400),
            retry_after: None,
            authorizations: 1,
            replaces: Replaces::Taken,
            order_problem: None,
        };
        let state = Arc::new(State {
            address: listener.local_addr().unwrap(),
            manners: Mutex::new(manners),
            asked: Mutex::default(),
            order: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, tls, Arc::clone(&state)));
        Self { folder, state, _serving: AbortOnDropHandle::new(serving) }
    }

    /// What names it.
    pub(super) fn settings(&self) -> AcmeSettings {
        AcmeSettings {
            directory: self.state.url("/directory"),
            contact: vec![CONTACT.to_owned()],
            challenge: AcmeChallenge::TlsAlpn01,
            cache: self.folder.path().join("acme"),
            ca: Some(self.folder.path().join("ca.crt")),
            external_account: None,
        }
    }

    /// Changes how it answers from now on.
    pub(super) fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state.manners.lock().unwrap());
    }

    /// What came with each request for `path`.
    pub(super) fn asked(&self, path: &str) -> Vec<Value> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|(own, _)| own == path).map(|(_, payload)| payload.clone()).collect()
    }
}

/// Who orders by `settings`.
pub(super) fn orderer(settings: &AcmeSettings) -> Orderer {
    let (settings, cache) = (Arc::new(settings.clone()), Cache::new(settings));
    Orderer { settings, cache, challenges: Arc::default() }
}

async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_connection(stream, Arc::clone(&tls), Arc::clone(&state)));
    }
}

async fn serve_connection(stream: TcpStream, tls: Arc<ServerConfig>, state: Arc<State>) {
    // Who trusts somebody else goes away.
    let Ok(stream) = shake_hands(tls, stream).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(state.answer(&head.method, head.uri.path(), &body))
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl State {
    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let payload = payload(body);
        self.asked.lock().unwrap().push((path.to_owned(), payload.clone()));
        let manners = self.manners.lock().unwrap();
        let mut answer = Response::builder().header("Replay-Nonce", "nonce");
        let told = match path {
            "/directory" => json!({
                "newNonce": self.url("/nonce"), "newAccount": self.url("/account"), "newOrder": self.url("/order"),
                "renewalInfo": self.url("/renewal"),
            }),
            "/nonce" => {
                assert_eq!(method, Method::HEAD);
                Value::Null
            }
            "/account" | "/account/1" => {
                answer = answer.header("Location", self.url("/account/1"));
                json!({ "status": "valid" })
            }
            "/order" => {
                let refused =
                    matches!(manners.replaces, Replaces::Refused) && payload.get("replaces").is_some();
                let refused = refused.then(|| ("malformed", String::from("what is replaced is not yours")));
                if let Some((kind, detail)) = refused.or_else(|| manners.order_problem.clone()) {
                    let problem =
                        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
                    return answer.status(403).body(Full::new(problem.to_string().into())).unwrap();
                }
                answer = answer.header("Location", self.url("/order/1"));
                self.begin(&manners, &payload)
            }
            "/order/1" => {
                if let Some(after) = manners.retry_after {
                    answer = answer.header("Retry-After", after);
                }
                self.order.lock().unwrap().0.clone()
            }
            "/finalize" => self.finalize(&manners, &payload),
            "/certificate" => {
                let chain = self.order.lock().unwrap().1.clone();
                return answer.body(Full::new(chain.into())).unwrap();
            }
            _ if path.starts_with("/renewal/") => {
                answer = answer.header("Retry-After", "21600");
                json!({ "suggestedWindow": { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" } })
            }
            _ if path.starts_with("/authorization/") => {
                let identifier = self.order.lock().unwrap().0["identifiers"][0].clone();
                json!({ "identifier": identifier, "status": "valid", "challenges": [] })
            }
            _ => panic!("{method} {path}"),
        };
        answer.body(Full::new(told.to_string().into())).unwrap()
    }

    fn begin(&self, manners: &Manners, payload: &Value) -> Value {
        let authorizations: Vec<_> = (1..=manners.authorizations)
            .map(|number| self.url(&format!("/authorization/{number}")))
            .collect();
        let mut order = json!({
            "status": "ready", "identifiers": payload["identifiers"], "authorizations": authorizations,
            "finalize": self.url("/finalize"),
        });
        if matches!(manners.replaces, Replaces::Taken)
            && let Some(replaces) = payload.get("replaces")
        {
            order["replaces"] = replaces.clone();
        }
        self.order.lock().unwrap().0 = order.clone();
        order
    }

    /// Issues what is asked for, for the names of the order.
    fn finalize(&self, manners: &Manners, payload: &Value) -> Value {
        let mut order = self.order.lock().unwrap();
        let request = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap()).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&request).unwrap();
        let key = &request.certification_request_info.subject_pki.subject_public_key;
        let names = order.0["identifiers"].as_array().unwrap().iter();
        let names = names.map(|name| name["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.use_authority_key_identifier_extension = true;
        let moment = |seconds: i64| NOW.plus_seconds(seconds).unix_seconds();
        let moment = |seconds| time::OffsetDateTime::from_unix_timestamp(moment(seconds)).unwrap();
        (params.not_before, params.not_after) = (moment(manners.life.0), moment(manners.life.1));
        let mut of_issuer = CertificateParams::default();
        of_issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(of_issuer, KeyPair::generate().unwrap());
        order.1 = params.signed_by(&RequestedKey(key.data.to_vec()), &issuer).unwrap().pem();
        order.0["status"] = json!("valid");
        order.0["certificate"] = json!(self.url("/certificate"));
        order.0.clone()
    }
}

/// What a signed request says; nobody is here who would forge it.
fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload = URL_SAFE_NO_PAD.decode(signed["payload"].as_str().unwrap_or_default()).unwrap();
    serde_json::from_slice(&payload).unwrap_or_default()
}
