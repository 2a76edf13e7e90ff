//! What happens to header fields between client and upstream. Pure, and always in the message's own map.
//!
//! The order makes it safe: first what belongs to one connection goes, with whatever `Connection` names; then
//! whatever could pass for the gateway's word goes; only then the gateway's own fields are set. So no client can name
//! one of ours in `Connection` and have it removed (S13). Called by `forward` and by the bodies, for trailers.

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::trace_headers::TRACEPARENT;
use crate::auth::Permit;
use crate::config::{IdentityHeaders, SetHeaders};

/// The name of a request, told to the upstream and answered to the client.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where a request comes from, address by address; written, and read from trusted proxies.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme of the client's request.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What only a trusted proxy could say, with `-` for every mark. Names that start with `x-forwarded` go too.
const FORWARDING: [&str; 12] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "true-client-ip",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-request-id",
];

/// What frames a body; whoever reads another mark for `-` would find a second frame (RFC 9112 §11.2).
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// At most this much growth is reserved for the fields that the gateway adds.
const ADDED_FIELDS: usize = 11;

/// How one upstream wants to be told who calls, what else it is told, and what must therefore not come from outside.
#[derive(Clone, Debug)]
pub struct IdentityRules {
    names: IdentityHeaders,
    set: SetHeaders,
    spelled: Box<[Box<[u8]>]>,
    /// Is a field meant twice, or `Host` to be replaced? The last meaning counts.
    has_collisions: bool,
}

/// What the upstream is told about how a request came.
#[derive(Clone, Debug)]
pub struct ForwardedFacts {
    /// `X-Forwarded-For`: the client, the trusted proxies that it came through, and the connection's source, which
    /// is the only one if nobody is trusted.
    pub forwarded_for: HeaderValue,
    /// `X-Forwarded-Proto`: `http` or `https`, or what a trusted proxy says.
    pub forwarded_proto: HeaderValue,
}

impl IdentityRules {
    /// The rules for an upstream that is told the identity in `names`, and whose requests all carry `set`.
    pub fn new(names: IdentityHeaders, set: SetHeaders) -> Self {
        // `Host` is the client's until it has been told in `X-Forwarded-Host`; then it is replaced.
        let replaced = set.0.iter().map(|(name, _)| name).filter(|name| *name != HOST);
        let spelled =
            names.names().chain(replaced).map(|name| unmarked(name.as_str().as_bytes()).collect()).collect();
        let own = [
            X_FORWARDED_HOST,
            X_FORWARDED_FOR,
            X_FORWARDED_PROTO,
            X_REQUEST_ID,
            TRACEPARENT,
            CONNECTION,
            VIA,
            HOST,
            TE,
        ];
        let mut all: Vec<&HeaderName> =
            own.iter().chain(names.names()).chain(set.0.iter().map(|(name, _)| name)).collect();
        all.sort_unstable_by_key(|name| name.as_str());
        let has_collisions = all.windows(2).any(|pair| pair.first() == pair.last());
        Self { names, set, spelled, has_collisions }
    }

    /// Is one field meant twice, so that of two the last meaning counts?
    pub const fn have_collisions(&self) -> bool {
        self.has_collisions
    }

    /// Must `name`, in lower case, not come from a client? Servers behind CGI, WSGI and the like take `_`, and some any
    /// mark, for `-`; so every spelling that could be read as one of the fields is meant (S12).
    pub fn forbids(&self, name: &[u8]) -> bool {
        let reads_as = |other: &[u8]| name.len() == other.len() && unmarked(name).eq(other.iter().copied());
        let starts_as =
            |prefix: &[u8]| name.len() >= prefix.len() && unmarked(name).zip(prefix).all(|(a, b)| a == *b);
        let first = name.first().copied().unwrap_or_default();
        // Nearly every field of a real request is passed by its first letter.
        (first == b'x' && (starts_as(b"x-auth-") || starts_as(b"x-forwarded")))
            || (matches!(first, b'x' | b'f' | b't')
                && FORWARDING.into_iter().any(|own| reads_as(own.as_bytes())))
            || self.spelled.iter().any(|own| reads_as(own))
            || (matches!(first, b'c' | b't')
                && FRAMING.into_iter().any(|own| reads_as(own.as_bytes()) && name != own.as_bytes()))
    }
}

/// `name` with every mark as `-`. Names are lower case already: their reader sees to it.
fn unmarked(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().map(|letter| if letter.is_ascii_alphanumeric() { *letter } else { b'-' })
}

