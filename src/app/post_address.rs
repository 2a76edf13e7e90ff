//! An address that is posted to, over HTTP/1.1 and a connection of its own each time, by TLS that the system's or the
//! configuration's authorities vouch for.
//!
//! What is posted, and how often it is tried, is its callers' matter: `security_hook` and `trace_export`. Redirects are not
//! followed. The address is a secret: no error names it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use url::{Host, Url};

use crate::config::UpstreamTls;
use crate::net::upstream::{ConnectError, Target};
use crate::net::{TlsError, client_config};

/// Where something is posted to.
pub(super) struct PostAddress {
    pub(super) target: Target,
    pub(super) uri: Uri,
    pub(super) host: HeaderValue,
    /// What it is, for errors.
    what: &'static str,
}

/// The address cannot be posted to.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no `http` or `https` URL with a host.
    #[error("{0} is no http or https URL")]
    Url(&'static str),
    /// Nobody vouches for its certificate.
    #[error("{0}: {1}")]
    Tls(&'static str, #[source] TlsError),
}

/// Why a post was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("{0} cannot be reached: {1}")]
    Unreachable(&'static str, #[source] ConnectError),
    #[error("{0} broke off: {1}")]
    Broke(&'static str, #[source] hyper::Error),
    #[error("{0} answered {1}")]
    Status(&'static str, StatusCode),
    #[error("{0} did not answer in time")]
    TooLate(&'static str),
}

impl PostAddress {
    /// The address of `url`, whose certificate is verified as `tls` says; `what` it is called in errors.
    pub(super) fn new(url: &str, tls: &UpstreamTls, what: &'static str) -> Result<Self, AddressError> {
        let no_url = || AddressError::Url(what);
        let url = Url::parse(url).map_err(|_| no_url())?;
        let host = match url.host().ok_or_else(no_url)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let tls = match url.scheme() {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| no_url())?;
                let config =
                    client_config(tls, &[b"http/1.1"]).map_err(|error| AddressError::Tls(what, error))?;
                Some((config, name))
            }
            "http" => None,
            _ => return Err(no_url()),
        };
        let tls = tls.as_ref().map(|(config, name)| (config, name.clone()));
        let port = url.port_or_known_default().ok_or_else(no_url)?;
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let path = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self {
            target: Target::new(&host, port, what.to_owned(), tls),
            uri: path.parse().map_err(|_| no_url())?,
            host: HeaderValue::from_str(&authority).map_err(|_| no_url())?,
            what,
        })
    }

    /// A post of `body` to this address; its kind and whatever else belongs there is for the caller to add.
    pub(super) fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("latchkey"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }

    /// Posts `request` within `deadline`; any 2xx is success.
    pub(super) async fn post(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<(), PostError> {
        let answered = timeout(deadline, self.exchange(request, deadline)).await;
        let status = answered.map_err(|_| PostError::TooLate(self.what))??;
        if status.is_success() { Ok(()) } else { Err(PostError::Status(self.what, status)) }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<StatusCode, PostError> {
        let unreachable = |error| PostError::Unreachable(self.what, error);
        let broke = |error| PostError::Broke(self.what, error);
        let stream = self.target.connect(deadline).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        let (mut answer, mut connection) = (pin!(sender.send_request(request)), pin!(connection));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // Then the answer is there, or will never be.
            _ = &mut connection => answer.await,
        };
        Ok(answer.map_err(broke)?.status())
    }
}
