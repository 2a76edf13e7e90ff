//! `/account/users/new` and `/account/users/{login}/edit`: a user is made, or changed in the parts that the viewer may.
//!
//! What was typed is read in `typed`; a faulty form comes back with it, and never with a password.

mod typed;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::{Choice, Notice, Place};
use super::super::page::{page_with, see_other};
use super::super::pages::one_time_link::LinkPurpose;
use super::super::pages::user_form::{
    FormParts, MfaPart, PasswordBy, PasswordPart, Purpose, UserFormPage, UserValues,
};
use super::super::parts::{LANGUAGES, Shown};
use super::super::visit::Person;
use super::account_user::{find, is_own, path};
use super::networks::as_lines;
use super::user_link::{gone, show as show_link};
use crate::auth::{
    Action, ControlError, FirstPassword, ListChange, MadeUser, NewRights, UserChanges, UserRecord, UserToMake,
};
use crate::model::{AccessPoint, MfaRequirement, Permission, UserName};
use typed::{Faults, Part, Typed};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/account/users/new", get(new).post(create))
        .route("/account/users/{login}/edit", get(edit).post(change))
}

/// What a form is made of beside its values.
struct Sheet {
    purpose: Purpose,
    form_token: String,
    version: String,
    parts: FormParts,
}

impl Sheet {
    /// The page of this form, faulty or not.
    fn page(self, person: &Person, values: UserValues, status: StatusCode, faults: Faults) -> Response {
        let mut frame = person.frame(&self.purpose.title(&values.login), Place::Users);
        frame.errors = faults.into_errors();
        let mut languages: Vec<_> =
            LANGUAGES.into_iter().map(|(tag, label)| Choice::new(tag, label)).collect();
        if !languages.iter().any(|known| known.is(&values.language)) {
            languages.push(Choice::new(&values.language, &values.language));
        }
        page_with(
            status,
            &UserFormPage {
                frame,
                purpose: self.purpose,
                form_token: self.form_token,
                version: self.version,
                values,
                parts: self.parts,
                own_address: person.client_ip().to_string(),
                languages,
            },
        )
    }
}

async fn new(person: Person) -> Result<Response, Failure> {
    let viewer = &person.session().user;
    person.plane().may(Action::CreateUser(viewer.customer, NewRights::None)).await?;
    let form_token = person.access().draw_form_token()?.expose().clone();
    let sheet = sheet_of_new(&person, form_token);
    Ok(sheet.page(&person, UserValues::new(), StatusCode::OK, Faults::default()))
}

fn sheet_of_new(person: &Person, form_token: String) -> Sheet {
    let viewer = &person.session().user;
    let sets_lists = viewer.administrator || viewer.permissions.holds(Permission::ManageIpWhitelist);
    let parts = FormParts {
        profile: Shown::Yes,
        access: Shown::Yes,
        rights: person.shows(Action::CreateUser(viewer.customer, NewRights::Some)),
        mfa: mfa_part(viewer.customer_mfa, Shown::Yes),
        allow_list: if sets_lists { Shown::Yes } else { Shown::No },
        password: if viewer.administrator { PasswordPart::LinkOrTyped } else { PasswordPart::LinkOnly },
    };
    Sheet { purpose: Purpose::New, form_token, version: String::new(), parts }
}

fn mfa_part(of_customer: MfaRequirement, part: Shown) -> MfaPart {
    match (part, of_customer) {
        (Shown::No, _) => MfaPart::Hidden,
        (Shown::Yes, MfaRequirement::Required) => MfaPart::ByCustomer,
        (Shown::Yes, MfaRequirement::Optional) => MfaPart::Free,
    }
}

async fn create(person: Person, Form(typed): Form<Typed>) -> Result<Response, Failure> {
    let customer = person.session().user.customer;
    person.plane().may(Action::CreateUser(customer, NewRights::None)).await?;
    let sheet = sheet_of_new(&person, typed.form_token.clone());
    let mut faults = Faults::default();
    let values = typed.values(UserValues::new(), &mut faults);
    let login = typed.new_login(&mut faults);
    let allow_list = typed.networks(&mut faults);
    let password = first_password(&typed, &values, &mut faults);
    let (Some(login), Some(allow_list), Some(password), true) =
        (login, allow_list, password, faults.is_empty())
    else {
        return Ok(sheet.page(&person, values, StatusCode::UNPROCESSABLE_ENTITY, faults));
    };
    let link = if matches!(password, FirstPassword::Link) { Shown::Yes } else { Shown::No };
    let name = UserName { customer: person.session().user.name.customer.clone(), login };
    let order = UserToMake {
        full_name: values.full_name.clone(),
        email: values.email.clone(),
        language: values.language.clone(),
        administrator: values.administrator,
        permissions: values.permissions,
        access_points: values.access,
        mfa: requirement(values.require_mfa),
        allow_list,
        password,
        ..UserToMake::new(name.clone())
    };
    match person.plane().once(&typed.form_token).create_user(order).await {
        Ok(made) => Ok(made_answer(&person, &name, made, values.password_by).await),
        Err(ControlError::MadeBefore(made)) => Ok(made_before(&person, &made, link)),
        Err(error) => {
            faults.take(error)?;
            let status = faults.status();
            Ok(sheet.page(&person, values, status, faults))
        }
    }
}

/// How the new user comes to a password; `None`: a fault.
fn first_password(typed: &Typed, values: &UserValues, faults: &mut Faults) -> Option<FirstPassword> {
    if values.password_by == PasswordBy::Typed {
        if typed.password.expose().is_empty() {
            faults.add("password", "Type a password, or choose the one-time link.");
            return None;
        }
        return Some(FirstPassword::Chosen(typed.password.clone()));
    }
    // A link opens a page of the console.
    let opens = values.access.holds(AccessPoint::Console);
    Some(if opens { FirstPassword::Link } else { FirstPassword::None })
}