/// Is there a field of this `name`? A head has few fields, so that a look at each costs less than the hash of a name.
pub fn has_field(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|present| present == name)
}

/// Can HTTP/1 carry these fields of an HTTP/2 message, and are they allowed there? Its parser lets `"` pass in a name, which
/// is no token (RFC 9110 §5.6.2), and blanks around a value (RFC 9113 §8.2.1); who translates must refuse them (§10.3).
pub fn are_sound(headers: &HeaderMap) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.iter().all(|(name, value)| {
        let value = value.as_bytes();
        !name.as_str().bytes().any(|byte| byte == b'"') && !is_blank(value.first()) && !is_blank(value.last())
    })
}

/// Removes what belongs to one connection only, in requests and answers (RFC 9110 §7.6.1).
///
/// `TE: trailers` stays, as trailers are passed on; `Host`, `Content-Length`, `TE` and `Trailer` stay whatever
/// `Connection` says (S13). `Transfer-Encoding` goes: framing is made anew for each connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most requests have none of them, and most answers one `Connection` that names nothing.
    if !headers.keys().any(is_of_one_connection) {
        return;
    }
    for named in named_by_connection(headers) {
        headers.remove(named);
    }
    let trailers = headers.get_all(TE).iter().any(takes_trailers);
    remove_where(headers, is_of_one_connection);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Is it a field of one connection (RFC 9110 §7.6.1; the second row by custom)?
fn is_of_one_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authentication-info"
            | "http2-settings"
            | "alt-used"
    )
}

/// What `Connection` lists and may be removed for it.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let kept = [HOST, CONTENT_LENGTH, TE, TRAILER, EXPECT, CONNECTION];
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // These name no field, and one that goes anyway.
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !kept.contains(name))
        .collect()
}

/// Is `trailers` among the codings of a `TE` value (RFC 9110 §10.1.4)?
fn takes_trailers(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Removes the credential and whatever could pass for the gateway's word.
pub fn strip_claims(headers: &mut HeaderMap, rules: &IdentityRules) {
    headers.remove(AUTHORIZATION);
    remove_where(headers, |name| rules.forbids(name.as_str().as_bytes()));
}

/// What the upstream is told of a request beside what its client says: who calls, through what, and under which name
/// the request is logged. There is none without a [`Permit`] (invariant 1).
pub struct Told<'a> {
    /// Who calls.
    pub permit: &'a Permit,
    /// How this upstream wants to be told.
    pub rules: &'a IdentityRules,
    /// How the request came.
    pub facts: &'a ForwardedFacts,
    /// Its name, as `X-Request-Id` has it.
    pub request_id: &'a [u8],
    /// Its place in a trace, as `traceparent` has it; `None`: what the client said of that, if anything, stays as it is.
    pub traceparent: Option<&'a [u8]>,
    /// The version of the client's request, for `Via` (RFC 9110 §7.6.3).
    pub received: Version,
}

impl Told<'_> {
    /// Calls `put` with each field that is to stand behind those of the client's head, which must have been stripped.
    /// `host` is the `Host` that was settled on, and `has_te` whether a `TE` was left. `None`: some take the place of
    /// others, so that [`Self::insert_into`] has to sort them out.
    pub fn each_behind(
        &self,
        host: Option<&[u8]>,
        has_te: bool,
        put: impl FnMut(&HeaderName, &[u8]),
    ) -> Option<()> {
        (!self.rules.has_collisions).then(|| self.each_behind_unsorted(host, has_te, put))
    }

    /// The same whatever the rules are: for those without collisions.
    pub fn each_behind_unsorted(
        &self,
        host: Option<&[u8]>,
        has_te: bool,
        mut put: impl FnMut(&HeaderName, &[u8]),
    ) {
        self.each_of_ours(host, has_te, &mut put);
        self.rules.set.0.iter().for_each(|(name, value)| put(name, value.as_bytes()));
    }

    /// The same, and where a field is meant twice, the last meaning counts.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        headers.reserve(ADDED_FIELDS);
        let (host, has_te) = (headers.get(HOST).cloned(), has_field(headers, &TE));
        self.each_of_ours(host.as_ref().map(HeaderValue::as_bytes), has_te, |name, value| {
            // Whatever stands in a field is a value; were it none, the field would be left out rather than lie.
            match HeaderValue::from_bytes(value) {
                Ok(value) if *name == VIA => drop(headers.append(name, value)),
                Ok(value) => drop(headers.insert(name, value)),
                Err(_) => {}
            }
        });
        for (name, value) in &self.rules.set.0 {
            headers.insert(name, value.clone());
        }
    }

    /// All but what the configuration sets.
    fn each_of_ours(&self, host: Option<&[u8]>, has_te: bool, mut put: impl FnMut(&HeaderName, &[u8])) {
        each_of_identity(self.permit, &self.rules.names, &mut put);
        if let Some(host) = host {
            put(&X_FORWARDED_HOST, host);
        }
        put(&X_FORWARDED_FOR, self.facts.forwarded_for.as_bytes());
        put(&X_FORWARDED_PROTO, self.facts.forwarded_proto.as_bytes());
        put(&X_REQUEST_ID, self.request_id);
        if let Some(traceparent) = self.traceparent {
            put(&TRACEPARENT, traceparent);
        }
        if has_te {
            // RFC 9110 §10.1.4: who sends `TE` names it in `Connection`.
            put(&CONNECTION, b"te");
        }
        put(&VIA, via(self.received).as_bytes());
    }
}

