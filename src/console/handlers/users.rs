//! `/account/users`: the account's users, searched, filtered and paged by the store.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Queried;
use super::super::frame::{Moment, Place};
use super::super::page::{page, part_of, with_query};
use super::super::pages::users::{OwnMfa, Standing, UserFilter, UserRow, UsersPage};
use super::super::parts::{Paging, Part};
use super::super::visit::Person;
use super::account_user::{standing, state};
use crate::auth::{
    Action, ListedUser, NewRights, Presence, USERS_OF_A_PART, UserList, UserListQuery, UserSelection,
};
use crate::model::{Permission, Timestamp};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/account/users", get(list))
}

/// What the address says; a page that is no number is the first.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    search: String,
    filter: String,
    page: String,
}

async fn list(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    let user = &person.session().user;
    let filter = UserFilter::from_field(&asked.filter);
    let query = UserListQuery {
        search: asked.search.clone(),
        selection: selection(filter),
        part: part_of(&asked.page),
    };
    let listed = person.plane().list_users(user.customer, &query).await?;
    let paging = paging(&asked.search, filter, &listed);
    let own_mfa = if user.mfa_active { OwnMfa::On } else { OwnMfa::Off };
    let new_user = person.shows(Action::CreateUser(user.customer, NewRights::None));
    let last_seen = &listed.last_seen;
    let row = |user: ListedUser| {
        let seen = last_seen.get(&user.user.id).copied();
        row(user, seen)
    };
    Ok(page(&UsersPage {
        frame: person.frame("Users", Place::Users),
        search: asked.search,
        filter,
        without_mfa: listed.without_mfa,
        own_mfa,
        quotas: person.shows(Action::ViewQuotas(user.customer)),
        new_user,
        rows: listed.users.into_iter().map(row).collect(),
        paging,
    }))
}

const fn selection(filter: UserFilter) -> UserSelection {
    match filter {
        UserFilter::All => UserSelection::All,
        UserFilter::MfaOff => UserSelection::MfaOff,
        UserFilter::PasswordInUse => UserSelection::PasswordInUse,
        UserFilter::Inactive => UserSelection::Inactive,
    }
}

fn row(listed: ListedUser, last_seen: Option<Timestamp>) -> UserRow {
    let ListedUser { user, link_waits, .. } = listed;
    let held = Permission::ALL.into_iter().filter(|permission| user.permissions.holds(*permission)).count();
    let methods = || {
        let kinds = [(listed.apps > 0).then_some("app"), (listed.security_keys > 0).then_some("key")];
        kinds.into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    UserRow {
        login: user.name.login.to_string(),
        standing: if user.administrator { Standing::Administrator } else { Standing::Permissions(held) },
        access: user.access_points,
        mfa: standing(&user, methods),
        keys: listed.keys,
        last_seen: last_seen.map(Moment::from),
        state: state(&user, Presence { last_seen, link_waits }),
        full_name: user.full_name,
    }
}

fn paging(search: &str, filter: UserFilter, listed: &UserList) -> Paging {
    let (shown, matching) = (listed.users.len(), listed.matching);
    let part = Part { number: listed.part, length: USERS_OF_A_PART, shown, matching };
    Paging::of(part, ("user", "users"), |number| {
        with_query("/account/users", &[("search", search), ("filter", filter.as_str()), ("page", number)])
    })
}
