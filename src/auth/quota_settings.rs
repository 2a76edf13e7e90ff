//! The quotas of customers, users and keys: who gives them, and what of them is used, as all gateways have written it.
//!
//! A customer's own is the operator's; those of its users and keys are also its administrators'. Everybody sees the own
//! ones. At the doors `quotas` counts. Callers: the command line, the console, the management API; `app`, which tells
//! that most of a quota is used.

use super::audit::EventKind;
use super::control_plane::{ControlError, ControlPlane};
use super::holder::{Held, Holder};
use super::rights::Action;
use crate::model::{
    CustomerHandle, CustomerId, KeyId, QuotaMoment, QuotaOwner, QuotaPeriod, QuotaTerms, Revision, Timestamp,
    UserName,
};
use crate::store::index::QuotaLevel;
use crate::store::{ListedQuota, QuotaSums, QuotasOf, StoreError};

/// So much of a quota is used when that is told.
pub const QUOTA_WARNING_PERCENT: u64 = 80;
/// Quotas of one part of a list.
pub const QUOTAS_OF_A_PART: u32 = 50;

/// A quota and what of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// Whose it is.
    pub holder: Holder,
    /// The user, or the key's user; `None` for a customer.
    pub user: Option<UserName>,
    /// What the key is for; `None`: it is no key's.
    pub description: Option<String>,
    /// How much may be used.
    pub terms: QuotaTerms,
    /// What is used of each period that is limited.
    pub uses: Vec<QuotaUse>,
}

/// A part of the quotas of an account, its users and their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaList {
    /// The account's own first, then by login name; a user's before those of the user's keys.
    pub quotas: Vec<QuotaState>,
    /// The number of this part, from 0.
    pub part: u32,
    /// How many there are in all.
    pub matching: usize,
}

/// What is used in the present period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// Of the day or of the month.
    pub period: QuotaPeriod,
    /// Requests that may be made.
    pub limit: u64,
    /// Requests that were let in; some seconds old.
    pub used: u64,
    /// When it begins anew.
    pub ends_at: Timestamp,
}

impl QuotaUse {
    /// Is nothing left?
    pub const fn is_exhausted(&self) -> bool {
        self.used >= self.limit
    }

    /// Is so much used that it is to be told?
    pub const fn is_nearly_used(&self) -> bool {
        self.used.saturating_mul(100) >= self.limit.saturating_mul(QUOTA_WARNING_PERCENT)
    }
}

impl ControlPlane {
    /// Gives `holder` a quota in the place of what it had; `None`: takes it away, if it has one.
    pub async fn set_quota(
        &self,
        holder: &Holder,
        terms: Option<QuotaTerms>,
    ) -> Result<Revision, ControlError> {
        let mut change = self.begin().await?;
        let held = change.held(holder).await?;
        let action = match &held {
            Held::Customer(customer) => Action::SetCustomerQuota(customer.id),
            Held::User(user) | Held::Key(_, user) => Action::SetQuota(user),
        };
        holder.unknown_if_foreign(change.require(action))?;
        let owner = held.owner();
        let before = change.quota(owner).await?;
        if before.is_none() && terms.is_none() {
            return Err(ControlError::NoQuota(holder.to_string().into()));
        }
        change.set_quota(owner, terms).await?;
        let told =
            |terms: Option<QuotaTerms>| terms.map_or_else(|| String::from("none"), |terms| terms.to_string());
        let event = held.event(EventKind::QuotaChanged);
        change.commit(event.with("before", told(before)).with("after", told(terms))).await
    }

    /// The quota of `holder`; `None`: it has none.
    pub async fn quota(&self, holder: &Holder) -> Result<Option<QuotaState>, ControlError> {
        let (owner, user, description) = match holder {
            Holder::Customer(handle) => {
                let customer = self.customer_record(handle).await?;
                let allowed = self.require(Action::ViewCustomerQuota(customer.id)).await;
                holder.unknown_if_foreign(allowed)?;
                (QuotaOwner::Customer(customer.id), None, None)
            }
            Holder::User(name) => (QuotaOwner::User(self.user(name).await?.id), Some(name.clone()), None),
            Holder::Key(id) => {
                let key = self.key(*id).await?;
                (QuotaOwner::Key(*id), Some(key.user), Some(key.key.description))
            }
        };
        let Some(terms) = self.store.quota(owner).await? else { return Ok(None) };
        let moment = QuotaMoment::of(self.clock.now());
        let sums = self.store.requests_of(owner, moment).await?;
        let holder = holder.clone();
        Ok(Some(QuotaState { holder, user, description, terms, uses: uses(terms, sums, moment) }))
    }

