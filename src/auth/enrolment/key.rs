//! Registering a security key: a name, a challenge, and the key's answer (R45–R48, S33).

use super::super::console_access::{ConsoleAccess, method_label};
use super::super::security_keys::{SecurityKeys, user_handle};
use super::super::sign_in::ConsoleSession;
use super::{AddedMethod, EnrolmentFault, SET_UP_KEY, method_name, require_room};
use crate::model::{MethodKind, Secret};
use crate::store::{NewMethod, StoreFact};

impl ConsoleAccess {
    /// Begins to register a key; answers the options for the page's script.
    pub async fn begin_key(&self, session: &ConsoleSession) -> Result<String, EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        self.codes_for_method(&mut change, session, &user).await?;
        let methods = change.mfa_methods_of(user.id).await?;
        require_room(&methods)?;
        let present: Vec<_> = self.open_keys(&user, &methods)?.into_iter().map(|(_, key)| key).collect();
        let handle = user_handle(&self.plane.key_ring.console, user.id);
        let challenge = self
            .security_keys()?
            .start_registration(handle, &user.name.to_string(), &present)
            .map_err(|_| EnrolmentFault::NotOffered)?;
        self.remember(&mut change, session, &user, (SET_UP_KEY, &challenge.state)).await?;
        change.commit_noted().await?;
        Ok(challenge.options)
    }

    /// Adds the key under `name` once its `answer` proves it. The challenge is used up either way.
    pub async fn finish_key(
        &self,
        session: &ConsoleSession,
        name: &str,
        answer: &Secret<String>,
    ) -> Result<AddedMethod, EnrolmentFault> {
        let name = method_name(name, "Security key")?;
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        let codes = self.codes_for_method(&mut change, session, &user).await?;
        let state = self.ceremony_in(&mut change, session, &user, SET_UP_KEY).await?;
        change.delete_ceremony(session.record.digest, SET_UP_KEY).await?;
        change.commit_noted().await?;
        let state = state.ok_or(EnrolmentFault::Expired)?;
        let keys = self.security_keys()?;
        let registered =
            keys.finish_registration(state.expose(), answer.expose()).map_err(|_| EnrolmentFault::NoProof)?;
        let hashes = match codes {
            Some(codes) => Some(self.hash_codes(&user, codes).await?),
            None => None,
        };
        let (mut change, now_user) = self.begin_own_mfa(&plane, session).await?;
        if now_user.mfa_generation != user.mfa_generation {
            return Err(EnrolmentFault::Expired);
        }
        require_room(&change.mfa_methods_of(user.id).await?)?;
        // The first registration fixes what keys are registered for, until none is left (S101).
        if !change.holds_security_keys().await? {
            change.forget_fact(StoreFact::RelyingParty).await?;
        }
        if change.fix_fact(StoreFact::RelyingParty, keys.rp_id()).await? != keys.rp_id() {
            return Err(EnrolmentFault::NotOffered);
        }
        let secret = self.seal(&registered.secret, &method_label(&user, MethodKind::SecurityKey))?;
        let new = NewMethod {
            user: user.id,
            kind: MethodKind::SecurityKey,
            name: &name,
            secret: &secret,
            credential_id: Some(&registered.credential_id),
            last_step: None,
            created_at: change.now(),
        };
        self.add_method(change, session, new, hashes).await
    }

    fn security_keys(&self) -> Result<&SecurityKeys, EnrolmentFault> {
        self.security_keys.as_deref().ok_or(EnrolmentFault::NotOffered)
    }
}
