//! What the pages about one user of the account share: the user that an address names, what is shown to whom, words.
//!
//! A login name is one of the viewer's own customer, so that nobody else's user has an address (S25). Used by the
//! handlers of users.

use super::super::failure::Failure;
use super::super::frame::Moment;
use super::super::pages::user::RequiredBy;
use super::super::pages::users::{MfaStanding, UserState};
use super::super::parts::{Evidence, LastUse, counted};
use super::super::visit::Person;
use super::whose::user_named;
use crate::auth::{
    AccessTable, CredentialEvidence, Evidence as UserEvidence, KeyEvidence, KeysEvidence, OpenedBy, Presence,
    UserRecord, mfa_state,
};
use crate::figures::grouped;
use crate::model::{AccessPoint, MfaRequirement, MfaState, Service};

/// The user of that login name, if the viewer may see it.
pub(super) async fn find(person: &Person, login: &str) -> Result<UserRecord, Failure> {
    Ok(person.plane().user(&user_named(person, login)?).await?)
}

/// Is it the viewer's own user?
pub(super) fn is_own(person: &Person, user: &UserRecord) -> bool {
    person.session().user.id == user.id
}

/// The address of the user's page, or of one below it.
pub(super) fn path(user: &UserRecord, below: &str) -> String {
    let slash = if below.is_empty() { "" } else { "/" };
    format!("/account/users/{}{slash}{below}", user.name.login)
}

/// What a person is called: by the full name, or by the login name where there is none.
pub(super) fn called(user: &UserRecord) -> &str {
    if user.full_name.is_empty() { user.name.login.as_str() } else { &user.full_name }
}

/// The user's MFA; `methods` tells in words what is on.
pub(super) fn standing(user: &UserRecord, methods: impl FnOnce() -> String) -> MfaStanding {
    match mfa_state(user) {
        MfaState::On => MfaStanding::On(methods()),
        MfaState::Off => MfaStanding::Off,
        MfaState::RequiredNotSetUp => MfaStanding::RequiredNotSetUp,
    }
}

/// `1 app, 2 security keys`.
pub(super) fn methods_text(apps: usize, security_keys: usize) -> String {
    let apps = (apps > 0).then(|| counted(apps, "app", "apps"));
    let keys = (security_keys > 0).then(|| counted(security_keys, "security key", "security keys"));
    apps.into_iter().chain(keys).collect::<Vec<_>>().join(", ")
}

/// Who requires MFA of the user.
pub(super) fn required_by(user: &UserRecord) -> RequiredBy {
    match (user.customer_mfa, user.mfa) {
        (MfaRequirement::Required, _) => RequiredBy::Customer,
        (_, MfaRequirement::Required) => RequiredBy::Administrator,
        _ => RequiredBy::Nobody,
    }
}

/// Is the user let in?
pub(super) fn state(user: &UserRecord, presence: Presence) -> UserState {
    if !user.active {
        UserState::Deactivated
    } else if user.password_hash.is_none() && presence.link_waits {
        UserState::Invited
    } else {
        UserState::Active
    }
}

/// What is open of the user at this moment: at the doors of this gateway, and at the console.
pub(super) async fn open_now(person: &Person, user: &UserRecord) -> Result<usize, Failure> {
    let at_doors = person.access().authenticator().open_sessions_of(OpenedBy::User(user.id)).total();
    Ok(at_doors + person.access().sessions_of(user).await?.len())
}

/// `2 sessions and connections ended.`, or nothing where nothing was open.
pub(super) fn ended_text(ended: usize) -> String {
    match ended {
        0 => String::new(),
        1 => String::from(" 1 session or connection ended."),
        more => {
            format!(" {} sessions and connections ended.", grouped(u64::try_from(more).unwrap_or(u64::MAX)))
        }
    }
}

/// What the user's password does at the doors that it opens now, and would not do any more.
pub(super) fn password_uses(access: &AccessTable, evidence: &UserEvidence) -> Vec<Evidence> {
    let at = |door, admits: bool, evidence: &CredentialEvidence| {
        let last = evidence.last_use.filter(|_| admits)?;
        let address = last.address.to_string();
        let last_use = LastUse { at: Moment::from(last.at), address };
        Some(Evidence { what: String::from("The password"), door, last_use })
    };
    let api = at(Service::Api, access.api_password.admits(), &evidence.api_password);
    let isproxy = at(Service::IsProxy, access.isproxy_password.admits(), &evidence.isproxy_password);
    api.into_iter().chain(isproxy).collect()
}

/// What all of the user's credentials do that are let in now.
pub(super) fn all_uses(access: &AccessTable, evidence: &UserEvidence) -> Vec<Evidence> {
    let mut all = password_uses(access, evidence);
    if let KeysEvidence::Each(keys) = &evidence.keys {
        all.extend(keys.iter().filter_map(key_use));
    }
    all
}

fn key_use(key: &KeyEvidence) -> Option<Evidence> {
    let latest = key.addresses.iter().find(|seen| seen.entrance != AccessPoint::Console)?;
    Some(Evidence {
        what: format!("The API key “{}”", key.description),
        door: latest.entrance.service()?,
        last_use: LastUse { at: Moment::from(latest.at), address: latest.address.to_string() },
    })
}