    /// The quotas that count a user's requests: the customer's, the user's, and those of its keys where the actor may see
    /// the keys.
    pub async fn quotas_of_user(&self, name: &UserName) -> Result<Vec<QuotaState>, ControlError> {
        let user = self.user(name).await?;
        let sees_keys = self.require(Action::ViewKeys(&user)).await.is_ok();
        let moment = QuotaMoment::of(self.clock.now());
        let quotas = self.store.quotas(QuotasOf::User(user.customer, user.id), moment).await?;
        let is_seen = |quota: &ListedQuota| sees_keys || !matches!(quota.owner, QuotaOwner::Key(_));
        let seen = quotas.into_iter().filter(is_seen).map(|quota| state(quota, moment));
        Ok(seen.collect::<Result<_, _>>()?)
    }

    /// All quotas, or those of a customer, its users and their keys.
    pub async fn quotas(&self, customer: Option<&CustomerHandle>) -> Result<Vec<QuotaState>, ControlError> {
        let among = match customer {
            None => {
                self.require(Action::Operate).await?;
                QuotasOf::Everybody
            }
            Some(handle) => {
                let id = self.customer_record(handle).await?.id;
                let allowed = self.require(Action::ViewQuotas(id)).await;
                Holder::Customer(handle.clone()).unknown_if_foreign(allowed)?;
                QuotasOf::Customer(id)
            }
        };
        let moment = QuotaMoment::of(self.clock.now());
        let quotas = self.store.quotas(among, moment).await?;
        Ok(quotas.into_iter().map(|quota| state(quota, moment)).collect::<Result<_, _>>()?)
    }

    /// A part of the quotas of a customer, its users and their keys; beyond the end the first one is meant.
    pub async fn list_quotas(&self, customer: CustomerId, part: u32) -> Result<QuotaList, ControlError> {
        self.require(Action::ViewQuotas(customer)).await?;
        let moment = QuotaMoment::of(self.clock.now());
        let (among, offset) = (QuotasOf::Customer(customer), part.saturating_mul(QUOTAS_OF_A_PART));
        let mut listed = self.store.list_quotas(among, (offset, QUOTAS_OF_A_PART), moment).await?;
        let mut part = part;
        if listed.quotas.is_empty() && part > 0 {
            part = 0;
            listed = self.store.list_quotas(among, (0, QUOTAS_OF_A_PART), moment).await?;
        }
        let quotas = listed.quotas.into_iter().map(|quota| state(quota, moment));
        Ok(QuotaList { quotas: quotas.collect::<Result<_, _>>()?, part, matching: listed.matching })
    }

    /// Writes into the audit trail that so much is used of quotas, unless another gateway has in the same period.
    pub async fn tell_quota_levels(&self, levels: &[QuotaLevel]) -> Result<(), ControlError> {
        let mut change = self.begin().await?;
        let mut told = 0;
        for level in levels {
            if !change.claim_quota_telling(level.owner, level.period, level.number).await? {
                continue;
            }
            if let Some(held) = change.held_as(level.owner).await? {
                let event = held.event(EventKind::QuotaNearlyUsed);
                let used = format!("{} of {}", level.used, level.limit);
                change.note(event.with("period", level.period.as_str()).with("used", used));
                told += 1;
            }
        }
        if told > 0 {
            change.commit_noted().await?;
        }
        Ok(())
    }
}

fn state(quota: ListedQuota, moment: QuotaMoment) -> Result<QuotaState, StoreError> {
    let corrupt = || StoreError::Corrupt("name of a quota's owner");
    let customer: CustomerHandle = quota.customer.parse().map_err(|_| corrupt())?;
    let login = quota.login.map(|login| login.parse()).transpose().map_err(|_| corrupt())?;
    let user = login.map(|login| UserName { customer: customer.clone(), login });
    let holder = match quota.owner {
        QuotaOwner::Customer(_) => Holder::Customer(customer),
        QuotaOwner::User(_) => Holder::User(user.clone().ok_or_else(corrupt)?),
        QuotaOwner::Key(id) => Holder::Key(id),
    };
    let ListedQuota { description, terms, sums, .. } = quota;
    Ok(QuotaState { holder, user, description, terms, uses: uses(terms, sums, moment) })
}

fn uses(terms: QuotaTerms, sums: QuotaSums, moment: QuotaMoment) -> Vec<QuotaUse> {
    let of = |period: QuotaPeriod| {
        let limit = terms.limit(period)?.get();
        Some(QuotaUse { period, limit, used: sums.of(period), ends_at: moment.ends_at(period) })
    };
    QuotaPeriod::ALL.into_iter().filter_map(of).collect()
}