async fn made_answer(person: &Person, name: &UserName, made: MadeUser, by: PasswordBy) -> Response {
    person.access().in_force(made.revision).await;
    let login = name.login.as_str();
    if let Some(link) = &made.link {
        return show_link(person, login, LinkPurpose::NewUser, link);
    }
    let more = match by {
        PasswordBy::Typed => "",
        PasswordBy::Link => {
            " There is no password: without access to the console a one-time link opens nothing. Applications need an \
             API key."
        }
    };
    person.tell(Notice::success(format!("{login} was created.{more}")));
    see_other(&user_path(login))
}

/// The answer to a form that was sent before, and made `made`.
fn made_before(person: &Person, made: &str, shown: Shown) -> Response {
    let login = made.split_once('/').map_or(made, |(_, login)| login);
    match shown {
        Shown::Yes => gone(person, login),
        Shown::No => {
            person.tell(Notice::info("This form was sent before; nothing was done a second time."));
            see_other(&user_path(login))
        }
    }
}

fn user_path(login: &str) -> String {
    format!("/account/users/{login}")
}

fn sheet_of_edit(person: &Person, user: &UserRecord, version: String) -> Sheet {
    let part = |action| person.shows(action);
    let parts = FormParts {
        profile: part(Action::EditProfile(user)),
        access: part(Action::EditAccess(user)),
        rights: part(Action::SetRights(user)),
        mfa: mfa_part(user.customer_mfa, part(Action::RequireMfa(user))),
        allow_list: part(Action::SetAllowList(user, ListChange::Widens)),
        password: PasswordPart::Hidden,
    };
    Sheet { purpose: Purpose::Edit, form_token: String::new(), version, parts }
}

/// What is asked for before `part` of `user` is changed.
const fn action(part: Part, user: &UserRecord) -> Action<'_> {
    match part {
        Part::Profile => Action::EditProfile(user),
        Part::Access => Action::EditAccess(user),
        Part::Rights => Action::SetRights(user),
        Part::Mfa => Action::RequireMfa(user),
        Part::AllowList => Action::SetAllowList(user, ListChange::Widens),
    }
}

async fn edit(person: Person, Path(login): Path<String>) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    // Whoever may change a part opens the page, and whoever may change none is told what lacks.
    let allowed = Part::ALL.into_iter().find(|part| person.may(action(*part, &user)));
    person.plane().may(action(allowed.unwrap_or(Part::Profile), &user)).await?;
    let sheet = sheet_of_edit(&person, &user, person.plane().version_of(&user));
    Ok(sheet.page(&person, stored(&user), StatusCode::OK, Faults::default()))
}

/// What stands in the fields before anybody types.
fn stored(user: &UserRecord) -> UserValues {
    UserValues {
        login: user.name.login.to_string(),
        full_name: user.full_name.clone(),
        email: user.email.clone(),
        language: user.language.clone(),
        administrator: user.administrator,
        permissions: user.permissions,
        access: user.access_points,
        require_mfa: user.mfa == MfaRequirement::Required,
        allow_list: as_lines(&user.allow_list),
        password_by: PasswordBy::Link,
    }
}

async fn change(
    person: Person,
    Path(login): Path<String>,
    Form(typed): Form<Typed>,
) -> Result<Response, Failure> {
    let user = find(&person, &login).await?;
    let parts = typed.parts();
    if parts.is_empty() {
        return Err(Failure::form());
    }
    for part in &parts {
        person.plane().may(action(*part, &user)).await?;
    }
    let sheet = sheet_of_edit(&person, &user, typed.version.clone());
    let mut faults = Faults::default();
    let values = typed.values(stored(&user), &mut faults);
    let allow_list = typed.networks(&mut faults);
    if is_own(&person, &user) && allow_list.as_ref().is_some_and(|list| !list.admits(person.client_ip())) {
        let address = person.client_ip();
        faults.add(
            "allow_list",
            &format!(
                "You will not be able to sign in from {address}. Add it, or save the list on the page IP whitelist, \
                 which asks first."
            ),
        );
    }
    if !faults.is_empty() {
        return Ok(sheet.page(&person, values, StatusCode::UNPROCESSABLE_ENTITY, faults));
    }
    let has = |part| parts.contains(&part);
    let changes = UserChanges {
        full_name: has(Part::Profile).then(|| values.full_name.clone()),
        email: has(Part::Profile).then(|| values.email.clone()),
        language: has(Part::Profile).then(|| values.language.clone()),
        administrator: has(Part::Rights).then_some(values.administrator),
        permissions: has(Part::Rights).then_some(values.permissions),
        access_points: has(Part::Access).then_some(values.access),
        mfa: has(Part::Mfa).then(|| requirement(values.require_mfa)),
        allow_list: allow_list.filter(|_| has(Part::AllowList)),
        as_shown: Some(typed.version.clone()),
    };
    match person.plane().update_user(&user.name, &changes).await {
        Ok(revision) => {
            person.access().in_force(revision).await;
            person.tell(Notice::success(typed.saved_text()));
            Ok(see_other(&path(&user, "")))
        }
        Err(error) => {
            faults.take(error)?;
            let status = faults.status();
            Ok(sheet.page(&person, values, status, faults))
        }
    }
}

const fn requirement(is_required: bool) -> MfaRequirement {
    if is_required { MfaRequirement::Required } else { MfaRequirement::Optional }
}
