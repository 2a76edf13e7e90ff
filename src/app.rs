//! The composition root: makes a running gateway of a configuration, and takes it down again.
//!
//! Knows every part and none of their rules. Callers: `cli` and `demo`.

mod control;
mod doors;
mod process;
mod refusals;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::auth::{
    Authenticator, AuthenticatorParts, DenialReason, SessionKeeper, SessionKeeperParts, open_key_ring,
};
use crate::clock::Clock;
use crate::config::{Config, ListenerProtocol, StoreLocation, UpstreamProtocol};
use crate::net::upstream::UpstreamServers;
use crate::net::{BoundListener, listen};
use crate::ops::Readiness;
use crate::store::{Index, Store, StoreMark};
use crate::telemetry::{AccessLog, Metrics, RefusalRecorder};

/// Uses of keys that may wait to be written; beyond, a use goes unnoted.
const WAITING_KEY_USES: usize = 65_536;
/// Worker threads of the control plane.
const CONTROL_THREADS: usize = 2;

/// A gateway that answers on all its listeners.
#[derive(Debug)]
pub struct Gateway {
    control: Runtime,
    addresses: Vec<(String, SocketAddr)>,
    doors: Vec<JoinHandle<()>>,
    readiness: tokio::sync::watch::Sender<Readiness>,
    /// Ends accepting and lets open connections finish.
    drain: CancellationToken,
    /// Ends the control plane's tasks, after the doors.
    stop_control: CancellationToken,
    control_tasks: tokio_util::task::TaskTracker,
    store: Store,
}

/// What every part of a gateway may hold on to.
#[derive(Clone, Debug)]
struct Shared {
    config: Arc<Config>,
    clock: Clock,
    index: Arc<Index>,
    authenticator: Arc<Authenticator>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    /// Takes what the doors refuse.
    refusals: RefusalRecorder,
    /// What is known of the servers of each upstream, by its name.
    upstreams: Arc<HashMap<String, Arc<UpstreamServers>>>,
}

/// Serves `config` until SIGTERM or SIGINT, then drains. Returns once everything is closed.
pub fn serve(config: Config) -> Result<()> {
    Gateway::start(config)?.run_until_signal()
}

impl Gateway {
    /// Opens the store, loads the index, and answers on every listener.
    pub fn start(config: Config) -> Result<Self> {
        process::harden();
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .context("the control plane's threads could not be started")?;
        let config = Arc::new(config);
        let clock = Clock::system();
        let StoreLocation::Sqlite(store_path) = &config.store;
        let store = control.block_on(Store::open_or_create(store_path))?;
        let key_ring = Arc::new(control.block_on(open_key_ring(&store, &config.master_key, clock.now()))?);
        control.block_on(refuse_demo_beyond_loopback(&store, &config))?;
        let index = Arc::new(control.block_on(Index::load(&store))?);
        let (key_uses, noted_uses) = tokio::sync::mpsc::channel(WAITING_KEY_USES);
        let limits = Arc::new(config.limits.clone());
        let (session_keeper, session_orders) = SessionKeeper::new(SessionKeeperParts {
            store: store.clone(),
            index: Arc::clone(&index),
            key_ring: Arc::clone(&key_ring),
            clock: clock.clone(),
            limits: Arc::clone(&limits),
        });
        let authenticator = Arc::new(Authenticator::new(AuthenticatorParts {
            index: Arc::clone(&index),
            key_ring,
            policy: config.policy.clone(),
            limits,
            clock: clock.clone(),
            key_uses,
            session_orders,
            password_threads: password_threads(),
        })?);
        let access_log = match &config.access_log {
            Some(path) => AccessLog::open(path)
                .with_context(|| format!("the access log {} cannot be opened", path.display()))?,
            None => AccessLog::off(),
        };
        let metrics = Arc::new(Metrics::new(&DenialReason::ALL.map(DenialReason::as_str)));
        let upstreams = Arc::new(upstream_servers(&config, &metrics)?);
        let (refusals, refused) = RefusalRecorder::new(clock.clone(), metrics.unkept_refusals());
        let shared = Shared { config, clock, index, authenticator, metrics, access_log, refusals, upstreams };

        let bound = bind_all(&shared.config)?;
        let addresses = bound.iter().map(|(name, bound)| (name.clone(), bound.address)).collect();
        let (readiness, _) = tokio::sync::watch::channel(Readiness::Starting);
        let (drain, stop_control) = (CancellationToken::new(), CancellationToken::new());
        let control_tasks = tokio_util::task::TaskTracker::new();
        control.block_on(control::start(control::Parts {
            shared: shared.clone(),
            store: store.clone(),
            noted_uses,
            refused,
            session_keeper,
            ops: control::ops_sockets(&shared.config, &bound)?,
            readiness: readiness.clone(),
            stop: stop_control.clone(),
            tasks: control_tasks.clone(),
        }))?;
        let doors = doors::spawn(&shared, bound, &drain)?;
        readiness.send_replace(Readiness::Ready);
        Ok(Self { control, addresses, doors, readiness, drain, stop_control, control_tasks, store })
    }

