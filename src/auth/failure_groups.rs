//! Failed sign-ins and throttled attempts on their way into the audit trail: grouped, so that no flood of them fills it.
//!
//! Equal failures of five minutes become one row, with their number and the times of the first and the last; more than 500
//! groups are counted together. The doors know nothing of it: what they refuse comes by the channel of
//! `telemetry::RefusalRecorder`, and the console notes its own. `app` writes the rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use super::audit::{Event, EventKind};
use super::control_plane::{ControlError, ControlPlane};
use super::decision::DenialReason;
use crate::model::{ClientIp, Recognised, Timestamp, UserId};
use crate::store::{AuditEntry, UserRecord};
use crate::telemetry::KeptRefusal;

/// How long failures are collected before they are written, in seconds.
const WINDOW_SECONDS: i64 = 300;
/// Groups that are told apart within a window.
const GROUPS_MAX: usize = 500;
/// HTTP's 429 (RFC 6585 §4): whatever the credential was, it met a throttle.
const TOO_MANY_REQUESTS: u16 = 429;
/// Who acts where nobody was recognised, or was let in.
const UNKNOWN_ACTOR: &str = "unknown";
/// Stands in the row of what was not told apart.
const NOT_TOLD_APART: &str = "more refusals than are told apart";

/// Collects failures; clones share them.
#[derive(Clone, Debug, Default)]
pub struct FailureGroups(Arc<Mutex<Window>>);

/// One failed attempt to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// At which entrance, in the audit trail's words: `console`, `api`, `isproxy`.
    pub entrance: &'static str,
    /// From which address.
    pub client_ip: ClientIp,
    /// Whose credential it was, or for whom it was shown, where that is known.
    pub recognised: Option<Recognised>,
    /// Why it failed: a reason's name, never what was presented.
    pub reason: Cow<'static, str>,
    /// When.
    pub at: Timestamp,
}

/// Which kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// A key, a password or a session that was not let in.
    SignIn,
    /// A second factor that did not prove right.
    SecondFactor,
    /// Too many had failed, or were asked, before.
    Throttled,
}

#[derive(Debug, Default)]
struct Window {
    groups: HashMap<Group, Tally>,
    /// What came after [`GROUPS_MAX`] groups were there, and what the doors did not hand on.
    others: Option<Tally>,
}

/// What the failures of one row have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    kind: FailureKind,
    entrance: &'static str,
    client_ip: ClientIp,
    recognised: Option<Recognised>,
    reason: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Failure {
    /// The failure that a door's refusal tells of; `None`: nobody tried to come in with a credential that was judged.
    pub fn of_refusal(refusal: &KeptRefusal) -> Option<Self> {
        let reason = DenialReason::ALL.into_iter().find(|reason| reason.as_str() == refusal.reason)?;
        let kind = match reason {
            // It was told before it came to that, and the quota's page shows it.
            DenialReason::QuotaExhausted(_) => return None,
            DenialReason::TooManyFailures | DenialReason::UserThrottled | DenialReason::TooManyRequests => {
                FailureKind::Throttled
            }
            _ if refusal.status == TOO_MANY_REQUESTS => FailureKind::Throttled,
            // Whoever shows nothing does not try to come in; a list of the listener and our own load refuse anybody.
            DenialReason::NoCredential
            | DenialReason::AddressOutsideListenerList
            | DenialReason::PasswordQueueFull
            | DenialReason::PasswordsUncounted
            | DenialReason::StoreStale => return None,
            _ => FailureKind::SignIn,
        };
        Some(Self {
            kind,
            entrance: refusal.service.as_str(),
            client_ip: refusal.client_ip,
            recognised: refusal.recognised,
            reason: Cow::Borrowed(reason.as_str()),
            at: refusal.at,
        })
    }
}

impl FailureGroups {
    /// Counts a failure; never waits for the store.
    pub fn note(&self, failure: Failure) {
        let Failure { kind, entrance, client_ip, recognised, reason, at } = failure;
        let group = Group { kind, entrance, client_ip, recognised, reason };
        self.with(|window| window.add(group, Tally { count: 1, first: at, last: at }));
    }

    /// Counts `count` refusals of which no more is known than that they were made by `at`.
    pub fn note_untold(&self, count: u64, at: Timestamp) {
        if count > 0 {
            self.with(|window| window.add_to_others(Tally { count, first: at, last: at }));
        }
    }

    /// Is it time to write what has been collected?
    pub fn is_due(&self, now: Timestamp) -> bool {
        let began = self.with(|window| window.tallies().map(|tally| tally.first).min());
        // A clock that was set back must not keep them for ever.
        began.is_some_and(|began| {
            now.unix_seconds().abs_diff(began.unix_seconds()) >= WINDOW_SECONDS.unsigned_abs()
        })
    }

