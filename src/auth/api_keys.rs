//! Making, listing, rotating, disabling and deleting API keys.
//!
//! The text of a key exists in the answer to its making and nowhere else (R10). Importing is `key_import`'s.

use std::num::NonZeroU32;

use super::audit::{Event, EventKind};
use super::change::Change;
use super::control_plane::{ControlError, ControlPlane, check_text, require_user};
use super::holder::Holder;
use super::rights::{Action, KeyKind};
use super::users::mfa_state;
use crate::crypto::{KeyText, random};
use crate::model::{
    AllowList, ApiKeyRecord, KeyId, MfaState, QuotaOwner, Revision, ServiceScope, Timestamp, UserId, UserName,
};
use crate::store::{ListedKey, UserRecord};

/// What is wanted of a new key.
#[derive(Clone, Debug)]
pub struct KeyToMake {
    /// Whose it will be.
    pub user: UserName,
    /// What it is for, in its owner's words.
    pub description: String,
    /// What it opens.
    pub scope: ServiceScope,
    /// From this moment on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Narrows where it may come from.
    pub allow_list: AllowList,
}

impl KeyToMake {
    /// A key that never expires and may come from anywhere.
    pub fn new(user: UserName, description: &str, scope: ServiceScope) -> Self {
        let description = description.to_owned();
        Self { user, description, scope, expires_at: None, allow_list: AllowList::default() }
    }
}

/// Has whoever asks for a first key agreed that it ends the access by password?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordEnd {
    /// Yes.
    Accepted,
    /// Not yet: fail with [`ControlError::EndsPasswordAccess`] where it would.
    NotAccepted,
}

/// A key that was made.
#[derive(Debug)]
pub struct MadeKey {
    /// Its public name.
    pub id: KeyId,
    /// The key itself, to be shown once.
    pub text: KeyText,
}

/// Keys that were made.
#[derive(Debug)]
pub struct MadeKeys {
    /// In the order of making.
    pub keys: Vec<MadeKey>,
    /// When every gateway lets them in, and has ended the user's password.
    pub revision: Revision,
}

/// A key that was made in place of another one.
#[derive(Debug)]
pub struct RotatedKey {
    /// What the new one is; all but its end is as the old one's, whose quota it has, too, of which nothing is used yet.
    pub order: KeyToMake,
    /// The new one.
    pub made: MadeKey,
    /// From this moment on the old one is refused.
    pub replaced_until: Timestamp,
    /// When every gateway knows both.
    pub revision: Revision,
}

/// May a key be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// As far as the key is concerned, yes.
    Active,
    /// Not until it is enabled again.
    Disabled,
    /// Not any more.
    Expired,
}

impl KeyState {
    /// The state of `key` at `now`.
    pub fn of(key: &ApiKeyRecord, now: Timestamp) -> Self {
        if !key.enabled {
            Self::Disabled
        } else if key.expires_at.is_some_and(|end| end <= now) {
            Self::Expired
        } else {
            Self::Active
        }
    }

    /// The word for lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
        }
    }
}

/// When a key ends that is made at `now` in the place of `old`: it lives as long as `old` was made for.
pub fn replacement_end(old: &ApiKeyRecord, now: Timestamp) -> Option<Timestamp> {
    let lifetime = |end: Timestamp| end.unix_seconds().saturating_sub(old.created_at.unix_seconds());
    old.expires_at.map(|end| now.plus_seconds(lifetime(end).max(1)))
}

/// Would a first key end something that this user's password opens now or once it is let in again?
///
/// Where MFA is on or required the password opens no door anyway, so that nothing ends.
pub fn first_key_ends_password(user: &UserRecord) -> bool {
    user.password_hash.is_some() && !user.password_off_by_key && mfa_state(user) == MfaState::Off
}

impl ControlPlane {
    /// Makes `count` equal keys in one change; the user's first one ends the access to the API by password in the same change (R8).
    pub async fn create_keys(
        &self,
        order: &KeyToMake,
        count: NonZeroU32,
        password_end: PasswordEnd,
    ) -> Result<MadeKeys, ControlError> {
        let now = self.clock.now();
        check_order(order, now)?;
        let mut change = self.begin().await?;
        let mut user = require_user(&mut change, &order.user).await?;
        change.require(Action::ChangeKeys(&user, key_kind(order.scope)))?;
        if password_end == PasswordEnd::NotAccepted && first_key_ends_password(&user) {
            return Err(ControlError::EndsPasswordAccess(user.name));
        }
        let mut keys = Vec::new();
        for _ in 0..count.get() {
            let made = self.insert_key(&mut change, user.id, order, now).await?;
            change.makes(&made.id);
            change.note(key_event(EventKind::KeyCreated, &user, made.id, &order.description, order.scope));
            keys.push(made);
        }
        if !user.password_off_by_key {
            if first_key_ends_password(&user) {
                change.note(Event::new(EventKind::PasswordEndedByKey).about(&user));
            }
            user.password_off_by_key = true;
            change.update_user(&user).await?;
        }
        Ok(MadeKeys { keys, revision: change.commit_noted().await? })
    }

