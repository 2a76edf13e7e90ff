//! A request that becomes a WebSocket, where its route allows that: asked of the upstream, and joined if it agrees.
//!
//! Only a 101 that agrees to exactly what was asked makes a tunnel; whatever else the upstream says is an ordinary
//! answer, or none at all. Called by `forward`.

mod tunnel;
mod tunnels;
mod websocket;

use std::rc::Rc;

use http::{Method, Request, Response, Version, response};
use http_body::Body;
use hyper::upgrade::OnUpgrade;

pub use self::tunnel::Detached;
use self::tunnel::{ClientSide, Tunnel};
pub use self::tunnels::Tunnels;
pub use self::websocket::{Handshake, is_extended_connect};
use super::HttpDoor;
use super::cookies::strip_own_set_cookies;
use super::denial::Fault;
use super::door_body::DoorBody;
use super::headers::{Told, X_REQUEST_ID, append_via, strip_hop_by_hop};
use super::record::RequestRecord;
use super::request_body::RequestBody;
use super::upstream::{HttpUpstream, Switched, UpstreamBody};
use crate::auth::Permit;
use crate::config::Upgrade;

/// An upgrade that a client asks for on a route that allows it.
#[derive(Debug)]
pub struct Asked {
    handshake: Handshake,
    /// The stream of HTTP/2 that would become the tunnel; `None`: the connection would.
    stream: Option<OnUpgrade>,
}

/// What came of asking an upstream for an upgrade.
#[derive(Debug)]
pub enum Answer {
    /// It agreed.
    Switched(Switched),
    /// It answered something else.
    Ordinary(Response<UpstreamBody>),
}

impl Asked {
    /// What `request` asks for; `None`: nothing that its route allows. There, `Upgrade` is a field of the connection
    /// and goes like any other (S57), and an extended CONNECT is refused like every CONNECT (S58).
    pub fn read<B: Body>(request: &mut Request<B>, allowed: &[Upgrade]) -> Result<Option<Self>, Fault> {
        if !allowed.contains(&Upgrade::WebSocket) {
            let refused = request.method() == Method::CONNECT;
            return if refused { Err(Fault::MethodRefused) } else { Ok(None) };
        }
        let stream = is_extended_connect(request).then(|| hyper::upgrade::on(&mut *request));
        Ok(Handshake::read(request)?.map(|handshake| Self { handshake, stream }))
    }

    /// Asks `upstream` by `request`, which is stripped, and tells it who calls.
    pub async fn ask(
        &self,
        upstream: &Rc<HttpUpstream>,
        told: &Told<'_>,
        mut request: Request<RequestBody>,
    ) -> Result<Answer, Fault> {
        self.handshake.ask(&mut request);
        let answer = upstream.switch(told, request).await?;
        let is_sound = match &answer {
            Answer::Switched(switched) => self.handshake.is_agreed(&switched.head.headers),
            Answer::Ordinary(response) => self.handshake.may_pass(response.status()),
        };
        if is_sound { Ok(answer) } else { Err(Fault::UpgradeFailed) }
    }

    /// Answers the client, and joins the two ends once that is written.
    pub fn open(
        self,
        door: &HttpDoor,
        permit: &Permit,
        upstream: Switched,
        mut record: Box<RequestRecord>,
    ) -> Response<DoorBody> {
        let Switched { head, stream, read_ahead, in_flight } = upstream;
        let response = self.answer(head, &mut record);
        let client = Rc::clone(record.client());
        let side = match self.stream {
            Some(stream) => ClientSide::Stream(stream),
            None => ClientSide::Connection(client.tunnels.inherit()),
        };
        let live = door.authenticator.open_session(permit);
        let tunnel = Tunnel { stream, read_ahead, in_flight, live, record };
        let (limits, drain) = (std::sync::Arc::clone(&door.limits), client.drain.clone());
        client.tunnels.spawn(async move { tunnel.run(side, drain, &limits).await });
        response
    }

    fn answer(&self, upstreams: response::Parts, record: &mut RequestRecord) -> Response<DoorBody> {
        let mut response = Response::new(DoorBody::none());
        *response.headers_mut() = upstreams.headers;
        strip_hop_by_hop(response.headers_mut());
        strip_own_set_cookies(response.headers_mut());
        let status = self.handshake.answer(response.headers_mut());
        *response.status_mut() = status;
        response.headers_mut().insert(X_REQUEST_ID, record.id_value());
        append_via(response.headers_mut(), Version::HTTP_11);
        record.answered(status);
        response
    }
}
