//! Who did what, from where, and whether it failed: the audit trail as the console, the management API and the command
//! line show it.
//!
//! Each row gets a sentence for people (`sentence`); tables for spreadsheets are made in `csv`. What is written into the
//! trail is `audit`'s, and whether it is still what was written `audit_check`'s.

mod csv;
mod sentence;

use std::collections::BTreeMap;

pub use csv::{render_activity_csv, render_activity_csv_head, render_activity_csv_lines};
pub use sentence::Naming;
use sentence::Told;

use super::audit::EventKind;
use super::control_plane::{ControlError, ControlPlane};
use super::rights::{Action, Forbidden};
use crate::model::{CustomerHandle, Timestamp, UserName};
use crate::store::{Among, AuditFilter, AuditRow};

/// Rows of one page at most.
pub const ACTIVITY_ROWS_MAX: u32 = 500;

/// Which activity is wanted; `default` is all of it.
#[derive(Clone, Debug, Default)]
pub struct ActivityFilter {
    /// Of this customer; `None`: of all, which is the operator's to see.
    pub customer: Option<CustomerHandle>,
    /// Done by this user, or to it; it may be gone by now.
    pub user: Option<UserName>,
    /// This kind of event.
    pub event: Option<EventKind>,
    /// Of one of these kinds; empty: of any.
    pub among: Vec<EventKind>,
    /// Only what failed, or only what did not.
    pub result: Option<ActivityResult>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

/// Whether something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityResult {
    /// It was.
    Done,
    /// It was refused, or went wrong.
    Failed,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    /// Its place in the whole trail.
    pub sequence: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it, for example `acme/alex`, `operator:root`, `gateway`, or `unknown`.
    pub actor: String,
    /// Where: `console`, `management`, `command line`, `api`, `isproxy` or `gateway`.
    pub entrance: String,
    /// From which address; empty: from none.
    pub client_ip: String,
    /// The kind of event by its name; a newer version may know more than [`EventKind`].
    pub event: String,
    /// What it was done to, by name.
    pub subject: String,
    /// Further facts.
    pub details: BTreeMap<String, String>,
    /// What was done, as people say it; `actor` is the sentence's subject.
    pub sentence: String,
    /// Whether it was done.
    pub result: ActivityResult,
}

/// A page of activity, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityPage {
    /// The rows.
    pub rows: Vec<ActivityRow>,
    /// What to ask for the next page with; `None`: this is the last.
    pub next: Option<i64>,
}

impl ActivityResult {
    /// The word in lists, CSV and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl ControlPlane {
    /// A page of at most `count` rows that `filter` lets through, newest first, behind the row `before` of the page
    /// before.
    pub async fn activity(
        &self,
        filter: &ActivityFilter,
        before: Option<i64>,
        count: u32,
    ) -> Result<ActivityPage, ControlError> {
        let wanted = AuditFilter { before: before.unwrap_or(i64::MAX), ..self.wanted(filter).await? };
        let count = count.clamp(1, ACTIVITY_ROWS_MAX);
        let mut rows = self.store.newest_audit_rows(&wanted, count + 1).await?;
        let more = rows.len() > usize::try_from(count).unwrap_or(usize::MAX);
        if more {
            rows.pop();
        }
        let next = rows.last().filter(|_| more).map(|last| last.sequence);
        let naming = if filter.customer.is_some() { Naming::Login } else { Naming::Full };
        Ok(ActivityPage { rows: rows.into_iter().map(|row| shown(row, naming)).collect(), next })
    }

    /// At most `count` rows that `filter` lets through behind the row `after` (0: from the beginning), oldest first.
    pub async fn activity_after(
        &self,
        filter: &ActivityFilter,
        after: i64,
        count: u32,
    ) -> Result<Vec<ActivityRow>, ControlError> {
        let wanted = AuditFilter { after, ..self.wanted(filter).await? };
        let rows = self.store.oldest_audit_rows(&wanted, count.clamp(1, ACTIVITY_ROWS_MAX)).await?;
        Ok(rows.into_iter().map(|row| shown(row, Naming::Full)).collect())
    }

    /// The newest `count` rows of what `name` did, or what was done to it; everybody sees the own ones.
    pub async fn recent_activity_of(
        &self,
        name: &UserName,
        count: u32,
    ) -> Result<Vec<ActivityRow>, ControlError> {
        let unknown = || ControlError::UnknownUser(name.clone());
        let user = self.store.user(name).await?.ok_or_else(unknown)?;
        let is_own = self.actor.user().is_some_and(|asker| asker.id == user.id);
        let action = if is_own { Action::ViewUser(&user) } else { Action::ViewActivity(user.customer) };
        self.require(action).await.map_err(|error| match error {
            ControlError::Forbidden(Forbidden::Unknown) => unknown(),
            other => other,
        })?;
        let rows = self.store.audit_rows_of_user(user.id, count.clamp(1, ACTIVITY_ROWS_MAX)).await?;
        Ok(rows.into_iter().map(|row| shown(row, Naming::Login)).collect())
    }

