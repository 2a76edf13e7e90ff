//! `/users`: the account's users, and what is done to them.

mod bodies;

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ConsoleState;
use super::answer::{OfAny, OfBody, OfConflict, OfNamed, OfValues, created, done, ok};
use super::caller::Caller;
use super::problem::Problem;
use super::reading::{Asked, Once, Told, UserInPath};
use super::shapes::UserShape;
use crate::auth::{Activation, ControlError, MadeLink};
use crate::model::LinkPurpose;
use bodies::{Access, LinkShape, Listing, MadeUserShape, NewUser, Replayed, UserEdit, UserPage};

pub(super) use bodies::Replayed as MadeBefore;

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default()
        .routes(routes!(list_users, create_user))
        .routes(routes!(user, update_user, delete_user))
        .routes(routes!(deactivate_user))
        .routes(routes!(reactivate_user))
        .routes(routes!(allow_password))
        .routes(routes!(issue_link))
        .routes(routes!(reset_mfa))
        .routes(routes!(user_access))
}

/// List the account's users
///
/// By login name.
#[utoipa::path(
    get,
    path = "/users",
    operation_id = "listUsers",
    tag = "Users",
    params(Listing),
    responses((status = 200, description = "A page of users", body = UserPage), OfAny, OfValues)
)]
async fn list_users(caller: Caller, Asked(listing): Asked<Listing>) -> Result<Response, Problem> {
    listing.check()?;
    let users = caller.plane().users(Some(caller.customer())).await?;
    ok(&listing.page(&users))
}

/// Create a user
///
/// Administrators alone give permissions. A key of scope `manage` makes users without link and without `mfaRequired`.
#[utoipa::path(
    post,
    path = "/users",
    operation_id = "createUser",
    tag = "Users",
    params(Once),
    request_body = NewUser,
    responses(
        (status = 201, description = "The user was made", body = MadeUserShape),
        (status = 200, description = "This call was answered before", body = Replayed),
        OfAny, OfBody, OfConflict
    )
)]
async fn create_user(caller: Caller, once: Once, Told(new): Told<NewUser>) -> Result<Response, Problem> {
    let order = new.order(&caller)?;
    let name = order.name.clone();
    let made = match once.plane(&caller).create_user(order).await {
        Err(ControlError::MadeBefore(made)) => return ok(&Replayed::user(&made)),
        made => made?,
    };
    caller.applied(made.revision).await;
    let user = caller.plane().user(&name).await?;
    let link = made.link.as_ref().map(|token| LinkShape::of(&caller, token, LinkPurpose::Password));
    created(&MadeUserShape { user: UserShape::of(&user), link })
}

/// Show a user
#[utoipa::path(
    get,
    path = "/users/{login}",
    operation_id = "user",
    tag = "Users",
    params(UserInPath),
    responses((status = 200, description = "The user", body = UserShape), OfAny, OfNamed)
)]
async fn user(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    ok(&UserShape::of(&caller.plane().user(&name).await?))
}

/// Change a user
///
/// What is not named stays as it is. What the user may no longer open ends at once.
#[utoipa::path(
    patch,
    path = "/users/{login}",
    operation_id = "updateUser",
    tag = "Users",
    params(UserInPath),
    request_body = UserEdit,
    responses((status = 204, description = "It was changed"), OfAny, OfNamed, OfBody, OfConflict)
)]
async fn update_user(
    caller: Caller,
    UserInPath(name): UserInPath,
    Told(edit): Told<UserEdit>,
) -> Result<Response, Problem> {
    let revision = caller.plane().update_user(&name, &edit.changes()).await?;
    caller.applied(revision).await;
    Ok(done())
}

/// Delete a user
///
/// With all its keys, for good.
#[utoipa::path(
    delete,
    path = "/users/{login}",
    operation_id = "deleteUser",
    tag = "Users",
    params(UserInPath),
    responses((status = 204, description = "It was deleted"), OfAny, OfNamed, OfConflict)
)]
async fn delete_user(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    let deleted = caller.plane().delete_user(&name).await?;
    caller.taken_away(deleted.revision).await
}

