//! What keys, users and customers did within the last 30 days: figures by the day and the hour, and latest addresses.
//!
//! Days and hours are those of UTC. The doors count (`usage_meter`), `app` writes; what is told here is some seconds
//! old. What a change would stop is `evidence`'s to tell. Callers: the command line and the console.

use std::collections::HashMap;
use std::ops::Range;

use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use crate::model::{
    AccessPoint, ClientIp, CustomerHandle, KeyId, Recognised, Service, Timestamp, UserId, UserName,
};
use crate::store::{
    SeenAddress, StoreError, USAGE_KEPT_SECONDS, UsageHour, UsageLength, UsageOf, UsageSum, UserRecord,
};

/// Days that are told of, today included.
const DAYS: i64 = 30;
/// Hours that are told of, the present one included.
const HOURS: i64 = 48;
const HOURS_PER_DAY: i64 = 24;
/// Latest addresses that are told of.
const ADDRESSES: usize = 10;

/// What was done within the last 30 days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In all.
    pub total: Figures,
    /// At the API.
    pub api: Figures,
    /// At `IsProxy`.
    pub isproxy: Figures,
    /// Each of the last 30 days, today last; days without use too.
    pub days: Vec<Period>,
    /// Each of the last 48 hours, the present one last; hours without use too.
    pub hours: Vec<Period>,
    /// From where credentials were let in, the latest first, ten at most; of a customer none.
    pub addresses: Vec<LetInFrom>,
    /// When a user's password was last used; of a key and a customer none.
    pub password: PasswordUses,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that were let in: of the API, or `IS` lines.
    pub requests: u64,
    /// Requests and logins that were refused.
    pub refusals: u64,
}

/// What was done in an hour or a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub starts_at: Timestamp,
    /// What was done in it.
    pub figures: Figures,
    /// At the API.
    pub api: Figures,
    /// At `IsProxy`.
    pub isproxy: Figures,
}

/// How far back the busiest users are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageStretch {
    /// The last 24 hours, the present one included.
    Day,
    /// The last 30 days, today included.
    Month,
}

/// What one of a customer's users did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTotal {
    /// Whose it is.
    pub user: UserName,
    /// How much it was.
    pub figures: Figures,
}

/// From where a credential was let in last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetInFrom {
    /// From where.
    pub address: ClientIp,
    /// Where it was let in.
    pub entrance: AccessPoint,
    /// When it last was; exact to about a minute.
    pub at: Timestamp,
}

/// When a user's password was last used within 30 days, by entrance. An API session is its password's: it ends with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordUses {
    /// At the console.
    pub console: Option<LetInFrom>,
    /// At the API.
    pub api: Option<LetInFrom>,
    /// At `IsProxy`.
    pub isproxy: Option<LetInFrom>,
}

impl ControlPlane {
    /// What a key did. One of another customer is as unknown as one that does not exist.
    pub async fn usage_of_key(&self, id: KeyId) -> Result<Usage, ControlError> {
        self.key(id).await?;
        let window = self.usage_window();
        let seen = self.store.addresses_of_key(id, window.seen_since).await?;
        Ok(self.usage_in(window, UsageOf::Key(id), &seen).await?)
    }

    /// What a user did by its password, by API sessions and by the keys that it has and had.
    pub async fn usage_of_user(&self, name: &UserName) -> Result<Usage, ControlError> {
        // Whoever may see the user.
        let user = self.user(name).await?;
        let window = self.usage_window();
        let seen = self.store.addresses_of_user(user.id, window.seen_since).await?;
        let usage = self.usage_in(window, UsageOf::User(user.id), &seen).await?;
        Ok(Usage { password: PasswordUses::of(&seen), ..usage })
    }

    /// What the users did that a customer has and had, without addresses.
    pub async fn usage_of_customer(&self, handle: &CustomerHandle) -> Result<Usage, ControlError> {
        let customer = self.visible_customer(handle).await?.id;
        Ok(self.usage_in(self.usage_window(), UsageOf::Customer(customer), &[]).await?)
    }

