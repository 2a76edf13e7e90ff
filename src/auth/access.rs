//! "How this user gets in": the table of who may enter where with what, by the same rules as the doors.

use std::fmt;

use super::control_plane::{ControlError, ControlPlane};
use super::decision::DenialReason;
use super::policy::{Circumstances, Entrance, KeyFacts, UserFacts, Verdict, judge};
use super::sign_in::password_has_ended;
use super::users::mfa_state;
use crate::model::{Service, UserName};
use crate::store::{ListedKey, UserRecord};

/// How a user gets in: three entrances, two credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTable {
    /// The console, by password.
    pub console_password: AccessCell,
    /// The API, by password.
    pub api_password: AccessCell,
    /// The API, by key.
    pub api_key: AccessCell,
    /// `IsProxy`, by password.
    pub isproxy_password: AccessCell,
    /// `IsProxy`, by key.
    pub isproxy_key: AccessCell,
}

/// One cell of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessCell {
    /// In; what with.
    In(String),
    /// Out; why.
    Out(Obstacle),
}

/// What keeps a credential out, by the setting that has it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no password.
    NoPassword,
    /// There is no key.
    NoKey,
    /// There are keys, and none opens this door.
    NoKeyFor(Service),
    /// A key has ended the password, and there is one still.
    KeyExists,
    /// A key has ended the password, and none is left.
    KeyExisted,
    /// Somebody else chose the password, and it is not replaced yet.
    NewPassword,
    /// After a reset of MFA a sign-in by the link is due.
    Link,
    /// MFA is required and not set up, so that only its page is open.
    SetUpPageOnly,
    /// A rule says so.
    Rule(DenialReason),
}

impl Obstacle {
    /// In words.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NoPassword => "no password is set",
            Self::NoKey => "no key exists",
            Self::NoKeyFor(Service::Api) => "no key has API access",
            Self::NoKeyFor(Service::IsProxy) => "no key has IsProxy access",
            Self::KeyExists => "an API key exists",
            Self::KeyExisted => "an API key existed",
            Self::NewPassword => "the password must be replaced in the console first",
            Self::Link => "the next sign-in to the console takes the one-time link first",
            Self::SetUpPageOnly => "set-up page only: MFA is required and not set up",
            Self::Rule(reason) => reason.explanation(),
        }
    }
}

impl AccessCell {
    /// Does the credential let in?
    pub const fn admits(&self) -> bool {
        matches!(self, Self::In(_))
    }

    /// What with, or why not.
    pub fn note(&self) -> &str {
        match self {
            Self::In(note) => note,
            Self::Out(obstacle) => obstacle.explanation(),
        }
    }
}

impl fmt::Display for AccessCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(note) if note.is_empty() => f.write_str("yes"),
            Self::In(note) if note.starts_with("then") => write!(f, "yes, {note}"),
            Self::In(note) => write!(f, "yes  {note}"),
            Self::Out(obstacle) => write!(f, "no   {}", obstacle.explanation()),
        }
    }
}

impl ControlPlane {
    /// How `name` gets in, wherever from; addresses are not asked.
    pub async fn access(&self, name: &UserName) -> Result<AccessTable, ControlError> {
        let user = self.user(name).await?;
        // How many there are is told to whoever may see the user; which ones is not.
        let keys = self.store.list_keys(Some(user.id)).await?;
        let password = |entrance| self.password_cell(&user, &keys, entrance);
        Ok(AccessTable {
            console_password: password(Entrance::Console),
            api_password: password(Entrance::ApiPassword),
            api_key: self.key_cell(&user, &keys, Service::Api),
            isproxy_password: password(Entrance::IsProxyPassword),
            isproxy_key: self.key_cell(&user, &keys, Service::IsProxy),
        })
    }

    /// Would `key` let `user` in at `service`?
    pub(super) fn judge_key(
        &self,
        user: &UserRecord,
        key: &ListedKey,
        service: Service,
        at: Circumstances,
    ) -> Verdict {
        judge(Entrance::Key(service, &key_facts(key)), &user_facts(user), at, &self.policy)
    }

    fn anywhere(&self) -> Circumstances {
        Circumstances { client_ip: None, now: self.clock.now() }
    }

