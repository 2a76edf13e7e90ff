//! `/account/users/{login}/deactivate`, `/reactivate`, `/delete`, `/allow-password`: asked first, then done.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Sent};
use super::super::frame::{Notice, Place};
use super::super::page::{page, see_other};
use super::super::pages::user_question::{UserQuestion, UserQuestionPage};
use super::super::parts::counted;
use super::super::visit::Person;
use super::account_user::{all_uses, ended_text, find, open_now, path};
use crate::auth::{Action, Activation, KeysEvidence, UserRecord};

pub(super) fn routes() -> Router<ConsoleState> {
    let questions = [
        UserQuestion::Deactivate,
        UserQuestion::Reactivate,
        UserQuestion::Delete,
        UserQuestion::AllowPassword,
    ];
    questions.into_iter().fold(Router::new(), |router, question| {
        let ask = move |person: Person, Path(login): Path<String>| ask(person, login, question);
        let act =
            move |person: Person, Path(login): Path<String>, _: Form<Sent>| act(person, login, question);
        router.route(&format!("/account/users/{{login}}/{}", question.path()), get(ask).post(act))
    })
}

const fn action(question: UserQuestion, user: &UserRecord) -> Action<'_> {
    match question {
        UserQuestion::Deactivate | UserQuestion::Reactivate => Action::SetActivation(user),
        UserQuestion::Delete => Action::DeleteUser(user),
        UserQuestion::AllowPassword => Action::AllowPassword(user),
    }
}

async fn ask(person: Person, login: String, question: UserQuestion) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    person.plane().may(action(question, &user)).await?;
    let plane = person.plane();
    let (access, evidence) = tokio::try_join!(plane.access(&user.name), plane.evidence_for(&user.name))?;
    let keys = match &evidence.keys {
        KeysEvidence::Each(keys) => keys.len(),
        KeysEvidence::Together { count, .. } => *count,
    };
    if question == UserQuestion::AllowPassword && keys > 0 {
        let keys = counted(keys, "API key", "API keys");
        person.tell(Notice::warning(format!(
            "{login} still has {keys}. The password can be allowed again once none is left."
        )));
        return Ok(see_other(&path(&user, "")));
    }
    let evidence = all_uses(&access, &evidence);
    let open_now = open_now(&person, &user).await?;
    let login = user.name.login.to_string();
    let frame = person.frame(&question.title(&login), Place::Users);
    Ok(page(&UserQuestionPage { frame, login, question, keys, open_now, evidence }))
}

async fn act(person: Person, login: String, question: UserQuestion) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    let plane = person.plane();
    let open = open_now(&person, &user).await?;
    let name = &user.name;
    let (revision, notice) = match question {
        UserQuestion::Deactivate => {
            let revision = plane.set_activation(name, Activation::Deactivated).await?;
            let ended =
                plane.reach(revision).await?.map_or_else(|| ended_text(open), |reach| reach.sentence());
            (revision, format!("{login} was deactivated.{ended}"))
        }
        UserQuestion::Reactivate => {
            let revision = plane.set_activation(name, Activation::Active).await?;
            (revision, format!("{login} was reactivated."))
        }
        UserQuestion::Delete => {
            let deleted = plane.delete_user(name).await?;
            let keys = match deleted.keys {
                0 => String::new(),
                keys => format!(" with {}", counted(keys, "API key", "API keys")),
            };
            let reach = plane.reach(deleted.revision).await?;
            let ended = reach.map_or_else(|| ended_text(open), |reach| reach.sentence());
            (deleted.revision, format!("{login} was deleted{keys}.{ended}"))
        }
        UserQuestion::AllowPassword => {
            let revision = plane.allow_password(name).await?;
            (revision, format!("The password of {login} is allowed again."))
        }
    };
    person.access().in_force(revision).await;
    person.tell(Notice::success(notice));
    Ok(match question {
        UserQuestion::Delete => see_other(Place::Users.href()),
        UserQuestion::Deactivate | UserQuestion::Reactivate | UserQuestion::AllowPassword => {
            see_other(&path(&user, ""))
        }
    })
}
