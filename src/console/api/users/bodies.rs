//! What is sent and answered about users.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::caller::Caller;
use super::super::problem::Problem;
use super::super::shapes::{EntranceWord, PermissionWord, UserShape};
use crate::auth::{
    AccessCell, AccessTable, FirstPassword, LINK_LIVES_SECONDS, UserChanges, UserRecord, UserToMake,
};
use crate::model::{LinkPurpose, Login, MfaRequirement, Secret};

/// Users of one page unless another number is asked for.
const PAGE: u32 = 50;
/// Users of one page at most.
const PAGE_MAX: u32 = 500;

/// Which users are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Whose login name, full name or e-mail address holds this, in any case
    #[serde(default)]
    #[param(required = false, max_length = 200)]
    search: String,
    /// How many at most
    #[serde(default = "page")]
    #[param(required = false, minimum = 1, maximum = 500, default = 50)]
    limit: u32,
    /// `next` of the page before
    #[param(nullable = false, pattern = "^[A-Za-z0-9._@+-]{1,64}$")]
    cursor: Option<String>,
}

const fn page() -> u32 {
    PAGE
}

/// A page of users.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserPage {
    users: Vec<UserShape>,
    /// What to ask for the next page with, as `cursor`; absent: this is the last
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// How many are found in all
    total: usize,
}

impl Listing {
    pub(super) fn check(&self) -> Result<(), Problem> {
        if !(1..=PAGE_MAX).contains(&self.limit) {
            return Err(Problem::invalid("`limit` is to be a number from 1 to 500"));
        }
        if self.search.chars().count() > 200 {
            return Err(Problem::invalid("`search` is to be at most 200 characters"));
        }
        if self.cursor.as_ref().is_some_and(|cursor| cursor.parse::<Login>().is_err()) {
            return Err(Problem::invalid("`cursor` is to be what `next` of the page before says"));
        }
        Ok(())
    }

    /// The wanted ones of `users`, who stand in the order of their names.
    pub(super) fn page(&self, users: &[UserRecord]) -> UserPage {
        let wanted = self.search.to_lowercase();
        let is_found = |user: &&UserRecord| {
            let texts = [user.name.login.as_str(), &user.full_name, &user.email];
            texts.iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        let mut found: Vec<_> = users.iter().filter(is_found).collect();
        found.sort_by(|one, other| one.name.login.cmp(&other.name.login));
        let total = found.len();
        let is_behind = |user: &&&UserRecord| {
            self.cursor.as_ref().is_none_or(|cursor| user.name.login.as_str() > cursor.as_str())
        };
        let behind: Vec<_> = found.iter().filter(is_behind).collect();
        let shown = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let users: Vec<_> = behind.iter().take(shown).map(|user| UserShape::of(user)).collect();
        let last = users.len().checked_sub(1).and_then(|last| behind.get(last));
        let next = last.filter(|_| behind.len() > shown).map(|user| user.name.login.to_string());
        UserPage { users, next, total }
    }
}

/// A user to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewUser {
    /// The login name, unique within the account
    #[schema(pattern = "^[A-Za-z0-9._@+-]{1,64}$")]
    login: String,
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    full_name: String,
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    email: String,
    /// A BCP 47 tag; `en` unless another is named
    #[schema(pattern = "^[A-Za-z][A-Za-z0-9]{0,7}(-[A-Za-z0-9]{1,8}){0,3}$")]
    language: Option<String>,
    /// Is to hold every permission
    #[serde(default)]
    administrator: bool,
    #[serde(default)]
    permissions: Vec<PermissionWord>,
    /// The entrances that are to be open; all unless named
    access_points: Option<Vec<EntranceWord>>,
    /// Nothing but the set-up page is open until MFA is set up
    #[serde(default)]
    mfa_required: bool,
    /// Answer a one-time link by which the user chooses a password; without, no password opens anything
    #[serde(default)]
    link: bool,
}

