//! The door threads: one runtime a thread, each with its own sockets, its own upstream connections, and nothing shared
//! on the hot path but the index.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use crate::config::{HttpListener, IsProxyListener, Limits, ListenerProtocol, UpstreamProtocol};
use crate::crypto::random;
use crate::gateway::http::{HttpDoor, HttpDoorParts, HttpUpstream};
use crate::gateway::isproxy::{self, IsProxyDoor, IsProxyUpstream};
use crate::model::Service;
use crate::net::{BoundListener, ConnectionSlots, accept_connections, server_config};
use crate::telemetry::{AccessLogWriter, RequestIds};

/// How often a thread hands its buffered access log lines on.
const FLUSH_ACCESS_LOG_EVERY: Duration = Duration::from_millis(200);
/// What an API listener offers in the TLS handshake, preferred first.
const HTTP_ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One listener as a door thread opens it.
struct DoorPlan {
    listener_name: String,
    tls: Option<Arc<rustls::ServerConfig>>,
    kind: DoorKind,
}

enum DoorKind {
    Http(HttpListener),
    IsProxy(IsProxyListener),
}

/// What one thread is given.
struct ThreadPlan {
    shared: Shared,
    doors: Vec<(Arc<DoorPlan>, TcpListener)>,
    slots: Arc<ConnectionSlots>,
    drain: CancellationToken,
    /// Where the thread's request ids start.
    seed: u64,
}

/// Starts the door threads; they end once `drain` is cancelled and their connections have ended.
pub(super) fn spawn(
    shared: &Shared,
    bound: Vec<(String, BoundListener)>,
    drain: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>> {
    let limits = &shared.config.limits;
    let slots = ConnectionSlots::new(limits.connections, limits.connections_per_address);
    let mut per_thread: Vec<Vec<(Arc<DoorPlan>, TcpListener)>> = Vec::new();
    per_thread.resize_with(shared.config.threads.get(), Vec::new);
    let mut locks = Vec::new();
    for (listener, (_, bound)) in shared.config.listeners.iter().zip(bound) {
        let plan = match &listener.protocol {
            ListenerProtocol::Ops => None,
            ListenerProtocol::Http(http) => {
                let tls = http.tls.as_ref().map(|files| server_config(files, &HTTP_ALPN)).transpose()?;
                Some((tls, DoorKind::Http(http.clone())))
            }
            ListenerProtocol::IsProxy(isproxy) => {
                let tls = isproxy.tls.as_ref().map(|files| server_config(files, &[])).transpose()?;
                Some((tls, DoorKind::IsProxy(isproxy.clone())))
            }
        };
        if let Some((tls, kind)) = plan {
            let plan = Arc::new(DoorPlan { listener_name: listener.name.clone(), tls, kind });
            for (doors, socket) in per_thread.iter_mut().zip(bound.sockets) {
                doors.push((Arc::clone(&plan), socket));
            }
        }
        locks.push(bound.lock);
    }
    let locks = Arc::new(locks);
    let mut threads = Vec::new();
    for (number, doors) in per_thread.into_iter().enumerate() {
        let plan = ThreadPlan {
            shared: shared.clone(),
            doors,
            slots: Arc::clone(&slots),
            // A token of the thread's own: its lock is taken at every wake of every session.
            drain: drain.child_token(),
            seed: random::bits()?,
        };
        let locks = Arc::clone(&locks);
        let thread = thread::Builder::new().name(format!("door-{number}")).spawn(move || {
            if let Err(error) = run_thread(plan) {
                tracing::error!(%error, "a door thread could not be started");
            }
            drop(locks);
        });
        threads.push(thread.context("a door thread could not be started")?);
    }
    Ok(threads)
}

fn run_thread(plan: ThreadPlan) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let limits = Arc::new(plan.shared.config.limits.clone());
        let access_log = Rc::new(plan.shared.access_log.writer());
        let upstreams = Upstreams::new(&plan.shared, &limits, plan.seed);
        let request_ids = Rc::new(RequestIds::new(plan.seed));
        let thread = Thread {
            shared: plan.shared,
            slots: plan.slots,
            drain: plan.drain,
            access_log: Rc::clone(&access_log),
            connections: TaskTracker::new(),
            upstreams,
            request_ids,
            limits,
        };
        tokio::task::spawn_local(flush_regularly(Rc::clone(&access_log)));
        thread.accept_until_drain(plan.doors).await?;
        thread.connections.close();
        let grace = Duration::from_secs(u64::from(thread.limits.drain_seconds));
        if timeout(grace, thread.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = thread.connections.len(),
                "cutting connections that did not end in time"
            );
        }
        access_log.flush();
        Ok(())
    })
}

/// This thread's side of each upstream, by its name.
#[derive(Default)]
struct Upstreams {
    http: HashMap<String, Rc<HttpUpstream>>,
    isproxy: HashMap<String, Rc<IsProxyUpstream>>,
}

