//! What the audit trail tells of a restore: one row for the operator, and one for each customer that it changes. Pure.
//!
//! A customer's own row names what of it comes back and what goes, and nothing of anybody else.

use std::collections::BTreeMap;
use std::path::Path;

use super::Deletions;
use crate::auth::audit::{Event, EventKind};
use crate::auth::audit_check::AuditHead;
use crate::store::{CustomerRecord, Difference, Effect, Revival};

/// So many differences of an effect are named in a row.
const NAMED: usize = 100;

/// Whose row is the operator's.
pub(super) fn of_store(
    backup: &Path,
    trail: AuditHead,
    deletions: Deletions,
    revival: Revival,
    differences: &[Difference],
) -> Event {
    let of = |effect| with_effect(differences, effect);
    let (dead, given_back, taken_away) =
        (of(Effect::KeptUnlessRevived), of(Effect::GivenBack), of(Effect::TakenAway));
    let event = Event::new(EventKind::StoreRestored)
        .with("file", backup.display())
        .with("backup_trail", trail)
        .with("given_back", given_back.len())
        .with("taken_away", taken_away.len());
    let event = match deletions {
        Deletions::Unknown => event.with("deletions", "unknown"),
        Deletions::Store | Deletions::File(_) => event,
    };
    match revival {
        Revival::Refused => event.with("kept_as_they_are", dead.len()),
        Revival::Accepted if dead.is_empty() => event,
        Revival::Accepted => event.with("revived", named(&dead)),
    }
}

/// The rows of those of `customers` of which anything comes back or goes.
pub(super) fn of_customers(
    customers: &[CustomerRecord],
    revival: Revival,
    differences: &[Difference],
) -> Vec<Event> {
    let mut found: BTreeMap<_, [Vec<&Difference>; 3]> = BTreeMap::new();
    for difference in differences {
        let Some(customer) = difference.customer else { continue };
        let [revived, given_back, taken_away] = found.entry(customer).or_default();
        match (difference.kind.effect(), revival) {
            (Effect::KeptUnlessRevived, Revival::Refused) => {}
            (Effect::KeptUnlessRevived, Revival::Accepted) => revived.push(difference),
            (Effect::GivenBack, _) => given_back.push(difference),
            (Effect::TakenAway, _) => taken_away.push(difference),
        }
    }
    let mut events = Vec::new();
    for customer in customers {
        let Some(lists) = found.get(&customer.id).filter(|lists| lists.iter().any(|list| !list.is_empty()))
        else {
            continue;
        };
        let event =
            Event::new(EventKind::StoreRestored).about_thing(Some(customer.id), customer.handle.as_str());
        let names = ["revived", "given_back", "taken_away"];
        events.push(names.into_iter().zip(lists).fold(event, |event, (name, list)| {
            if list.is_empty() { event } else { event.with(name, named(list)) }
        }));
    }
    events
}

fn with_effect(differences: &[Difference], effect: Effect) -> Vec<&Difference> {
    differences.iter().filter(|found| found.kind.effect() == effect).collect()
}

fn named(differences: &[&Difference]) -> String {
    let told = |found: &&Difference| format!("{} ({})", found.subject, found.kind.as_str());
    let mut named: Vec<String> = differences.iter().take(NAMED).map(told).collect();
    if differences.len() > NAMED {
        named.push(format!("and {} more", differences.len() - NAMED));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::actor::Actor;
    use crate::model::{AllowList, CustomerId, MfaRequirement, Timestamp};
    use crate::store::DifferenceKind as Kind;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn customer(id: i64, handle: &str) -> CustomerRecord {
        CustomerRecord {
            id: CustomerId(id),
            handle: handle.parse().unwrap(),
            mfa: MfaRequirement::Optional,
            allow_list: AllowList::default(),
            created_at: NOW,
        }
    }

    fn difference(kind: Kind, subject: &str, customer: Option<i64>) -> Difference {
        Difference { kind, subject: subject.to_owned(), customer: customer.map(CustomerId) }
    }

    fn told(revival: Revival, differences: &[Difference]) -> Vec<(Option<i64>, String, String)> {
        let customers = [customer(1, "acme"), customer(2, "beta")];
        let events = of_customers(&customers, revival, differences);
        let entries = events.iter().map(|event| event.entry(&Actor::Operator("root".into()), NOW));
        entries.map(|entry| (entry.customer.map(|id| id.0), entry.subject, entry.details)).collect()
    }

    #[test]
    fn s98_each_customer_is_told_what_comes_back_and_goes_of_its_own_and_of_nobody_elses() {
        let found = [
            difference(Kind::KeyDeleted, "key_1 of acme/alex", Some(1)),
            difference(Kind::Rights, "acme/alex", Some(1)),
            difference(Kind::UserDeactivated, "beta/bo", Some(2)),
            difference(Kind::UserMade, "acme/new", Some(1)),
            difference(Kind::CustomerMade, "gamma", None),
        ];
        let changed = r#""given_back":"acme/alex (rights)""#;
        let gone = r#""taken_away":"acme/new (user_made)""#;
        assert_eq!(
            told(Revival::Refused, &found),
            [(Some(1), "acme".to_owned(), format!("{{{changed},{gone}}}"))]
        );
        let revived = r#""revived":"key_1 of acme/alex (key_deleted)""#;
        assert_eq!(
            told(Revival::Accepted, &found),
            [
                (Some(1), "acme".to_owned(), format!("{{{changed},{revived},{gone}}}")),
                (Some(2), "beta".to_owned(), r#"{"revived":"beta/bo (user_deactivated)"}"#.to_owned()),
            ]
        );
    }

    #[test]
    fn a_row_names_a_bounded_number() {
        let found: Vec<_> =
            (0..1_000).map(|number| difference(Kind::KeyBack, &format!("key_{number}"), Some(1))).collect();
        let [(_, _, details)] = &told(Revival::Refused, &found)[..] else { panic!() };
        assert!(
            details.contains("key_99 (key_back), and 900 more") && !details.contains("key_100"),
            "{details}"
        );
    }
}