    /// Makes a key like `id` and lets `id` end after `overlap_seconds`, in one change; 0 ends it with the change.
    ///
    /// The new one ends at [`replacement_end`], and has the quota of the old one, of which nothing is used yet. An old one
    /// that ends earlier than it would have to keeps its end.
    pub async fn rotate_key(&self, id: KeyId, overlap_seconds: u32) -> Result<RotatedKey, ControlError> {
        let mut change = self.begin().await?;
        let (mut old, user) = require_key(&mut change, id).await?;
        require_change(&change, &old, &user)?;
        let now = change.now();
        match KeyState::of(&old, now) {
            KeyState::Active => {}
            KeyState::Disabled => return Err(ControlError::RotatesDisabledKey(id)),
            KeyState::Expired => return Err(ControlError::RotatesExpiredKey(id)),
        }
        let order = KeyToMake {
            expires_at: replacement_end(&old, now),
            allow_list: old.allow_list.clone(),
            ..KeyToMake::new(user.name.clone(), &old.description, old.scope)
        };
        // Its list may have been emptied since it was made.
        check_reach(&order)?;
        let made = self.insert_key(&mut change, old.user, &order, now).await?;
        let quota = change.quota(QuotaOwner::Key(id)).await?;
        if quota.is_some() {
            change.set_quota(QuotaOwner::Key(made.id), quota).await?;
        }
        let overlap_end = now.plus_seconds(i64::from(overlap_seconds));
        let replaced_until = old.expires_at.map_or(overlap_end, |end| end.min(overlap_end));
        old.expires_at = Some(replaced_until);
        change.update_key(&old).await?;
        change.makes(&made.id);
        let event = key_event(EventKind::KeyReplaced, &user, id, &old.description, old.scope);
        let mut event = event.with("by", made.id).with("ends_at", replaced_until);
        if let Some(quota) = quota {
            event = event.with("quota", quota);
        }
        Ok(RotatedKey { order, made, replaced_until, revision: change.commit(event).await? })
    }

    /// Draws a key and adds it to `change`.
    async fn insert_key(
        &self,
        change: &mut Change,
        user: UserId,
        order: &KeyToMake,
        now: Timestamp,
    ) -> Result<MadeKey, ControlError> {
        let text = KeyText::draw(&self.key_ring.tag)?;
        let record = ApiKeyRecord {
            id: KeyId::from_random(random::bits()?),
            user,
            digest: self.key_ring.digest.digest(text.expose().as_bytes()),
            last_characters: text.last_characters().to_owned(),
            description: order.description.clone(),
            scope: order.scope,
            enabled: true,
            expires_at: order.expires_at,
            allow_list: order.allow_list.clone(),
            created_at: now,
        };
        change.insert_key(&record, &self.actor.name()).await?;
        Ok(MadeKey { id: record.id, text })
    }

    /// A user's keys, or everybody's, oldest first.
    pub async fn list_keys(&self, user: Option<&UserName>) -> Result<Vec<ListedKey>, ControlError> {
        let Some(name) = user else {
            self.require(Action::Operate).await?;
            return Ok(self.store.list_keys(None).await?);
        };
        let user = self.user(name).await?;
        self.require(Action::ViewKeys(&user)).await?;
        Ok(self.store.list_keys(Some(user.id)).await?)
    }

    /// A key. One of another customer is as unknown as one that does not exist.
    pub async fn key(&self, id: KeyId) -> Result<ListedKey, ControlError> {
        let unknown = || ControlError::UnknownKey(id);
        let key = self.store.listed_key(id).await?.ok_or_else(unknown)?;
        let owner = self.store.user_by_id(key.key.user).await?.ok_or_else(unknown)?;
        Holder::Key(id).unknown_if_foreign(self.require(Action::ViewKeys(&owner)).await)?;
        Ok(key)
    }