    /// Writes a row for each group into the trail, by a plane that acts for the gateway; answers how many. Where they
    /// cannot be written they are kept for the next time.
    pub async fn write(&self, plane: &ControlPlane) -> Result<usize, ControlError> {
        let window = self.with(std::mem::take);
        let written = plane.store.in_time(write(&window, plane)).await;
        if written.is_err() {
            self.with(|present| {
                window.groups.into_iter().for_each(|(group, tally)| present.add(group, tally));
                window.others.into_iter().for_each(|tally| present.add_to_others(tally));
            });
        }
        written
    }

    fn with<T>(&self, work: impl FnOnce(&mut Window) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Window {
    fn add(&mut self, group: Group, tally: Tally) {
        if let Some(known) = self.groups.get_mut(&group) {
            known.join(tally);
        } else if self.groups.len() < GROUPS_MAX {
            self.groups.insert(group, tally);
        } else {
            self.add_to_others(tally);
        }
    }

    fn add_to_others(&mut self, tally: Tally) {
        match &mut self.others {
            Some(others) => others.join(tally),
            none => *none = Some(tally),
        }
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.groups.values().chain(&self.others)
    }
}

impl Tally {
    fn join(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    fn put_into(self, event: Event) -> Event {
        event.with("count", self.count).with("first", self.first).with("last", self.last)
    }
}

async fn write(window: &Window, plane: &ControlPlane) -> Result<usize, ControlError> {
    let now = plane.clock.now();
    let mut entries = Vec::with_capacity(window.groups.len() + 1);
    let mut groups: Vec<_> = window.groups.iter().collect();
    groups.sort_by_key(|(_, tally)| tally.first);
    let mut users = HashMap::new();
    for (group, tally) in groups {
        let user = user_of(group, plane, &mut users).await?;
        entries.push(entry(group, *tally, user, plane, now));
    }
    if let Some(others) = window.others {
        let event = others.put_into(Event::new(EventKind::SignInFailed).with("reason", NOT_TOLD_APART));
        entries.push(AuditEntry { actor: UNKNOWN_ACTOR.to_owned(), ..event.entry(&plane.actor, now) });
    }
    if !entries.is_empty() {
        let mut mutation = plane.store.mutate().await?;
        mutation.append_audit(&entries, &plane.key_ring.audit).await?;
        mutation.commit().await?;
    }
    Ok(entries.len())
}

fn entry(
    group: &Group,
    tally: Tally,
    user: Option<&UserRecord>,
    plane: &ControlPlane,
    now: Timestamp,
) -> AuditEntry {
    let kind = match group.kind {
        FailureKind::SignIn => EventKind::SignInFailed,
        FailureKind::SecondFactor => EventKind::SecondFactorFailed,
        FailureKind::Throttled => EventKind::Throttled,
    };
    let mut event = tally.put_into(Event::new(kind)).with("reason", &group.reason);
    if let Some(Recognised::Key(key)) = group.recognised {
        event = event.with("key", key);
    }
    if let Some(user) = user {
        event = event.about(user);
    }
    AuditEntry {
        actor: UNKNOWN_ACTOR.to_owned(),
        entrance: group.entrance.to_owned(),
        client_ip: group.client_ip.to_string(),
        ..event.entry(&plane.actor, now)
    }
}

/// Whose the group's credential was, if it is still there; looked up once for each user.
async fn user_of<'u>(
    group: &Group,
    plane: &ControlPlane,
    users: &'u mut HashMap<UserId, Option<UserRecord>>,
) -> Result<Option<&'u UserRecord>, ControlError> {
    let id = match group.recognised {
        Some(Recognised::Key(key)) => plane.store.key(key).await?.map(|key| key.user),
        Some(Recognised::Password(id) | Recognised::Session(id)) => Some(id),
        None => None,
    };
    let Some(id) = id else { return Ok(None) };
    Ok(match users.entry(id) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(plane.store.user_by_id(id).await?),
    }
    .as_ref())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::control_plane::tests::{NOW, plane};
    use super::super::{ActivityFilter, ActivityRow, Actor, KeyToMake, PasswordEnd};
    use super::*;
    use crate::model::Service;
    use crate::telemetry::RequestIds;

    fn failure(address: u32, reason: &'static str, at: Timestamp) -> Failure {
        Failure {
            kind: FailureKind::SignIn,
            entrance: "api",
            client_ip: ClientIp::new(Ipv4Addr::from_bits(0xc633_6400 + address).into()),
            recognised: None,
            reason: Cow::Borrowed(reason),
            at,
        }
    }

    async fn rows(plane: &ControlPlane, kind: EventKind) -> Vec<ActivityRow> {
        let filter = ActivityFilter { event: Some(kind), ..ActivityFilter::default() };
        plane.activity(&filter, None, 500).await.unwrap().rows
    }

