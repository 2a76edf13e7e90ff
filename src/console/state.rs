//! What the console's pages and the management API work with; cheap to clone.
//!
//! What a reload can change, policy, limits and the doors' addresses, is asked for anew by each request.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;

use super::cookies::Cookies;
use super::frame::Notice;
use super::unsent::Unsent;
use crate::auth::ConsoleAccess;
use crate::clock::Clock;
use crate::config::{Limits, PublicUrl};
use crate::model::UserId;
use crate::telemetry::Metrics;

/// How long something that is to be told waits for a page.
const NOTICE_WAITS: Duration = Duration::from_mins(2);
/// People whom something is to be told at once.
const TOLD_PEOPLE: u64 = 10_000;
/// How long what was typed waits for its user to confirm.
const UNSENT_WAITS: Duration = Duration::from_mins(10);
/// Forms that wait at once; of more the oldest are lost.
const UNSENT_FORMS: u64 = 500;

/// What the console is made of.
#[derive(Debug)]
pub struct ConsoleParts {
    /// What people come in by, and the use cases.
    pub access: ConsoleAccess,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What browsers call the console by; it stays so until a restart.
    pub public_url: PublicUrl,
    /// Every bound and deadline.
    pub limits: Arc<Limits>,
    /// Where applications find the doors.
    pub doors: DoorAddresses,
}

/// Where applications find the doors, for samples; `None`: none is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorAddresses {
    /// The API's URL, with a `/` at its end.
    pub api: Option<String>,
    /// Host and port of `IsProxy`.
    pub isproxy: Option<String>,
}

/// The console's parts, shared by all requests.
#[derive(Clone, Debug)]
pub struct ConsoleState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    access: ConsoleAccess,
    metrics: Arc<Metrics>,
    public_url: PublicUrl,
    limits: ArcSwap<Limits>,
    doors: ArcSwap<DoorAddresses>,
    /// What is to be told at the next page: the outcome of a form that was answered by leading on.
    notices: Cache<UserId, Notice>,
    /// What was typed by people who had to confirm first who they are.
    unsent: Cache<UserId, Unsent>,
}

impl ConsoleState {
    /// The state of a console of these parts.
    pub fn new(parts: ConsoleParts) -> Self {
        Self(Arc::new(Shared {
            access: parts.access,
            metrics: parts.metrics,
            public_url: parts.public_url,
            limits: ArcSwap::new(parts.limits),
            doors: ArcSwap::from_pointee(parts.doors),
            unsent: Cache::builder().max_capacity(UNSENT_FORMS).time_to_live(UNSENT_WAITS).build(),
            notices: Cache::builder().max_capacity(TOLD_PEOPLE).time_to_live(NOTICE_WAITS).build(),
        }))
    }

    /// What people come in by, and the use cases.
    pub fn access(&self) -> &ConsoleAccess {
        &self.0.access
    }

    /// What `/metrics` shows.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Where the time comes from.
    pub fn clock(&self) -> &Clock {
        self.0.access.clock()
    }

    /// What browsers call the console by.
    pub fn public_url(&self) -> &PublicUrl {
        &self.0.public_url
    }

    /// How its cookies are named and guarded.
    pub fn cookies(&self) -> Cookies {
        Cookies::of(&self.0.public_url)
    }

    /// The bounds and deadlines in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.0.limits.load_full()
    }

    /// Where applications find the doors.
    pub fn doors(&self) -> Arc<DoorAddresses> {
        self.0.doors.load_full()
    }

    /// Requests that begin from now on go by `limits`.
    pub fn reconfigure(&self, limits: Arc<Limits>) {
        self.0.limits.store(limits);
    }

    /// Pages that are made from now on tell of `doors`.
    pub fn tell_of(&self, doors: DoorAddresses) {
        self.0.doors.store(Arc::new(doors));
    }

    /// Keeps what `user` typed until it is confirmed who that is.
    pub(super) fn put_unsent(&self, user: UserId, unsent: Unsent) {
        self.0.unsent.insert(user, unsent);
    }

    /// What `user` typed and has not sent.
    pub(super) fn unsent(&self, user: UserId) -> Option<Unsent> {
        self.0.unsent.get(&user)
    }

    /// Tells `user` something at the next page.
    pub(super) fn put_notice(&self, user: UserId, notice: Notice) {
        self.0.notices.insert(user, notice);
    }

    /// What is to be told to `user` now; it is told once.
    pub(super) fn take_notices(&self, user: UserId) -> Vec<Notice> {
        self.0.notices.remove(&user).into_iter().collect()
    }
}