    /// What to ask the store for, if the actor may see it.
    async fn wanted(&self, filter: &ActivityFilter) -> Result<AuditFilter, ControlError> {
        let customer = if let Some(handle) = &filter.customer {
            let customer = self.customer_record(handle).await?.id;
            self.require(Action::ViewActivity(customer)).await.map_err(|error| match error {
                ControlError::Forbidden(Forbidden::Unknown) => ControlError::UnknownCustomer(handle.clone()),
                other => other,
            })?;
            Some(customer)
        } else {
            self.require(Action::Operate).await?;
            None
        };
        Ok(AuditFilter {
            customer,
            name: filter.user.as_ref().map(ToString::to_string),
            event: filter.event.map(|kind| kind.as_str().to_owned()),
            among: among(&filter.among, filter.result),
            since: filter.since,
            until: filter.until,
            ..AuditFilter::default()
        })
    }
}

/// Which kinds of event are looked for; `None`: all, also those that only a newer version knows.
fn among(kinds: &[EventKind], result: Option<ActivityResult>) -> Option<(Vec<&'static str>, Among)> {
    let names = |wanted: &dyn Fn(EventKind) -> bool| {
        kinds.iter().copied().filter(|kind| wanted(*kind)).map(EventKind::as_str).collect()
    };
    match (kinds, result) {
        ([], None) => None,
        ([], Some(ActivityResult::Failed)) => Some((failures(), Among::These)),
        ([], Some(ActivityResult::Done)) => Some((failures(), Among::Others)),
        (_, None) => Some((names(&|_| true), Among::These)),
        (_, Some(ActivityResult::Failed)) => Some((names(&EventKind::is_failure), Among::These)),
        (_, Some(ActivityResult::Done)) => Some((names(&|kind| !kind.is_failure()), Among::These)),
    }
}

fn failures() -> Vec<&'static str> {
    EventKind::ALL.into_iter().filter(|kind| kind.is_failure()).map(EventKind::as_str).collect()
}

fn shown(row: AuditRow, naming: Naming) -> ActivityRow {
    let AuditRow { sequence, entry, .. } = row;
    // A row that somebody tampered with is still shown; whether one did is the chain's to tell.
    let details: BTreeMap<String, String> = serde_json::from_str(&entry.details).unwrap_or_default();
    let told = Told {
        event: &entry.event,
        actor: &entry.actor,
        subject: &entry.subject,
        client_ip: &entry.client_ip,
        details: &details,
        naming,
    };
    let result = if failures().contains(&entry.event.as_str()) {
        ActivityResult::Failed
    } else {
        ActivityResult::Done
    };
    let sentence = told.sentence();
    ActivityRow {
        sequence,
        at: entry.at,
        actor: entry.actor,
        entrance: entry.entrance,
        client_ip: entry.client_ip,
        event: entry.event,
        subject: entry.subject,
        details,
        sentence,
        result,
    }
}

#[cfg(test)]
mod tests {
    use super::super::actor::{Actor, Means, UserActor};
    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{Activation, CustomerToMake, UserChanges, UserToMake};
    use super::*;
    use crate::model::{ClientIp, Permission, Permissions};

    async fn by(plane: &ControlPlane, name: &str) -> ControlPlane {
        let name: UserName = name.parse().unwrap();
        let id = plane.user(&name).await.unwrap().id;
        let client_ip = ClientIp::new("192.0.2.7".parse().unwrap());
        let means = Means::Console { authenticated_at: NOW };
        plane.acting_as(Actor::User(UserActor { id, name, means, client_ip }))
    }

    #[test]
    fn kinds_and_results_narrow_together() {
        let kinds = [EventKind::SignedIn, EventKind::SignInFailed];
        assert_eq!(among(&[], None), None);
        assert_eq!(among(&kinds, None), Some((vec!["sign_in.done", "sign_in.failed"], Among::These)));
        let failed = Some(ActivityResult::Failed);
        assert_eq!(among(&kinds, failed), Some((vec!["sign_in.failed"], Among::These)));
        let done = Some(ActivityResult::Done);
        assert_eq!(among(&kinds, done), Some((vec!["sign_in.done"], Among::These)));
        assert_eq!(among(&[], done), Some((failures(), Among::Others)));
    }

    fn of_acme() -> ActivityFilter {
        ActivityFilter { customer: Some("acme".parse().unwrap()), ..ActivityFilter::default() }
    }

