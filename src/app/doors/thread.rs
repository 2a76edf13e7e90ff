//! One door thread: accepts on its sockets, serves connections, and changes its doors when it is told to.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HandedOver, Order, OrderSender};
use crate::app::Shared;
use crate::app::generation::{DoorKind, DoorPlan, Generation, UpstreamPlan};
use crate::config::{Config, HttpListener, IsProxyListener, Limits, Route, UpstreamProtocol};
use crate::gateway::http::{HttpDoor, HttpDoorParts, HttpDoorway, HttpUpstream, OpenBodies};
use crate::gateway::isproxy::{self, IsProxyDoor, IsProxyUpstream};
use crate::model::Service;
use crate::net::{AcceptedAt, ConnectionSlot, ConnectionSlots, accept_connections};
use crate::telemetry::{AccessLogWriter, DoorMetrics, RequestIds, SpanWriter, Tracer};

/// How often a thread hands its buffered access log lines and spans on.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Connections end themselves when the drain is over; a thread waits so much longer, so that they are written down.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a thread is given.
pub(super) struct Plan {
    pub(super) number: usize,
    pub(super) shared: Shared,
    pub(super) generation: Arc<Generation>,
    /// One for each door.
    pub(super) sockets: Vec<TcpListener>,
    pub(super) slots: Arc<ConnectionSlots>,
    pub(super) drain: CancellationToken,
    /// Where the thread's request ids and draws start.
    pub(super) seed: u64,
    /// To all threads, by their numbers.
    pub(super) orders: Vec<OrderSender>,
    /// To this one.
    pub(super) received: mpsc::UnboundedReceiver<Order>,
}

/// Runs until the drain is over.
pub(super) fn run(plan: Plan) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let (thread, sockets, received) = Thread::new(plan)?;
        let (access_log, spans) = (Rc::clone(&thread.parts.access_log), Rc::clone(&thread.parts.spans));
        tokio::task::spawn_local(flush_regularly(Rc::clone(&access_log), Rc::clone(&spans)));
        tokio::task::spawn_local(Rc::clone(&thread).follow_orders(received));
        thread.accept_until_drain(sockets).await?;
        thread.connections.close();
        let grace = Duration::from_secs(thread.drain_seconds.get().into()) + FAREWELL;
        if timeout(grace, thread.connections.wait()).await.is_err() {
            let connections = thread.connections.len();
            tracing::warn!(connections, "cutting connections that did not end in time");
        }
        access_log.flush();
        spans.flush();
        Ok(())
    })
}

/// One door thread at work.
struct Thread {
    number: usize,
    slots: Arc<ConnectionSlots>,
    drain: CancellationToken,
    drain_seconds: Cell<u32>,
    orders: Vec<OrderSender>,
    connections: TaskTracker,
    parts: Parts,
    doors: Vec<Door>,
}

/// What doors are made of, beside their plans.
struct Parts {
    shared: Shared,
    seed: u64,
    access_log: Rc<AccessLogWriter>,
    spans: Rc<SpanWriter>,
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
enum Door {
    Http(Rc<HttpDoorway>),
    IsProxy(RefCell<Rc<IsProxyDoor>>),
}

impl Thread {
    fn new(plan: Plan) -> Result<(Rc<Self>, Vec<TcpListener>, mpsc::UnboundedReceiver<Order>)> {
        let parts = Parts {
            seed: plan.seed,
            access_log: Rc::new(plan.shared.access_log.writer()),
            // Elsewhere than the request ids, which start at the seed itself.
            spans: Rc::new(plan.shared.spans.writer(!plan.seed)),
            config: RefCell::new(Arc::clone(&plan.generation.config)),
            request_ids: Rc::new(RequestIds::new(plan.seed)),
            open_bodies: OpenBodies::new(Arc::clone(&plan.shared.authenticator)),
            api_metrics: plan.shared.metrics.door(Service::Api),
            isproxy_metrics: plan.shared.metrics.door(Service::IsProxy),
            upstreams: RefCell::default(),
            shared: plan.shared,
        };
        parts.take_upstreams_of(&plan.generation);
        let limits = &plan.generation.limits;
        let open = |door: &Arc<DoorPlan>| match &door.kind {
            DoorKind::Http(listener, routes) => {
                Ok(Door::Http(HttpDoorway::new(parts.http_door(door, listener, routes, limits))))
            }
            DoorKind::IsProxy(listener, upstream) => {
                let opened = parts.isproxy_door(door, listener, upstream, limits);
                let opened = opened.with_context(|| format!("there is no upstream `{}`", upstream.name))?;
                Ok(Door::IsProxy(RefCell::new(Rc::new(opened))))
            }
        };
        let thread = Rc::new(Self {
            number: plan.number,
            slots: plan.slots,
            drain: plan.drain,
            drain_seconds: Cell::new(limits.drain_seconds),
            orders: plan.orders,
            connections: TaskTracker::new(),
            doors: plan.generation.doors.iter().map(open).collect::<Result<_>>()?,
            parts,
        });
        Ok((thread, plan.sockets, plan.received))
    }

