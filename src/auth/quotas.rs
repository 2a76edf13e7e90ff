//! Quotas at the doors: whose a request is counted against, and what is answered once one is used up.
//!
//! What is counted stands in the index (`store::index::Quotas`); who may give quotas is `quota_settings`' to say. Called
//! by `authenticator`.

use super::decision::{Denial, DenialReason, ExhaustedQuota, Permit, Refusal};
use crate::model::{QuotaMoment, QuotaOwner, Timestamp};
use crate::store::Index;
use crate::store::index::Metering;

/// Counts a request against the quotas of the key, the user and the customer that `permit` is of, as far as they have
/// any; where one is used up, it is counted against none.
pub(super) fn take(index: &Index, permit: &Permit, now: Timestamp) -> Result<(), Denial> {
    let moment = QuotaMoment::of(now);
    let user = permit.user();
    let (of_user, of_customer) = (QuotaOwner::User(user.id()), QuotaOwner::Customer(user.customer().id()));
    let taken = match permit.key_id() {
        Some(key) => index.quotas().take(&[QuotaOwner::Key(key), of_user, of_customer], moment),
        None => index.quotas().take(&[of_user, of_customer], moment),
    };
    taken.map_err(|(owner, period)| {
        let refusal = Refusal::QuotaExhausted { period, retry_after_seconds: moment.seconds_left(period) };
        let reason = DenialReason::QuotaExhausted(ExhaustedQuota::of(owner, period));
        Denial::new(refusal, reason).of(permit.recognised(), user)
    })
}

/// Has the key, the user or the customer that `permit` is of a quota now, whenever the permit was given?
pub(super) fn are_in_force(index: &Index, permit: &Permit) -> bool {
    let (quotas, user) = (index.quotas(), permit.user());
    // Where there is none at all, nothing of the user is looked at.
    if quotas.is_empty() {
        return false;
    }
    let owners = [
        permit.key_id().map(QuotaOwner::Key),
        Some(QuotaOwner::User(user.id())),
        Some(QuotaOwner::Customer(user.customer().id())),
    ];
    owners.into_iter().flatten().any(|owner| quotas.metering(owner) == Metering::On)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{NOW, PASSWORD, World};
    use crate::auth::{Decision, QuotasInForce};
    use crate::config::Limits;
    use crate::model::{QuotaPeriod, QuotaTerms, Service};

    async fn set(world: &World, owner: QuotaOwner, terms: Option<QuotaTerms>) {
        let mut change = world.store.mutate().await.unwrap();
        change.set_quota(owner, terms).await.unwrap();
        change.commit().await.unwrap();
        world.index.resynchronise(&world.store).await.unwrap();
    }

    fn terms(day: Option<u64>, month: Option<u64>) -> QuotaTerms {
        QuotaTerms::new(day, month).unwrap()
    }

    fn denial(decision: &Decision) -> Option<Denial> {
        match decision {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(*denial),
        }
    }

    async fn reason(world: &World, key: &str) -> Option<&'static str> {
        denial(&world.key(key, Service::Api).await).map(|denial| denial.reason.as_str())
    }

    #[tokio::test]
    async fn each_request_counts_for_key_user_and_customer_and_what_is_used_up_is_told() {
        let world = World::new(Limits::default()).await;
        let (one, record) = world.add_key("api").await;
        let (other, _) = world.add_key("api").await;
        let customer = world.index.user(world.user).unwrap().customer().id();
        set(&world, QuotaOwner::Key(record.id), Some(terms(Some(2), None))).await;
        set(&world, QuotaOwner::User(world.user), Some(terms(None, Some(4)))).await;
        set(&world, QuotaOwner::Customer(customer), Some(terms(Some(6), None))).await;
        assert_eq!((reason(&world, &one).await, reason(&world, &one).await), (None, None));
        let refused = denial(&world.key(&one, Service::Api).await).unwrap();
        let refusal = Refusal::QuotaExhausted {
            period: QuotaPeriod::Day,
            // NOW is 8:00.
            retry_after_seconds: std::num::NonZeroU32::new(57_600).unwrap(),
        };
        assert_eq!((refused.refusal, refused.reason.as_str()), (refusal, "quota_exhausted_key_day"));
        assert_eq!(refused.recognised, Some(crate::model::Recognised::Key(record.id)));
        assert_eq!((reason(&world, &other).await, reason(&world, &other).await), (None, None));
        assert_eq!(reason(&world, &other).await, Some("quota_exhausted_user_month"));
        set(&world, QuotaOwner::User(world.user), None).await;
        for _ in 0..2 {
            assert!(denial(&world.password(PASSWORD, Service::Api).await).is_none());
        }
        let by_password = denial(&world.password(PASSWORD, Service::Api).await).unwrap();
        assert_eq!(by_password.reason.as_str(), "quota_exhausted_customer_day");
        world.clock.set(NOW.plus_seconds(57_600));
        assert_eq!(reason(&world, &one).await, None);
    }

    #[tokio::test]
    async fn a_login_at_isproxy_is_not_counted_and_each_of_its_requests_is() {
        let world = World::new(Limits::default()).await;
        let (text, record) = world.add_key("api,isproxy").await;
        let Decision::Allow(permit) = world.key(&text, Service::IsProxy).await else { panic!() };
        let (other, _) = world.add_key("isproxy").await;
        let Decision::Allow(by_other_key) = world.key(&other, Service::IsProxy).await else { panic!() };
        let in_force = |permit| world.authenticator.quotas_in_force(permit);
        assert_eq!(in_force(&permit), QuotasInForce::None);
        // Given while the session is open.
        set(&world, QuotaOwner::Key(record.id), Some(terms(Some(2), None))).await;
        assert_eq!(in_force(&permit), QuotasInForce::Some);
        assert_eq!(in_force(&by_other_key), QuotasInForce::None, "sessions of others go on as before");
        let customer = world.index.user(world.user).unwrap().customer().id();
        for owner in [QuotaOwner::User(world.user), QuotaOwner::Customer(customer)] {
            set(&world, owner, Some(terms(Some(100), None))).await;
            assert_eq!(in_force(&by_other_key), QuotasInForce::Some, "{owner:?}");
            set(&world, owner, None).await;
        }
        for _ in 0..3 {
            assert!(denial(&world.key(&text, Service::IsProxy).await).is_none());
        }
        for _ in 0..2 {
            world.authenticator.take_request_from_quotas(&permit).unwrap();
        }
        let refused = world.authenticator.take_request_from_quotas(&permit).unwrap_err();
        assert_eq!(refused.reason.as_str(), "quota_exhausted_key_day");
        assert_eq!(reason(&world, &text).await, Some("quota_exhausted_key_day"));
        set(&world, QuotaOwner::Key(record.id), None).await;
        world.authenticator.take_request_from_quotas(&permit).unwrap();
        let refusals = world.authenticator.collect_usage();
        let isproxy = refusals.uses.iter().filter(|used| used.service == Service::IsProxy);
        assert_eq!(isproxy.map(|used| used.refusals).sum::<u32>(), 1);
    }
}
