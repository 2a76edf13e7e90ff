//! What the console's pages and the management API work with; cheap to clone.
//!
//! What a reload can change, policy and limits, is asked for anew by each request.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::cookies::Cookies;
use crate::auth::{Actor, Authenticator, ControlPlane};
use crate::clock::Clock;
use crate::config::{Limits, Policy, PublicUrl};
use crate::telemetry::Metrics;

/// What the console is made of.
#[derive(Debug)]
pub struct ConsoleParts {
    /// The use cases; its actor and its policy are replaced for each request.
    pub control: ControlPlane,
    /// Who judges credentials.
    pub authenticator: Arc<Authenticator>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What browsers call the console by; it stays so until a restart.
    pub public_url: PublicUrl,
    /// Every bound and deadline.
    pub limits: Arc<Limits>,
}

/// The console's parts, shared by all requests.
#[derive(Clone, Debug)]
pub struct ConsoleState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    control: ControlPlane,
    authenticator: Arc<Authenticator>,
    metrics: Arc<Metrics>,
    public_url: PublicUrl,
    policy: ArcSwap<Policy>,
    limits: ArcSwap<Limits>,
}

impl ConsoleState {
    /// The state of a console of these parts.
    pub fn new(parts: ConsoleParts) -> Self {
        Self(Arc::new(Shared {
            policy: ArcSwap::from_pointee(parts.control.policy.clone()),
            control: parts.control,
            authenticator: parts.authenticator,
            metrics: parts.metrics,
            public_url: parts.public_url,
            limits: ArcSwap::new(parts.limits),
        }))
    }

    /// The use cases, on behalf of `actor` and by the policy in force.
    pub fn control(&self, actor: Actor) -> ControlPlane {
        ControlPlane { actor, policy: self.policy(), ..self.0.control.clone() }
    }

    /// Who judges credentials.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.0.authenticator
    }

    /// What `/metrics` shows.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Where the time comes from.
    pub fn clock(&self) -> &Clock {
        &self.0.control.clock
    }

    /// What browsers call the console by.
    pub fn public_url(&self) -> &PublicUrl {
        &self.0.public_url
    }

    /// How its cookies are named and guarded.
    pub fn cookies(&self) -> Cookies {
        Cookies::of(&self.0.public_url)
    }

    /// The rules in force.
    pub fn policy(&self) -> Policy {
        self.0.policy.load().as_ref().clone()
    }

    /// The bounds and deadlines in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.0.limits.load_full()
    }

    /// Requests that begin from now on go by `policy` and `limits`.
    pub fn reconfigure(&self, policy: Policy, limits: Arc<Limits>) {
        self.0.policy.store(Arc::new(policy));
        self.0.limits.store(limits);
    }
}
