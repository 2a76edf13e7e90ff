//! Shapes that several areas of the management API share: users, sets of words, moments.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::auth::{UserRecord, mfa_state};
use crate::model::{
    AccessPoint, AccessPoints, AllowList, MfaRequirement, MfaState, Permission, Permissions, Service,
    ServiceScope, Timestamp,
};

/// A permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = Permission)]
pub(super) enum PermissionWord {
    /// The own API keys
    ManageApiKey,
    /// Other users' data
    ManageUser,
    /// Other users' IP whitelists
    ManageIpWhitelist,
    /// The activity
    ViewAudit,
}

/// An entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Entrance)]
pub(super) enum EntranceWord {
    /// The console, and this API
    Console,
    /// The API
    Api,
    /// IsProxy
    IsProxy,
}

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Scope)]
pub(super) enum ScopeWord {
    /// The API
    Api,
    /// IsProxy
    IsProxy,
    /// This API
    Manage,
}

/// Where a user stands with MFA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MfaState)]
pub(super) enum MfaWord {
    /// Neither set up nor required
    Off,
    /// Required, and not set up: nothing but the set-up page is open
    RequiredNotSetUp,
    /// At least one method is active
    On,
}

/// A user.
#[expect(clippy::struct_excessive_bools, reason = "JSON has no other word for what is so or not")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserShape {
    /// The login name, unique within the account
    login: String,
    /// Account and login name
    #[schema(examples("acme/alex"))]
    name: String,
    /// May be empty
    full_name: String,
    /// May be empty
    email: String,
    /// A BCP 47 tag
    language: String,
    /// Holds every permission
    administrator: bool,
    /// Those of a user who is no administrator
    permissions: Vec<PermissionWord>,
    /// The entrances that are open
    access_points: Vec<EntranceWord>,
    /// `false`: let in nowhere
    active: bool,
    mfa: MfaWord,
    /// An administrator requires MFA of this user
    mfa_required: bool,
    /// The account requires MFA of all its users
    mfa_required_by_account: bool,
    /// A password is set
    has_password: bool,
    /// The user has, or ever had, an API key: the password does not open the API
    password_off_by_key: bool,
    /// The user's own IP whitelist; empty: it narrows nothing
    allow_list: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl UserShape {
    pub(super) fn of(user: &UserRecord) -> Self {
        Self {
            login: user.name.login.to_string(),
            name: user.name.to_string(),
            full_name: user.full_name.clone(),
            email: user.email.clone(),
            language: user.language.clone(),
            administrator: user.administrator,
            permissions: PermissionWord::all_of(user.permissions),
            access_points: EntranceWord::all_of(user.access_points),
            active: user.active,
            mfa: match mfa_state(user) {
                MfaState::Off => MfaWord::Off,
                MfaState::RequiredNotSetUp => MfaWord::RequiredNotSetUp,
                MfaState::On => MfaWord::On,
            },
            mfa_required: user.mfa == MfaRequirement::Required,
            mfa_required_by_account: user.customer_mfa == MfaRequirement::Required,
            has_password: user.password_hash.is_some(),
            password_off_by_key: user.password_off_by_key,
            allow_list: networks(&user.allow_list),
            created_at: user.created_at.to_string(),
        }
    }
}

impl PermissionWord {
    const ALL: [(Self, Permission); 4] = [
        (Self::ManageApiKey, Permission::ManageApiKey),
        (Self::ManageUser, Permission::ManageUser),
        (Self::ManageIpWhitelist, Permission::ManageIpWhitelist),
        (Self::ViewAudit, Permission::ViewAudit),
    ];

    fn all_of(held: Permissions) -> Vec<Self> {
        Self::ALL.into_iter().filter(|(_, one)| held.holds(*one)).map(|(word, _)| word).collect()
    }

    /// The set that `words` name.
    pub(super) fn set(words: &[Self]) -> Permissions {
        Self::ALL.into_iter().filter(|(word, _)| words.contains(word)).map(|(_, one)| one).collect()
    }
}

impl EntranceWord {
    const ALL: [(Self, AccessPoint); 3] = [
        (Self::Console, AccessPoint::Console),
        (Self::Api, AccessPoint::Api),
        (Self::IsProxy, AccessPoint::IsProxy),
    ];

    fn all_of(open: AccessPoints) -> Vec<Self> {
        Self::ALL.into_iter().filter(|(_, one)| open.holds(*one)).map(|(word, _)| word).collect()
    }

    /// The word for `point`.
    pub(super) const fn of(point: AccessPoint) -> Self {
        match point {
            AccessPoint::Console => Self::Console,
            AccessPoint::Api => Self::Api,
            AccessPoint::IsProxy => Self::IsProxy,
        }
    }

    /// The set that `words` name.
    pub(super) fn set(words: &[Self]) -> AccessPoints {
        let named = Self::ALL.into_iter().filter(|(word, _)| words.contains(word));
        let text: Vec<_> = named.map(|(_, one)| one.as_str()).collect();
        // Nothing named is no entrance; every word above is known.
        let text = if text.is_empty() { String::from("none") } else { text.join(",") };
        text.parse().unwrap_or(AccessPoints::from_stored(0))
    }
}

impl ScopeWord {
    pub(super) fn all_of(scope: ServiceScope) -> Vec<Self> {
        let api = scope.holds(Service::Api).then_some(Self::Api);
        let isproxy = scope.holds(Service::IsProxy).then_some(Self::IsProxy);
        let manage = scope.manages().then_some(Self::Manage);
        [api, isproxy, manage].into_iter().flatten().collect()
    }

    /// The scope that `words` name.
    pub(super) fn scope(words: &[Self]) -> Result<ServiceScope, Problem> {
        let words = words.iter().map(|word| match word {
            Self::Api => "api",
            Self::IsProxy => "isproxy",
            Self::Manage => "manage",
        });
        let text = words.collect::<Vec<_>>().join(",");
        text.parse()
            .map_err(|_| Problem::invalid("`scope` names nothing; a key opens `api`, `isproxy` or `manage`"))
    }
}

/// The networks of `list`, each as it was written.
pub(super) fn networks(list: &AllowList) -> Vec<String> {
    list.networks().iter().map(ToString::to_string).collect()
}

/// The list of these networks.
pub(super) fn allow_list(networks: &[String]) -> Result<AllowList, Problem> {
    AllowList::parse(networks.iter().map(String::as_str)).map_err(|error| Problem::invalid(error.to_string()))
}

/// The moment that `text` names.
pub(super) fn moment(text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|error: crate::model::InvalidTimestamp| Problem::invalid(error.to_string()))
}
