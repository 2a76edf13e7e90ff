//! The quotas that count a user's requests: shown with what is used of them, and changed by those who may. Keys are paged.

use std::collections::HashMap;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::{Form, Queried};
use super::super::frame::{FieldError, Link, Moment, Notice};
use super::super::page::{page, part_of, see_other, unprocessable, with_query};
use super::super::pages::quotas::{QuotaCard, QuotaForm, QuotaLevel, QuotaLine, QuotasPage, field_id};
use super::super::parts::{Paging, Part, Shown};
use super::super::visit::Person;
use super::whose::Whose;
use crate::auth::{Action, ControlError, Holder, ListedKey, QuotaState, QuotaUse, UserRecord};
use crate::figures::grouped;
use crate::model::{KeyId, QUOTA_MAX, QuotaPeriod, QuotaTerms};

/// Whose quota a form is about, where it is no key's.
const OF_USER: &str = "user";
/// Keys of one part of the page.
const KEYS_OF_A_PART: u8 = 50;
/// So many quotas of which most is used are told above the others; all have a tag.
const WARNINGS_MAX: usize = 10;

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new()
        .route("/profile/quotas", get(show).post(save))
        .route("/account/users/{login}/quotas", get(show).post(save))
}

/// Which part of the keys is asked for: by its number, or by a key that it holds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    page: String,
    key: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    of: String,
    day: String,
    month: String,
}

async fn show(person: Person, whose: Whose, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    Ok(page(&quotas_page(&person, &whose, &asked).await?))
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
            let asked = Asked { key: fields.of.clone(), ..Asked::default() };
            let mut again = quotas_page(&person, &whose, &asked).await?;
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
    let key = if fields.of == OF_USER { "" } else { &fields.of };
    Ok(see_other(&with_query(&address(&whose), &[("key", key)])))
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

async fn quotas_page(person: &Person, whose: &Whose, asked: &Asked) -> Result<QuotasPage, Failure> {
    let plane = person.plane();
    let user = plane.user(whose.name()).await?;
    let states = plane.quotas_of_user(whose.name()).await?;
    let login = user.name.login.as_str();
    let (title, back) = match whose.login() {
        Some(_) => (format!("Quotas of {login}"), Link::new(login, format!("/account/users/{login}"))),
        None => (String::from("Quotas"), Link::new("Profile", "/profile")),
    };
    let told = Told {
        states: states.iter().map(|state| (&state.holder, state)).collect(),
        form: person.shows(Action::SetQuota(&user)),
    };
    let mut keys = Vec::new();
    if person.may(Action::ViewKeys(&user)) {
        keys = plane.list_keys(Some(&user.name)).await?;
        keys.retain(|listed| told.shows(listed));
    }
    let (number, of_part) = part_of_keys(&keys, asked);
    let mut cards = if number == 0 { told.cards_of_user(&user) } else { Vec::new() };
    cards.extend(of_part.iter().map(|listed| told.card_of_key(listed)));
    let address = address(whose);
    let paging = paging(&address, number, of_part.len(), keys.len());
    let mut frame = person.frame(&title, whose.place());
    frame.notices.extend(warnings(&states));
    Ok(QuotasPage { frame, address, back, cards, paging })
}

/// The part of the keys that is asked for, with its number; beyond the end the first is meant.
fn part_of_keys<'k>(keys: &'k [ListedKey], asked: &Asked) -> (u32, &'k [ListedKey]) {
    let parts: Vec<(u32, &[ListedKey])> = (0..).zip(keys.chunks(usize::from(KEYS_OF_A_PART))).collect();
    let (wanted, number) = (asked.key.parse::<KeyId>().ok(), part_of(&asked.page));
    let holds = |part: &[ListedKey]| part.iter().any(|listed| Some(listed.key.id) == wanted);
    let named = parts.iter().find(|(_, part)| holds(part));
    let numbered = || parts.iter().find(|(place, _)| *place == number);
    named.or_else(numbered).or(parts.first()).copied().unwrap_or_default()
}

/// Nothing where all are on one page.
fn paging(address: &str, number: u32, shown: usize, matching: usize) -> Paging {
    if shown == matching {
        return Paging::default();
    }
    let part = Part { number, length: KEYS_OF_A_PART.into(), shown, matching };
    Paging::of(part, ("API key", "API keys"), |number| with_query(address, &[("page", number)]))
}

/// What is told of quotas, by whose they are, and whether they can be changed.
struct Told<'s> {
    states: HashMap<&'s Holder, &'s QuotaState>,
    form: Shown,
}

impl Told<'_> {
    /// A key without a quota is of use only where it can be given one.
    fn shows(&self, listed: &ListedKey) -> bool {
        self.form.is_shown() || self.states.contains_key(&Holder::Key(listed.key.id))
    }

    /// The account's and the user's.
    fn cards_of_user(&self, user: &UserRecord) -> Vec<QuotaCard> {
        let account = Holder::Customer(user.name.customer.clone());
        let own = Holder::User(user.name.clone());
        vec![
            self.card(String::from("account"), String::from("The whole account"), &account),
            self.card(OF_USER.to_owned(), user.name.login.to_string(), &own),
        ]
    }

    fn card_of_key(&self, listed: &ListedKey) -> QuotaCard {
        let (id, title) = (listed.key.id, format!("API key “{}”", listed.key.description));
        self.card(id.to_string(), title, &Holder::Key(id))
    }

    fn card(&self, of: String, title: String, holder: &Holder) -> QuotaCard {
        let state = self.states.get(holder).copied();
        // The account's is the operator's.
        let changes = self.form.is_shown() && !matches!(holder, Holder::Customer(_));
        let form = changes.then(|| form_of(&of, state));
        let lines = state.into_iter().flat_map(|state| &state.uses).map(line).collect();
        QuotaCard { of, title, lines, form }
    }
}

fn form_of(of: &str, state: Option<&QuotaState>) -> QuotaForm {
    let limit = |period| {
        let limit = state.and_then(|state| state.terms.limit(period));
        limit.map(|limit| limit.to_string()).unwrap_or_default()
    };
    QuotaForm::new(of, limit(QuotaPeriod::Day), limit(QuotaPeriod::Month))
}

pub(super) fn line(told: &QuotaUse) -> QuotaLine {
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
    let nearly = nearly.filter(|(_, told)| told.is_nearly_used()).take(WARNINGS_MAX);
    nearly.map(|(state, told)| warning(state, told)).collect()
}
