//! The sample registry's WebSocket: sends every message back.
//!
//! The handshake is RFC 6455's, as far as a server must check it; frames are a library's matter. Called by
//! `registry_api`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Body;
use crate::net::websocket::{accept_for, is_key};

/// Longest message that is taken; the sender of a longer one is told so by its close code.
const MESSAGE_MAX_BYTES: usize = 16 * 1_024 * 1_024;
/// A socket in which nothing comes.
const IDLE_DEADLINE: Duration = Duration::from_hours(1);

/// What a connection becomes after its present answer, if anything.
#[derive(Clone, Debug, Default)]
pub(super) struct NextProtocol(Arc<Mutex<Option<OnUpgrade>>>);

impl NextProtocol {
    /// Serves the socket that the connection has become, to its end.
    pub(super) async fn serve(self) {
        let upgrade = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Ok(upgraded)) = async { Some(upgrade?.await) }.await {
            echo(TokioIo::new(upgraded)).await;
        }
    }
}

/// Answers a handshake; `None`: `request` is none that is understood here.
pub(super) fn answer<B>(request: &mut Request<B>, next: &NextProtocol) -> Option<Response<Body>> {
    let accept = HeaderValue::from_str(&accept(request.headers())?).ok()?;
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    *next.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(hyper::upgrade::on(request));
    Some(response)
}

/// The answer to the client's key, where this is a handshake (RFC 6455 §4.2.1).
fn accept(headers: &HeaderMap) -> Option<String> {
    let upgrade = headers.get(UPGRADE)?.as_bytes();
    let key = headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    let is_handshake = upgrade.eq_ignore_ascii_case(b"websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && is_key(key);
    is_handshake.then(|| accept_for(key))
}

/// Sends back whatever text and binary comes; pings and the closing handshake are answered by the library.
async fn echo(stream: TokioIo<hyper::upgrade::Upgraded>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX_BYTES))
        .max_frame_size(Some(MESSAGE_MAX_BYTES));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    while let Ok(Some(Ok(message))) = tokio::time::timeout(IDLE_DEADLINE, socket.next()).await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
