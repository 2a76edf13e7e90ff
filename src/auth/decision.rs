//! The answer to an [`Attempt`](super::Attempt): a [`Permit`], or a [`Denial`] with its reason.

mod denial;

use std::sync::Arc;

pub use self::denial::{Denial, DenialReason, ExhaustedQuota, Refusal};
use super::rate_limit::Quota;
use crate::model::{ClientIp, KeyDigest, KeyId, Recognised, Service, SessionDigest};
use crate::store::index::{Metering, UserEntry};

/// The answer to an attempt.
#[derive(Debug)]
pub enum Decision {
    /// Come in; the permit is what forwarding is built from.
    Allow(Permit),
    /// Stay out.
    Deny(Denial),
}

/// Leave to go upstream. Only `auth` makes one, and nothing goes upstream without one (invariant 1).
///
/// A permit is for one request, or for what is registered by
/// [`Authenticator::open_session`](super::Authenticator::open_session) and ends with the credential.
#[derive(Clone, Debug)]
pub struct Permit {
    user: Arc<UserEntry>,
    method: AuthMethod,
    service: Service,
    client_ip: ClientIp,
    proof: Proof,
    quota: Option<Quota>,
    metering: Metering,
}

/// What was proved, so that it can be judged again while something it opened is open.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof {
    /// The key of this digest was presented.
    Key(KeyDigest),
    /// The password of this version was presented.
    Password(i64),
    /// The API session of this digest was presented.
    Session(SessionDigest),
}

/// How the caller proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// By an API key.
    ApiKey(KeyId),
    /// By the user's password.
    Password,
    /// By an API session, which a password opened.
    Session,
}

impl AuthMethod {
    /// The value of `X-Auth-Method`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey(_) => "api-key",
            Self::Password => "password",
            Self::Session => "session",
        }
    }
}

impl Permit {
    pub(super) const fn new(
        user: Arc<UserEntry>,
        method: AuthMethod,
        proof: Proof,
        service: Service,
        client_ip: ClientIp,
    ) -> Self {
        Self { user, method, service, client_ip, proof, quota: None, metering: Metering::Off }
    }

    /// The same permit, for a request that was taken from a key's limit.
    pub(super) fn with_quota(self, quota: Option<Quota>) -> Self {
        Self { quota, ..self }
    }

    /// The same permit, of somebody whose requests are counted against quotas, or of nobody such.
    pub(super) fn with_metering(self, metering: Metering) -> Self {
        Self { metering, ..self }
    }

    /// The customer's handle: visible ASCII, safe as a header's value.
    pub fn customer(&self) -> &str {
        self.user.customer_handle()
    }

    /// The user's login name: visible ASCII, safe as a header's value.
    pub fn login(&self) -> &str {
        self.user.login()
    }

    /// How the caller proved who they are.
    pub const fn method(&self) -> AuthMethod {
        self.method
    }

    /// The key that was used, if one was.
    pub const fn key_id(&self) -> Option<KeyId> {
        match self.method {
            AuthMethod::ApiKey(id) => Some(id),
            AuthMethod::Password | AuthMethod::Session => None,
        }
    }

    /// Whose credential was presented.
    pub fn recognised(&self) -> Recognised {
        match self.method {
            AuthMethod::ApiKey(id) => Recognised::Key(id),
            AuthMethod::Password => Recognised::Password(self.user.id()),
            AuthMethod::Session => Recognised::Session(self.user.id()),
        }
    }

    /// The door it is for.
    pub const fn service(&self) -> Service {
        self.service
    }

    /// Where the caller came from.
    pub const fn client_ip(&self) -> ClientIp {
        self.client_ip
    }

    /// What the key has left of its limit of requests; `None`: it has no limit, or the request does not count.
    pub const fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// Had its key, its user or its customer a quota when it was judged?
    pub(super) const fn metering(&self) -> Metering {
        self.metering
    }

    pub(super) const fn user(&self) -> &Arc<UserEntry> {
        &self.user
    }

    pub(super) const fn proof(&self) -> Proof {
        self.proof
    }
}
