//! `/account/users/{login}/mfa`, `…/mfa/reset`: what an administrator does about another user's MFA.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::{Moment, Notice, Place};
use super::super::page::{page, see_other};
use super::super::pages::mfa_admin::{MethodRow, MfaAdminPage, MfaResetPage, RequireEffect};
use super::super::pages::one_time_link::LinkPurpose;
use super::super::parts::Shown;
use super::super::visit::Person;
use super::account_user::{ended_text, find, methods_text, password_uses, path, required_by, standing};
use super::user_link::{Once, answer};
use crate::auth::{Action, OpenSessions, OpenedBy, UserChanges, UserRecord, mfa_state};
use crate::model::{MethodKind, MethodRecord, MfaRequirement, MfaState};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/account/users/{login}/mfa", get(show).post(require))
        .route("/account/users/{login}/mfa/reset", get(ask_reset).post(reset))
}

#[derive(Deserialize)]
struct Requirement {
    require_mfa: String,
}

async fn show(person: Person, Path(login): Path<String>) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    let plane = person.plane();
    plane.may(Action::RequireMfa(&user)).await?;
    let mfa = plane.mfa_overview(&user.name);
    let (mfa, access, evidence) =
        tokio::try_join!(mfa, plane.access(&user.name), plane.evidence_for(&user.name))?;
    let effect = if mfa_state(&user) == MfaState::Off {
        let open_now = by_password(&person, &user);
        RequireEffect::EndsPassword { uses: password_uses(&access, &evidence), open_now }
    } else {
        RequireEffect::Nothing
    };
    let methods = || methods_text(mfa.count(MethodKind::App), mfa.count(MethodKind::SecurityKey));
    let has_methods = !mfa.methods.is_empty();
    Ok(page(&MfaAdminPage {
        frame: person.frame(&MfaAdminPage::title(&login), Place::Users),
        standing: standing(&user, methods),
        required_by: required_by(&user),
        recovery_codes: has_methods.then_some(mfa.recovery_codes_left),
        effect,
        reset: if has_methods { person.shows(Action::ResetMfa(&user)) } else { Shown::No },
        methods: mfa.methods.into_iter().map(row).collect(),
        login,
    }))
}

fn row(method: MethodRecord) -> MethodRow {
    let kind = match method.kind {
        MethodKind::App => "Authenticator app",
        MethodKind::SecurityKey => "Security key",
    };
    MethodRow {
        kind,
        name: method.name,
        added: Moment::from(method.created_at),
        last_used: method.last_used_at.map(Moment::from),
    }
}

/// What is open by the user's password at the doors of this gateway, API sessions too.
fn by_password(person: &Person, user: &UserRecord) -> usize {
    let OpenSessions { api, isproxy } =
        person.access().authenticator().open_sessions_of(OpenedBy::User(user.id));
    [api, isproxy].into_iter().map(|door| door.by_password + door.by_session).sum()
}

async fn require(
    person: Person,
    Path(login): Path<String>,
    Form(form): Form<Requirement>,
) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    let mfa = match form.require_mfa.as_str() {
        "yes" => MfaRequirement::Required,
        "no" => MfaRequirement::Optional,
        _ => return Err(Failure::form()),
    };
    person.plane().may(Action::RequireMfa(&user)).await?;
    let open = by_password(&person, &user);
    let changes = UserChanges { mfa: Some(mfa), ..UserChanges::default() };
    let revision = person.plane().update_user(&user.name, &changes).await?;
    person.access().in_force(revision).await;
    let notice = match (mfa, user.mfa_active) {
        (MfaRequirement::Optional, _) => format!("MFA is optional for {login} now."),
        (MfaRequirement::Required, true) => format!("MFA is required of {login} now."),
        (MfaRequirement::Required, false) => {
            let ended = open.saturating_sub(by_password(&person, &user));
            format!(
                "MFA is required of {login} now. Password access to the API and IsProxy is off.{}",
                ended_text(ended)
            )
        }
    };
    person.tell(Notice::success(notice));
    Ok(see_other(&path(&user, "mfa")))
}

async fn ask_reset(person: Person, Path(login): Path<String>) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    person.plane().may(Action::ResetMfa(&user)).await?;
    let methods = person.plane().mfa_overview(&user.name).await?.methods.len();
    let form_token = person.access().draw_form_token()?.expose().clone();
    let frame = person.frame(&MfaResetPage::title(&login), Place::Users);
    Ok(page(&MfaResetPage { frame, login, form_token, methods }))
}

async fn reset(
    person: Person,
    Path(login): Path<String>,
    Form(form): Form<Once>,
) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    let made = person.plane().once(&form.form_token).reset_mfa(&user.name).await;
    answer(&person, &login, made, |_| LinkPurpose::MfaReset).await
}
