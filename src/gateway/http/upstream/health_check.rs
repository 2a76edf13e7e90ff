//! Asks servers regularly how they do (`health_check:` of an upstream), on the control plane's runtime.
//!
//! A check is a request of the gateway's own on a connection of its own: nothing of a client is in it, so it needs no
//! permit, and it finds out whether connections come about at all. It changes what `servers` says, nothing else.
//! Started by `app::control`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::http2_head::http2_head;
use crate::config::{HttpHealthCheck, HttpUpstream, SetHeaders};
use crate::net::upstream::{
    ConnectError, HttpVersion, RegularChecks, ServerState, UpstreamServers, UpstreamStream,
};

/// What a check asks with, for one server.
struct Checker {
    servers: Arc<UpstreamServers>,
    state: Arc<ServerState>,
    check: HttpHealthCheck,
    headers: SetHeaders,
}

/// Why a check found a server unhealthy.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("{0}")]
    Unreachable(#[from] ConnectError),
    #[error("{0}")]
    Broke(#[from] hyper::Error),
    #[error("{0}")]
    Http2Broke(#[from] h2::Error),
    #[error("the Host that is set for it is no authority")]
    NoAuthority,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it did not answer in time")]
    TooLate,
}

/// The checks of all servers of an upstream, a task each; none where `config` asks for none. They never end.
pub fn health_checks(
    servers: &Arc<UpstreamServers>,
    config: &HttpUpstream,
) -> Vec<impl Future<Output = ()> + use<>> {
    let Some(check) = &config.health_check else { return Vec::new() };
    let checker = |state: &Arc<ServerState>| Checker {
        servers: Arc::clone(servers),
        state: Arc::clone(state),
        check: check.clone(),
        headers: config.set_headers.clone(),
    };
    servers.all().iter().map(|state| checker(state).check_regularly()).collect()
}

impl Checker {
    async fn check_regularly(self) {
        let mut checks = RegularChecks::begin(&self.servers, &self.state, self.check.schedule);
        loop {
            checks.due().await;
            checks.conclude(&self.check_once().await);
        }
    }

    async fn check_once(&self) -> Result<(), Unhealthy> {
        let deadline = Duration::from_millis(self.check.schedule.timeout_milliseconds.into());
        let status = timeout(deadline, self.ask(deadline)).await.map_err(|_| Unhealthy::TooLate)??;
        match status.as_u16() {
            200..=399 => Ok(()),
            _ => Err(Unhealthy::Status(status)),
        }
    }

    async fn ask(&self, deadline: Duration) -> Result<StatusCode, Unhealthy> {
        match self.state.target().connect_http(deadline).await? {
            (stream, HttpVersion::Http1) => self.ask_http1(stream).await,
            (stream, HttpVersion::Http2) => self.ask_http2(stream).await,
        }
    }

    async fn ask_http1(&self, stream: UpstreamStream) -> Result<StatusCode, Unhealthy> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let (mut answer, mut connection) = (pin!(sender.send_request(self.request())), pin!(connection));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // Then the answer is there, or will never be.
            _ = &mut connection => answer.await,
        };
        Ok(answer?.status())
    }

    async fn ask_http2(&self, stream: UpstreamStream) -> Result<StatusCode, Unhealthy> {
        let (mut sender, connection) = h2::client::handshake(stream).await?;
        let (head, _) = self.request().into_parts();
        let request =
            http2_head(&head, |_| {}, self.state.target().scheme()).ok_or(Unhealthy::NoAuthority)?;
        let (mut answer, _) = sender.send_request(request, true)?;
        let mut connection = pin!(connection);
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // Then the answer is there, or will never be.
            _ = &mut connection => answer.await,
        };
        Ok(answer?.status())
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.check.path.clone().into();
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(self.state.target().authority()) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static("latchkey-health-check"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        for (name, value) in &self.headers.0 {
            headers.insert(name, value.clone());
        }
        request
    }
}