impl NewUser {
    pub(super) fn order(self, caller: &Caller) -> Result<UserToMake, Problem> {
        let login: Login = self
            .login
            .parse()
            .map_err(|error: crate::model::InvalidName| Problem::invalid(error.to_string()))?;
        let made = UserToMake::new(caller.user(login));
        Ok(UserToMake {
            full_name: self.full_name,
            email: self.email,
            language: self.language.unwrap_or_else(|| made.language.clone()),
            administrator: self.administrator,
            permissions: PermissionWord::set(&self.permissions),
            access_points: self.access_points.map_or(made.access_points, |words| EntranceWord::set(&words)),
            mfa: requirement(self.mfa_required),
            password: if self.link { FirstPassword::Link } else { FirstPassword::None },
            ..made
        })
    }
}

const fn requirement(required: bool) -> MfaRequirement {
    if required { MfaRequirement::Required } else { MfaRequirement::Optional }
}

/// A user that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeUser)]
pub(super) struct MadeUserShape<'a> {
    pub(super) user: UserShape,
    /// Where one was wanted; told once
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<LinkShape<'a>>,
}

/// A one-time link, told once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Link)]
pub(super) struct LinkShape<'a> {
    /// What to give to the user
    #[schema(value_type = String)]
    url: LinkUrl<'a>,
    purpose: LinkWord,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LinkPurpose)]
enum LinkWord {
    /// To choose a password
    Password,
    /// To sign in after a reset of MFA, beside the password
    SignIn,
}

/// Written straight into the answer, so that no other copy of the token is made.
struct LinkUrl<'a> {
    console: String,
    token: &'a Secret<String>,
}

impl Serialize for LinkUrl<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/welcome/{}", self.console, self.token.expose()))
    }
}

impl<'a> LinkShape<'a> {
    pub(super) fn of(caller: &Caller, token: &'a Secret<String>, purpose: LinkPurpose) -> Self {
        let state = caller.state();
        Self {
            url: LinkUrl { console: state.public_url().to_string(), token },
            purpose: match purpose {
                LinkPurpose::Password => LinkWord::Password,
                LinkPurpose::SignIn => LinkWord::SignIn,
            },
            expires_at: state.clock().now().plus_seconds(LINK_LIVES_SECONDS).to_string(),
        }
    }
}

/// What a call made that was sent before.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeBefore)]
pub(in super::super) struct Replayed {
    /// The key's id, or the user's login name
    id: String,
}

impl Replayed {
    /// The user of this name.
    pub(in super::super) fn user(name: &str) -> Self {
        Self { id: name.split_once('/').map_or(name, |(_, login)| login).to_owned() }
    }

    /// The key of this id.
    pub(in super::super) fn key(id: String) -> Self {
        Self { id }
    }
}

/// What to change of a user; what is absent or null stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserEdit {
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    full_name: Option<String>,
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    email: Option<String>,
    #[schema(pattern = "^[A-Za-z][A-Za-z0-9]{0,7}(-[A-Za-z0-9]{1,8}){0,3}$")]
    language: Option<String>,
    administrator: Option<bool>,
    /// All that are to be held from now on
    permissions: Option<Vec<PermissionWord>>,
    /// All that are to be open from now on
    access_points: Option<Vec<EntranceWord>>,
    mfa_required: Option<bool>,
}

impl UserEdit {
    pub(super) fn changes(self) -> UserChanges {
        UserChanges {
            full_name: self.full_name,
            email: self.email,
            language: self.language,
            administrator: self.administrator,
            permissions: self.permissions.map(|words| PermissionWord::set(&words)),
            access_points: self.access_points.map(|words| EntranceWord::set(&words)),
            mfa: self.mfa_required.map(requirement),
            ..UserChanges::default()
        }
    }
}

/// How a user gets in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Access {
    console_password: Cell,
    api_password: Cell,
    api_key: Cell,
    isproxy_password: Cell,
    isproxy_key: Cell,
}

/// What one credential opens at one entrance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessCell)]
struct Cell {
    /// Is it let in?
    admitted: bool,
    /// What with, or why not; may be empty
    note: String,
}

impl Access {
    pub(super) fn of(table: &AccessTable) -> Self {
        let cell = |cell: &AccessCell| Cell { admitted: cell.admits(), note: cell.note().to_owned() };
        Self {
            console_password: cell(&table.console_password),
            api_password: cell(&table.api_password),
            api_key: cell(&table.api_key),
            isproxy_password: cell(&table.isproxy_password),
            isproxy_key: cell(&table.isproxy_key),
        }
    }
}
