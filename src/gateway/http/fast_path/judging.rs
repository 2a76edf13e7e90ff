//! The decision about a plain request: what it must be like, whether its key lets it in, and what then goes upstream.
//!
//! Called by `fast_path` for each request; this is the hot path.

use std::rc::Rc;

use http::Version;
use tokio::time::Instant;

use super::request_head::{ComposedRequest, PlainRequest, no_fields};
use crate::auth::{Decision, Quota};
use crate::config::PlaintextCredentials;
use crate::gateway::http::authorization::{Authorization, parse_credential};
use crate::gateway::http::client::{ClientConnection, Transport};
use crate::gateway::http::deadlines::Spoken;
use crate::gateway::http::denial::Fault;
use crate::gateway::http::headers::Told;
use crate::gateway::http::record::RequestRecord;
use crate::gateway::http::upstream::HttpUpstream;
use crate::gateway::http::{HttpDoor, Purpose};
use crate::model::Service;

/// What was decided about what came.
pub(super) enum Judged {
    /// Nothing: it is hyper's.
    NotPlain,
    /// It is answered here, and its key, if it was right, has so much left.
    Refused(Fault, Option<Quota>, Box<RequestRecord>),
    /// It goes upstream.
    Admitted(Admitted),
}

/// A request that was let in.
pub(super) struct Admitted {
    pub(super) request: ComposedRequest,
    pub(super) upstream: Rc<HttpUpstream>,
    pub(super) quota: Option<Quota>,
    pub(super) record: Box<RequestRecord>,
    /// When it was judged.
    pub(super) judged: Instant,
}

/// Reads `received` as a plain request and, if it is one, judges it; `up` is room for what goes upstream.
pub(super) fn judge(
    door: &Rc<HttpDoor>,
    client: &Rc<ClientConnection>,
    received: &[u8],
    up: &mut Vec<u8>,
) -> Judged {
    let Purpose::Forward(routes) = &door.purpose else { return Judged::NotPlain };
    let client_ip = client.source_ip();
    // Whose word about the client counts, what a trace needs, and refusals before a credential: all that is hyper's.
    let is_usual = door.tracer.is_none()
        && !client.is_from(&door.entrance.client_address.trusted_proxies)
        && door.entrance.allow_list.admits(client_ip)
        && (client.transport == Transport::Tls
            || door.entrance.plaintext_credentials == PlaintextCredentials::Allow);
    let mut fields = no_fields();
    let request = is_usual.then(|| PlainRequest::read(received, &mut fields, &door.limits)).flatten();
    let Some(request) = request else { return Judged::NotPlain };
    let Some(Authorization::ApiKey(key)) = parse_credential(request.authorization()) else {
        return Judged::NotPlain;
    };
    let route = routes.find(|| request.host_name(), request.path());
    if route.is_some_and(|route| !route.upstream.takes_plain()) {
        return Judged::NotPlain;
    }
    // From here on the request is this path's.
    let path = Some(request.path().into());
    let mut record =
        RequestRecord::begin_with(door, client, Spoken::Http1, request.method.clone(), path, None);
    let decision = door.authenticator.authenticate_key(key, Service::Api, client_ip, record.at());
    let judged = record.judged();
    let permit = match decision {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => return Judged::Refused(denial.into(), None, record),
    };
    let quota = permit.quota();
    let request_id = record.id().to_ascii();
    let permit = record.admitted(permit, route);
    let Some(route) = route else { return Judged::Refused(Fault::NoRoute, quota, record) };
    let upstream = Rc::clone(&route.upstream);
    let told = Told {
        permit,
        rules: upstream.identity_rules(),
        facts: &client.direct().forwarded,
        request_id: &request_id,
        traceparent: None,
        received: Version::HTTP_11,
    };
    let request = request.compose(std::mem::take(up), &told);
    Judged::Admitted(Admitted { request, upstream, quota, record, judged })
}
