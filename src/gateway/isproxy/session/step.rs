//! What a session is told and what it asks for: the words between it and the connection. Data only.

use std::sync::Arc;

use crate::config::{Limits, PlaintextCredentials};
use crate::model::Secret;

/// What holds for every session of a listener.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Can `STARTTLS` be answered?
    pub tls: TlsOffer,
    /// Is a credential taken in clear?
    pub plaintext_credentials: PlaintextCredentials,
    /// Bounds and deadlines.
    pub limits: Arc<Limits>,
}

/// Can `STARTTLS` be answered?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsOffer {
    /// The listener has a certificate.
    Offered,
    /// It has none.
    NotOffered,
}

/// What the connection must do, beyond writing the outboxes.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Judge this credential, then call [`Session::on_decision`].
    Authenticate(Presented),
    /// It came in clear where that is refused: have it refused unjudged, then call [`Session::on_decision`].
    RefuseExposed(Presented),
    /// Take a request from the quotas and the limit of what let in, then call [`Session::on_turn`] or
    /// [`Session::on_request_refused`].
    TakeTurn,
    /// Everything is written: do the TLS handshake, then call [`Session::on_tls_established`].
    UpgradeTls,
    /// Connect, then call [`Session::on_upstream_connected`] or [`Session::on_upstream_lost`].
    ConnectUpstream,
    /// Close the connection to the upstream; the session has already given it up.
    DropUpstream(GivenUp),
    /// Everything is answered and written: close.
    Close(EndReason),
    /// Close now, whatever is unanswered or unwritten.
    CloseAtOnce(EndReason),
}

/// Why a session gives a connection to the upstream up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// It owed an answer for `limits.isproxy_reply_seconds`.
    #[error("it was late with what it was asked")]
    Late,
    /// It answered a request with `400`.
    #[error("it answered 400 to what it was asked")]
    Refused,
    /// It sent what is no line of the protocol.
    #[error("it sent what is no line of the protocol")]
    Garbled,
}

/// A credential and what it is presented for.
#[derive(Debug, PartialEq, Eq)]
pub struct Presented {
    /// The credential.
    pub credential: PresentedCredential,
    /// The name asked for by a one-shot `IS <apikey> <domain>`; `None`: it is a `LOGIN`.
    pub one_shot: Option<String>,
}

/// A credential as it was sent; wiped when dropped.
#[derive(Debug, PartialEq, Eq)]
pub enum PresentedCredential {
    /// An API key.
    Key(Secret<String>),
    /// A user's name and password.
    Password {
        /// `customer/user` as it was sent.
        user: String,
        /// The password.
        password: Secret<String>,
    },
}

/// The authenticator's answer, as far as the session must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Come in.
    Admitted,
    /// Stay out.
    Refused,
    /// Not judged, for want of a hashing thread: answered like a refusal, and not counted as one (PROTOCOL section 2).
    Busy,
}

/// Why a session ended, for the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// `QUIT` or `CLOSE`.
    Quit,
    /// The client closed its side.
    EndOfInput,
    /// A line too long, or with bytes that no line may hold.
    BadLine,
    /// HTTP or a TLS hello where a command was due.
    ForeignProtocol,
    /// Bytes behind `STARTTLS` (CVE-2011-0411).
    BytesBehindStartTls,
    /// `STARTTLS` where TLS cannot be offered.
    TlsUnavailable,
    /// Too many failed logins.
    FailedLogins,
    /// Nothing was asked for too long.
    Idle,
    /// The client took nothing of what was written to it.
    WriteStalled,
    /// The credential no longer lets in.
    Revoked,
    /// The gateway drains.
    Draining,
    /// The client is outside the listener's list.
    AddressOutsideListenerList,
    /// The peer is no trusted proxy, or sent no PROXY protocol header, where one is needed.
    ProxyHeaderRefused,
    /// The connection broke, or the client reset it.
    ConnectionLost,
    /// The TLS handshake failed or took too long.
    TlsHandshakeFailed,
}

impl EndReason {
    /// Was the client closed by us without a word, so that only an operator can tell it why?
    pub const fn is_unexplained(self) -> bool {
        matches!(
            self,
            Self::AddressOutsideListenerList
                | Self::ProxyHeaderRefused
                | Self::Revoked
                | Self::TlsUnavailable
                | Self::BytesBehindStartTls
                | Self::ForeignProtocol
        )
    }

    /// Is it how sessions end where nothing went wrong?
    pub const fn is_ordinary(self) -> bool {
        matches!(self, Self::Quit | Self::EndOfInput | Self::Idle | Self::Draining)
    }

    /// The name in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::EndOfInput => "end_of_input",
            Self::BadLine => "bad_line",
            Self::ForeignProtocol => "foreign_protocol",
            Self::BytesBehindStartTls => "bytes_behind_starttls",
            Self::TlsUnavailable => "tls_unavailable",
            Self::FailedLogins => "failed_logins",
            Self::Idle => "idle",
            Self::WriteStalled => "write_stalled",
            Self::Revoked => "revoked",
            Self::Draining => "draining",
            Self::AddressOutsideListenerList => "address_outside_listener_list",
            Self::ProxyHeaderRefused => "proxy_header_refused",
            Self::ConnectionLost => "connection_lost",
            Self::TlsHandshakeFailed => "tls_handshake_failed",
        }
    }
}

/// A line that is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault<'a> {
    /// Over the bound; its beginning.
    TooLong(&'a [u8]),
    /// A TLS record.
    TlsHello,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_told_why_a_session_was_closed_without_a_word() {
        for reason in [
            EndReason::BytesBehindStartTls,
            EndReason::ForeignProtocol,
            EndReason::TlsUnavailable,
            EndReason::Revoked,
            EndReason::AddressOutsideListenerList,
            EndReason::ProxyHeaderRefused,
        ] {
            assert!(reason.is_unexplained() && crate::auth::is_explained(reason.as_str()), "{reason:?}");
        }
        for reason in [EndReason::Quit, EndReason::EndOfInput, EndReason::FailedLogins, EndReason::Idle] {
            assert!(!reason.is_unexplained(), "{reason:?}");
        }
    }
}
