//! `/account/quotas`: the quotas of the whole account, paged by the store. One user's are changed by `quotas`.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::super::ConsoleState;
use super::super::failure::Failure;
use super::super::form::Queried;
use super::super::frame::Place;
use super::super::page::{page, part_of, with_query};
use super::super::pages::account_quotas::{AccountQuotaRow, AccountQuotasPage};
use super::super::parts::{Paging, Part};
use super::super::visit::Person;
use super::quotas::line;
use crate::auth::{Holder, QUOTAS_OF_A_PART, QuotaState};
use crate::model::QuotaPeriod;

const PATH: &str = "/account/quotas";

pub(super) fn routes() -> Router<ConsoleState> {
    Router::new().route(PATH, get(list))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    page: String,
}

async fn list(person: Person, Queried(asked): Queried<Asked>) -> Result<Response, Failure> {
    let customer = person.session().user.customer;
    let listed = person.plane().list_quotas(customer, part_of(&asked.page)).await?;
    let (shown, matching) = (listed.quotas.len(), listed.matching);
    let part = Part { number: listed.part, length: QUOTAS_OF_A_PART, shown, matching };
    Ok(page(&AccountQuotasPage {
        frame: person.frame("Quotas", Place::Users),
        rows: listed.quotas.iter().map(row).collect(),
        paging: Paging::of(part, ("quota", "quotas"), |number| with_query(PATH, &[("page", number)])),
    }))
}

fn row(state: &QuotaState) -> AccountQuotaRow {
    let login = state.user.as_ref().map(|user| user.login.to_string()).unwrap_or_default();
    let of_user = format!("/account/users/{login}/quotas");
    let (name, note, link) = match &state.holder {
        Holder::Customer(_) => {
            (String::from("The whole account"), String::from("given by the operator"), None)
        }
        Holder::User(_) => (login, String::new(), Some(of_user)),
        Holder::Key(id) => {
            let description = state.description.as_deref().unwrap_or_default();
            let at_key = with_query(&of_user, &[("key", &id.to_string())]);
            (format!("API key “{description}”"), login, Some(format!("{at_key}#quota-{id}")))
        }
    };
    let used = |period: QuotaPeriod| state.uses.iter().find(|used| used.period == period).map(line);
    AccountQuotaRow { name, note, link, day: used(QuotaPeriod::Day), month: used(QuotaPeriod::Month) }
}