/// Deactivate a user
///
/// It is let in nowhere, with nothing, and what it has open ends.
#[utoipa::path(
    post,
    path = "/users/{login}/deactivate",
    operation_id = "deactivateUser",
    tag = "Users",
    params(UserInPath),
    responses((status = 204, description = "It is deactivated"), OfAny, OfNamed, OfConflict)
)]
async fn deactivate_user(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    let revision = caller.plane().set_activation(&name, Activation::Deactivated).await?;
    caller.taken_away(revision).await
}

/// Reactivate a user
#[utoipa::path(
    post,
    path = "/users/{login}/reactivate",
    operation_id = "reactivateUser",
    tag = "Users",
    params(UserInPath),
    responses((status = 204, description = "It is active"), OfAny, OfNamed)
)]
async fn reactivate_user(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    let revision = caller.plane().set_activation(&name, Activation::Active).await?;
    caller.applied(revision).await;
    Ok(done())
}

/// Allow a user's password at the API again
///
/// Only once the user has no key left. Not by a key of scope `manage`.
#[utoipa::path(
    post,
    path = "/users/{login}/allow-password",
    operation_id = "allowPassword",
    tag = "Users",
    params(UserInPath),
    responses((status = 204, description = "It is allowed"), OfAny, OfNamed, OfConflict)
)]
async fn allow_password(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    let revision = caller.plane().allow_password(&name).await?;
    caller.applied(revision).await;
    Ok(done())
}

/// Issue a one-time link
///
/// For a password of the user's own, or after a reset of MFA for the sign-in. It takes the place of an earlier one. Not by
/// a key of scope `manage`.
#[utoipa::path(
    post,
    path = "/users/{login}/link",
    operation_id = "issueLink",
    tag = "Users",
    params(UserInPath, Once),
    responses(
        (status = 201, description = "The link, told once", body = LinkShape),
        (status = 200, description = "This call was answered before", body = Replayed),
        OfAny, OfNamed, OfValues
    )
)]
async fn issue_link(caller: Caller, UserInPath(name): UserInPath, once: Once) -> Result<Response, Problem> {
    told_link(&caller, once.plane(&caller).issue_link(&name).await).await
}

/// Reset a user's MFA
///
/// Takes its methods, recovery codes and sessions away. MFA is required from then on, and the next sign-in takes the link
/// beside the password. Never one's own, and not by a key of scope `manage`.
#[utoipa::path(
    post,
    path = "/users/{login}/reset-mfa",
    operation_id = "resetMfa",
    tag = "Users",
    params(UserInPath, Once),
    responses(
        (status = 201, description = "The link for the next sign-in, told once", body = LinkShape),
        (status = 200, description = "This call was answered before", body = Replayed),
        OfAny, OfNamed, OfValues
    )
)]
async fn reset_mfa(caller: Caller, UserInPath(name): UserInPath, once: Once) -> Result<Response, Problem> {
    told_link(&caller, once.plane(&caller).reset_mfa(&name).await).await
}

async fn told_link(caller: &Caller, made: Result<MadeLink, ControlError>) -> Result<Response, Problem> {
    let made = match made {
        Err(ControlError::MadeBefore(made)) => return ok(&Replayed::user(&made)),
        made => made?,
    };
    caller.applied(made.revision).await;
    created(&LinkShape::of(caller, &made.token, made.purpose))
}

/// How a user gets in
///
/// By the rules that decide at the doors; addresses are not asked.
#[utoipa::path(
    get,
    path = "/users/{login}/access",
    operation_id = "userAccess",
    tag = "Users",
    params(UserInPath),
    responses((status = 200, description = "What lets the user in where, and why not", body = Access), OfAny, OfNamed)
)]
async fn user_access(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    ok(&Access::of(&caller.plane().access(&name).await?))
}
