//! What an import tells the audit trail: a row for each customer that got keys, and one for each user whose password it
//! ended, so that both stand among the customer's own activity.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::audit::{Event, EventKind};
use super::{Customers, ImportPlan};
use crate::model::{CustomerHandle, CustomerId, UserId, UserName};

#[derive(Default)]
struct Share {
    keys: u64,
    new_users: u64,
}

/// The events of `plan`, whose users have the rows `ids`, in their order; `customers` are those of all of them.
pub(super) fn events_of(plan: &ImportPlan, ids: &[UserId], customers: &Customers) -> Vec<Event> {
    let mut shares: BTreeMap<&CustomerHandle, Share> = BTreeMap::new();
    for user in &plan.users {
        shares.entry(&user.name.customer).or_default().new_users += u64::from(user.id.is_none());
    }
    for user in plan.keys.iter().filter_map(|key| plan.users.get(key.user)) {
        shares.entry(&user.name.customer).or_default().keys += 1;
    }
    let mut events: Vec<Event> =
        shares.into_iter().map(|(handle, share)| imported(plan, handle, &share, customers)).collect();
    let ended: HashSet<&UserName> = plan.ends_password_of.iter().collect();
    for (user, id) in plan.users.iter().zip(ids).filter(|(user, _)| ended.contains(&user.name)) {
        if let Some(customer) = id_of(&customers.ids, &user.name.customer) {
            let event = Event::new(EventKind::PasswordEndedByKey);
            events.push(event.about_user(customer, *id, user.name.to_string()));
        }
    }
    events
}

fn imported(plan: &ImportPlan, handle: &CustomerHandle, share: &Share, customers: &Customers) -> Event {
    let customer = id_of(&customers.ids, handle);
    let is_new = customer.is_some_and(|id| customers.made.contains(&id));
    Event::new(EventKind::KeysImported)
        .about_thing(customer, handle.as_str())
        .with("keys", share.keys)
        .with("new_users", share.new_users)
        .with("new_customer", is_new)
        .with("scope", plan.scope)
}

fn id_of(ids: &HashMap<CustomerHandle, CustomerId>, handle: &CustomerHandle) -> Option<CustomerId> {
    ids.get(handle).copied()
}
