//! `limits:` every bound and every deadline, with its unit in its name.
//!
//! Written and meant alike, so this one type is both; the ranges are part of the schema. Read by `net`, `auth` and
//! the gateways, which keep them. Each description ends with what happens `At the limit:`, which a test asks for.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::SessionLifetime;

/// What a peer may use of us, and how long it may take. The defaults stand in [`Limits::default`].
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Limits {
    /// Open connections over all listeners. At the limit: a further one is closed at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Open connections of one address (IPv6: of one /64); 0: unbounded. The peer's address counts, also where it is a
    /// trusted proxy's. At the limit: a further one is closed at once.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub connections_per_address: u32,
    /// Failed credentials of one address (IPv6: of one /64) in 10 minutes; 0: unbounded. At the limit: a further one is
    /// answered 429 with `Retry-After`, at `IsProxy` like a wrong one; a valid key is never refused for it.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub failed_credentials_per_address: u32,
    /// Failed passwords of one user name, known or not, without a delay; 0: unbounded. Half an hour without one, or a
    /// right password, forgets them. At the limit: passwords for the name are refused for a second, doubled by each
    /// further failure up to five minutes, with 429 and `Retry-After`, at `IsProxy` like a wrong one; keys never are.
    #[schemars(range(min = 0, max = 1_000))]
    pub failed_passwords_per_user: u32,
    /// Requests of one key in a second, over all connections of both doors; logins do not count; 0: unbounded. At the
    /// limit: a further one is answered 429 with `Retry-After`; an `IsProxy` client is not read until the next is due.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub requests_per_second_per_key: u32,
    /// Requests that a key may make at once after a rest, where `requests_per_second_per_key` is set; 0: as many as in
    /// a second. At the limit: a further one waits for its share of a second, as said there.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub request_burst_per_key: u32,
    /// Logins by password that may wait for a hashing thread. At the limit: a further one is answered 503 with
    /// `Retry-After`, at `IsProxy` like a wrong one, and counts as no failure.
    #[schemars(range(min = 1, max = 10_000))]
    pub password_queue: u32,
    /// An API session (`POST /v2/session`) that is not used. At the limit: it ends, with the streams that it opened.
    #[schemars(range(min = 1, max = 86_400))]
    pub api_session_idle_seconds: u32,
    /// An API session from its opening on, however much it is used. At the limit: it ends, with the streams that it
    /// opened.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub api_session_seconds: u32,
    /// API sessions of one user. At the limit: a further one ends the one that was unused longest.
    #[schemars(range(min = 1, max = 10_000))]
    pub api_sessions_per_user: u32,
    /// From accept to the end of a PROXY protocol header, where a listener accepts one. At the limit: the connection is
    /// closed.
    #[schemars(range(min = 1, max = 300))]
    pub proxy_protocol_header_seconds: u32,
    /// From accept (or the end of a PROXY protocol header) to the end of the TLS handshake. At the limit: the connection
    /// is closed.
    #[schemars(range(min = 1, max = 300))]
    pub tls_handshake_seconds: u32,
    /// From accept (or from the first byte of a further request) to the end of a request's head. At the limit: the
    /// connection is closed.
    #[schemars(range(min = 1, max = 300))]
    pub http_header_seconds: u32,
    /// A kept-alive connection without a request. At the limit: the connection is closed.
    #[schemars(range(min = 1, max = 86_400))]
    pub http_idle_seconds: u32,
    /// A request's head. At the limit: the answer is 431.
    #[schemars(range(min = 8_192, max = 1_048_576))]
    pub http_header_bytes: u32,
    /// Fields in a request's head. At the limit: the answer is 431.
    #[schemars(range(min = 10, max = 1_000))]
    pub http_header_fields: u32,
    /// A request's target. At the limit: the answer is 414.
    #[schemars(range(min = 64, max = 65_536))]
    pub http_target_bytes: u32,
    /// A request's body; 0: unbounded. At the limit: the answer is 413, and the upstream gets no whole request.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    pub http_body_bytes: u64,
    /// A body, either way, of which nothing comes or nothing is taken; answers that are event streams or gRPC's may be
    /// silent. At the limit: 408 or 504, whoever is late; where an answer has begun the exchange is cut, a client of
    /// HTTP/2 losing the stream alone (less than 16 KiB taken in all that time counts as nothing).
    #[schemars(range(min = 1, max = 86_400))]
    pub http_body_idle_seconds: u32,
    /// Streams at once on one HTTP/2 connection. At the limit: a further one is refused, and the client may try again.
    #[schemars(range(min = 1, max = 10_000))]
    pub http2_streams: u32,
    /// An upgraded connection (a WebSocket) in which nothing is passed on, either way. At the limit: it is closed.
    #[schemars(range(min = 1, max = 86_400))]
    pub upgrade_idle_seconds: u32,
    /// Connecting to a server of an upstream, all addresses of its name together, TLS and the `LOGIN` at an `IsProxy`
    /// server included. At the limit: another server is tried, once, or the answer is 504; at `IsProxy` names are
    /// answered `error`.
    #[schemars(range(min = 10, max = 60_000))]
    pub upstream_connect_milliseconds: u32,
    /// From the end of sending to the head of an upstream's answer. At the limit: the answer is 504.
    #[schemars(range(min = 1, max = 86_400))]
    pub upstream_first_byte_seconds: u32,
    /// A whole exchange with an upstream; 0: unbounded, for streams. At the limit: 504, or the connection is cut where
    /// an answer has begun.
    #[schemars(range(min = 0, max = 86_400))]
    pub upstream_total_seconds: u32,
    /// A connection to an upstream that waits for a request. At the limit: it is closed.
    #[schemars(range(min = 1, max = 86_400))]
    pub upstream_idle_seconds: u32,
    /// Connections to one server of an upstream that wait for a request, per thread. At the limit: the oldest one is
    /// closed.
    #[schemars(range(min = 0, max = 100_000))]
    pub upstream_idle_connections: u32,
    /// Requests at once on one HTTP/2 connection to a server of an upstream; fewer where the server says so. At the
    /// limit: another connection is opened.
    #[schemars(range(min = 1, max = 10_000))]
    pub upstream_http2_streams: u32,
    /// Silence of an HTTP/2 connection to an upstream on which an answer is awaited. At the limit: it is pinged, and
    /// closed when no answer comes within `upstream_first_byte_seconds`.
    #[schemars(range(min = 1, max = 86_400))]
    pub upstream_http2_ping_seconds: u32,
    /// Failures in a row (no connection, a broken or a late answer) of one of several servers; 0: never. At the
    /// limit: it is ejected, unless it is the last.
    #[schemars(range(min = 0, max = 1_000))]
    pub upstream_failures: u32,
    /// A server's first ejection; doubled each time that a trial after it fails. At the limit: one request tries it.
    #[schemars(range(min = 1, max = 3_600))]
    pub upstream_ejection_seconds: u32,
    /// The longest ejection; less than `upstream_ejection_seconds` means as long as those. At the limit: it is doubled
    /// no more.
    #[schemars(range(min = 1, max = 86_400))]
    pub upstream_ejection_max_seconds: u32,
    /// A session before its login. At the limit: it is closed.
    #[schemars(range(min = 1, max = 3_600))]
    pub isproxy_login_seconds: u32,
    /// A session after its login without a line. At the limit: it is closed.
    #[schemars(range(min = 1, max = 86_400))]
    pub isproxy_idle_seconds: u32,
    /// Failed logins of one session. At the limit: it is closed.
    #[schemars(range(min = 1, max = 100))]
    pub isproxy_failed_logins: u32,
    /// How long an answer to the second and later failed logins is held back; 0: not at all. At the limit: the answer
    /// is sent.
    #[schemars(range(min = 0, max = 60_000))]
    pub isproxy_failed_login_delay_milliseconds: u32,
    /// Requests of one session that wait for the upstream. At the limit: the client is not read until one is answered.
    #[schemars(range(min = 1, max = 65_536))]
    pub isproxy_pending_requests: u32,
    /// A reply that the upstream owes. At the limit: the answer is `<domain> error`; an upstream that said nothing at
    /// all meanwhile is given up.
    #[schemars(range(min = 1, max = 3_600))]
    pub isproxy_reply_seconds: u32,
    /// A client that takes none of what is written to it. At the limit: the session is cut.
    #[schemars(range(min = 1, max = 3_600))]
    pub isproxy_write_seconds: u32,
    /// A session of the console that is not used. At the limit: it ends, and its user has to sign in again.
    #[schemars(range(min = 1, max = 1_800))]
    pub console_session_idle_seconds: u32,
    /// A session of the console from the sign-in on, however much it is used. At the limit: it ends, and its user has to
    /// sign in again.
    #[schemars(range(min = 1, max = 43_200))]
    pub console_session_seconds: u32,
    /// Open connections of the console, over all its listeners; they do not count as `connections`. At the limit: a
    /// further one is closed at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub console_connections: u32,
    /// Open connections of the console from one address (IPv6: from one /64); 0: unbounded. The peer's address counts,
    /// also where it is a trusted proxy's. At the limit: a further one is closed at once.
    #[schemars(range(min = 0, max = 100_000))]
    pub console_connections_per_address: u32,
    /// The body of a request to the console. At the limit: the answer is 413.
    #[schemars(range(min = 1_024, max = 1_048_576))]
    pub console_body_bytes: u32,
    /// A request to the console, from the end of its head to the answer; and a connection of the console that takes
    /// nothing of an answer. At the limit: the answer is 503, or the connection is closed.
    #[schemars(range(min = 1, max = 300))]
    pub console_request_seconds: u32,
    /// Between SIGTERM and the end of what is still open. At the limit: what is still open is cut.
    #[schemars(range(min = 0, max = 3_600))]
    pub drain_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_address: 1_000,
            failed_credentials_per_address: 100,
            failed_passwords_per_user: 10,
            requests_per_second_per_key: 0,
            request_burst_per_key: 0,
            password_queue: 64,
            api_session_idle_seconds: 1_800,
            api_session_seconds: 43_200,
            api_sessions_per_user: 100,
            proxy_protocol_header_seconds: 5,
            tls_handshake_seconds: 10,
            http_header_seconds: 10,
            http_idle_seconds: 75,
            http_header_bytes: 65_536,
            http_header_fields: 100,
            http_target_bytes: 8_192,
            http_body_bytes: 0,
            http_body_idle_seconds: 30,
            http2_streams: 100,
            upgrade_idle_seconds: 600,
            upstream_connect_milliseconds: 2_000,
            upstream_first_byte_seconds: 30,
            upstream_total_seconds: 0,
            upstream_idle_seconds: 60,
            upstream_idle_connections: 256,
            upstream_http2_streams: 100,
            // gRPC servers end connections that are pinged more often than this.
            upstream_http2_ping_seconds: 300,
            upstream_failures: 5,
            upstream_ejection_seconds: 10,
            upstream_ejection_max_seconds: 300,
            isproxy_login_seconds: 30,
            isproxy_idle_seconds: 300,
            isproxy_failed_logins: 3,
            isproxy_failed_login_delay_milliseconds: 1_000,
            isproxy_pending_requests: 4_096,
            isproxy_reply_seconds: 30,
            isproxy_write_seconds: 30,
            console_session_idle_seconds: 1_800,
            console_session_seconds: 43_200,
            console_connections: 1_000,
            console_connections_per_address: 100,
            console_body_bytes: 65_536,
            console_request_seconds: 30,
            drain_seconds: 30,
        }
    }
}

impl Limits {
    /// How long API sessions live.
    pub const fn session_lifetime(&self) -> SessionLifetime {
        SessionLifetime {
            idle_seconds: self.api_session_idle_seconds,
            total_seconds: self.api_session_seconds,
        }
    }
}