    /// Those of a customer's users who did most lately; at most `count`.
    pub async fn busiest_users(
        &self,
        handle: &CustomerHandle,
        stretch: UsageStretch,
        count: u32,
    ) -> Result<Vec<UserTotal>, ControlError> {
        let customer = self.visible_customer(handle).await?.id;
        let window = self.usage_window();
        let (length, within) = match stretch {
            UsageStretch::Day => (UsageLength::Hour, window.last_hours(HOURS_PER_DAY)),
            UsageStretch::Month => (UsageLength::Day, window.days()),
        };
        let totals = self.store.busiest_users(customer, length, within, count).await?;
        Ok(totals
            .into_iter()
            .map(|(login, requests, refusals)| UserTotal {
                user: UserName { customer: handle.clone(), login },
                figures: Figures { requests, refusals },
            })
            .collect())
    }

    /// When each of `users`, who are of one customer, last came in with whatever it was; who did not is left out. One
    /// query, made for lists.
    pub async fn last_seen(&self, users: &[UserRecord]) -> Result<HashMap<UserId, Timestamp>, ControlError> {
        let mut customers: Vec<_> = users.iter().map(|user| user.customer).collect();
        customers.dedup();
        for customer in customers {
            self.require(Action::ViewUsers(customer)).await?;
        }
        Ok(self.store.last_seen(users.iter().map(|user| user.id)).await?)
    }

    /// Notes that somebody came in at the console, or a key at the management API. For whoever let it in.
    pub async fn note_console_use(&self, whose: Recognised, address: ClientIp) -> Result<(), ControlError> {
        let seen = SeenAddress { whose, entrance: AccessPoint::Console, address, at: self.clock.now() };
        Ok(self.store.note_addresses(&[seen]).await?)
    }

    async fn usage_in(
        &self,
        window: Window,
        whose: UsageOf,
        seen: &[SeenAddress],
    ) -> Result<Usage, StoreError> {
        let days = self.store.usage(whose, UsageLength::Day, window.days());
        let hours = self.store.usage(whose, UsageLength::Hour, window.last_hours(HOURS));
        let (days, hours) = tokio::try_join!(days, hours)?;
        Ok(window.usage(&days, &hours, seen))
    }

    pub(super) fn usage_window(&self) -> Window {
        Window::at(self.clock.now())
    }
}

/// What is told of: 30 days, of which the present one is not over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The first hour of the first day.
    since: UsageHour,
    /// Addresses that were seen later.
    pub(super) seen_since: Timestamp,
    now: UsageHour,
}

impl Window {
    fn at(now: Timestamp) -> Self {
        let day = now.unix_seconds().div_euclid(HOURS_PER_DAY * 3_600).saturating_sub(DAYS - 1);
        let first =
            Timestamp::from_unix_milliseconds(0).plus_seconds(day.saturating_mul(HOURS_PER_DAY * 3_600));
        Self {
            since: UsageHour::of(first),
            seen_since: now.plus_seconds(-USAGE_KEPT_SECONDS),
            now: UsageHour::of(now),
        }
    }

    /// Its days, by their hours: nothing that a clock which was ahead has made.
    pub(super) fn days(self) -> Range<UsageHour> {
        self.since..self.since.plus(DAYS * HOURS_PER_DAY)
    }

    /// The last `count` hours, the present one included.
    fn last_hours(self, count: i64) -> Range<UsageHour> {
        let end = self.now.plus(1);
        end.plus(-count)..end
    }

    fn usage(self, days: &[UsageSum], hours: &[UsageSum], seen: &[SeenAddress]) -> Usage {
        let at = |service| days.iter().filter(move |hour| hour.service == service);
        let (api, isproxy) = (Figures::sum(at(Service::Api)), Figures::sum(at(Service::IsProxy)));
        Usage {
            total: api.and(isproxy),
            api,
            isproxy,
            days: periods(days, self.since, DAYS, HOURS_PER_DAY),
            hours: periods(hours, self.last_hours(HOURS).start, HOURS, 1),
            addresses: latest_addresses(seen),
            password: PasswordUses::default(),
        }
    }
}

