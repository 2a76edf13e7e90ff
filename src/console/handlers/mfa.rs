//! `/profile/mfa`: one's own second factors, what is done with them once they are there, and new recovery codes.
//!
//! Setting one up is in `set_up`. Nobody does this for another person; every change asks for a fresh authentication
//! before its form is shown, and the use case asks again.

mod set_up;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Sent};
use super::super::frame::{FieldError, Frame, Moment, Notice, Place};
use super::super::page::{holding, page, see_other, unprocessable};
use super::super::pages::error::sentence;
use super::super::pages::mfa::{
    CodesFor, Method, MfaOverview, NewMethod, RecoveryCodes, Removal, RemoveMethod, RenameMethod,
    ReplaceCodes,
};
use super::super::visit::Person;
use crate::auth::{
    Action, Asker, ControlError, EnrolmentFault, ShownCodes, Via, allow, least_password_characters,
};
use crate::model::{MethodId, MethodKind, MethodRecord, MfaRequirement, MfaState, Secret};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/profile/mfa", get(overview))
        .route("/profile/mfa/app/{id}/rename", get(ask_rename).post(rename))
        .route("/profile/mfa/key/{id}/rename", get(ask_rename).post(rename))
        .route("/profile/mfa/app/{id}/remove", get(ask_remove).post(remove))
        .route("/profile/mfa/key/{id}/remove", get(ask_remove).post(remove))
        .route("/profile/mfa/recovery-codes/replace", get(ask_replace).post(replace))
        .merge(set_up::routes())
}

async fn overview(person: Person) -> Result<Response, Failure> {
    Ok(page(&overview_page(&person, person.frame("Multi-factor authentication", Place::Profile)).await?))
}

/// What the page shows, in this frame; the profile shows its status line too.
pub(super) async fn overview_page(person: &Person, frame: Frame) -> Result<MfaOverview, Failure> {
    let own = person.access().own_mfa(person.session()).await?;
    Ok(MfaOverview {
        frame,
        methods: own.methods.into_iter().map(shown).collect(),
        recovery_codes_left: own.recovery_codes_left,
        required: own.requirement,
        has_api_key: own.has_key,
        may_make_keys: may_make_keys(person),
    })
}

async fn ask_rename(person: Person, Path(id): Path<String>) -> Result<Response, Failure> {
    require_fresh(&person).await?;
    let (method, _) = find(&person, &id).await?;
    let frame = person.frame("Rename", Place::Profile);
    Ok(page(&RenameMethod { frame, name: method.name.clone(), method }))
}

#[derive(Deserialize)]
struct NewName {
    #[serde(default)]
    name: String,
}

async fn rename(
    person: Person,
    Path(id): Path<String>,
    Form(typed): Form<NewName>,
) -> Result<Response, Failure> {
    let (method, _) = find(&person, &id).await?;
    let user = &person.session().user.name;
    match person.plane().rename_own_method(user, number(&id)?, &typed.name).await {
        Ok(()) => {
            person.tell(Notice::success("The name was changed."));
            Ok(see_other("/profile/mfa"))
        }
        Err(EnrolmentFault::Control(fault @ ControlError::Text { .. })) => {
            let mut frame = person.frame("Rename", Place::Profile);
            frame.errors = vec![FieldError::new("name", sentence(&fault.to_string()))];
            Ok(unprocessable(&RenameMethod { frame, name: typed.name, method }))
        }
        Err(other) => Err(other.into()),
    }
}

async fn ask_remove(person: Person, Path(id): Path<String>) -> Result<Response, Failure> {
    require_fresh(&person).await?;
    Ok(page(&remove_page(&person, &id).await?))
}

#[derive(Deserialize)]
struct NewPassword {
    #[serde(default)]
    password: String,
}

async fn remove(
    person: Person,
    Path(id): Path<String>,
    Form(typed): Form<NewPassword>,
) -> Result<Response, Failure> {
    let shown = remove_page(&person, &id).await?;
    let is_last = matches!(shown.removal, Removal::EndsMfa { .. });
    let password = is_last.then(|| Secret::new(typed.password));
    let removed = person.access().remove_own_method(person.session(), number(&id)?, password).await;
    let fault = match removed {
        Ok(token) => {
            let also = if is_last { " MFA is off." } else { "" };
            let text = format!("“{}” was removed.{also} Other sessions were signed out.", shown.method.name);
            person.tell(Notice::success(text));
            return Ok(holding(person.state(), &token, see_other("/profile/mfa")));
        }
        Err(fault) => fault,
    };
    let text = match fault {
        EnrolmentFault::Control(ControlError::Password(fault)) => sentence(&fault.to_string()),
        // The other methods went meanwhile, or MFA is required meanwhile: the page says so.
        EnrolmentFault::PasswordMissing | EnrolmentFault::LastOfRequired => sentence(&fault.to_string()),
        other => return Err(other.into()),
    };
    let mut again = remove_page(&person, &id).await?;
    again.frame.errors = vec![FieldError::new(again.removal.error_field(), text)];
    Ok(unprocessable(&again))
}

