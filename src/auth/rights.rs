//! Who may do what to whom: points 3 and 5 of PROTOCOL section 3 as one pure function.
//!
//! Console, `/api/v1` and command line ask it alike; the command line's operator may do everything and is not asked
//! about. It says nothing of the data: that one administrator remains, for example, is the use case's to check.
//! Called by `change`.

use super::decision::DenialReason;
use crate::model::{CustomerId, Permission, Permissions};
use crate::store::UserRecord;

/// The user who asks, as the store knows it now.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The user.
    pub user: &'a UserRecord,
    /// What it came in with.
    pub via: Via,
}

/// What the asking user came in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A console session whose password (and factor) was shown within the last ten minutes.
    FreshSession,
    /// A console session that is older (S96).
    Session,
    /// A one-time link.
    Link,
    /// A key of scope `manage`.
    ManageKey,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// See the customer's users and figures.
    ViewUsers(CustomerId),
    /// See a user's data.
    ViewUser(&'a UserRecord),
    /// Make a user of the customer.
    CreateUser(CustomerId, NewRights),
    /// Say how a new user of the customer first signs in: by a link or a password, and with MFA or without.
    ChooseFirstSignIn(CustomerId),
    /// Change a name, an e-mail address, a language: one's own too.
    EditProfile(&'a UserRecord),
    /// Open and close entrances.
    EditAccess(&'a UserRecord),
    /// Deactivate or reactivate.
    SetActivation(&'a UserRecord),
    /// Delete for good.
    DeleteUser(&'a UserRecord),
    /// Give and take permissions, and administration.
    SetRights(&'a UserRecord),
    /// Require MFA of a user who exists, or stop requiring it.
    RequireMfa(&'a UserRecord),
    /// Take a user's methods away.
    ResetMfa(&'a UserRecord),
    /// Choose a password for somebody else.
    SetPassword(&'a UserRecord),
    /// Let a password open the API again.
    AllowPassword(&'a UserRecord),
    /// Give out a one-time link.
    IssueLink(&'a UserRecord),
    /// Change a user's list.
    SetAllowList(&'a UserRecord, ListChange),
    /// Change the customer's list.
    SetCustomerAllowList(CustomerId, ListChange),
    /// See a user's keys.
    ViewKeys(&'a UserRecord),
    /// Make, change or delete a key of a user.
    ChangeKeys(&'a UserRecord, KeyKind),
    /// Change the list of a user's key.
    SetKeyAllowList(&'a UserRecord, KeyKind, ListChange),
    /// See a customer's quota of requests, which is all its users' matter.
    ViewCustomerQuota(CustomerId),
    /// See all quotas of the customer's users and keys.
    ViewQuotas(CustomerId),
    /// Say how many requests a user, or a user's key, may make.
    SetQuota(&'a UserRecord),
    /// Say how many requests a customer's users may make.
    SetCustomerQuota(CustomerId),
    /// See the customer's audit trail.
    ViewActivity(CustomerId),
    /// Set up, change or remove one's own MFA methods.
    OwnMfa(&'a UserRecord),
    /// Change one's own password.
    OwnPassword(&'a UserRecord),
    /// What concerns the whole installation or the customer itself: the operator's alone.
    Operate,
}

/// What a new user is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewRights {
    /// Nothing.
    None,
    /// Permissions, or administration.
    Some,
}

/// Does a change let more addresses in?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange {
    /// No.
    Narrows,
    /// Yes, or nobody has looked.
    Widens,
}

/// Which kind of key is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// It opens doors.
    Door,
    /// Its scope holds `manage`.
    Manage,
}

/// Why something may not be done by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It belongs to another customer: answered like what does not exist.
    #[error("there is no such thing")]
    Unknown,
    /// A permission is missing, which an administrator can give.
    #[error("you need the permission {}; an administrator of your account can give it to you", .0.as_str())]
    Permission(Permission),
    /// Administrators alone do this.
    #[error("only an administrator of your account can do this")]
    Administrator,
    /// Nobody does this to oneself.
    #[error("nobody can do this to the own user; another administrator can")]
    Yourself,
    /// An administrator's data are administrators' matter.
    #[error("only an administrator can change an administrator")]
    OfAdministrator,
    /// The other one holds a permission that the asker lacks.
    #[error("only an administrator can change a user who holds {}, which you lack", .0.as_str())]
    HolderOf(Permission),
    /// Only the user's own business.
    #[error("only the user can do this")]
    OnlyOneself,
    /// Not by a key of scope `manage`, whatever its owner may.
    #[error("an API key of scope `manage` cannot do this; a person can, in the console")]
    NotByKey,
    /// Not by a one-time link.
    #[error("a one-time link lets you choose a password and nothing else")]
    NotByLink,
    /// The operator's, at the command line.
    #[error("only the operator can do this, at the command line")]
    Operator,
    /// The last sign-in is too long ago for this (S96).
    #[error("confirm that it is you: the last sign-in was more than 10 minutes ago")]
    StaleAuthentication,
    /// MFA is required and not set up: nothing but that is open (R25).
    #[error("MFA is required; set it up first")]
    MfaSetUp,
    /// The asker's second factor is due (S28).
    #[error("show your second factor first")]
    SecondFactor,
    /// Somebody else chose the asker's password; nothing is open before it is replaced.
    #[error("choose a password of your own first")]
    NewPassword,
    /// The asker is not let in any more.
    #[error("you are not let in any more: {}", .0.explanation())]
    Asker(DenialReason),
}

/// May `asker` do `action`?
pub fn allow(asker: Asker<'_>, action: Action<'_>) -> Result<(), Forbidden> {
    if action.customer() != Some(asker.user.customer) {
        return Err(if matches!(action, Action::Operate) { Forbidden::Operator } else { Forbidden::Unknown });
    }
    match asker.via {
        Via::Link if !matches!(action, Action::OwnPassword(_)) => return Err(Forbidden::NotByLink),
        Via::ManageKey => not_beyond_a_key(action)?,
        Via::Link | Via::FreshSession | Via::Session => {}
    }
    holds_the_right(asker.user, action)?;
    if asker.via == Via::Session && action.needs_fresh_authentication() {
        return Err(Forbidden::StaleAuthentication);
    }
    Ok(())
}

fn holds_the_right(asker: &UserRecord, action: Action<'_>) -> Result<(), Forbidden> {
    let is_self = action.target().is_some_and(|target| target.id == asker.id);
    match action {
        Action::OwnMfa(_) | Action::OwnPassword(_) => is_self.then_some(()).ok_or(Forbidden::OnlyOneself),
        Action::ViewUser(_) | Action::EditProfile(_) if is_self => Ok(()),
        Action::ViewKeys(_)
        | Action::ChangeKeys(_, KeyKind::Door)
        | Action::SetKeyAllowList(_, KeyKind::Door, _)
            if is_self =>
        {
            require(asker, Permission::ManageApiKey)
        }
        Action::ResetMfa(_) if is_self => Err(Forbidden::Yourself),
        Action::ViewActivity(_) => require(asker, Permission::ViewAudit),
        Action::ViewUsers(_) | Action::ViewUser(_) => {
            require(asker, Permission::ManageIpWhitelist).or_else(|_| require(asker, Permission::ManageUser))
        }
        Action::CreateUser(_, NewRights::None) | Action::ChooseFirstSignIn(_) => {
            require(asker, Permission::ManageUser)
        }
        Action::EditProfile(target) | Action::EditAccess(target) | Action::SetActivation(target) => {
            require(asker, Permission::ManageUser)?;
            require_above(asker, target)
        }
        Action::SetAllowList(target, _) => {
            require(asker, Permission::ManageIpWhitelist)?;
            match (asker.administrator, target.administrator, is_self) {
                (false, true, _) => Err(Forbidden::OfAdministrator),
                (false, false, true) => Err(Forbidden::Yourself),
                (true, ..) | (false, false, false) => Ok(()),
            }
        }
        Action::ViewCustomerQuota(_) => Ok(()),
        Action::Operate | Action::SetCustomerQuota(_) => Err(Forbidden::Operator),
        Action::CreateUser(_, NewRights::Some)
        | Action::DeleteUser(_)
        | Action::SetRights(_)
        | Action::RequireMfa(_)
        | Action::ResetMfa(_)
        | Action::SetPassword(_)
        | Action::AllowPassword(_)
        | Action::IssueLink(_)
        | Action::SetCustomerAllowList(..)
        | Action::ViewQuotas(_)
        | Action::SetQuota(_)
        | Action::ViewKeys(_)
        | Action::ChangeKeys(..)
        | Action::SetKeyAllowList(..) => asker.administrator.then_some(()).ok_or(Forbidden::Administrator),
    }
}

fn require(asker: &UserRecord, permission: Permission) -> Result<(), Forbidden> {
    if asker.administrator || asker.permissions.holds(permission) {
        Ok(())
    } else {
        Err(Forbidden::Permission(permission))
    }
}

/// What `MANAGE_USER` alone does not reach: the own user, administrators, and holders of what the asker lacks.
fn require_above(asker: &UserRecord, target: &UserRecord) -> Result<(), Forbidden> {
    if asker.administrator {
        return Ok(());
    }
    if target.id == asker.id {
        return Err(Forbidden::Yourself);
    }
    if target.administrator {
        return Err(Forbidden::OfAdministrator);
    }
    let lacks = |held: Permissions| {
        Permission::ALL.into_iter().find(|one| held.holds(*one) && !asker.permissions.holds(*one))
    };
    lacks(target.permissions).map_or(Ok(()), |permission| Err(Forbidden::HolderOf(permission)))
}

/// PROTOCOL section 3, point 5: whatever its owner may, a key touches none of these.
fn not_beyond_a_key(action: Action<'_>) -> Result<(), Forbidden> {
    let of_administrator = action.changes() && action.target().is_some_and(|target| target.administrator);
    let beyond = matches!(
        action,
        Action::CreateUser(_, NewRights::Some)
            | Action::ChooseFirstSignIn(_)
            | Action::SetRights(_)
            | Action::RequireMfa(_)
            | Action::ResetMfa(_)
            | Action::SetPassword(_)
            | Action::AllowPassword(_)
            | Action::IssueLink(_)
            | Action::OwnMfa(_)
            | Action::OwnPassword(_)
            | Action::ChangeKeys(_, KeyKind::Manage)
            | Action::SetKeyAllowList(_, KeyKind::Manage, _)
            | Action::SetAllowList(_, ListChange::Widens)
            | Action::SetCustomerAllowList(_, ListChange::Widens)
            | Action::SetKeyAllowList(_, _, ListChange::Widens)
    );
    if beyond || of_administrator { Err(Forbidden::NotByKey) } else { Ok(()) }
}

impl<'a> Action<'a> {
    /// The customer that it happens in; `None`: it concerns no single one.
    fn customer(self) -> Option<CustomerId> {
        match self {
            Self::ViewUsers(customer)
            | Self::CreateUser(customer, _)
            | Self::ChooseFirstSignIn(customer)
            | Self::SetCustomerAllowList(customer, _)
            | Self::ViewCustomerQuota(customer)
            | Self::ViewQuotas(customer)
            | Self::SetCustomerQuota(customer)
            | Self::ViewActivity(customer) => Some(customer),
            Self::Operate => None,
            _ => self.target().map(|target| target.customer),
        }
    }

    /// Whom it happens to.
    const fn target(self) -> Option<&'a UserRecord> {
        match self {
            Self::ViewUser(target)
            | Self::EditProfile(target)
            | Self::EditAccess(target)
            | Self::SetActivation(target)
            | Self::DeleteUser(target)
            | Self::SetRights(target)
            | Self::RequireMfa(target)
            | Self::ResetMfa(target)
            | Self::SetPassword(target)
            | Self::AllowPassword(target)
            | Self::IssueLink(target)
            | Self::SetAllowList(target, _)
            | Self::ViewKeys(target)
            | Self::ChangeKeys(target, _)
            | Self::SetKeyAllowList(target, ..)
            | Self::SetQuota(target)
            | Self::OwnMfa(target)
            | Self::OwnPassword(target) => Some(target),
            Self::ViewUsers(_)
            | Self::CreateUser(..)
            | Self::ChooseFirstSignIn(_)
            | Self::SetCustomerAllowList(..)
            | Self::ViewCustomerQuota(_)
            | Self::ViewQuotas(_)
            | Self::SetCustomerQuota(_)
            | Self::ViewActivity(_)
            | Self::Operate => None,
        }
    }

    const fn changes(self) -> bool {
        !matches!(
            self,
            Self::ViewUsers(_)
                | Self::ViewUser(_)
                | Self::ViewKeys(_)
                | Self::ViewCustomerQuota(_)
                | Self::ViewQuotas(_)
                | Self::ViewActivity(_)
        )
    }

    /// Does it take a sign-in of the last ten minutes (S96)? Everything does that touches keys, MFA, passwords, e-mail
    /// addresses, permissions, lists or links, and making or deleting users.
    const fn needs_fresh_authentication(self) -> bool {
        self.changes()
    }
}

#[cfg(test)]
mod tests {
    use super::KeyKind::{Door, Manage};
    use super::ListChange::{Narrows, Widens};
    use super::*;
    use crate::model::{AccessPoints, AllowList, MfaRequirement, Timestamp, UserId};

    fn user(id: i64, name: &str, administrator: bool, permissions: &[Permission]) -> UserRecord {
        UserRecord {
            id: UserId(id),
            customer: CustomerId(if name.starts_with("acme/") { 1 } else { 2 }),
            name: name.parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator,
            permissions: permissions.iter().copied().collect(),
            access_points: AccessPoints::ALL,
            active: true,
            password_hash: None,
            password_version: 1,
            password_ends_at: None,
            password_off_by_key: false,
            mfa: MfaRequirement::Optional,
            customer_mfa: MfaRequirement::Optional,
            mfa_active: false,
            mfa_generation: 0,
            link_required: false,
            allow_list: AllowList::default(),
            customer_allow_list: AllowList::default(),
            created_at: Timestamp::from_unix_milliseconds(0),
        }
    }

    /// Makes `actions` and, of the same lines, a match over all kinds: one that is left out here does not compile.
    macro_rules! actions {
        ($target:ident; $($name:literal, $kind:pat => $action:expr;)*) => {
            /// Every action on `target`, by name.
            fn actions($target: &UserRecord) -> Vec<(&'static str, Action<'_>)> {
                let name = |action| match action {
                    $($kind => $name,)*
                };
                [$($action),*].map(|action| (name(action), action)).into()
            }
        };
    }

    actions! {
        target;
        "view users", Action::ViewUsers(_) => Action::ViewUsers(target.customer);
        "view", Action::ViewUser(_) => Action::ViewUser(target);
        "create", Action::CreateUser(_, NewRights::None) =>
            Action::CreateUser(target.customer, NewRights::None);
        "create with rights", Action::CreateUser(_, NewRights::Some) =>
            Action::CreateUser(target.customer, NewRights::Some);
        "first sign-in", Action::ChooseFirstSignIn(_) => Action::ChooseFirstSignIn(target.customer);
        "profile", Action::EditProfile(_) => Action::EditProfile(target);
        "access", Action::EditAccess(_) => Action::EditAccess(target);
        "activation", Action::SetActivation(_) => Action::SetActivation(target);
        "delete", Action::DeleteUser(_) => Action::DeleteUser(target);
        "rights", Action::SetRights(_) => Action::SetRights(target);
        "require MFA", Action::RequireMfa(_) => Action::RequireMfa(target);
        "reset MFA", Action::ResetMfa(_) => Action::ResetMfa(target);
        "password", Action::SetPassword(_) => Action::SetPassword(target);
        "allow password", Action::AllowPassword(_) => Action::AllowPassword(target);
        "link", Action::IssueLink(_) => Action::IssueLink(target);
        "narrow list", Action::SetAllowList(_, Narrows) => Action::SetAllowList(target, Narrows);
        "widen list", Action::SetAllowList(_, Widens) => Action::SetAllowList(target, Widens);
        "narrow customer list", Action::SetCustomerAllowList(_, Narrows) =>
            Action::SetCustomerAllowList(target.customer, Narrows);
        "widen customer list", Action::SetCustomerAllowList(_, Widens) =>
            Action::SetCustomerAllowList(target.customer, Widens);
        "view keys", Action::ViewKeys(_) => Action::ViewKeys(target);
        "keys", Action::ChangeKeys(_, Door) => Action::ChangeKeys(target, Door);
        "manage keys", Action::ChangeKeys(_, Manage) => Action::ChangeKeys(target, Manage);
        "narrow key list", Action::SetKeyAllowList(_, Door, Narrows) =>
            Action::SetKeyAllowList(target, Door, Narrows);
        "widen key list", Action::SetKeyAllowList(_, Door, Widens) =>
            Action::SetKeyAllowList(target, Door, Widens);
        "narrow manage key list", Action::SetKeyAllowList(_, Manage, Narrows) =>
            Action::SetKeyAllowList(target, Manage, Narrows);
        "widen manage key list", Action::SetKeyAllowList(_, Manage, Widens) =>
            Action::SetKeyAllowList(target, Manage, Widens);
        "view customer quota", Action::ViewCustomerQuota(_) => Action::ViewCustomerQuota(target.customer);
        "view quotas", Action::ViewQuotas(_) => Action::ViewQuotas(target.customer);
        "quota", Action::SetQuota(_) => Action::SetQuota(target);
        "customer quota", Action::SetCustomerQuota(_) => Action::SetCustomerQuota(target.customer);
        "activity", Action::ViewActivity(_) => Action::ViewActivity(target.customer);
        "own MFA", Action::OwnMfa(_) => Action::OwnMfa(target);
        "own password", Action::OwnPassword(_) => Action::OwnPassword(target);
        "operate", Action::Operate => Action::Operate;
    }

    fn allowed(asker: &UserRecord, via: Via, target: &UserRecord) -> Vec<&'static str> {
        let allowed = |action| allow(Asker { user: asker, via }, action).is_ok();
        actions(target).into_iter().filter(|(_, action)| allowed(*action)).map(|(name, _)| name).collect()
    }

    #[test]
    fn s91_the_rights_of_each_kind_of_user_are_those_of_the_table() {
        let plain = user(1, "acme/plain", false, &[]);
        let other = user(2, "acme/other", false, &[]);
        let admin = user(3, "acme/admin", true, &[]);
        let second = user(4, "acme/second", true, &[]);
        let keys = user(5, "acme/keys", false, &[Permission::ManageApiKey]);
        let users = user(6, "acme/users", false, &[Permission::ManageUser]);
        let lists = user(7, "acme/lists", false, &[Permission::ManageIpWhitelist]);
        let auditor = user(8, "acme/auditor", false, &[Permission::ViewAudit]);
        let fresh = Via::FreshSession;
        // The customer's quota counts everybody's requests, so that everybody sees it.
        let own = ["view", "profile", "view customer quota", "own MFA", "own password"];
        assert_eq!(allowed(&plain, fresh, &plain), own);
        assert_eq!(allowed(&plain, fresh, &other), ["view customer quota"]);
        assert_eq!(
            allowed(&keys, fresh, &keys),
            [
                "view",
                "profile",
                "view keys",
                "keys",
                "narrow key list",
                "widen key list",
                "view customer quota",
                "own MFA",
                "own password"
            ]
        );
        assert_eq!(allowed(&keys, fresh, &other), ["view customer quota"]);
        assert_eq!(
            allowed(&users, fresh, &other),
            [
                "view users",
                "view",
                "create",
                "first sign-in",
                "profile",
                "access",
                "activation",
                "view customer quota"
            ]
        );
        for beyond in [&admin, &keys, &lists] {
            assert_eq!(
                allowed(&users, fresh, beyond),
                ["view users", "view", "create", "first sign-in", "view customer quota"],
                "{}",
                beyond.name
            );
        }
        assert_eq!(
            allowed(&users, fresh, &users),
            [
                "view users",
                "view",
                "create",
                "first sign-in",
                "profile",
                "view customer quota",
                "own MFA",
                "own password"
            ]
        );
        assert_eq!(
            allowed(&lists, fresh, &other),
            ["view users", "view", "narrow list", "widen list", "view customer quota"]
        );
        assert_eq!(allowed(&lists, fresh, &admin), ["view users", "view", "view customer quota"]);
        assert_eq!(
            allowed(&lists, fresh, &lists),
            ["view users", "view", "profile", "view customer quota", "own MFA", "own password"]
        );
        assert_eq!(allowed(&auditor, fresh, &other), ["view customer quota", "activity"]);
        let all: Vec<_> = actions(&other).into_iter().map(|(name, _)| name).collect();
        let but = |excepted: &[&str]| {
            all.iter().copied().filter(|name| !excepted.contains(name)).collect::<Vec<_>>()
        };
        for target in [&other, &second] {
            let beyond = ["customer quota", "own MFA", "own password", "operate"];
            assert_eq!(allowed(&admin, fresh, target), but(&beyond));
        }
        assert_eq!(allowed(&admin, fresh, &admin), but(&["reset MFA", "customer quota", "operate"]));
    }

    #[test]
    fn s25_another_customers_things_are_unknown_to_everybody() {
        let admin = user(1, "acme/admin", true, &[]);
        let foreign = user(9, "beta/admin", true, &[]);
        for (name, action) in actions(&foreign) {
            let expected = if name == "operate" { Forbidden::Operator } else { Forbidden::Unknown };
            let told = allow(Asker { user: &admin, via: Via::FreshSession }, action);
            assert_eq!(told, Err(expected), "{name}");
        }
    }

    #[test]
    fn s91_a_manage_key_touches_no_mfa_permission_administrator_password_link_manage_key_and_widens_no_list()
    {
        let admin = user(1, "acme/admin", true, &[]);
        let other = user(2, "acme/other", false, &[]);
        assert_eq!(
            allowed(&admin, Via::ManageKey, &other),
            [
                "view users",
                "view",
                "create",
                "profile",
                "access",
                "activation",
                "delete",
                "narrow list",
                "narrow customer list",
                "view keys",
                "keys",
                "narrow key list",
                "view customer quota",
                "view quotas",
                "quota",
                "activity"
            ]
        );
        let second = user(3, "acme/second", true, &[]);
        assert_eq!(
            allowed(&admin, Via::ManageKey, &second),
            [
                "view users",
                "view",
                "create",
                "narrow customer list",
                "view keys",
                "view customer quota",
                "view quotas",
                "activity"
            ]
        );
    }

    #[test]
    fn s96_an_old_session_looks_and_changes_nothing() {
        let admin = user(1, "acme/admin", true, &[]);
        let other = user(2, "acme/other", false, &[]);
        assert_eq!(
            allowed(&admin, Via::Session, &other),
            ["view users", "view", "view keys", "view customer quota", "view quotas", "activity"]
        );
        let told = allow(Asker { user: &admin, via: Via::Session }, Action::ResetMfa(&other));
        assert_eq!(told, Err(Forbidden::StaleAuthentication));
        let told = allow(Asker { user: &other, via: Via::Session }, Action::ResetMfa(&admin));
        assert_eq!(told, Err(Forbidden::Administrator), "nobody is asked in vain to confirm");
    }

    #[test]
    fn s102_a_link_chooses_the_own_password_and_nothing_else() {
        let admin = user(1, "acme/admin", true, &[]);
        assert_eq!(allowed(&admin, Via::Link, &admin), ["own password"]);
    }
}