    /// Where each listener listens, in the order of the configuration.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The control plane's runtime, for what `demo` runs beside the gateway.
    pub(crate) const fn control(&self) -> &Runtime {
        &self.control
    }

    /// Waits for SIGTERM or SIGINT, then drains: no new connections, open ones end after what they are at, and what is
    /// still open after `limits.drain_seconds` is cut.
    pub fn run_until_signal(self) -> Result<()> {
        self.control.block_on(termination_signal())?;
        tracing::info!("draining");
        self.readiness.send_replace(Readiness::Draining);
        self.drain.cancel();
        let mut failed = false;
        for door in self.doors {
            failed |= door.join().is_err();
        }
        self.stop_control.cancel();
        self.control_tasks.close();
        self.control.block_on(async {
            // The control plane's last writes take milliseconds; a store that hangs must not keep the process.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.control_tasks.wait()).await;
            self.store.close().await;
        });
        if failed { Err(anyhow!("a door thread ended early; see the log")) } else { Ok(()) }
    }
}

fn upstream_servers(config: &Config, metrics: &Metrics) -> Result<HashMap<String, Arc<UpstreamServers>>> {
    let servers = config.upstreams.iter().map(|upstream| {
        let (name, limits) = (&upstream.name, &config.limits);
        let servers = match &upstream.protocol {
            UpstreamProtocol::Http(http) => UpstreamServers::for_http(name, http, limits, metrics),
            UpstreamProtocol::IsProxy(isproxy) => {
                UpstreamServers::for_isproxy(name, isproxy, limits, metrics)
            }
        };
        let servers = servers.with_context(|| format!("upstream `{name}` cannot be reached by TLS"))?;
        Ok((name.clone(), servers))
    });
    servers.collect()
}

/// A demo's credentials were printed on a terminal: nobody else may reach it (S103).
async fn refuse_demo_beyond_loopback(store: &Store, config: &Config) -> Result<()> {
    let beyond = config.listeners.iter().find(|listener| !listener.address.ip().is_loopback());
    match beyond {
        Some(listener) if store.is_marked(StoreMark::Demo).await? => bail!(
            "listener `{}` is at {}, and this store was made by `latchkey demo`: it may be served on loopback addresses only",
            listener.name,
            listener.address
        ),
        _ => Ok(()),
    }
}

fn bind_all(config: &Config) -> Result<Vec<(String, BoundListener)>> {
    config
        .listeners
        .iter()
        .map(|listener| {
            let sockets = match listener.protocol {
                ListenerProtocol::Http(_) | ListenerProtocol::IsProxy(_) => config.threads,
                ListenerProtocol::Ops => NonZeroUsize::MIN,
            };
            let bound = listen(listener.address, sockets)
                .with_context(|| format!("listener `{}` cannot listen", listener.name))?;
            tracing::info!(listener = listener.name, address = %bound.address, "listening");
            Ok((listener.name.clone(), bound))
        })
        .collect()
}

/// Half the cores hash passwords, so that the other half answers keys (DESIGN section 4).
fn password_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

async fn termination_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
