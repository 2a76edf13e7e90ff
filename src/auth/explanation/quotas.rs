//! The step of a trial that asks for quotas, by what the gateways have written of them: seconds old.
//!
//! Where nobody has a quota there is no such step. Called by `trial`.

use super::advice::{self, Subject};
use super::{Means, Step, StepTaken, Trial, answer_for};
use crate::auth::control_plane::{ControlError, ControlPlane};
use crate::auth::decision::{DenialReason, ExhaustedQuota};
use crate::model::{ClientIp, QuotaMoment, QuotaOwner, QuotaPeriod, Service};

impl ControlPlane {
    /// Adds the quotas of the trial's key, user and customer.
    pub(super) async fn ask_quotas(&self, mut trial: Trial, service: Service) -> Result<Trial, ControlError> {
        let Some(name) = &trial.user else { return Ok(trial) };
        let Some(user) = self.store.user(name).await? else { return Ok(trial) };
        let moment = QuotaMoment::of(self.clock.now());
        let key = trial.key.map(QuotaOwner::Key);
        let others = [QuotaOwner::User(user.id), QuotaOwner::Customer(user.customer)];
        let (mut told, mut exhausted) = (Vec::new(), None);
        for owner in key.into_iter().chain(others) {
            let Some(terms) = self.store.quota(owner).await? else { continue };
            let requests = self.store.requests_of(owner, moment).await?;
            for period in [QuotaPeriod::Month, QuotaPeriod::Day] {
                let Some(limit) = terms.limit(period) else { continue };
                told.push(format!(
                    "{}: {} of {limit} a {}",
                    kind_of(owner),
                    requests.of(period),
                    period.as_str()
                ));
                if requests.of(period) >= limit.get() {
                    exhausted.get_or_insert(ExhaustedQuota::of(owner, period));
                }
            }
        }
        if let Some(which) = exhausted {
            let reason = DenialReason::QuotaExhausted(which);
            // No hint about quotas names an address.
            let address = ClientIp::new(std::net::Ipv4Addr::UNSPECIFIED.into());
            let subject = Subject { user: trial.user.as_ref(), key: trial.key, address, service };
            trial.steps.push(StepTaken::failed(advice::of_denial(reason, &subject)));
            trial.refused.get_or_insert((reason, answer_for(service, Means::Key, reason)));
        } else if !told.is_empty() {
            trial.steps.push(StepTaken::passed(Step::Quota, told.join(", ")));
        }
        Ok(trial)
    }
}

const fn kind_of(owner: QuotaOwner) -> &'static str {
    match owner {
        QuotaOwner::Key(_) => "key",
        QuotaOwner::User(_) => "user",
        QuotaOwner::Customer(_) => "customer",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, TrialDoor};
    use super::*;
    use crate::auth::control_plane::tests::{NOW, plane};
    use crate::model::{QuotaTerms, Recognised};
    use crate::store::UsageHour;
    use crate::store::testing::CredentialUse;

    #[tokio::test]
    async fn a_trial_tells_what_is_used_of_each_quota_and_which_one_is_used_up() {
        let (_folder, plane) = plane().await;
        let alex = "acme/alex".parse().unwrap();
        let from = ClientIp::new("192.0.2.7".parse().unwrap());
        let door = TrialDoor { service: Service::Api, from, listener: None };
        let tried = async || plane.try_user(&alex, &door).await.unwrap().0.remove(0);
        assert!(tried().await.steps.iter().all(|taken| taken.step != Step::Quota));
        for (holder, terms) in [
            ("user:acme/alex", QuotaTerms::new(Some(10), None)),
            ("customer:acme", QuotaTerms::new(None, Some(5))),
        ] {
            plane.set_quota(&holder.parse().unwrap(), Some(terms.unwrap())).await.unwrap();
        }
        let user = plane.user(&alex).await.unwrap().id;
        let add = async |requests| {
            let (whose, hour) = (Recognised::Password(user), UsageHour::of(NOW));
            let made = CredentialUse { whose, service: Service::Api, hour, requests, refusals: 0 };
            plane.store.add_uses(&[made]).await;
        };
        add(4).await;
        let step = tried().await.steps.pop().unwrap();
        let told = "user: 4 of 10 a day, customer: 4 of 5 a month";
        assert_eq!((step.outcome, step.note.as_str()), (Outcome::Passed, told));
        add(1).await;
        let trial = tried().await;
        let which = DenialReason::QuotaExhausted(ExhaustedQuota::CustomerMonth);
        assert_eq!(trial.refused, Some((which, "429")));
        let hint = trial.steps.last().unwrap().hint.as_ref().unwrap();
        assert!(hint.contains("`latchkey quota remove customer:acme`"), "{hint}");
    }
}