/// `count` periods of `length` hours each, from `first` on.
fn periods(sums: &[UsageSum], first: UsageHour, count: i64, length: i64) -> Vec<Period> {
    let period = |number: i64| {
        let (start, end) = (first.plus(number * length), first.plus((number + 1) * length));
        let within = sums.iter().filter(|sum| (start..end).contains(&sum.hour));
        let at = |service| Figures::sum(within.clone().filter(move |sum| sum.service == service));
        let (api, isproxy) = (at(Service::Api), at(Service::IsProxy));
        Period { starts_at: start.starts_at(), figures: api.and(isproxy), api, isproxy }
    };
    (0..count).map(period).collect()
}

/// Each address and entrance once, the latest first.
pub(super) fn latest_addresses<'a>(seen: impl IntoIterator<Item = &'a SeenAddress>) -> Vec<LetInFrom> {
    let mut latest: Vec<LetInFrom> = Vec::new();
    for seen in seen {
        let is_known = |known: &LetInFrom| (known.address, known.entrance) == (seen.address, seen.entrance);
        if latest.len() < ADDRESSES && !latest.iter().any(is_known) {
            latest.push(LetInFrom::from(seen));
        }
    }
    latest
}

impl From<&SeenAddress> for LetInFrom {
    fn from(seen: &SeenAddress) -> Self {
        Self { address: seen.address, entrance: seen.entrance, at: seen.at }
    }
}

impl PasswordUses {
    /// The latest of each entrance; `seen` has the latest first.
    pub(super) fn of(seen: &[SeenAddress]) -> Self {
        let by_password = |seen: &&SeenAddress| !matches!(seen.whose, Recognised::Key(_));
        let latest = |entrance| {
            seen.iter().filter(by_password).find(|seen| seen.entrance == entrance).map(LetInFrom::from)
        };
        Self {
            console: latest(AccessPoint::Console),
            api: latest(AccessPoint::Api),
            isproxy: latest(AccessPoint::IsProxy),
        }
    }

    /// The latest use at `entrance`.
    pub const fn at(&self, entrance: AccessPoint) -> Option<LetInFrom> {
        match entrance {
            AccessPoint::Console => self.console,
            AccessPoint::Api => self.api,
            AccessPoint::IsProxy => self.isproxy,
        }
    }
}

