//! Deleting an API key: first the page with what stops, then the deletion, which is in force when the answer comes.

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Sent};
use super::super::frame::{Moment, Notice};
use super::super::page::{page, see_other};
use super::super::pages::key_delete::{KeyDeletePage, Recency};
use super::super::parts::counted;
use super::super::visit::Person;
use super::api_keys::last_use;
use super::whose::{KeyInPath, Whose};
use crate::auth::{ListedKey, OpenedBy};
use crate::model::Timestamp;

/// A use of the last 24 hours is told in red.
const LATELY_SECONDS: i64 = 86_400;

pub(super) fn routes() -> Router<ConsoleState> {
    let deletion = || get(ask).post(delete);
    Router::new()
        .route("/profile/api-keys/{id}/delete", deletion())
        .route("/account/users/{login}/api-keys/{id}/delete", deletion())
}

async fn ask(person: Person, whose: Whose, KeyInPath(id): KeyInPath) -> Result<Response, Failure> {
    let listed = person.plane().key_of(whose.name(), id).await?;
    let key = &listed.key;
    Ok(page(&KeyDeletePage {
        frame: person.frame(&KeyDeletePage::title(&key.description), whose.place()),
        base: whose.keys_base(),
        id: key.id.to_string(),
        last_characters: key.last_characters.clone(),
        scope: key.scope,
        created: Moment::from(key.created_at),
        created_by: listed.created_by.clone(),
        last_use: recency(&listed, person.access().clock().now()),
        open_now: person.access().authenticator().open_sessions_of(OpenedBy::Key(id)).total(),
    }))
}

async fn delete(
    person: Person,
    whose: Whose,
    KeyInPath(id): KeyInPath,
    Form(Sent {}): Form<Sent>,
) -> Result<Response, Failure> {
    let plane = person.plane();
    let key = plane.key_of(whose.name(), id).await?.key;
    let authenticator = person.access().authenticator();
    let ended = authenticator.open_sessions_of(OpenedBy::Key(id)).total();
    let revision = plane.delete_key(id).await?;
    authenticator.applied(revision).await;
    let mut told = format!("API key “{}” was deleted.", key.description);
    if let Some(reach) = plane.reach(revision).await? {
        told.push_str(&reach.sentence());
    } else if ended > 0 {
        let ended = counted(ended, "open connection or session was", "open connections and sessions were");
        told = format!("{told} {ended} ended.");
    }
    if plane.list_keys(Some(whose.name())).await?.is_empty() {
        told.push_str(" Password authentication to the API stays off for this user.");
    }
    person.tell(Notice::success(told));
    Ok(see_other(&whose.keys_base()))
}

fn recency(listed: &ListedKey, now: Timestamp) -> Recency {
    match (&listed.last_use, last_use(listed)) {
        (Some(used), Some(shown)) => {
            let age = now.unix_seconds().saturating_sub(used.at.unix_seconds());
            if age <= LATELY_SECONDS { Recency::Lately(shown) } else { Recency::Earlier(shown) }
        }
        _ => Recency::Never,
    }
}