/// Calls `put` with each field that tells who calls, in `names`.
pub fn each_of_identity(permit: &Permit, names: &IdentityHeaders, mut put: impl FnMut(&HeaderName, &[u8])) {
    for (name, text) in [(&names.customer, permit.customer()), (&names.user, permit.login())] {
        if let Some(name) = name.as_ref().filter(|_| is_plain_value(text)) {
            put(name, text.as_bytes());
        }
    }
    if let (Some(name), Some(id)) = (&names.key_id, permit.key_id()) {
        put(name, &id.to_ascii());
    }
    if let Some(name) = &names.method {
        put(name, permit.method().as_str().as_bytes());
    }
}

/// Can `text` stand in a field as it is? It is visible ASCII; one that is not leaves the field out rather than lie.
fn is_plain_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Adds this gateway to `Via`: the protocol it received the message by, and its name.
pub fn append_via(headers: &mut HeaderMap, received: Version) {
    headers.append(VIA, via(received));
}

/// What this gateway adds to `Via`.
pub fn via(received: Version) -> HeaderValue {
    const HTTP_10: HeaderValue = HeaderValue::from_static("1.0 latchkey");
    const HTTP_11: HeaderValue = HeaderValue::from_static("1.1 latchkey");
    const HTTP_2: HeaderValue = HeaderValue::from_static("2.0 latchkey");
    match received {
        Version::HTTP_10 => HTTP_10,
        Version::HTTP_2 => HTTP_2,
        _ => HTTP_11,
    }
}

/// Removes from trailers what may never stand there: framing, routing, credentials, and the gateway's own fields
/// (RFC 9110 §6.5.1). Trailers are never merged into headers (S69).
pub fn strip_trailers(trailers: &mut HeaderMap, rules: &IdentityRules) {
    strip_hop_by_hop(trailers);
    strip_claims(trailers, rules);
    for name in [HOST, CONTENT_LENGTH, TE, TRAILER, EXPECT] {
        trailers.remove(name);
    }
}