impl Upstreams {
    fn new(shared: &Shared, limits: &Arc<Limits>, seed: u64) -> Self {
        let mut upstreams = Self::default();
        for upstream in &shared.config.upstreams {
            let name = &upstream.name;
            let Some(servers) = shared.upstreams.get(name) else { continue };
            match &upstream.protocol {
                UpstreamProtocol::Http(http) => {
                    let http = HttpUpstream::new(servers, http, Arc::clone(limits), seed);
                    upstreams.http.insert(name.clone(), http);
                }
                UpstreamProtocol::IsProxy(isproxy) => {
                    let isproxy = IsProxyUpstream::new(servers, isproxy, limits, seed);
                    upstreams.isproxy.insert(name.clone(), isproxy);
                }
            }
        }
        upstreams
    }
}

/// One door thread at work.
struct Thread {
    shared: Shared,
    slots: Arc<ConnectionSlots>,
    drain: CancellationToken,
    limits: Arc<Limits>,
    upstreams: Upstreams,
    access_log: Rc<AccessLogWriter>,
    request_ids: Rc<RequestIds>,
    connections: TaskTracker,
}

impl Thread {
    /// Accepts on all listeners until the drain, and closes them then.
    async fn accept_until_drain(&self, doors: Vec<(Arc<DoorPlan>, TcpListener)>) -> Result<()> {
        let accepting = TaskTracker::new();
        for (plan, socket) in doors {
            match &plan.kind {
                DoorKind::Http(listener) => {
                    let door = Rc::new(HttpDoor::new(self.http_parts(&plan, listener)?));
                    accepting.spawn_local(self.accept(socket, move |stream, peer, drain| {
                        Rc::clone(&door).serve_connection(stream, peer, drain)
                    })?);
                }
                DoorKind::IsProxy(listener) => {
                    let door = Rc::new(IsProxyDoor::new(self.isproxy_parts(&plan, listener)?));
                    accepting.spawn_local(self.accept(socket, move |stream, peer, drain| {
                        Rc::clone(&door).serve_connection(stream, peer, drain)
                    })?);
                }
            }
        }
        accepting.close();
        accepting.wait().await;
        Ok(())
    }

    /// Accepts on one socket and serves each connection in a task of its own.
    fn accept<F: Future<Output = ()> + 'static>(
        &self,
        socket: TcpListener,
        serve: impl Fn(TcpStream, SocketAddr, CancellationToken) -> F + 'static,
    ) -> Result<impl Future<Output = ()> + 'static> {
        let listener = tokio::net::TcpListener::from_std(socket)?;
        let (connections, drain) = (self.connections.clone(), self.drain.clone());
        Ok(accept_connections(
            listener,
            Arc::clone(&self.slots),
            self.drain.clone(),
            move |stream, peer, slot| {
                let serving = serve(stream, peer, drain.clone());
                connections.spawn_local(async move {
                    serving.await;
                    drop(slot);
                });
            },
        ))
    }

    fn http_parts(&self, plan: &DoorPlan, listener: &HttpListener) -> Result<HttpDoorParts> {
        let routes = listener
            .routes
            .iter()
            .map(|route| {
                let upstream = self.upstreams.http.get(&route.upstream).map(Rc::clone);
                let upstream =
                    upstream.ok_or_else(|| anyhow!("there is no upstream `{}`", route.upstream))?;
                Ok((route.clone(), upstream))
            })
            .collect::<Result<_>>()?;
        Ok(HttpDoorParts {
            name: plan.listener_name.clone(),
            listener: listener.clone(),
            limits: Arc::clone(&self.limits),
            tls: plan.tls.clone(),
            authenticator: Arc::clone(&self.shared.authenticator),
            routes,
            metrics: self.shared.metrics.door(Service::Api),
            access_log: Rc::clone(&self.access_log),
            refusals: self.shared.refusals.clone(),
            request_ids: Rc::clone(&self.request_ids),
            clock: self.shared.clock.clone(),
        })
    }

    fn isproxy_parts(&self, plan: &DoorPlan, listener: &IsProxyListener) -> Result<isproxy::DoorParts> {
        let upstream = self.upstreams.isproxy.get(&listener.upstream).map(Rc::clone);
        Ok(isproxy::DoorParts {
            listener_name: plan.listener_name.clone(),
            listener: listener.clone(),
            limits: Arc::clone(&self.limits),
            tls: plan.tls.clone(),
            authenticator: Arc::clone(&self.shared.authenticator),
            upstream: upstream.ok_or_else(|| anyhow!("there is no upstream `{}`", listener.upstream))?,
            metrics: self.shared.metrics.door(Service::IsProxy),
            access_log: Rc::clone(&self.access_log),
            refusals: self.shared.refusals.clone(),
            request_ids: Rc::clone(&self.request_ids),
            clock: self.shared.clock.clone(),
        })
    }
}

async fn flush_regularly(access_log: Rc<AccessLogWriter>) {
    let mut ticks = interval(FLUSH_ACCESS_LOG_EVERY);
    loop {
        ticks.tick().await;
        access_log.flush();
    }
}
