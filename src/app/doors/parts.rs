//! What the doors of one thread are made of: what belongs to the thread, and its sides of the upstreams.
//!
//! Makes doors of plans; who is let through them when is `thread`'s matter, which calls it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::app::Shared;
use crate::app::generation::{DoorKind, DoorPlan, Generation, UpstreamPlan};
use crate::config::{
    Config, ForwardAuthListener, HttpListener, IsProxyListener, Limits, Route, UpstreamProtocol,
};
use crate::gateway::http::{
    Entrance, HttpDoor, HttpDoorParts, HttpDoorway, HttpUpstream, OpenBodies, Purpose, Routes,
};
use crate::gateway::isproxy::{self, IsProxyDoor, IsProxyUpstream};
use crate::model::Service;
use crate::telemetry::{AccessLogWriter, DoorMetrics, RequestIds, SpanWriter, Tracer};

/// What doors are made of, beside their plans.
pub(super) struct Parts {
    shared: Shared,
    seed: u64,
    pub(super) access_log: Rc<AccessLogWriter>,
    pub(super) spans: Rc<SpanWriter>,
    /// That of the present generation.
    config: RefCell<Arc<Config>>,
    request_ids: Rc<RequestIds>,
    open_bodies: Rc<OpenBodies>,
    api_metrics: DoorMetrics,
    isproxy_metrics: DoorMetrics,
    /// This thread's side of the upstreams of the present generation.
    upstreams: RefCell<Vec<(Arc<UpstreamPlan>, Upstream)>>,
}

/// This thread's side of an upstream.
#[derive(Clone)]
enum Upstream {
    Http(Rc<HttpUpstream>),
    IsProxy(Rc<IsProxyUpstream>),
}

/// A listener, with the door that new requests or sessions go through.
pub(super) enum Door {
    /// Of the API, or one that proxies ask.
    Http(Rc<HttpDoorway>),
    IsProxy(RefCell<Rc<IsProxyDoor>>),
}

impl Parts {
    /// Parts of a thread whose request ids and draws start at `seed`, for doors of `generation`.
    pub(super) fn new(shared: Shared, seed: u64, generation: &Generation) -> Self {
        Self {
            seed,
            access_log: Rc::new(shared.access_log.writer()),
            // Elsewhere than the request ids, which start at the seed itself.
            spans: Rc::new(shared.spans.writer(!seed)),
            config: RefCell::new(Arc::clone(&generation.config)),
            request_ids: Rc::new(RequestIds::new(seed)),
            open_bodies: OpenBodies::new(Arc::clone(&shared.authenticator)),
            api_metrics: shared.metrics.door(Service::Api),
            isproxy_metrics: shared.metrics.door(Service::IsProxy),
            upstreams: RefCell::default(),
            shared,
        }
    }

    /// A listener as `plan` says; `None`: it asks an upstream that the generation does not have.
    pub(super) fn open(&self, plan: &DoorPlan, limits: &Arc<Limits>) -> Option<Door> {
        match &plan.kind {
            DoorKind::Http(listener, routes) => {
                Some(Door::Http(HttpDoorway::new(self.http_door(plan, listener, routes, limits))))
            }
            DoorKind::IsProxy(listener, upstream) => {
                let door = self.isproxy_door(plan, listener, upstream, limits)?;
                Some(Door::IsProxy(RefCell::new(Rc::new(door))))
            }
            DoorKind::ForwardAuth(listener) => {
                Some(Door::Http(HttpDoorway::new(self.asked_door(plan, listener, limits))))
            }
        }
    }

    /// Sends what begins from now on at `door` through one that is as `plan` says.
    pub(super) fn replace(&self, door: &Door, plan: &DoorPlan, limits: &Arc<Limits>) {
        match (door, &plan.kind) {
            (Door::Http(doorway), DoorKind::Http(listener, routes)) => {
                doorway.replace(self.http_door(plan, listener, routes, limits));
            }
            (Door::IsProxy(present), DoorKind::IsProxy(listener, upstream)) => {
                let door = self.isproxy_door(plan, listener, upstream, limits);
                present.replace_with(|present| door.map_or_else(|| Rc::clone(present), Rc::new));
            }
            (Door::Http(doorway), DoorKind::ForwardAuth(listener)) => {
                doorway.replace(self.asked_door(plan, listener, limits));
            }
            // A listener of another protocol is another listener.
            (Door::Http(_), DoorKind::IsProxy(..))
            | (Door::IsProxy(_), DoorKind::Http(..) | DoorKind::ForwardAuth(_)) => {}
        }
    }

