//! What the console's people come in by: sign-in, sessions, set-up of second factors, one-time links.
//!
//! Puts the control plane, the password threads and the security keys together; each story is in a file of its own
//! (`sign_in`, `enrolment`, `links`). Callers: the console and its API.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::actor::{Actor, Means, UserActor};
use super::authenticator::Authenticator;
use super::control_plane::{ControlError, ControlPlane};
use super::failure_groups::FailureGroups;
use super::reach::known_everywhere;
use super::security_keys::SecurityKeys;
use super::sign_in::ConsoleSession;
use crate::clock::Clock;
use crate::config::Policy;
use crate::crypto::{SealError, TokenPurpose, draw_token};
use crate::model::{ClientIp, KeyId, Revision, Secret, TokenDigest};
use crate::store::UserRecord;

/// Sessions of one user at once; a further sign-in ends the one that was used longest ago.
pub(super) const SESSIONS_OF_A_USER: u32 = 50;

/// The use of a key at the management API is noted at most this often.
const NOTE_USE_EVERY: Duration = Duration::from_mins(1);
/// Keys and addresses whose uses are remembered as noted.
const NOTED_USES: u64 = 10_000;

/// What the console works with. Clones share everything.
#[derive(Clone, Debug)]
pub struct ConsoleAccess {
    pub(super) plane: ControlPlane,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) security_keys: Option<Arc<SecurityKeys>>,
    pub(super) terms: SessionTerms,
    /// Where failed sign-ins are counted for the audit trail.
    pub(super) failures: FailureGroups,
    /// Uses of keys at the management API that were noted a short time ago.
    pub(super) noted_uses: Cache<(KeyId, ClientIp), ()>,
}

/// How long console sessions live, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// Without use.
    pub idle_seconds: i64,
    /// In all.
    pub absolute_seconds: i64,
}

/// Who stands before the console, as far as the connection tells.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// From where.
    pub client_ip: ClientIp,
    /// What the browser calls itself; kept as one short line.
    pub browser: String,
}

impl ConsoleAccess {
    /// For one console; `security_keys` where browsers offer them at its address.
    pub fn new(
        plane: ControlPlane,
        authenticator: Arc<Authenticator>,
        security_keys: Option<SecurityKeys>,
        terms: SessionTerms,
        failures: FailureGroups,
    ) -> Self {
        Self {
            plane,
            authenticator,
            security_keys: security_keys.map(Arc::new),
            terms,
            failures,
            noted_uses: Cache::builder().max_capacity(NOTED_USES).time_to_live(NOTE_USE_EVERY).build(),
        }
    }

    /// Where the time comes from.
    pub const fn clock(&self) -> &Clock {
        &self.plane.clock
    }

    /// The rules that are in force.
    pub fn policy(&self) -> Policy {
        self.authenticator.policy()
    }

    /// Who judges credentials, and knows what is open.
    pub const fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// Waits until this gateway decides by a change, and for a moment until the others of a shared store do: what is answered
    /// then holds wherever the next request goes.
    pub async fn in_force(&self, revision: Revision) {
        self.authenticator.applied(revision).await;
        if let Err(error) = known_everywhere(&self.plane.store, revision).await {
            // The change is made, and each gateway follows it.
            tracing::warn!(%error, "it is not known where a change is in force");
        }
    }

    /// Can security keys be used at this console's address?
    pub const fn offers_security_keys(&self) -> bool {
        self.security_keys.is_some()
    }

    /// The control plane for `actor`, under the rules that are in force now.
    pub fn plane_for(&self, actor: Actor) -> ControlPlane {
        ControlPlane { policy: self.authenticator.policy(), actor, ..self.plane.clone() }
    }

    pub(super) fn plane_of(&self, user: &UserRecord, client_ip: ClientIp, means: Means) -> ControlPlane {
        self.plane_for(Actor::User(UserActor { id: user.id, name: user.name.clone(), means, client_ip }))
    }

    pub(super) fn digest(&self, purpose: TokenPurpose, token: &str) -> TokenDigest {
        self.plane.key_ring.console.digest_token(purpose, token)
    }

    /// A new token and its digest.
    pub(super) fn draw(&self, purpose: TokenPurpose) -> Result<(Secret<String>, TokenDigest), ControlError> {
        let token = draw_token()?;
        let digest = self.digest(purpose, token.expose());
        Ok((token, digest))
    }

    /// What every form of this session carries, so that no other page can send one (S85).
    pub fn form_proof(&self, session: &ConsoleSession) -> Secret<String> {
        use base64::Engine;
        let TokenDigest(session) = session.record.digest;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let TokenDigest(proof) = self.digest(TokenPurpose::Form, &engine.encode(session));
        Secret::new(engine.encode(proof))
    }

    /// Does a form that says `proof` come from a page of this session?
    pub fn is_form_of(&self, session: &ConsoleSession, proof: &str) -> bool {
        let expected = self.form_proof(session);
        subtle::ConstantTimeEq::ct_eq(expected.expose().as_bytes(), proof.as_bytes()).into()
    }

    /// Is it worth noting that `key` is used from there? Not again within a minute.
    pub(super) fn is_new_use(&self, key: KeyId, client_ip: ClientIp) -> bool {
        self.noted_uses.entry((key, client_ip)).or_insert(()).is_fresh()
    }

    /// Draws a token for a form that makes something: sent twice, it makes it once.
    pub fn draw_form_token(&self) -> Result<Secret<String>, ControlError> {
        Ok(draw_token()?)
    }

    pub(super) fn seal(&self, secret: &[u8], belongs_to: &str) -> Result<Vec<u8>, ControlError> {
        Ok(self.plane.key_ring.sealing.seal(secret, belongs_to)?)
    }

    pub(super) fn open(&self, sealed: &[u8], belongs_to: &str) -> Result<Secret<Vec<u8>>, SealError> {
        self.plane.key_ring.sealing.open(sealed, belongs_to)
    }
}

/// What a method's secret is sealed for: a row that is moved to another user or kind does not open.
pub(super) fn method_label(user: &UserRecord, kind: crate::model::MethodKind) -> String {
    format!("{} method of user {} of customer {}", kind.as_str(), user.id.0, user.customer.0)
}

/// What a ceremony's state is sealed for (S95: its purpose, user and session).
pub(super) fn ceremony_label(purpose: &str, user: &UserRecord, session: TokenDigest) -> String {
    use std::fmt::Write;
    let mut label = format!("{purpose} of user {} in ", user.id.0);
    for byte in session.0 {
        // Writing into a text cannot fail.
        let _ = write!(label, "{byte:02x}");
    }
    label
}