/// Removes every field whose name is `doomed`. There are few of them: a pass over the names for each, and no
/// allocation.
fn remove_where(headers: &mut HeaderMap, doomed: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| doomed(name)).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::Decision;
    use crate::auth::testing::{PASSWORD, World};
    use crate::config::Limits;
    use crate::model::Service;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn rules() -> IdentityRules {
        IdentityRules::new(IdentityHeaders::default(), SetHeaders::default())
    }

    fn let_in(decision: Decision) -> Permit {
        match decision {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => panic!("{denial:?}"),
        }
    }

    async fn permit_by_key() -> Permit {
        let world = World::new(Limits::default()).await;
        let (key, _) = world.add_key("api").await;
        let_in(world.key(&key, Service::Api).await)
    }

    async fn permit_by_password() -> Permit {
        let_in(World::new(Limits::default()).await.password(PASSWORD, Service::Api).await)
    }

    fn identify(headers: &mut HeaderMap, permit: &Permit, rules: &IdentityRules) {
        identify_within(headers, permit, rules, None);
    }

    fn identify_within(
        headers: &mut HeaderMap,
        permit: &Permit,
        rules: &IdentityRules,
        traceparent: Option<&[u8]>,
    ) {
        let facts = ForwardedFacts {
            forwarded_for: HeaderValue::from_static("192.0.2.7"),
            forwarded_proto: HeaderValue::from_static("https"),
        };
        let request_id = b"00000000000000ab";
        let told = Told { permit, rules, facts: &facts, request_id, traceparent, received: Version::HTTP_11 };
        // Both ways of telling say the same.
        let mut behind = headers.clone();
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        let plain = told.each_behind(host, has_field(headers, &TE), |name, value| {
            behind.append(name, HeaderValue::from_bytes(value).unwrap());
        });
        told.insert_into(headers);
        if plain.is_some() {
            assert_eq!(&behind, headers);
        }
    }

    #[test]
    fn s65_what_belongs_to_one_connection_is_removed() {
        let mut headers = map(&[
            ("Connection", "close, X-Hop"),
            ("Connection", "X-Other"),
            ("X-Hop", "1"),
            ("X-Other", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Authenticate", "Basic"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("TE", "gzip"),
            ("Trailer", "X-Sum"),
            ("X-Customer", "acme"),
            ("Accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["accept", "trailer", "x-customer"]);
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else() {
        for (given, kept) in
            [("trailers", true), ("gzip, Trailers", true), ("gzip;q=0.5", false), ("trailers;q=1", false)]
        {
            let mut headers = map(&[("TE", given)]);
            strip_hop_by_hop(&mut headers);
            assert_eq!(
                headers.get(TE).map(HeaderValue::as_bytes),
                kept.then_some(b"trailers".as_slice()),
                "{given}"
            );
        }
    }

    #[tokio::test]
    async fn s13_connection_removes_neither_ours_nor_host_nor_length() {
        let mut headers = map(&[
            (
                "Connection",
                "X-Auth-User, Host, Content-Length, TE, X-Forwarded-For, X-Request-Id, Connection",
            ),
            ("Host", "api.example"),
            ("Content-Length", "3"),
            ("TE", "trailers"),
        ]);
        strip_hop_by_hop(&mut headers);
        strip_claims(&mut headers, &rules());
        identify(&mut headers, &permit_by_key().await, &rules());
        for kept in ["host", "content-length", "te", "x-auth-user", "x-forwarded-for", "x-request-id"] {
            assert!(headers.contains_key(kept), "{kept}");
        }
        assert_eq!(headers[CONNECTION], "te");
    }

    #[test]
    fn s12_identity_and_forwarding_fields_are_removed_in_every_spelling() {
        for spelling in [
            "X-Auth-User",
            "x_auth_user",
            "X-AUTH_USER",
            "X-Auth-Anything",
            "x.auth.user",
            "X_Auth-Key_Id",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "x-forwarded-anything",
            "Forwarded",
            "X-Real-IP",
            "x_real_ip",
            "True-Client-Ip",
            "X-Original-URL",
            "X-Request-Id",
            "Authorization",
        ] {
            let mut headers = map(&[(spelling, "root"), (spelling, "twice"), ("Accept", "*/*")]);
            strip_claims(&mut headers, &rules());
            assert_eq!(names(&headers), ["accept"], "{spelling}");
        }
    }

    #[test]
    fn s02_what_others_could_read_as_framing_is_removed() {
        for twin in ["Content_Length", "content.length", "Transfer_Encoding", "TRANSFER~ENCODING"] {
            let mut headers = map(&[(twin, "1"), ("Content-Length", "4")]);
            strip_claims(&mut headers, &rules());
            assert_eq!(names(&headers), ["content-length"], "{twin}");
        }
    }

    #[test]
    fn fields_that_only_look_alike_pass() {
        let kept =
            ["X-Authority", "X-Auth", "X-Customer", "X-Api-Key", "From", "Xauth-user", "X-Forward", "Cookie"];
        for name in kept {
            let mut headers = map(&[(name, "1")]);
            strip_claims(&mut headers, &rules());
            assert_eq!(headers.len(), 1, "{name}");
        }
    }

    #[tokio::test]
    async fn s12_renamed_identity_fields_are_removed_and_the_standard_ones_too() {
        let names = IdentityHeaders {
            user: Some(HeaderName::from_static("remote-user")),
            customer: None,
            ..IdentityHeaders::default()
        };
        let rules = IdentityRules::new(names, SetHeaders::default());
        let mut headers = map(&[("Remote-User", "root"), ("remote_user", "root"), ("X-Auth-User", "root")]);
        strip_claims(&mut headers, &rules);
        assert!(headers.is_empty());
        identify(&mut headers, &permit_by_password().await, &rules);
        assert_eq!(headers["remote-user"], "alex");
        assert!(!headers.contains_key("x-auth-customer") && !headers.contains_key("x-auth-user"));
    }

    #[tokio::test]
    async fn s66_the_upstream_is_told_who_calls_and_how_they_came() {
        let mut headers = map(&[("Host", "api.example:8443"), ("Via", "1.0 far")]);
        let permit = permit_by_key().await;
        let key = permit.key_id().unwrap();
        identify(&mut headers, &permit, &rules());
        for (name, value) in [
            ("x-auth-customer", "acme"),
            ("x-auth-user", "alex"),
            ("x-auth-key-id", key.to_string().as_str()),
            ("x-auth-method", "api-key"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example:8443"),
            ("x-request-id", "00000000000000ab"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        let via: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(via, ["1.0 far", "1.1 latchkey"]);
        assert!(!headers.contains_key(CONNECTION));
    }

    #[tokio::test]
    async fn s12_set_headers_replace_whatever_the_client_sent_in_any_spelling() {
        let set = [("authorization", "ApiKey own"), ("x-api-key", "own"), ("host", "own.example")];
        let set = set.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let rules = IdentityRules::new(IdentityHeaders::default(), SetHeaders(set.to_vec()));
        let mut headers = map(&[
            ("Host", "api.example"),
            ("Connection", "X-Api-Key, Authorization"),
            ("X-Api-Key", "forged"),
            ("X_Api_Key", "forged"),
            ("Authorization", "ApiKey of the client"),
        ]);
        strip_hop_by_hop(&mut headers);
        strip_claims(&mut headers, &rules);
        identify(&mut headers, &permit_by_key().await, &rules);
        for (name, value) in [
            ("authorization", "ApiKey own"),
            ("x-api-key", "own"),
            ("host", "own.example"),
            ("x-forwarded-host", "api.example"),
        ] {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(all, [value], "{name}");
        }
        assert!(!headers.contains_key("x_api_key"));
        let mut trailers = map(&[("X-Api-Key", "forged"), ("X-Sum", "1")]);
        strip_trailers(&mut trailers, &rules);
        assert_eq!(names(&trailers), ["x-sum"]);
    }

    #[tokio::test]
    async fn the_upstream_is_told_of_a_trace_once_however_it_is_told() {
        let permit = permit_by_key().await;
        let traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let own = (TRACEPARENT, HeaderValue::from_static("own"));
        for (set, told) in
            [(vec![], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), (vec![own], "own")]
        {
            let rules = IdentityRules::new(IdentityHeaders::default(), SetHeaders(set));
            let mut headers = map(&[("Host", "api.example")]);
            identify_within(&mut headers, &permit, &rules, Some(traceparent));
            let all: Vec<_> = headers.get_all(TRACEPARENT).iter().collect();
            assert_eq!(all, [told]);
        }
    }

    #[tokio::test]
    async fn a_password_has_no_key_id() {
        let mut headers = map(&[("Host", "api.example")]);
        identify(&mut headers, &permit_by_password().await, &rules());
        assert!(!headers.contains_key("x-auth-key-id"));
        assert_eq!(headers["x-auth-method"], "password");
    }

    #[test]
    fn s12_s69_trailers_carry_neither_identity_nor_framing() {
        let mut trailers = map(&[
            ("X-Auth-User", "root"),
            ("x_auth_user", "root"),
            ("Authorization", "ApiKey x"),
            ("Host", "other"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("X-Forwarded-For", "::1"),
            ("X-Sum", "1"),
        ]);
        strip_trailers(&mut trailers, &rules());
        assert_eq!(names(&trailers), ["x-sum"]);
    }

    proptest! {
        #[test]
        fn s12_no_name_that_reads_as_an_identity_field_survives(
            name in "[xX][-_.~!][aA][uU][tT][hH][-_.+][a-zA-Z_-]{0,12}", connection in "[ -~]{0,40}",
        ) {
            let mut headers = map(&[(&name, "root"), ("Connection", &connection)]);
            strip_hop_by_hop(&mut headers);
            strip_claims(&mut headers, &rules());
            prop_assert!(headers.is_empty(), "{:?}", headers);
        }
    }
}