    /// A key of `name`; one that is not that user's is as unknown as one that does not exist.
    pub async fn key_of(&self, name: &UserName, id: KeyId) -> Result<ListedKey, ControlError> {
        let user = self.user(name).await?;
        self.require(Action::ViewKeys(&user)).await?;
        let key = self.store.listed_key(id).await?.filter(|key| key.key.user == user.id);
        key.ok_or(ControlError::UnknownKey(id))
    }

    /// Disables a key: refused like an unknown one from now on, and its open sessions end.
    pub async fn disable_key(&self, id: KeyId) -> Result<Revision, ControlError> {
        self.edit_key(id, EventKind::KeyDisabled, |key| key.enabled = false).await
    }

    /// Enables a key again.
    pub async fn enable_key(&self, id: KeyId) -> Result<Revision, ControlError> {
        self.edit_key(id, EventKind::KeyEnabled, |key| key.enabled = true).await
    }

    /// Deletes a key for good. The password that it ended stays off (R21).
    pub async fn delete_key(&self, id: KeyId) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        let (key, user) = require_key(&mut change, id).await?;
        require_change(&change, &key, &user)?;
        let now = change.now();
        change.delete_key(&key, now).await?;
        change.commit(key_event(EventKind::KeyDeleted, &user, id, &key.description, key.scope)).await
    }

    async fn edit_key(
        &self,
        id: KeyId,
        kind: EventKind,
        edit: impl FnOnce(&mut ApiKeyRecord),
    ) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        let (mut key, user) = require_key(&mut change, id).await?;
        require_change(&change, &key, &user)?;
        edit(&mut key);
        change.update_key(&key).await?;
        change.commit(key_event(kind, &user, id, &key.description, key.scope)).await
    }
}

/// The key and its owner.
pub(super) async fn require_key(
    change: &mut Change,
    id: KeyId,
) -> Result<(ApiKeyRecord, UserRecord), ControlError> {
    let key = change.key(id).await?.ok_or(ControlError::UnknownKey(id))?;
    let user = change.user_by_id(key.user).await?.ok_or(ControlError::UnknownKey(id))?;
    Ok((key, user))
}

/// Fails unless the actor may change `key`; another customer's is unknown.
fn require_change(change: &Change, key: &ApiKeyRecord, owner: &UserRecord) -> Result<(), ControlError> {
    let judged = change.require(Action::ChangeKeys(owner, key_kind(key.scope)));
    Holder::Key(key.id).unknown_if_foreign(judged)
}

/// Does a key of that scope manage?
pub(super) const fn key_kind(scope: ServiceScope) -> KeyKind {
    if scope.manages() { KeyKind::Manage } else { KeyKind::Door }
}

fn key_event(
    kind: EventKind,
    owner: &UserRecord,
    id: KeyId,
    description: &str,
    scope: ServiceScope,
) -> Event {
    Event::new(kind).about(owner).with("key", id).with("description", description).with("scope", scope)
}

fn check_order(order: &KeyToMake, now: Timestamp) -> Result<(), ControlError> {
    if order.description.trim().is_empty() {
        return Err(ControlError::Text {
            what: "an empty description",
            allowed: "say what the key is for, in one line",
        });
    }
    check_text("the description", &order.description)?;
    if order.expires_at.is_some_and(|end| end <= now) {
        return Err(ControlError::ExpiresInThePast);
    }
    check_reach(order)
}