    #[tokio::test]
    async fn s88_equal_failures_become_one_row_with_their_number_and_times() {
        let (_folder, plane) = plane().await;
        let gateway = plane.acting_as(Actor::Gateway);
        let alex = plane.user(&"acme/alex".parse().unwrap()).await.unwrap().id;
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let key = plane.create_keys(&order, std::num::NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let key = key.keys[0].id;
        let failures = FailureGroups::default();
        for second in [120, 0, 239] {
            let at = NOW.plus_seconds(second);
            let recognised = Some(Recognised::Password(alex));
            failures.note(Failure { recognised, ..failure(9, "wrong_password", at) });
            failures.note(failure(9, "unknown_key", at));
            let recognised = Some(Recognised::Key(key));
            failures.note(Failure {
                recognised,
                kind: FailureKind::Throttled,
                ..failure(8, "too_many_requests", at)
            });
        }
        assert_eq!(failures.write(&gateway).await.unwrap(), 3);
        let told = rows(&plane, EventKind::SignInFailed).await;
        let alex = told.iter().find(|row| row.subject == "acme/alex").unwrap();
        assert_eq!(
            alex.sentence,
            "3 failed sign-ins as acme/alex from 198.51.100.9 between 08:00 and 08:03 UTC: \
             the password is wrong, or none is set"
        );
        assert_eq!((alex.actor.as_str(), alex.entrance.as_str()), ("unknown", "api"));
        assert!(told.iter().any(|row| row.subject.is_empty() && row.details["reason"] == "unknown_key"));
        let throttled = &rows(&plane, EventKind::Throttled).await[0];
        assert_eq!((throttled.subject.as_str(), &throttled.details["key"]), ("acme/alex", &key.to_string()));
        assert_eq!(failures.write(&gateway).await.unwrap(), 0, "each is told once");
    }

    #[tokio::test]
    async fn s88_a_flood_from_many_addresses_writes_500_rows_and_counts_the_rest() {
        let (_folder, plane) = plane().await;
        let failures = FailureGroups::default();
        for address in 0..2_000 {
            failures.note(failure(address, "unknown_key", NOW));
        }
        failures.note_untold(40, NOW);
        failures.note_untold(0, NOW);
        assert_eq!(failures.write(&plane.acting_as(Actor::Gateway)).await.unwrap(), 501);
        let told = rows(&plane, EventKind::SignInFailed).await;
        assert_eq!(told[0].sentence, "1540 failed sign-ins at 08:00 UTC: more refusals than are told apart");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_for_the_next_time() {
        let (_folder, plane) = plane().await;
        let failures = FailureGroups::default();
        failures.note(failure(9, "unknown_key", NOW));
        let gateway = plane.acting_as(Actor::Gateway);
        plane.store.close().await;
        assert!(failures.write(&gateway).await.is_err());
        failures.note(failure(9, "unknown_key", NOW.plus_seconds(60)));
        let store = crate::store::Store::open(&plane.store.location()).await.unwrap();
        let plane = ControlPlane { store, ..plane };
        assert_eq!(failures.write(&plane.acting_as(Actor::Gateway)).await.unwrap(), 1);
        assert_eq!(rows(&plane, EventKind::SignInFailed).await[0].details["count"], "2");
    }

    #[test]
    fn they_are_due_five_minutes_after_the_first() {
        let failures = FailureGroups::default();
        assert!(!failures.is_due(NOW.plus_seconds(900)));
        failures.note(failure(9, "unknown_key", NOW));
        failures.note(failure(9, "unknown_key", NOW.plus_seconds(200)));
        assert!(!failures.is_due(NOW.plus_seconds(299)));
        assert!(failures.is_due(NOW.plus_seconds(300)));
        assert!(failures.is_due(NOW.plus_seconds(-300)), "the clock was set back");
    }

    #[test]
    fn refusals_of_credentials_are_failures_and_others_are_none() {
        let kind = |reason: &str, status| {
            let refusal = KeptRefusal {
                request_id: RequestIds::new(7).next_id(),
                at: NOW,
                service: Service::IsProxy,
                listener: "isproxy".into(),
                client_ip: ClientIp::new(Ipv4Addr::LOCALHOST.into()),
                via: None,
                method: "LOGIN".into(),
                target: String::new(),
                status,
                reason: reason.into(),
                recognised: None,
            };
            Failure::of_refusal(&refusal).map(|failure| (failure.kind, failure.entrance))
        };
        let (failed, throttled) =
            (Some((FailureKind::SignIn, "isproxy")), Some((FailureKind::Throttled, "isproxy")));
        for (reason, status, expected) in [
            ("unknown_key", 401, failed),
            ("wrong_password", 400, failed),
            ("address_outside_user_list", 403, failed),
            ("plaintext_credential", 403, failed),
            ("unknown_key", 429, throttled),
            ("no_credential", 429, throttled),
            ("user_throttled", 400, throttled),
            ("no_credential", 401, None),
            ("password_queue_full", 503, None),
            ("address_outside_listener_list", 403, None),
            ("no_route", 404, None),
            ("revoked", 100, None),
        ] {
            assert_eq!(kind(reason, status), expected, "{reason} {status}");
        }
    }
}
