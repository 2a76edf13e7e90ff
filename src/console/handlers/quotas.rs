//! The quotas that count a user's requests: shown with what is used of them, and changed by those who may.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::frame::{FieldError, Link, Moment, Notice};
use super::super::page::{page, see_other, unprocessable};
use super::super::pages::quotas::{QuotaCard, QuotaForm, QuotaLevel, QuotaLine, QuotasPage, field_id};
use super::super::visit::Person;
use super::whose::Whose;
use crate::auth::{Action, ControlError, Holder, QuotaState, QuotaUse, UserRecord};
use crate::figures::grouped;
use crate::model::{QUOTA_MAX, QuotaPeriod, QuotaTerms};

/// Whose quota a form is about, where it is no key's.
const OF_USER: &str = "user";

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/profile/quotas", get(show).post(save))
        .route("/account/users/{login}/quotas", get(show).post(save))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    of: String,
    day: String,
    month: String,
}

async fn show(person: Person, whose: Whose) -> Result<Response, Failure> {
    Ok(page(&quotas_page(&person, &whose).await?))
}

async fn save(person: Person, whose: Whose, Form(fields): Form<Fields>) -> Result<Response, Failure> {
    let holder = if fields.of == OF_USER {
        Holder::User(whose.name().clone())
    } else {
        let id = fields.of.parse().map_err(|_| Failure::not_found())?;
        // One of that user, as the address says.
        Holder::Key(person.plane().key_of(whose.name(), id).await?.key.id)
    };
    let terms = match terms_of(&fields) {
        Ok(terms) => terms,
        Err(errors) => {
            let mut again = quotas_page(&person, &whose).await?;
            again.frame.errors = errors;
            for card in again.cards.iter_mut().filter(|card| card.of == fields.of) {
                card.form = Some(QuotaForm::new(&fields.of, fields.day.clone(), fields.month.clone()));
            }
            return Ok(unprocessable(&again));
        }
    };
    match person.plane().set_quota(&holder, terms).await {
        Ok(revision) => {
            person.access().in_force(revision).await;
            person.tell(Notice::success(match terms {
                Some(_) => "The quota was saved.",
                None => "The quota was taken away.",
            }));
        }
        Err(ControlError::NoQuota(_)) => {
            person.tell(Notice::info("There is no quota, as before. Nothing was changed."));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(see_other(&address(&whose)))
}

/// What was typed; nothing: no quota.
fn terms_of(fields: &Fields) -> Result<Option<QuotaTerms>, Vec<FieldError>> {
    let read = |period: QuotaPeriod, text: &str| match text.trim() {
        "" => Ok(None),
        text => match text.parse() {
            Ok(limit) if (1..=QUOTA_MAX).contains(&limit) => Ok(Some(limit)),
            _ => {
                let id = field_id(period.as_str(), &fields.of);
                let most = grouped(QUOTA_MAX);
                Err(FieldError::new(id, format!("Enter a whole number from 1 to {most}, or nothing.")))
            }
        },
    };
    match (read(QuotaPeriod::Day, &fields.day), read(QuotaPeriod::Month, &fields.month)) {
        (Ok(day), Ok(month)) => Ok(QuotaTerms::new(day, month).ok()),
        (day, month) => Err([day.err(), month.err()].into_iter().flatten().collect()),
    }
}

fn address(whose: &Whose) -> String {
    whose
        .login()
        .map_or_else(|| String::from("/profile/quotas"), |login| format!("/account/users/{login}/quotas"))
}

async fn quotas_page(person: &Person, whose: &Whose) -> Result<QuotasPage, Failure> {
    let plane = person.plane();
    let user = plane.user(whose.name()).await?;
    let states = plane.quotas_of_user(whose.name()).await?;
    let login = user.name.login.as_str();
    let (title, back) = match whose.login() {
        Some(_) => (format!("Quotas of {login}"), Link::new(login, format!("/account/users/{login}"))),
        None => (String::from("Quotas"), Link::new("Profile", "/profile")),
    };
    let mut frame = person.frame(&title, whose.place());
    frame.notices.extend(warnings(&states));
    let cards = cards(person, &user, &states).await?;
    Ok(QuotasPage { frame, address: address(whose), back, cards })
}

/// The account's and the user's, and of the keys those that have one; all of them where they can be changed.
async fn cards(person: &Person, user: &UserRecord, states: &[QuotaState]) -> Result<Vec<QuotaCard>, Failure> {
    let may_change = person.may(Action::SetQuota(user));
    let card = |of: String, title: String, holder: &Holder| {
        let state = states.iter().find(|state| state.holder == *holder);
        let form = (may_change && !matches!(holder, Holder::Customer(_))).then(|| form_of(&of, state));
        let told = state.into_iter().flat_map(|state| &state.uses);
        QuotaCard { of, title, lines: told.map(line).collect(), form }
    };
    let mut cards = vec![
        card("account".into(), "The whole account".into(), &Holder::Customer(user.name.customer.clone())),
        card(OF_USER.into(), user.name.login.to_string(), &Holder::User(user.name.clone())),
    ];
    if person.may(Action::ViewKeys(user)) {
        for listed in person.plane().list_keys(Some(&user.name)).await? {
            let id = listed.key.id;
            let has_quota = states.iter().any(|state| state.key() == Some(id));
            if may_change || has_quota {
                let title = format!("API key “{}”", listed.key.description);
                cards.push(card(id.to_string(), title, &Holder::Key(id)));
            }
        }
    }
    Ok(cards)
}

fn form_of(of: &str, state: Option<&QuotaState>) -> QuotaForm {
    let limit = |period| {
        let limit = state.and_then(|state| state.terms.limit(period));
        limit.map(|limit| limit.to_string()).unwrap_or_default()
    };
    QuotaForm::new(of, limit(QuotaPeriod::Day), limit(QuotaPeriod::Month))
}

fn line(told: &QuotaUse) -> QuotaLine {
    let level = match (told.is_exhausted(), told.is_nearly_used()) {
        (true, _) => QuotaLevel::Exhausted,
        (false, true) => QuotaLevel::NearlyUsed,
        (false, false) => QuotaLevel::Fine,
    };
    let name = match told.period {
        QuotaPeriod::Day => "Today",
        QuotaPeriod::Month => "This month",
    };
    QuotaLine { name, used: told.used, limit: told.limit, level, ends: Moment::from(told.ends_at) }
}

/// What is to be told of quotas of which most is used.
pub(super) fn warnings(states: &[QuotaState]) -> Vec<Notice> {
    let warning = |state: &QuotaState, told: &QuotaUse| {
        let whose = match &state.holder {
            Holder::Customer(_) => String::from("the account"),
            Holder::User(name) => name.login.to_string(),
            Holder::Key(id) => format!("API key {id}"),
        };
        let period = match told.period {
            QuotaPeriod::Day => "today",
            QuotaPeriod::Month => "this month",
        };
        let (used, limit) = (grouped(told.used), grouped(told.limit));
        let text = format!("{used} of the {limit} requests that {whose} may make {period} are used.");
        if told.is_exhausted() { Notice::danger(text) } else { Notice::warning(text) }
    };
    let nearly = states.iter().flat_map(|state| state.uses.iter().map(move |told| (state, told)));
    nearly.filter(|(_, told)| told.is_nearly_used()).map(|(state, told)| warning(state, told)).collect()
}