    fn password_cell(&self, user: &UserRecord, keys: &[ListedKey], entrance: Entrance<'_>) -> AccessCell {
        if user.password_hash.is_none() {
            return AccessCell::Out(Obstacle::NoPassword);
        }
        let at = self.anywhere();
        let is_console = matches!(entrance, Entrance::Console);
        match judge(entrance, &user_facts(user), at, &self.policy) {
            Verdict::Refused(DenialReason::PasswordOffByKey) if keys.is_empty() => {
                AccessCell::Out(Obstacle::KeyExisted)
            }
            Verdict::Refused(DenialReason::PasswordOffByKey) => AccessCell::Out(Obstacle::KeyExists),
            Verdict::Refused(reason) => AccessCell::Out(Obstacle::Rule(reason)),
            _ if password_has_ended(user, at.now) => {
                AccessCell::Out(Obstacle::Rule(DenialReason::PasswordEnded))
            }
            Verdict::Allowed if !is_console && user.password_ends_at.is_some() => {
                AccessCell::Out(Obstacle::NewPassword)
            }
            Verdict::Allowed if !is_console && user.link_required => AccessCell::Out(Obstacle::Link),
            Verdict::Allowed if is_console => AccessCell::In(console_note(user, "")),
            Verdict::Allowed => AccessCell::In(String::new()),
            Verdict::AllowedWithFactor => AccessCell::In(console_note(user, "MFA")),
            Verdict::SetUpPageOnly => AccessCell::Out(Obstacle::SetUpPageOnly),
        }
    }

    fn key_cell(&self, user: &UserRecord, keys: &[ListedKey], service: Service) -> AccessCell {
        if keys.is_empty() {
            return AccessCell::Out(Obstacle::NoKey);
        }
        let for_door: Vec<_> = keys.iter().filter(|key| key.key.scope.holds(service)).collect();
        let verdicts: Vec<_> =
            for_door.iter().map(|key| self.judge_key(user, key, service, self.anywhere())).collect();
        let admitted = verdicts.iter().filter(|verdict| **verdict == Verdict::Allowed).count();
        match (admitted, verdicts.first()) {
            (0, None) => AccessCell::Out(Obstacle::NoKeyFor(service)),
            (0, Some(Verdict::Refused(reason))) => AccessCell::Out(Obstacle::Rule(*reason)),
            (1, _) => AccessCell::In(String::from("1 key")),
            (admitted, _) => AccessCell::In(format!("{admitted} keys")),
        }
    }
}

/// What the console takes beside the password: the link of a reset, `factor`, a password in the place of one that somebody
/// else chose.
fn console_note(user: &UserRecord, factor: &str) -> String {
    let password = if user.password_ends_at.is_some() { "a new password" } else { "" };
    let then: Vec<_> = [factor, password].into_iter().filter(|step| !step.is_empty()).collect();
    let then = if then.is_empty() { String::new() } else { format!("then {}", then.join(" and ")) };
    match (user.link_required, then.is_empty()) {
        (false, _) => then,
        (true, true) => String::from("with the one-time link"),
        (true, false) => format!("with the one-time link, {then}"),
    }
}

/// What the rules need to know of a stored key.
pub(super) fn key_facts(key: &ListedKey) -> KeyFacts<'_> {
    KeyFacts {
        enabled: key.key.enabled,
        expires_at: key.key.expires_at,
        scope: key.key.scope,
        list: &key.key.allow_list,
    }
}

