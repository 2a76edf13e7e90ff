//! The IP whitelists of a user and of the account: shown, changed, and asked about before they shut somebody out.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::{Moment, Notice, Place};
use super::super::page::{page, see_other, unprocessable};
use super::super::pages::allow_list::{AllowListPage, AllowListQuestionPage, ListOf};
use super::super::parts::{Evidence, LastUse, Shown};
use super::super::visit::Person;
use super::networks::{TypedNetworks, as_lines, read_networks, remarks};
use super::whose::user_named;
use crate::auth::{Action, ControlError, Holder, KeysEvidence, LetInFrom, ListChange};
use crate::model::{AllowList, UserName};

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/account/users/{login}/ip-whitelist", get(show_of_user).post(save_of_user))
        .route("/account/ip-whitelist", get(show_of_account).post(save_of_account))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    allow_list: String,
    #[serde(rename = "do")]
    button: String,
    confirmed: String,
}

/// A list as it is, and whom it concerns.
struct Target {
    of: ListOf,
    owner: Holder,
    present: AllowList,
    /// The user, where it is one's list.
    user: Option<UserName>,
    /// Does it count for the viewer?
    concerns: Concerns,
    /// How many networks the account's list holds beside it.
    of_customer: usize,
    customer_list: Shown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Concerns {
    Viewer,
    Others,
}

async fn show_of_user(person: Person, Path(login): Path<String>) -> Result<Response, Failure> {
    Ok(show(&person, &of_user(&person, &login).await?))
}

async fn save_of_user(
    person: Person,
    Path(login): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Failure> {
    save(&person, &of_user(&person, &login).await?, &fields).await
}

async fn show_of_account(person: Person) -> Result<Response, Failure> {
    Ok(show(&person, &of_account(&person).await?))
}

async fn save_of_account(person: Person, Form(fields): Form<Fields>) -> Result<Response, Failure> {
    save(&person, &of_account(&person).await?, &fields).await
}

async fn of_user(person: &Person, login: &str) -> Result<Target, Failure> {
    let name = user_named(person, login)?;
    let user = person.plane().user(&name).await?;
    person.require(Action::SetAllowList(&user, ListChange::Widens)).map_err(ControlError::from)?;
    let is_own = user.id == person.session().user.id;
    Ok(Target {
        of: ListOf::User(login.to_owned()),
        owner: Holder::User(name.clone()),
        concerns: if is_own { Concerns::Viewer } else { Concerns::Others },
        of_customer: user.customer_allow_list.networks().len(),
        customer_list: person.shows(Action::SetCustomerAllowList(user.customer, ListChange::Widens)),
        present: user.allow_list,
        user: Some(name),
    })
}

async fn of_account(person: &Person) -> Result<Target, Failure> {
    let user = &person.session().user;
    let change = Action::SetCustomerAllowList(user.customer, ListChange::Widens);
    person.require(change).map_err(ControlError::from)?;
    let owner = Holder::Customer(user.name.customer.clone());
    Ok(Target {
        of: ListOf::Account(user.name.customer.to_string()),
        present: person.plane().allow_list(&owner).await?,
        owner,
        user: None,
        concerns: Concerns::Viewer,
        of_customer: 0,
        customer_list: Shown::No,
    })
}

fn show(person: &Person, target: &Target) -> Response {
    let list = AllowListPage {
        remarks: remarks(&target.present),
        ..form(person, target, as_lines(&target.present))
    };
    page(&list)
}

fn form(person: &Person, target: &Target, text: String) -> AllowListPage {
    AllowListPage {
        frame: person.frame(&target.of.title(), Place::Users),
        of: target.of.clone(),
        text,
        own_address: person.client_ip().to_string(),
        of_customer: target.of_customer,
        customer_list: target.customer_list,
        remarks: Vec::new(),
        line_errors: Vec::new(),
    }
}

async fn save(person: &Person, target: &Target, fields: &Fields) -> Result<Response, Failure> {
    match fields.button.as_str() {
        "add" => return Ok(page(&form(person, target, with_own_address(person, &fields.allow_list)))),
        "edit" => return Ok(page(&form(person, target, fields.allow_list.clone()))),
        _ => {}
    }
    let typed = read_networks(&fields.allow_list);
    if !typed.faults.is_empty() {
        let mut again = form(person, target, fields.allow_list.clone());
        again.frame.errors = AllowListPage::summary(&typed.faults);
        again.line_errors = typed.faults;
        return Ok(unprocessable(&again));
    }
    if fields.confirmed != "yes"
        && let Some(question) = question(person, target, &typed.list).await?
    {
        return Ok(page(&question));
    }
    if typed.list == target.present {
        person.tell(Notice::info("The list is as it was. Nothing was changed."));
    } else {
        let revision = person.plane().replace_networks(&target.owner, &typed.list).await?;
        person.access().in_force(revision).await;
        person.tell(Notice::success(told(target, &typed)));
    }
    Ok(see_other(&target.of.address()))
}

/// What is typed, with the viewer's address at its end, unless it is in it.
fn with_own_address(person: &Person, text: &str) -> String {
    let own = person.client_ip().to_string();
    let lines = text.trim_end();
    match lines {
        "" => own,
        _ if lines.lines().any(|line| line.trim() == own) => lines.to_owned(),
        _ => format!("{lines}\n{own}"),
    }
}

/// What is asked before the list is saved; `None`: nothing stops with it.
async fn question(
    person: &Person,
    target: &Target,
    list: &AllowList,
) -> Result<Option<AllowListQuestionPage>, Failure> {
    let own = person.client_ip();
    let is_shut_out = target.concerns == Concerns::Viewer && !list.admits(own);
    let evidence = match &target.user {
        Some(user) => what_stops(person, user, &target.present, list).await?,
        None => Vec::new(),
    };
    if !is_shut_out && evidence.is_empty() {
        return Ok(None);
    }
    Ok(Some(AllowListQuestionPage {
        frame: person.frame(&target.of.question(), Place::Users),
        of: target.of.clone(),
        text: as_lines(list),
        shuts_out_viewer_at: is_shut_out.then(|| own.to_string()),
        evidence,
    }))
}

/// What came within 30 days from where the list of now lets in and `list` does not.
async fn what_stops(
    person: &Person,
    user: &UserName,
    present: &AllowList,
    list: &AllowList,
) -> Result<Vec<Evidence>, Failure> {
    let evidence = person.plane().evidence_for(user).await?;
    let mut stops = Vec::new();
    let mut look_at = |what: &str, uses: &[LetInFrom]| {
        let stopped = uses.iter().filter(|used| present.admits(used.address) && !list.admits(used.address));
        stops.extend(stopped.filter_map(|used| evidence_of(what, used)));
    };
    look_at("The password", &evidence.api_password.addresses);
    look_at("The password", &evidence.isproxy_password.addresses);
    if let KeysEvidence::Each(keys) = &evidence.keys {
        for key in keys {
            look_at(&format!("The key “{}”", key.description), &key.addresses);
        }
    }
    Ok(stops)
}

fn evidence_of(what: &str, used: &LetInFrom) -> Option<Evidence> {
    let last_use = LastUse { at: Moment::from(used.at), address: used.address.to_string() };
    Some(Evidence { what: what.to_owned(), door: used.entrance.service()?, last_use })
}

fn told(target: &Target, typed: &TypedNetworks) -> String {
    let title = target.of.title();
    let saved = if typed.list.is_empty() {
        format!("The {title} is empty now: every address is allowed.")
    } else {
        format!("The {title} was saved. What was open from elsewhere has ended.")
    };
    std::iter::once(saved).chain(typed.rounded.iter().cloned()).collect::<Vec<_>>().join(" ")
}