impl QuotaState {
    /// The key whose quota it is, if it is one's.
    pub const fn key(&self) -> Option<KeyId> {
        match self.holder {
            Holder::Key(id) => Some(id),
            Holder::Customer(_) | Holder::User(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::{NOW, plane};
    use super::*;
    use crate::auth::{Actor, CustomerToMake, Forbidden, KeyToMake, Means, PasswordEnd, UserActor};
    use crate::model::{ClientIp, MfaRequirement, Recognised, Service};
    use crate::store::testing::CredentialUse;
    use crate::store::{AuditFilter, UsageHour};

    fn holder(text: &str) -> Holder {
        text.parse().unwrap()
    }

    fn terms(day: Option<u64>, month: Option<u64>) -> QuotaTerms {
        QuotaTerms::new(day, month).unwrap()
    }

    async fn acting(plane: &ControlPlane, name: &str) -> ControlPlane {
        let user = plane.user(&name.parse().unwrap()).await.unwrap();
        plane.acting_as(Actor::User(UserActor {
            id: user.id,
            name: user.name,
            client_ip: ClientIp::new("192.0.2.1".parse().unwrap()),
            means: Means::Console { authenticated_at: NOW },
        }))
    }

    async fn key_of_alex(plane: &ControlPlane) -> KeyId {
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap().keys[0].id
    }

    #[tokio::test]
    async fn a_quota_is_given_told_with_what_is_used_of_it_and_taken_away() {
        let (_folder, plane) = plane().await;
        let key = key_of_alex(&plane).await;
        let of_key = holder(&format!("key:{key}"));
        assert_eq!(plane.quota(&of_key).await.unwrap(), None);
        for (holder, terms) in [
            (of_key.clone(), Some(terms(Some(10), None))),
            (holder("user:acme/alex"), Some(terms(Some(20), Some(300)))),
            (holder("customer:acme"), Some(terms(None, Some(1_000)))),
        ] {
            plane.set_quota(&holder, terms).await.unwrap();
        }
        let (whose, hour) = (Recognised::Key(key), UsageHour::of(NOW));
        let made = CredentialUse { whose, service: Service::IsProxy, hour, requests: 8, refusals: 3 };
        plane.store.add_uses(&[made]).await;
        let state = plane.quota(&of_key).await.unwrap().unwrap();
        let [day] = state.uses[..] else { panic!("{state:?}") };
        assert_eq!((day.used, day.limit, day.is_nearly_used(), day.is_exhausted()), (8, 10, true, false));
        assert_eq!(day.ends_at.to_string(), "2027-01-16T00:00:00Z");
        let all = plane.quotas(None).await.unwrap();
        assert_eq!(plane.quotas(Some(&"acme".parse().unwrap())).await.unwrap(), all);
        assert_eq!(plane.quotas_of_user(&"acme/alex".parse().unwrap()).await.unwrap(), all);
        let told: Vec<_> = all.iter().map(|state| (state.holder.to_string(), state.uses.len())).collect();
        assert_eq!(
            told,
            [("customer:acme".into(), 1), ("user:acme/alex".into(), 2), (format!("key:{key}"), 1)]
        );
        assert_eq!(all[2], state);
        assert_eq!((all[2].key(), all[0].key()), (Some(key), None));
        plane.set_quota(&of_key, None).await.unwrap();
        let error = plane.set_quota(&of_key, None).await.unwrap_err();
        assert_eq!(error.to_string(), format!("key:{key} has no quota"));
        let rows = plane.store.newest_audit_rows(&AuditFilter::default(), 1).await.unwrap();
        assert_eq!(rows[0].entry.event, "quota.changed");
        assert!(rows[0].entry.details.contains(r#""after":"none""#), "{}", rows[0].entry.details);
    }

    #[tokio::test]
    async fn administrators_give_quotas_within_their_customer_and_the_operator_gives_the_customers() {
        let (_folder, plane) = plane().await;
        let key = key_of_alex(&plane).await;
        let of_key = holder(&format!("key:{key}"));
        let (of_user, of_customer) = (holder("user:acme/alex"), holder("customer:acme"));
        let beta = CustomerToMake {
            mfa: Some(MfaRequirement::Optional),
            ..CustomerToMake::new("beta".parse().unwrap())
        };
        plane.create_customer(beta).await.unwrap();
        let (admin, alex) = (acting(&plane, "acme/admin").await, acting(&plane, "acme/alex").await);
        let stranger = acting(&plane, "beta/admin").await;
        let some = Some(terms(Some(5), None));
        for holder in [&of_key, &of_user] {
            admin.set_quota(holder, some).await.unwrap();
            let error = alex.set_quota(holder, None).await.unwrap_err();
            assert!(matches!(error, ControlError::Forbidden(Forbidden::Administrator)), "{error:?}");
        }
        let error = admin.set_quota(&of_customer, some).await.unwrap_err();
        assert!(matches!(error, ControlError::Forbidden(Forbidden::Operator)), "{error:?}");
        plane.set_quota(&of_customer, some).await.unwrap();
        assert!(matches!(stranger.set_quota(&of_key, None).await, Err(ControlError::UnknownKey(_))));
        assert!(matches!(stranger.set_quota(&of_user, None).await, Err(ControlError::UnknownUser(_))));
        let foreign = stranger.set_quota(&of_customer, None).await;
        assert!(matches!(foreign, Err(ControlError::UnknownCustomer(_))));
        assert!(matches!(stranger.quota(&of_customer).await, Err(ControlError::UnknownCustomer(_))));
        // Everybody sees what counts the own requests, and whoever may not see the keys none of theirs.
        assert!(alex.quota(&of_customer).await.unwrap().is_some());
        let own = alex.quotas_of_user(&"acme/alex".parse().unwrap()).await.unwrap();
        assert_eq!(own.len(), 2);
        assert!(alex.quotas_of_user(&"acme/admin".parse().unwrap()).await.is_err());
        assert!(alex.quotas(Some(&"acme".parse().unwrap())).await.is_err());
        assert_eq!(admin.quotas(Some(&"acme".parse().unwrap())).await.unwrap().len(), 3);
        let acme = plane.user(&"acme/alex".parse().unwrap()).await.unwrap().customer;
        for refused in [&alex, &stranger] {
            assert!(refused.list_quotas(acme, 0).await.is_err());
        }
        assert!(admin.quotas(None).await.is_err());
    }

    #[tokio::test]
    async fn a_list_is_cut_into_parts_of_fifty_and_begins_anew_beyond_its_end() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let count = NonZeroU32::new(QUOTAS_OF_A_PART).unwrap();
        let keys = plane.create_keys(&order, count, PasswordEnd::Accepted).await.unwrap().keys;
        let mut change = plane.store.mutate().await.unwrap();
        for key in keys {
            change.set_quota(QuotaOwner::Key(key.id), Some(terms(Some(5), None))).await.unwrap();
        }
        change.commit().await.unwrap();
        plane.set_quota(&holder("user:acme/alex"), Some(terms(Some(5), None))).await.unwrap();
        let alex = plane.user(&"acme/alex".parse().unwrap()).await.unwrap();
        let part = async |part| plane.list_quotas(alex.customer, part).await.unwrap();
        let first = part(0).await;
        assert_eq!((first.quotas.len(), first.part, first.matching), (50, 0, 51));
        assert_eq!(first.quotas[0].holder, holder("user:acme/alex"));
        assert_eq!(first.quotas[1].description.as_deref(), Some("CI"));
        let last = part(1).await;
        assert_eq!((last.quotas.len(), last.part, last.matching), (1, 1, 51));
        for beyond in [2, u32::MAX] {
            assert_eq!(part(beyond).await, first);
        }
    }

    #[tokio::test]
    async fn that_most_is_used_is_told_by_the_first_gateway_alone() {
        let (_folder, plane) = plane().await;
        let alex = plane.user(&"acme/alex".parse().unwrap()).await.unwrap();
        plane.set_quota(&holder("user:acme/alex"), Some(terms(Some(10), None))).await.unwrap();
        let owner = QuotaOwner::User(alex.id);
        let level = QuotaLevel { owner, period: QuotaPeriod::Day, number: 7, used: 8, limit: 10 };
        let gone = QuotaLevel { owner: QuotaOwner::Key(KeyId::from_random(3)), ..level };
        for _ in 0..2 {
            plane.tell_quota_levels(&[level, gone]).await.unwrap();
        }
        let rows = plane.store.newest_audit_rows(&AuditFilter::default(), 100).await.unwrap();
        let told: Vec<_> = rows.iter().filter(|row| row.entry.event == "quota.nearly_used").collect();
        let [told] = told[..] else { panic!("{told:?}") };
        assert_eq!((told.entry.subject.as_str(), told.entry.subject_id), ("acme/alex", Some(alex.id)));
        assert_eq!(told.entry.details, r#"{"period":"day","used":"8 of 10"}"#);
        assert!(crate::auth::SecurityEvent::of(&told.entry).is_some());
    }
}