    /// Accepts on all listeners until the drain, and closes them then.
    async fn accept_until_drain(self: &Rc<Self>, sockets: Vec<TcpListener>) -> Result<()> {
        let accepting = TaskTracker::new();
        for (door, socket) in sockets.into_iter().enumerate() {
            let thread = Rc::clone(self);
            accepting.spawn_local(accept_connections(
                tokio::net::TcpListener::from_std(socket)?,
                Arc::clone(&self.slots),
                AcceptedAt { listener: door, thread: self.number },
                self.drain.clone(),
                move |stream, peer, slot| thread.take(door, stream, peer, slot),
            ));
        }
        accepting.close();
        accepting.wait().await;
        Ok(())
    }

    /// Serves a connection that was accepted here, or hands it to the thread that has room for it.
    fn take(&self, door: usize, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        if slot.thread() == self.number {
            return self.serve(door, stream, peer, slot);
        }
        let Some(other) = self.orders.get(slot.thread()) else { return };
        match stream.into_std() {
            // A thread that has ended takes no more, and neither does this one then.
            Ok(stream) => drop(other.send(Order::Serve(HandedOver { door, stream, peer, slot }))),
            Err(error) => tracing::debug!(%peer, %error, "a connection could not be handed over"),
        }
    }

    /// Serves a connection in a task of its own.
    fn serve(&self, door: usize, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        let drain = self.drain.clone();
        match self.doors.get(door) {
            Some(Door::Http(doorway)) => {
                let serving = Rc::clone(doorway).serve_connection(stream, peer, drain);
                self.track(serving, slot);
            }
            Some(Door::IsProxy(present)) => {
                let serving = Rc::clone(&present.borrow()).serve_connection(stream, peer, drain);
                self.track(serving, slot);
            }
            None => {}
        }
    }

    fn track(&self, serving: impl Future<Output = ()> + 'static, slot: ConnectionSlot) {
        self.connections.spawn_local(async move {
            serving.await;
            drop(slot);
        });
    }

    async fn follow_orders(self: Rc<Self>, mut received: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = received.recv().await {
            match order {
                Order::PutInForce(generation, done) => {
                    self.put_in_force(&generation);
                    // Who waits for it may have lost its patience.
                    let _ = done.send(());
                }
                Order::Serve(HandedOver { door, stream, peer, slot }) => match TcpStream::from_std(stream) {
                    Ok(stream) => self.serve(door, stream, peer, slot),
                    Err(error) => tracing::debug!(%peer, %error, "a connection could not be handed over"),
                },
            }
        }
    }

    /// Sends what begins from now on through doors of `generation`.
    fn put_in_force(&self, generation: &Generation) {
        let (parts, limits) = (&self.parts, &generation.limits);
        parts.take_upstreams_of(generation);
        parts.config.replace(Arc::clone(&generation.config));
        self.drain_seconds.set(limits.drain_seconds);
        for (door, plan) in self.doors.iter().zip(&generation.doors) {
            match (door, &plan.kind) {
                (Door::Http(doorway), DoorKind::Http(listener, routes)) => {
                    doorway.replace(parts.http_door(plan, listener, routes, limits));
                }
                (Door::IsProxy(present), DoorKind::IsProxy(listener, upstream)) => {
                    let door = parts.isproxy_door(plan, listener, upstream, limits);
                    present.replace_with(|present| door.map_or_else(|| Rc::clone(present), Rc::new));
                }
                // A listener keeps its protocol until a restart.
                (Door::Http(_), DoorKind::IsProxy(..)) | (Door::IsProxy(_), DoorKind::Http(..)) => {}
            }
        }
    }
}

impl Parts {
    /// Keeps the connections to upstreams that are the same in `generation`, and lets go of the others: what is under
    /// way on them holds them until it has ended.
    fn take_upstreams_of(&self, generation: &Generation) {
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
        HttpDoor::new(HttpDoorParts {
            name: plan.listener_name.clone(),
            listener: listener.clone(),
            limits: Arc::clone(limits),
            tls: plan.tls.as_ref().map(|tls| Arc::clone(&tls.config)),
            authenticator: Arc::clone(&self.shared.authenticator),
            routes: routes.iter().filter_map(resolve).collect(),
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

async fn flush_regularly(access_log: Rc<AccessLogWriter>, spans: Rc<SpanWriter>) {
    let mut ticks = interval(FLUSH_EVERY);
    loop {
        ticks.tick().await;
        access_log.flush();
        spans.flush();
    }
}