/// PROTOCOL section 3, point 5.
fn check_reach(order: &KeyToMake) -> Result<(), ControlError> {
    if order.scope.manages() && order.allow_list.is_empty() {
        return Err(ControlError::ManageKeyWithoutList);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{UserChanges, UserToMake};
    use super::*;
    use crate::model::{MfaRequirement, QuotaTerms};
    use crate::store::AuditFilter;

    fn alex() -> UserName {
        "acme/alex".parse().unwrap()
    }

    fn order(scope: &str) -> KeyToMake {
        KeyToMake::new(alex(), "CI", scope.parse().unwrap())
    }

    #[tokio::test]
    async fn r8_the_first_key_of_any_scope_ends_the_password_in_the_same_change() {
        for scope in ["api", "isproxy"] {
            let (_folder, plane) = plane().await;
            let refused = plane.create_keys(&order(scope), NonZeroU32::MIN, PasswordEnd::NotAccepted).await;
            assert!(matches!(refused, Err(ControlError::EndsPasswordAccess(_))));
            assert!(plane.list_keys(Some(&alex())).await.unwrap().is_empty());
            plane.create_keys(&order(scope), NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
            assert!(plane.user(&alex()).await.unwrap().password_off_by_key);
            // The second key ends nothing more.
            plane.create_keys(&order(scope), NonZeroU32::MIN, PasswordEnd::NotAccepted).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_first_key_that_ends_nothing_needs_no_consent_and_sets_the_mark_all_the_same() {
        let (_folder, plane) = plane().await;
        let mut other = order("api");
        other.user = "acme/bot".parse().unwrap();
        plane.create_user(UserToMake::new(other.user.clone())).await.unwrap();
        plane.create_keys(&other, NonZeroU32::MIN, PasswordEnd::NotAccepted).await.unwrap();
        assert!(plane.user(&other.user).await.unwrap().password_off_by_key);

        let force = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
        plane.update_user(&alex(), &force).await.unwrap();
        plane.create_keys(&order("api"), NonZeroU32::MIN, PasswordEnd::NotAccepted).await.unwrap();
        assert!(plane.user(&alex()).await.unwrap().password_off_by_key);
    }

    #[tokio::test]
    async fn r5_and_r16_keys_stand_in_the_list_at_once_and_are_deleted_alone() {
        let (_folder, plane) = plane().await;
        let made = plane
            .create_keys(&order("api"), NonZeroU32::new(3).unwrap(), PasswordEnd::Accepted)
            .await
            .unwrap();
        let listed = plane.list_keys(Some(&alex())).await.unwrap();
        assert_eq!(listed.len(), 3);
        let texts: std::collections::HashSet<_> =
            made.keys.iter().map(|key| key.text.expose().to_owned()).collect();
        assert_eq!(texts.len(), 3);
        let gone = made.keys[1].id;
        plane.delete_key(gone).await.unwrap();
        let left: Vec<_> = plane.list_keys(None).await.unwrap().into_iter().map(|key| key.key.id).collect();
        assert_eq!(left.len(), 2);
        assert!(!left.contains(&gone));
        for result in [plane.delete_key(gone).await, plane.disable_key(gone).await] {
            assert!(matches!(result, Err(ControlError::UnknownKey(id)) if id == gone));
        }
    }

    #[tokio::test]
    async fn r10_nothing_that_is_kept_or_printed_shows_the_key() {
        let (_folder, plane) = plane().await;
        let made = plane.create_keys(&order("api"), NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let text = made.keys[0].text.expose();
        let listed = plane.key(made.keys[0].id).await.unwrap();
        assert_eq!(listed.key.last_characters, text[40..]);
        for shown in [format!("{listed:?}"), format!("{made:?}"), format!("{plane:?}")] {
            assert!(!shown.contains(&text[..40]), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_key_is_disabled_enabled_and_expires() {
        let (_folder, plane) = plane().await;
        let ends = KeyToMake { expires_at: Some(NOW.plus_seconds(60)), ..order("api") };
        let id = plane.create_keys(&ends, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id;
        let state = async |now| KeyState::of(&plane.key(id).await.unwrap().key, now);
        assert_eq!(state(NOW).await, KeyState::Active);
        assert_eq!(state(NOW.plus_seconds(60)).await, KeyState::Expired);
        plane.disable_key(id).await.unwrap();
        assert_eq!(state(NOW).await, KeyState::Disabled);
        plane.enable_key(id).await.unwrap();
        assert_eq!(state(NOW).await, KeyState::Active);
    }

    #[tokio::test]
    async fn a_rotated_key_is_like_the_old_one_and_the_old_one_ends_after_the_overlap() {
        let (_folder, plane) = plane().await;
        let ends = KeyToMake {
            expires_at: Some(NOW.plus_seconds(90 * 86_400)),
            allow_list: "192.0.2.0/24".parse().unwrap(),
            ..order("api,manage")
        };
        let old = plane.create_keys(&ends, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id;
        let later = NOW.plus_seconds(80 * 86_400);
        plane.clock.set(later);
        let rotated = plane.rotate_key(old, 86_400).await.unwrap();
        let (new, old) = (plane.key(rotated.made.id).await.unwrap(), plane.key(old).await.unwrap());
        assert_eq!(new.user, old.user);
        assert_eq!(
            (&new.key.description, new.key.scope, &new.key.allow_list, new.key.created_at),
            (&old.key.description, old.key.scope, &old.key.allow_list, later)
        );
        assert_ne!(new.key.digest, old.key.digest);
        assert_eq!(new.key.expires_at, Some(later.plus_seconds(90 * 86_400)));
        assert_eq!(old.key.expires_at, Some(later.plus_seconds(86_400)));
        assert_eq!(rotated.replaced_until, later.plus_seconds(86_400));
        assert_eq!(plane.list_keys(Some(&alex())).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_key_cannot_shed_its_quota_by_being_replaced() {
        let (_folder, plane) = plane().await;
        let old =
            plane.create_keys(&order("api"), NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0]
                .id;
        let terms = QuotaTerms::new(Some(1_000), None).unwrap();
        plane.set_quota(&Holder::Key(old), Some(terms)).await.unwrap();
        let new = plane.rotate_key(old, 86_400).await.unwrap().made.id;
        for key in [old, new] {
            let quota = plane.quota(&Holder::Key(key)).await.unwrap();
            assert_eq!(quota.map(|quota| quota.terms), Some(terms), "{key}");
        }
        let rows = plane.store.newest_audit_rows(&AuditFilter::default(), 1).await.unwrap();
        assert!(rows[0].entry.details.contains(r#""quota":"1000 a day""#), "{}", rows[0].entry.details);
    }

    #[tokio::test]
    async fn an_overlap_lengthens_no_life_and_none_ends_the_old_key_at_once() {
        let (_folder, plane) = plane().await;
        let make = async |expires_at| {
            let order = KeyToMake { expires_at, ..order("api") };
            plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id
        };
        let soon = Some(NOW.plus_seconds(60));
        let short = plane.rotate_key(make(soon).await, 86_400).await.unwrap();
        assert_eq!(Some(short.replaced_until), soon);
        assert_eq!(short.order.expires_at, soon, "as long again, from now on");
        let endless = make(None).await;
        let rotated = plane.rotate_key(endless, 0).await.unwrap();
        assert_eq!(rotated.order.expires_at, None);
        assert_eq!(KeyState::of(&plane.key(endless).await.unwrap().key, NOW), KeyState::Expired);
    }

    #[tokio::test]
    async fn only_a_key_that_is_in_use_is_rotated_and_a_refusal_makes_none() {
        let (_folder, plane) = plane().await;
        let ends = KeyToMake { expires_at: Some(NOW.plus_seconds(60)), ..order("api") };
        let made =
            plane.create_keys(&ends, NonZeroU32::new(2).unwrap(), PasswordEnd::Accepted).await.unwrap();
        let (disabled, expired) = (made.keys[0].id, made.keys[1].id);
        plane.disable_key(disabled).await.unwrap();
        let refused = plane.rotate_key(disabled, 60).await.unwrap_err();
        assert!(matches!(refused, ControlError::RotatesDisabledKey(id) if id == disabled));
        plane.clock.set(NOW.plus_seconds(60));
        let refused = plane.rotate_key(expired, 60).await.unwrap_err();
        assert!(matches!(refused, ControlError::RotatesExpiredKey(id) if id == expired));
        plane.delete_key(expired).await.unwrap();
        assert!(matches!(plane.rotate_key(expired, 60).await, Err(ControlError::UnknownKey(_))));
        assert_eq!(plane.list_keys(None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_manage_key_whose_list_was_emptied_is_not_made_again() {
        let (_folder, plane) = plane().await;
        let listed = KeyToMake { allow_list: "192.0.2.0/24".parse().unwrap(), ..order("manage") };
        let id = plane.create_keys(&listed, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id;
        plane
            .edit_key(id, EventKind::KeyDisabled, |key| key.allow_list = AllowList::default())
            .await
            .unwrap();
        assert!(matches!(plane.rotate_key(id, 60).await, Err(ControlError::ManageKeyWithoutList)));
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_before_anything_is_made() {
        let (_folder, plane) = plane().await;
        let wrong = [
            KeyToMake { description: "  ".into(), ..order("api") },
            KeyToMake { description: "a\u{1b}[2J".into(), ..order("api") },
            KeyToMake { expires_at: Some(NOW), ..order("api") },
            order("api,manage"),
        ];
        for order in wrong {
            assert!(
                plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.is_err(),
                "{order:?}"
            );
        }
        assert!(!plane.user(&alex()).await.unwrap().password_off_by_key);
        let listed = KeyToMake { allow_list: "192.0.2.0/24".parse().unwrap(), ..order("manage") };
        plane.create_keys(&listed, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
    }
}