    /// Makes doors as `generation` wants them from now on. Keeps the connections to upstreams that are the same in it, and
    /// lets go of the others: what is under way on them holds them until it has ended.
    pub(super) fn go_by(&self, generation: &Generation) {
        self.config.replace(Arc::clone(&generation.config));
        let before = self.upstreams.take();
        let same = |plan: &Arc<UpstreamPlan>| before.iter().find(|(own, _)| Arc::ptr_eq(own, plan));
        let limits = &generation.limits;
        let made = |plan: &Arc<UpstreamPlan>| match &plan.config {
            UpstreamProtocol::Http(config) => {
                Upstream::Http(HttpUpstream::new(&plan.servers, config, Arc::clone(limits), self.seed))
            }
            UpstreamProtocol::IsProxy(config) => {
                Upstream::IsProxy(IsProxyUpstream::new(&plan.servers, config, limits, self.seed))
            }
        };
        let of = |plan: &Arc<UpstreamPlan>| {
            let upstream = same(plan).map_or_else(|| made(plan), |(_, upstream)| upstream.clone());
            (Arc::clone(plan), upstream)
        };
        self.upstreams.replace(generation.upstreams.iter().map(of).collect());
    }

    /// This thread's side of the upstream that `plan` is of; a generation holds every one that its doors ask.
    fn upstream(&self, plan: &Arc<UpstreamPlan>) -> Option<Upstream> {
        let upstreams = self.upstreams.borrow();
        upstreams.iter().find(|(own, _)| Arc::ptr_eq(own, plan)).map(|(_, upstream)| upstream.clone())
    }

    /// What makes traces for a door, as the present generation wants them.
    fn tracer(&self) -> Option<Tracer> {
        let config = self.config.borrow();
        let traces = config.traces.as_ref()?;
        Some(Tracer::new(&self.spans, traces, self.shared.clock.clone()))
    }

    fn http_door(
        &self,
        plan: &DoorPlan,
        listener: &HttpListener,
        routes: &[(Route, Arc<UpstreamPlan>)],
        limits: &Arc<Limits>,
    ) -> HttpDoor {
        let resolve = |(route, asked): &(Route, Arc<UpstreamPlan>)| match self.upstream(asked)? {
            Upstream::Http(upstream) => Some((route.clone(), upstream)),
            Upstream::IsProxy(_) => None,
        };
        let routes = Routes::new(routes.iter().filter_map(resolve));
        self.door(plan, listener.into(), Purpose::Forward(routes), limits)
    }

    /// A door that proxies ask.
    fn asked_door(&self, plan: &DoorPlan, listener: &ForwardAuthListener, limits: &Arc<Limits>) -> HttpDoor {
        self.door(plan, listener.into(), Purpose::Answer(listener.identity_headers.clone()), limits)
    }

    fn door(&self, plan: &DoorPlan, entrance: Entrance, purpose: Purpose, limits: &Arc<Limits>) -> HttpDoor {
        HttpDoor::new(HttpDoorParts {
            name: plan.listener_name.clone(),
            entrance,
            limits: Arc::clone(limits),
            tls: plan.tls.as_ref().map(|tls| Arc::clone(&tls.config)),
            authenticator: Arc::clone(&self.shared.authenticator),
            purpose,
            open_bodies: Rc::clone(&self.open_bodies),
            metrics: self.api_metrics.clone(),
            access_log: Rc::clone(&self.access_log),
            tracer: self.tracer(),
            refusals: self.shared.refusals.clone(),
            request_ids: Rc::clone(&self.request_ids),
            clock: self.shared.clock.clone(),
        })
    }

    fn isproxy_door(
        &self,
        plan: &DoorPlan,
        listener: &IsProxyListener,
        upstream: &Arc<UpstreamPlan>,
        limits: &Arc<Limits>,
    ) -> Option<IsProxyDoor> {
        let Upstream::IsProxy(upstream) = self.upstream(upstream)? else { return None };
        Some(IsProxyDoor::new(isproxy::DoorParts {
            listener_name: plan.listener_name.clone(),
            listener: listener.clone(),
            limits: Arc::clone(limits),
            tls: plan.tls.as_ref().map(|tls| Arc::clone(&tls.config)),
            authenticator: Arc::clone(&self.shared.authenticator),
            upstream,
            metrics: self.isproxy_metrics.clone(),
            access_log: Rc::clone(&self.access_log),
            tracer: self.tracer(),
            refusals: self.shared.refusals.clone(),
            request_ids: Rc::clone(&self.request_ids),
            clock: self.shared.clock.clone(),
        }))
    }
}
