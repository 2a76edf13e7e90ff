//! `/sign-in` and `/sign-out`: account, user name and password in, the session out.
//!
//! Whoever came here from a page goes back to it. Whether a password is right, and what a refusal hides, `auth` decides;
//! here every refusal has one text and one status.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{HeaderValue, SET_COOKIE};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::cookies::ConsoleCookie;
use super::super::failure::Failure;
use super::super::form::{Form, Queried, Sent};
use super::super::frame::{Frame, Notice};
use super::super::page::{holding, own_path, page, see_other, with_query};
use super::super::pages::sign_in::{SignIn, cookies_needed, session_over, signed_out};
use super::super::visit::{Person, Visit};
use super::factors::Refused;
use crate::auth::{PasswordSignIn, SessionStep, SignedIn};
use crate::model::{Secret, SignInStage, UserName};

/// Said of whatever is not let in, whyever.
pub(super) const WRONG: &str = "Account, user name or password is not correct.";
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Why the sign-in page is shown, as its address says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The session was not used for too long.
    Over,
    /// The second step took too long or was tried too often.
    Again,
    /// Signed out.
    SignedOut,
    /// A password was chosen by a link.
    Chosen,
}

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route("/sign-in", get(show).post(sign_in)).route("/sign-out", post(sign_out))
}

/// What the page's address may say.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    next: String,
    reason: String,
    account: String,
    user: String,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    account: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

async fn show(visit: Visit, headers: HeaderMap, Queried(asked): Queried<Asked>) -> Response {
    let goal = Goal::of(&asked.next);
    let step = visit.session().map(|session| session.step);
    if step.is_some_and(|step| step != SessionStep::SecondFactor) {
        return see_other(&goal.next);
    }
    let idle_minutes = visit.state().limits().console_session_idle_seconds / 60;
    let cookies = visit.state().cookies();
    let keeps = |cookie| cookies.value(&headers, cookie).is_some();
    let notice = if goal.was_signed_in && !keeps(ConsoleCookie::Session) && !keeps(ConsoleCookie::Device) {
        Some(cookies_needed())
    } else {
        reason_of(&asked.reason, goal.is_second_step).map(|reason| reason.notice(idle_minutes))
    };
    let mut frame = visit.bare_frame("Sign in");
    frame.notices.extend(notice);
    page(&SignIn { frame, account: asked.account, user: asked.user, next: goal.next_or_nothing() })
}

async fn sign_in(visit: Visit, headers: HeaderMap, Form(typed): Form<Typed>) -> Result<Response, Failure> {
    let (account, user) = split_name(&typed.account, &typed.user);
    let goal = Goal::of(&typed.next);
    let device = visit.state().cookies().value(&headers, ConsoleCookie::Device);
    let presented = PasswordSignIn {
        name: &format!("{account}/{user}"),
        password: Secret::new(typed.password),
        link: None,
        device: device.as_ref().map(|device| device.expose().as_str()),
    };
    match visit.access().sign_in(visit.visitor(), presented).await {
        Ok(signed_in) => Ok(entered(visit.state(), &signed_in, &goal.next_or_nothing())),
        Err(fault) => {
            let refused = Refused::password(fault, WRONG)?;
            let mut frame: Frame = visit.bare_frame("Sign in");
            frame.errors = refused.of_field("account");
            Ok(refused.answer(&SignIn { frame, account, user, next: goal.next_or_nothing() }))
        }
    }
}

async fn sign_out(person: Person, Form(Sent {}): Form<Sent>) -> Result<Response, Failure> {
    person.access().sign_out(person.session()).await?;
    let mut answer = forgetting(person.state(), see_other(&Reason::SignedOut.path("")));
    answer.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\", \"storage\""));
    Ok(answer)
}

/// The answer to a password, and a factor where one is due, that was right: the browser holds the session, and goes on.
pub(super) fn entered(state: &ConsoleState, signed_in: &SignedIn, next: &str) -> Response {
    let path = match signed_in.stage {
        SignInStage::Half => "/sign-in/verify",
        SignInStage::Full => "/signed-in",
    };
    let mut answer = see_other(&with_query(path, &[("next", next), (BEGUN, "yes")]));
    if let Some(device) = &signed_in.device
        && let Ok(field) = state.cookies().set(ConsoleCookie::Device, device)
    {
        answer.headers_mut().append(SET_COOKIE, field);
    }
    holding(state, &signed_in.token, answer)
}

/// The sign-in page after `name` has chosen a password.
pub(super) fn chosen(name: &UserName) -> String {
    let (account, user) = (name.customer.to_string(), name.login.to_string());
    let reason = Reason::Chosen.as_str();
    with_query("/sign-in", &[("account", &account), ("user", &user), ("reason", reason)])
}

/// The answer, after which the browser holds no session.
pub(super) fn forgetting(state: &ConsoleState, mut answer: Response) -> Response {
    if let Ok(field) = state.cookies().delete(ConsoleCookie::Session) {
        answer.headers_mut().append(SET_COOKIE, field);
    }
    answer
}

