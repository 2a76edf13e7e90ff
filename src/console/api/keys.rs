//! `/users/{login}/api-keys` and `/api-keys`: keys of users.
//!
//! The text of a key is in the answer to its making, and nowhere else (SECURITY S97).

use std::num::NonZeroU32;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ConsoleState;
use super::answer::{OfAny, OfBody, OfConflict, OfNamed, created, done, ok};
use super::caller::Caller;
use super::problem::Problem;
use super::reading::{KeyInPath, Once, Told, UserInPath};
use super::shapes::{ScopeWord, allow_list, moment, networks};
use super::users::MadeBefore;
use crate::auth::{ControlError, KeyState, KeyToMake, ListedKey, PasswordEnd};
use crate::model::{Timestamp, UserName};

/// How long a replaced key may go on at most, in seconds: 30 days.
const OVERLAP_MAX_SECONDS: u32 = 30 * 86_400;

pub(super) fn routes() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::default()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(key, delete_key))
        .routes(routes!(replace_key))
        .routes(routes!(disable_key))
        .routes(routes!(enable_key))
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
struct KeyShape {
    #[schema(examples("key_0c1x8n4t7q2vz"))]
    id: String,
    /// The login name of its owner
    user: String,
    /// What it is for
    description: String,
    scope: Vec<ScopeWord>,
    /// The last 4 characters, to recognise it by
    last_characters: String,
    state: StateWord,
    /// From this moment on it is refused; absent: never
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// From where it is let in; empty: it narrows nothing
    allow_list: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Who made it; may be empty
    created_by: String,
    /// Exact to about a minute; absent: never
    #[serde(skip_serializing_if = "Option::is_none")]
    last_use: Option<LastUseShape>,
}

/// May a key be used?
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApiKeyState)]
enum StateWord {
    /// As far as the key is concerned
    Active,
    /// Not until it is enabled again
    Disabled,
    /// Not any more
    Expired,
}

/// When, where and from where a key was last used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LastUse)]
struct LastUseShape {
    #[schema(format = DateTime)]
    at: String,
    /// `api` or `isproxy`
    service: String,
    address: String,
}

/// A user's keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKeys)]
struct KeysShape {
    /// The oldest first
    api_keys: Vec<KeyShape>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewApiKey)]
struct NewKey {
    /// What it is for, in one line
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    description: String,
    #[schema(min_items = 1)]
    scope: Vec<ScopeWord>,
    /// From this moment on it is refused; a date is its first moment in UTC
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// From where it is let in; a key of scope `manage` needs at least one network
    #[serde(default)]
    allow_list: Vec<String>,
    /// A user's first key ends what the password opens at the API; without this, such a key is not made
    #[serde(default)]
    accept_password_end: bool,
}

impl NewKey {
    fn order(&self, user: UserName) -> Result<(KeyToMake, PasswordEnd), Problem> {
        let order = KeyToMake {
            expires_at: self.expires_at.as_deref().map(moment).transpose()?,
            allow_list: allow_list(&self.allow_list)?,
            ..KeyToMake::new(user, &self.description, ScopeWord::scope(&self.scope)?)
        };
        let accepted =
            if self.accept_password_end { PasswordEnd::Accepted } else { PasswordEnd::NotAccepted };
        Ok((order, accepted))
    }
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MadeApiKey)]
struct MadeKeyShape<'a> {
    id: String,
    /// The key itself, told once
    key: &'a str,
    /// From this moment on it is refused; absent: never
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// From this moment on the key in whose place it was made is refused; absent: it is in no key's place
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    replaced_until: Option<String>,
}

/// How a key is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Replacement {
    /// How long the old key goes on, in seconds; 0: it ends at once
    #[schema(maximum = 2_592_000)]
    overlap_seconds: u32,
}

impl KeyShape {
    fn of(listed: &ListedKey, now: Timestamp) -> Self {
        let key = &listed.key;
        Self {
            id: key.id.to_string(),
            user: listed.user.login.to_string(),
            description: key.description.clone(),
            scope: ScopeWord::all_of(key.scope),
            last_characters: key.last_characters.clone(),
            state: match KeyState::of(key, now) {
                KeyState::Active => StateWord::Active,
                KeyState::Disabled => StateWord::Disabled,
                KeyState::Expired => StateWord::Expired,
            },
            expires_at: key.expires_at.map(|end| end.to_string()),
            allow_list: networks(&key.allow_list),
            created_at: key.created_at.to_string(),
            created_by: listed.created_by.clone(),
            last_use: listed.last_use.as_ref().map(|used| LastUseShape {
                at: used.at.to_string(),
                service: used.service.clone(),
                address: used.address.clone(),
            }),
        }
    }
}

