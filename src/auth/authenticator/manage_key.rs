//! Keys of scope `manage` at the management API: the same steps as at the doors, and the same counts of failures.

use std::sync::Arc;

use super::super::attempt::PresentedKey;
use super::super::decision::{Denial, DenialReason, Refusal};
use super::super::policy::{Circumstances, Entrance, KeyFacts};
use super::Authenticator;
use crate::crypto::recognise_key;
use crate::model::{ClientIp, KeyId, Recognised};
use crate::store::index::UserEntry;

impl Authenticator {
    /// Whose key it is, if it manages and is let in from there. A failed one counts against the address.
    pub(in crate::auth) fn authenticate_management(
        &self,
        key: PresentedKey<'_>,
        client_ip: ClientIp,
    ) -> Result<(KeyId, Arc<UserEntry>), Denial> {
        self.judge_manage_key(key, client_ip).map_err(|denial| self.count_failure(denial, client_ip))
    }

    fn judge_manage_key(
        &self,
        PresentedKey(text): PresentedKey<'_>,
        client_ip: ClientIp,
    ) -> Result<(KeyId, Arc<UserEntry>), Denial> {
        let unknown = |reason| Denial::new(Refusal::Unauthenticated, reason);
        recognise_key(text, &self.key_ring.tag).map_err(|_| unknown(DenialReason::MalformedKey))?;
        let digest = self.key_ring.digest.digest(text);
        let key = self.index.lookup_key(&digest).ok_or(unknown(DenialReason::UnknownKey))?;
        let facts = KeyFacts {
            enabled: key.enabled,
            expires_at: key.expires_at,
            scope: key.scope,
            list: &key.allow_list,
        };
        let at = Circumstances { client_ip: Some(client_ip), now: self.clock.now() };
        self.judge(Entrance::ManagementKey(&facts), &key.user, at)
            .map_err(|denial| denial.of(Recognised::Key(key.id), &key.user))?;
        Ok((key.id, key.user))
    }
}