/// What the rules need to know of a stored user.
pub(super) fn user_facts(user: &UserRecord) -> UserFacts<'_> {
    UserFacts {
        active: user.active,
        access_points: user.access_points,
        mfa: mfa_state(user),
        password_off_by_key: user.password_off_by_key,
        customer_list: &user.customer_allow_list,
        user_list: &user.allow_list,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::plane;
    use super::super::{Activation, KeyToMake, PasswordEnd, UserChanges};
    use super::*;
    use crate::model::MfaRequirement;

    fn cells(table: &AccessTable) -> [String; 5] {
        [
            &table.console_password,
            &table.api_password,
            &table.api_key,
            &table.isproxy_password,
            &table.isproxy_key,
        ]
        .map(ToString::to_string)
    }

    #[tokio::test]
    async fn the_table_says_how_and_why() {
        let (_folder, plane) = plane().await;
        let alex: UserName = "acme/alex".parse().unwrap();
        assert_eq!(
            cells(&plane.access(&alex).await.unwrap()),
            ["yes", "yes", "no   no key exists", "yes", "no   no key exists"]
        );
        let two = NonZeroU32::new(2).unwrap();
        let order = KeyToMake::new(alex.clone(), "CI", "api".parse().unwrap());
        plane.create_keys(&order, two, PasswordEnd::Accepted).await.unwrap();
        assert_eq!(
            cells(&plane.access(&alex).await.unwrap()),
            ["yes", "no   an API key exists", "yes  2 keys", "yes", "no   no key has IsProxy access"]
        );
        let forced = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
        plane.update_user(&alex, &forced).await.unwrap();
        let off = "no   MFA is required and not set up";
        assert_eq!(
            cells(&plane.access(&alex).await.unwrap()),
            [
                "no   set-up page only: MFA is required and not set up",
                off,
                "yes  2 keys",
                off,
                "no   no key has IsProxy access"
            ]
        );
        plane.set_activation(&alex, Activation::Deactivated).await.unwrap();
        let table = plane.access(&alex).await.unwrap();
        assert!(!table.api_key.admits());
        assert_eq!(table.api_key.note(), "the user is deactivated");
    }

    #[tokio::test]
    async fn a_password_that_somebody_else_chose_or_that_takes_a_link_opens_no_door_first() {
        let (_folder, plane) = plane().await;
        let alex: UserName = "acme/alex".parse().unwrap();
        let id = plane.user(&alex).await.unwrap().id;
        let hash = plane.user(&alex).await.unwrap().password_hash.unwrap();
        let mut change = plane.store.mutate().await.unwrap();
        change.set_password(id, &hash, Some(plane.clock.now().plus_seconds(60))).await.unwrap();
        change.commit().await.unwrap();
        let none = "no   no key exists";
        let first = "no   the password must be replaced in the console first";
        let told = cells(&plane.access(&alex).await.unwrap());
        assert_eq!(told, ["yes, then a new password", first, none, first, none]);
        plane.clock.set(plane.clock.now().plus_seconds(60));
        let over = "no   a password that an administrator chose was not replaced in time";
        assert_eq!(cells(&plane.access(&alex).await.unwrap()), [over, over, none, over, none]);
        let mut change = plane.store.mutate().await.unwrap();
        change.set_password(id, &hash, None).await.unwrap();
        change.require_link(id, crate::store::LinkDemand::NextSignIn).await.unwrap();
        change.commit().await.unwrap();
        let first = "no   the next sign-in to the console takes the one-time link first";
        let told = cells(&plane.access(&alex).await.unwrap());
        assert_eq!(told, ["yes  with the one-time link", first, none, first, none]);
    }

    #[tokio::test]
    async fn the_sample_of_the_interface_comes_out_word_for_word() {
        let (_folder, plane) = plane().await;
        let alex: UserName = "acme/alex".parse().unwrap();
        let order = KeyToMake::new(alex.clone(), "CI", "api".parse().unwrap());
        let two = NonZeroU32::new(2).unwrap();
        plane.create_keys(&order, two, PasswordEnd::Accepted).await.unwrap();
        let mut change = plane.store.mutate().await.unwrap();
        let mut user = change.user(&alex).await.unwrap().unwrap();
        user.mfa_active = true;
        change.update_user(&user).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(
            cells(&plane.access(&alex).await.unwrap()),
            [
                "yes, then MFA",
                "no   MFA is on",
                "yes  2 keys",
                "no   MFA is on",
                "no   no key has IsProxy access"
            ]
        );
    }

    #[tokio::test]
    async fn r21_the_table_tells_a_key_that_exists_from_one_that_existed() {
        let (_folder, plane) = plane().await;
        let alex: UserName = "acme/alex".parse().unwrap();
        let order = KeyToMake::new(alex.clone(), "CI", "isproxy".parse().unwrap());
        let made = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let shown = plane.access(&alex).await.unwrap();
        assert_eq!(shown.api_password.note(), "an API key exists");
        assert_eq!(shown.isproxy_key.to_string(), "yes  1 key");
        plane.delete_key(made.keys[0].id).await.unwrap();
        let shown = plane.access(&alex).await.unwrap();
        assert_eq!(shown.api_password.note(), "an API key existed");
        assert!(shown.isproxy_password.admits());
    }
}
