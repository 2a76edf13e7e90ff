//! What a key or a user did within 30 days, for `key show` and `user show`.

use serde_json::{Value, json};

use super::output;
use crate::auth::{Figures, LetInFrom, Period, Usage};
use crate::model::AccessPoint;

/// Three lines whose second column begins at `column`.
pub(super) fn describe(usage: &Usage, column: usize) -> String {
    let door = |figures: Figures| format!("{} let in, {} refused", figures.requests, figures.refusals);
    let doors = format!("api {}; isproxy {}", door(usage.api), door(usage.isproxy));
    let addresses: Vec<_> = usage.addresses.iter().map(from).collect();
    let lines =
        [("30 days", door(usage.total)), ("", doors), ("from", output::or_dash(&addresses.join(", ")))];
    lines.map(|(name, text)| format!("{name:<column$}{text}")).join("\n")
}

/// When a password was last used at `entrance`, in a sentence's end.
pub(super) fn password_use(usage: &Usage, entrance: AccessPoint) -> String {
    usage.password.at(entrance).map_or_else(
        || String::from("not within 30 days"),
        |used| format!("{} from {}", used.at, used.address),
    )
}

/// All of it, with days and hours.
pub(super) fn as_json(usage: &Usage) -> Value {
    json!({
        "requests": usage.total.requests,
        "refusals": usage.total.refusals,
        "services": { "api": figures(usage.api), "isproxy": figures(usage.isproxy) },
        "days": usage.days.iter().map(period).collect::<Value>(),
        "hours": usage.hours.iter().map(period).collect::<Value>(),
        "addresses": usage.addresses.iter().map(let_in).collect::<Value>(),
    })
}

/// When a user's password was last used, by entrance.
pub(super) fn password_uses_as_json(usage: &Usage) -> Value {
    let used = |entrance| usage.password.at(entrance).map(|used| let_in(&used));
    json!({
        "console": used(AccessPoint::Console),
        "api": used(AccessPoint::Api),
        "isproxy": used(AccessPoint::IsProxy),
    })
}

fn from(seen: &LetInFrom) -> String {
    format!("{} ({}, {})", seen.address, entrance(seen.entrance), seen.at)
}

fn let_in(seen: &LetInFrom) -> Value {
    json!({
        "address": seen.address.to_string(),
        "entrance": entrance(seen.entrance),
        "at": seen.at.to_string(),
    })
}

fn figures(figures: Figures) -> Value {
    json!({ "requests": figures.requests, "refusals": figures.refusals })
}

fn period(period: &Period) -> Value {
    json!({
        "starts_at": period.starts_at.to_string(),
        "requests": period.figures.requests,
        "refusals": period.figures.refusals,
    })
}

const fn entrance(entrance: AccessPoint) -> &'static str {
    match entrance {
        AccessPoint::Console => "console",
        AccessPoint::Api => "api",
        AccessPoint::IsProxy => "isproxy",
    }
}