impl Figures {
    fn sum<'a>(sums: impl Iterator<Item = &'a UsageSum>) -> Self {
        sums.fold(Self::default(), |all, sum| {
            all.and(Self { requests: sum.requests, refusals: sum.refusals })
        })
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            refusals: self.refusals.saturating_add(other.refusals),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::{NOW, plane};
    use super::*;
    use crate::auth::{Actor, KeyToMake, Means, PasswordEnd, UserActor};
    use crate::store::testing::CredentialUse;

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    fn acting(plane: &ControlPlane, user: &UserRecord) -> ControlPlane {
        plane.acting_as(Actor::User(UserActor {
            id: user.id,
            name: user.name.clone(),
            client_ip: ClientIp::new("192.0.2.1".parse().unwrap()),
            means: Means::Console { authenticated_at: NOW },
        }))
    }

    async fn add(plane: &ControlPlane, whose: Recognised, service: Service, hours_ago: i64, requests: u64) {
        let hour = UsageHour::of(NOW).plus(-hours_ago);
        let made = CredentialUse { whose, service, hour, requests, refusals: 1 };
        plane.store.add_uses(&[made]).await;
    }

    #[tokio::test]
    async fn thirty_days_and_48_hours_are_told_with_their_gaps_and_what_is_older_is_not() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new(name("acme/alex"), "CI", "api".parse().unwrap());
        let key = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id;
        let whose = Recognised::Key(key);
        for (service, hours_ago, requests) in [
            (Service::Api, 0, 1),
            (Service::IsProxy, 47, 10),
            (Service::Api, 48, 100),
            (Service::Api, 30 * 24, 1_000),
            // Of a clock that was ten years ahead.
            (Service::Api, -10 * 365 * 24, 10_000),
        ] {
            add(&plane, whose, service, hours_ago, requests).await;
        }
        let usage = plane.usage_of_key(key).await.unwrap();
        assert_eq!(usage.total, Figures { requests: 111, refusals: 3 });
        assert_eq!((usage.api.requests, usage.isproxy.requests), (101, 10));
        assert_eq!((usage.days.len(), usage.hours.len()), (30, 48));
        let sum = |periods: &[Period]| periods.iter().map(|period| period.figures.requests).sum::<u64>();
        assert_eq!((sum(&usage.days), sum(&usage.hours)), (111, 11));
        // 2027-01-15T08:00:00Z.
        assert_eq!(usage.days[0].starts_at.to_string(), "2026-12-17T00:00:00Z");
        assert_eq!(usage.days[29].starts_at.to_string(), "2027-01-15T00:00:00Z");
        let one = Figures { requests: 1, refusals: 1 };
        let last = Period { starts_at: NOW, figures: one, api: one, isproxy: Figures::default() };
        assert_eq!(usage.hours[47], last);
        assert_eq!(usage.password, PasswordUses::default());
        assert_eq!(plane.usage_of_user(&name("acme/alex")).await.unwrap().total, usage.total);
        let all = plane.usage_of_customer(&"acme".parse().unwrap()).await.unwrap();
        assert_eq!((all.total, all.addresses.len()), (usage.total, 0));
        let acme = "acme".parse().unwrap();
        let busiest = async |stretch| plane.busiest_users(&acme, stretch, 5).await.unwrap();
        let alex = |figures| vec![UserTotal { user: name("acme/alex"), figures }];
        assert_eq!(busiest(UsageStretch::Day).await, alex(one));
        assert_eq!(busiest(UsageStretch::Month).await, alex(Figures { requests: 111, refusals: 3 }));
    }

    #[tokio::test]
    async fn usage_is_told_to_those_who_may_see_whose_it_is() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new(name("acme/alex"), "CI", "api".parse().unwrap());
        let key = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id;
        let alex = plane.user(&name("acme/alex")).await.unwrap();
        let admin = plane.user(&name("acme/admin")).await.unwrap();
        plane
            .note_console_use(Recognised::Password(alex.id), ClientIp::new("192.0.2.1".parse().unwrap()))
            .await
            .unwrap();
        let acme = "acme".parse().unwrap();
        let (by_alex, by_admin) = (acting(&plane, &alex), acting(&plane, &admin));
        let own = by_alex.usage_of_user(&alex.name).await.unwrap();
        assert_eq!(own.password.at(AccessPoint::Console).unwrap().at, NOW);
        assert!(matches!(by_alex.usage_of_key(key).await, Err(ControlError::Forbidden(_))));
        assert!(matches!(by_alex.usage_of_customer(&acme).await, Err(ControlError::Forbidden(_))));
        assert!(matches!(
            by_alex.busiest_users(&acme, UsageStretch::Day, 5).await,
            Err(ControlError::Forbidden(_))
        ));
        assert!(by_alex.usage_of_user(&admin.name).await.is_err());
        assert!(by_alex.last_seen(std::slice::from_ref(&admin)).await.is_err());
        by_admin.usage_of_key(key).await.unwrap();
        by_admin.usage_of_customer(&acme).await.unwrap();
        let seen = by_admin.last_seen(&[admin, alex.clone()]).await.unwrap();
        assert_eq!((seen.len(), seen.get(&alex.id)), (1, Some(&NOW)));
        let other = crate::auth::CustomerToMake {
            mfa: Some(crate::model::MfaRequirement::Optional),
            ..crate::auth::CustomerToMake::new("beta".parse().unwrap())
        };
        plane.create_customer(other).await.unwrap();
        let stranger = acting(&plane, &plane.user(&name("beta/admin")).await.unwrap());
        assert!(matches!(stranger.usage_of_key(key).await, Err(ControlError::UnknownKey(_))));
        assert!(matches!(stranger.usage_of_customer(&acme).await, Err(ControlError::UnknownCustomer(_))));
    }
}