/// List a user's keys
#[utoipa::path(
    get,
    path = "/users/{login}/api-keys",
    operation_id = "listApiKeys",
    tag = "API keys",
    params(UserInPath),
    responses((status = 200, description = "The keys", body = KeysShape), OfAny, OfNamed)
)]
async fn list_keys(caller: Caller, UserInPath(name): UserInPath) -> Result<Response, Problem> {
    let now = caller.state().clock().now();
    let keys = caller.plane().list_keys(Some(&name)).await?;
    ok(&KeysShape { api_keys: keys.iter().map(|key| KeyShape::of(key, now)).collect() })
}

/// Create a key
///
/// Keys of scope `manage` are made by an administrator with a session.
#[utoipa::path(
    post,
    path = "/users/{login}/api-keys",
    operation_id = "createApiKey",
    tag = "API keys",
    params(UserInPath, Once),
    request_body = NewKey,
    responses(
        (status = 201, description = "The key, told once", body = MadeKeyShape),
        (status = 200, description = "This call was answered before", body = MadeBefore),
        OfAny, OfNamed, OfBody, OfConflict
    )
)]
async fn create_key(
    caller: Caller,
    UserInPath(name): UserInPath,
    once: Once,
    Told(new): Told<NewKey>,
) -> Result<Response, Problem> {
    let (order, accepted) = new.order(name)?;
    let made = match once.plane(&caller).create_keys(&order, NonZeroU32::MIN, accepted).await {
        Err(ControlError::MadeBefore(made)) => return ok(&MadeBefore::key(made)),
        made => made?,
    };
    caller.applied(made.revision).await;
    let key = made.keys.first().ok_or_else(|| Problem::defect("no key was made"))?;
    created(&MadeKeyShape {
        id: key.id.to_string(),
        key: key.text.expose(),
        expires_at: order.expires_at.map(|end| end.to_string()),
        replaced_until: None,
    })
}

/// Show a key
#[utoipa::path(
    get,
    path = "/api-keys/{id}",
    operation_id = "apiKey",
    tag = "API keys",
    params(KeyInPath),
    responses((status = 200, description = "The key, without its text", body = KeyShape), OfAny, OfNamed)
)]
async fn key(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    ok(&KeyShape::of(&caller.plane().key(id).await?, caller.state().clock().now()))
}

/// Delete a key
///
/// For good: the next request with it is refused, and what it has open ends. The password that it ended stays off.
#[utoipa::path(
    delete,
    path = "/api-keys/{id}",
    operation_id = "deleteApiKey",
    tag = "API keys",
    params(KeyInPath),
    responses((status = 204, description = "It was deleted"), OfAny, OfNamed)
)]
async fn delete_key(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    let revision = caller.plane().delete_key(id).await?;
    caller.taken_away(revision).await
}

/// Replace a key
///
/// Makes a key like it, and lets it go on for a while.
#[utoipa::path(
    post,
    path = "/api-keys/{id}/replace",
    operation_id = "replaceApiKey",
    tag = "API keys",
    params(KeyInPath, Once),
    request_body = Replacement,
    responses(
        (status = 201, description = "The new key, told once", body = MadeKeyShape),
        (status = 200, description = "This call was answered before", body = MadeBefore),
        OfAny, OfNamed, OfBody, OfConflict
    )
)]
async fn replace_key(
    caller: Caller,
    KeyInPath(id): KeyInPath,
    once: Once,
    Told(replacement): Told<Replacement>,
) -> Result<Response, Problem> {
    if replacement.overlap_seconds > OVERLAP_MAX_SECONDS {
        return Err(Problem::invalid("`overlapSeconds` is to be at most 2592000, which is 30 days"));
    }
    let rotated = match once.plane(&caller).rotate_key(id, replacement.overlap_seconds).await {
        Err(ControlError::MadeBefore(made)) => return ok(&MadeBefore::key(made)),
        rotated => rotated?,
    };
    caller.applied(rotated.revision).await;
    created(&MadeKeyShape {
        id: rotated.made.id.to_string(),
        key: rotated.made.text.expose(),
        expires_at: rotated.order.expires_at.map(|end| end.to_string()),
        replaced_until: Some(rotated.replaced_until.to_string()),
    })
}

/// Disable a key
///
/// It is refused like an unknown one until it is enabled again, and what it has open ends.
#[utoipa::path(
    post,
    path = "/api-keys/{id}/disable",
    operation_id = "disableApiKey",
    tag = "API keys",
    params(KeyInPath),
    responses((status = 204, description = "It is disabled"), OfAny, OfNamed)
)]
async fn disable_key(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    let revision = caller.plane().disable_key(id).await?;
    caller.taken_away(revision).await
}

/// Enable a key
#[utoipa::path(
    post,
    path = "/api-keys/{id}/enable",
    operation_id = "enableApiKey",
    tag = "API keys",
    params(KeyInPath),
    responses((status = 204, description = "It is enabled"), OfAny, OfNamed)
)]
async fn enable_key(caller: Caller, KeyInPath(id): KeyInPath) -> Result<Response, Problem> {
    let revision = caller.plane().enable_key(id).await?;
    caller.applied(revision).await;
    Ok(done())
}
