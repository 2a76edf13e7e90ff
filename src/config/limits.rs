//! `limits:` every bound and every deadline, with its unit in its name.

/// What a peer may use of us, and how long it may take. The defaults stand in [`Limits::default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections over all listeners.
    pub connections: u32,
    /// Open connections of one address (IPv6: of one /64); 0: unbounded.
    pub connections_per_address: u32,
    /// Failed credentials of one address (IPv6: of one /64) in 10 minutes before the answer is 429; 0: unbounded.
    pub failed_credentials_per_address: u32,
    /// Logins by password that may wait for a hashing thread; more are answered 503.
    pub password_queue: u32,
    /// From accept to the end of the TLS handshake.
    pub tls_handshake_seconds: u32,
    /// From accept (or from the first byte of a further request) to the end of a request's head.
    pub http_header_seconds: u32,
    /// A kept-alive connection without a request.
    pub http_idle_seconds: u32,
    /// A request's head, in bytes.
    pub http_header_bytes: u32,
    /// Fields in a request's head.
    pub http_header_fields: u32,
    /// A request's target, in bytes.
    pub http_target_bytes: u32,
    /// A request's body, in bytes; 0: unbounded.
    pub http_body_bytes: u64,
    /// A body, either way, of which nothing comes or nothing is taken.
    pub http_body_idle_seconds: u32,
    /// Streams at once on one HTTP/2 connection.
    pub http2_streams: u32,
    /// Connecting to an upstream, in milliseconds.
    pub upstream_connect_milliseconds: u32,
    /// From the end of sending to the head of an upstream's answer.
    pub upstream_first_byte_seconds: u32,
    /// A whole exchange with an upstream; 0: unbounded, for streams.
    pub upstream_total_seconds: u32,
    /// An idle connection to an upstream is closed after this.
    pub upstream_idle_seconds: u32,
    /// Idle connections kept to one upstream, per thread.
    pub upstream_idle_connections: u32,
    /// A session before its login.
    pub isproxy_login_seconds: u32,
    /// A session after its login without a line.
    pub isproxy_idle_seconds: u32,
    /// Failed logins after which a session is closed.
    pub isproxy_failed_logins: u32,
    /// How long an answer to the second and later failed logins is held back, in milliseconds.
    pub isproxy_failed_login_delay_milliseconds: u32,
    /// Requests of one session that wait for the upstream; beyond, the client is not read.
    pub isproxy_pending_requests: u32,
    /// A reply that the upstream owes; then the answer is `<domain> error`.
    pub isproxy_reply_seconds: u32,
    /// A client that takes none of what is written to it.
    pub isproxy_write_seconds: u32,
    /// Between SIGTERM and the end of what is still open.
    pub drain_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_address: 1_000,
            failed_credentials_per_address: 100,
            password_queue: 64,
            tls_handshake_seconds: 10,
            http_header_seconds: 10,
            http_idle_seconds: 75,
            http_header_bytes: 65_536,
            http_header_fields: 100,
            http_target_bytes: 8_192,
            http_body_bytes: 0,
            http_body_idle_seconds: 30,
            http2_streams: 100,
            upstream_connect_milliseconds: 2_000,
            upstream_first_byte_seconds: 30,
            upstream_total_seconds: 0,
            upstream_idle_seconds: 60,
            upstream_idle_connections: 256,
            isproxy_login_seconds: 30,
            isproxy_idle_seconds: 300,
            isproxy_failed_logins: 3,
            isproxy_failed_login_delay_milliseconds: 1_000,
            isproxy_pending_requests: 4_096,
            isproxy_reply_seconds: 30,
            isproxy_write_seconds: 30,
            drain_seconds: 30,
        }
    }
}