async fn remove_page(person: &Person, id: &str) -> Result<RemoveMethod, Failure> {
    let (method, removal) = find(person, id).await?;
    let frame = person.frame(&format!("Remove “{}”?", method.name), Place::Profile);
    Ok(RemoveMethod { frame, user: person.session().user.name.to_string(), method, removal })
}

async fn ask_replace(person: Person) -> Result<Response, Failure> {
    require_fresh(&person).await?;
    let own = person.access().own_mfa(person.session()).await?;
    if own.methods.is_empty() {
        return Ok(see_other("/profile/mfa"));
    }
    let frame = person.frame("Replace recovery codes", Place::Profile);
    Ok(page(&ReplaceCodes { frame, left: own.recovery_codes_left }))
}

async fn replace(person: Person, Form(Sent {}): Form<Sent>) -> Result<Response, Failure> {
    match person.access().replace_recovery_codes(person.session()).await {
        Ok(codes) => Ok(page(&codes_page(&person, &codes, CodesFor::Replacement))),
        // MFA is off.
        Err(EnrolmentFault::UnknownMethod) => Ok(see_other("/profile/mfa")),
        Err(fault) => Err(fault.into()),
    }
}

fn codes_page(person: &Person, shown: &ShownCodes, purpose: CodesFor) -> RecoveryCodes {
    let codes = shown.codes.iter().map(|code| code.expose().clone()).collect();
    RecoveryCodes {
        frame: person.frame("Save your recovery codes", Place::Profile),
        user: person.session().user.name.to_string(),
        codes: Secret::new(codes),
        purpose,
    }
}

/// Asks for a fresh authentication before a form is shown, so that nothing typed is lost to it.
async fn require_fresh(person: &Person) -> Result<(), Failure> {
    Ok(person.plane().may(Action::OwnMfa(&person.session().user)).await?)
}

/// The own method of this number, and what its removal would mean.
async fn find(person: &Person, id: &str) -> Result<(Method, Removal), Failure> {
    let id = number(id)?;
    let own = person.access().own_mfa(person.session()).await?;
    let is_last = own.methods.len() == 1;
    let method = own.methods.into_iter().find(|method| method.id == id).ok_or_else(Failure::not_found)?;
    let removal = match (is_last, own.requirement) {
        (false, _) => Removal::OthersRemain,
        (true, MfaRequirement::Required) => Removal::Refused,
        (true, MfaRequirement::Optional) => Removal::EndsMfa {
            password_access: password_access(person).to_owned(),
            least_characters: least_password_characters(MfaState::Off),
        },
    };
    Ok((shown(method), removal))
}

/// What a password opens once MFA is off, as a sentence.
fn password_access(person: &Person) -> &'static str {
    if person.session().user.password_off_by_key {
        "Your password then opens IsProxy again, as far as you may use it; the API stays off for it, since you have or had an API key."
    } else {
        "Your password then opens the API and IsProxy again, as far as you may use them."
    }
}

fn number(id: &str) -> Result<MethodId, Failure> {
    id.parse().map(MethodId).map_err(|_| Failure::not_found())
}

fn shown(method: MethodRecord) -> Method {
    Method {
        kind: kind_of(method.kind),
        id: method.id.0.to_string(),
        name: method.name,
        added: Moment::from(method.created_at),
        last_used: method.last_used_at.map(Moment::from),
    }
}

const fn kind_of(kind: MethodKind) -> NewMethod {
    match kind {
        MethodKind::App => NewMethod::App,
        MethodKind::SecurityKey => NewMethod::Key,
    }
}

pub(super) fn may_make_keys(person: &Person) -> bool {
    let user = &person.session().user;
    allow(Asker { user, via: Via::FreshSession }, Action::ViewKeys(user)).is_ok()
}