/// In the address after a password that was right: whoever comes from there without a session keeps no cookies.
const BEGUN: &str = "begun";

/// Where somebody goes on to after signing in, and what is known of the way here.
#[derive(Debug, PartialEq, Eq)]
struct Goal {
    /// A path of this console.
    next: String,
    /// Came from the second step.
    is_second_step: bool,
    /// Came from where a password that was right leads.
    was_signed_in: bool,
}

impl Goal {
    /// What `next` says, which the guard may have made of an address of the sign-in itself.
    fn of(next: &str) -> Self {
        let next = own_path(next);
        let (path, query) = next.split_once('?').unwrap_or((next, ""));
        if !is_of_sign_in(path) {
            return Self { next: next.to_owned(), is_second_step: false, was_signed_in: false };
        }
        let fields: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref());
        let inner = own_path(field("next").unwrap_or_default());
        Self {
            next: if is_of_sign_in(inner) { "/" } else { inner }.to_owned(),
            is_second_step: path.starts_with("/sign-in/"),
            was_signed_in: field(BEGUN).is_some(),
        }
    }

    /// The path; empty for the start page.
    fn next_or_nothing(&self) -> String {
        if self.next == "/" { String::new() } else { self.next.clone() }
    }
}

fn is_of_sign_in(path: &str) -> bool {
    ["/sign-in", "/signed-in", "/sign-out"].iter().any(|own| path.starts_with(own))
}

impl Reason {
    const ALL: [Self; 4] = [Self::Over, Self::Again, Self::SignedOut, Self::Chosen];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Again => "again",
            Self::SignedOut => "signed-out",
            Self::Chosen => "chosen",
        }
    }

    /// The sign-in page that says so, and leads to `next`.
    pub(super) fn path(self, next: &str) -> String {
        with_query("/sign-in", &[("next", next), ("reason", self.as_str())])
    }

    fn notice(self, idle_minutes: u32) -> Notice {
        match self {
            Self::Over => session_over(idle_minutes),
            Self::Again => Notice::info("The sign-in took too long, or was tried too often. Sign in again."),
            Self::SignedOut => signed_out(),
            Self::Chosen => Notice::success("Your password was saved. Sign in with it."),
        }
    }
}

/// What the address says; a second step that is over has a reason of its own.
fn reason_of(text: &str, is_second_step: bool) -> Option<Reason> {
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == text)?;
    Some(if reason == Reason::Over && is_second_step { Reason::Again } else { reason })
}

/// Account and user name as they were meant: a pasted `acme/alex` in either field is both.
fn split_name(account: &str, user: &str) -> (String, String) {
    let (account, user) = (account.trim(), user.trim());
    let (account, user) = match (user.split_once('/'), account.split_once('/')) {
        (Some(both), _) => both,
        (None, Some(both)) if user.is_empty() => both,
        (None, Some((account, _))) => (account, user),
        (None, None) => (account, user),
    };
    (account.trim().to_owned(), user.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_full_name_is_split_in_whichever_field_it_is() {
        for (account, user) in [
            ("acme", "alex"),
            (" acme ", "alex\t"),
            ("acme/alex", ""),
            ("", "acme/alex"),
            ("acme", "acme/alex"),
            ("other", "acme / alex"),
            ("acme/alex", "alex"),
            ("acme/bob", "alex"),
        ] {
            assert_eq!(split_name(account, user), ("acme".into(), "alex".into()), "{account} {user}");
        }
        assert_eq!(split_name("", "a/b/c"), ("a".into(), "b/c".into()), "nobody is called so");
    }

    #[test]
    fn whoever_was_sent_here_goes_back_to_what_was_asked_for() {
        for (next, goal, is_second_step, was_signed_in) in [
            ("/profile?a=b", "/profile?a=b", false, false),
            ("", "/", false, false),
            ("//evil.example", "/", false, false),
            ("/signed-in?next=%2Fprofile&begun=yes", "/profile", false, true),
            ("/sign-in/verify/key?next=%2Fprofile", "/profile", true, false),
            ("/sign-in/verify?begun=yes", "/", true, true),
            ("/signed-in?next=%2F%2Fevil.example", "/", false, false),
            ("/signed-in?next=%2Fsigned-in%3Fnext%3D%252Fx", "/", false, false),
            ("/sign-out", "/", false, false),
        ] {
            let expected = Goal { next: goal.into(), is_second_step, was_signed_in };
            assert_eq!(Goal::of(next), expected, "{next}");
        }
    }

    #[test]
    fn a_second_step_that_is_over_is_not_told_as_idleness() {
        assert_eq!(reason_of("over", true), Some(Reason::Again));
        assert_eq!(reason_of("over", false), Some(Reason::Over));
        assert_eq!(reason_of("signed-out", true), Some(Reason::SignedOut));
        assert_eq!(reason_of("<b>", false), None);
        assert_eq!(Reason::Again.path("/profile"), "/sign-in?next=%2Fprofile&reason=again");
    }
}