    #[tokio::test]
    async fn s88_activity_tells_who_did_what_to_whom_from_where_newest_first() {
        let (_folder, plane) = plane().await;
        let admin = by(&plane, "acme/admin").await;
        let alex: UserName = "acme/alex".parse().unwrap();
        admin.set_activation(&alex, Activation::Deactivated).await.unwrap();
        let page = admin.activity(&of_acme(), None, 2).await.unwrap();
        let row = &page.rows[0];
        assert_eq!((row.actor.as_str(), row.sentence.as_str()), ("acme/admin", "deactivated user alex"));
        assert_eq!((row.client_ip.as_str(), row.entrance.as_str(), row.at), ("192.0.2.7", "console", NOW));
        assert_eq!((row.event.as_str(), row.result), ("user.deactivated", ActivityResult::Done));
        assert_eq!(page.rows.len(), 2);
        // The pages together are everything, once.
        let (mut next, mut numbers) = (page.next, vec![page.rows[0].sequence, page.rows[1].sequence]);
        while let Some(before) = next {
            let page = admin.activity(&of_acme(), Some(before), 2).await.unwrap();
            numbers.extend(page.rows.iter().map(|row| row.sequence));
            next = page.next;
        }
        assert_eq!(numbers, (1..=numbers[0]).rev().collect::<Vec<_>>());
        let all = plane.activity_after(&ActivityFilter::default(), 0, 100).await.unwrap();
        assert_eq!(all.last().unwrap().sentence, "deactivated user acme/alex");
    }

    #[tokio::test]
    async fn filters_are_by_user_kind_result_and_time() {
        let (_folder, plane) = plane().await;
        plane.clock.set(NOW.plus_seconds(60));
        plane.create_user(UserToMake::new("acme/kim".parse().unwrap())).await.unwrap();
        let count =
            async |filter: ActivityFilter| plane.activity(&filter, None, 100).await.unwrap().rows.len();
        let all = count(of_acme()).await;
        assert_eq!(count(ActivityFilter { user: Some("acme/kim".parse().unwrap()), ..of_acme() }).await, 1);
        let kind = Some(EventKind::CustomerCreated);
        assert_eq!(count(ActivityFilter { event: kind, ..of_acme() }).await, 1);
        assert_eq!(count(ActivityFilter { since: Some(NOW.plus_seconds(60)), ..of_acme() }).await, 1);
        assert_eq!(count(ActivityFilter { until: Some(NOW.plus_seconds(60)), ..of_acme() }).await, all - 1);
        let failed = Some(ActivityResult::Failed);
        assert_eq!(count(ActivityFilter { result: failed, ..of_acme() }).await, 0);
        let done = Some(ActivityResult::Done);
        assert_eq!(count(ActivityFilter { result: done, ..of_acme() }).await, all);
    }

    #[tokio::test]
    async fn r4_activity_is_of_the_own_customer_and_takes_its_permission() {
        let (_folder, plane) = plane().await;
        plane.create_customer(CustomerToMake::new("other".parse().unwrap())).await.unwrap();
        let (admin, alex) = (by(&plane, "acme/admin").await, by(&plane, "acme/alex").await);
        let told = alex.activity(&of_acme(), None, 5).await.unwrap_err();
        let lacking = Forbidden::Permission(Permission::ViewAudit);
        assert!(matches!(told, ControlError::Forbidden(told) if told == lacking), "{told:?}");
        let name = "acme/alex".parse().unwrap();
        let permissions: Permissions = [Permission::ViewAudit].into_iter().collect();
        let changes = UserChanges { permissions: Some(permissions), ..Default::default() };
        plane.update_user(&name, &changes).await.unwrap();
        assert!(alex.activity(&of_acme(), None, 5).await.is_ok());
        for plane in [&admin, &alex] {
            let other = ActivityFilter { customer: Some("other".parse().unwrap()), ..of_acme() };
            let told = plane.activity(&other, None, 5).await.unwrap_err();
            assert!(matches!(told, ControlError::UnknownCustomer(_)), "{told:?}");
            let told = plane.activity(&ActivityFilter::default(), None, 5).await.unwrap_err();
            assert!(matches!(told, ControlError::Forbidden(Forbidden::Operator)), "{told:?}");
            let told = plane.recent_activity_of(&"other/admin".parse().unwrap(), 5).await.unwrap_err();
            assert!(matches!(told, ControlError::UnknownUser(_)), "{told:?}");
        }
        assert_eq!(admin.activity(&of_acme(), None, 500).await.unwrap().rows.len(), 4);
    }

    #[tokio::test]
    async fn everybody_sees_the_own_recent_activity_and_nobody_elses_without_the_permission() {
        let (_folder, plane) = plane().await;
        let alex = by(&plane, "acme/alex").await;
        let own = alex.recent_activity_of(&"acme/alex".parse().unwrap(), 5).await.unwrap();
        assert_eq!(own.iter().map(|row| row.sentence.as_str()).collect::<Vec<_>>(), ["created user alex"]);
        let told = alex.recent_activity_of(&"acme/admin".parse().unwrap(), 5).await.unwrap_err();
        assert!(matches!(told, ControlError::Forbidden(Forbidden::Permission(_))), "{told:?}");
        let admin = by(&plane, "acme/admin").await;
        assert_eq!(admin.recent_activity_of(&"acme/alex".parse().unwrap(), 5).await.unwrap(), own);
    }
}
