//! The door threads: one runtime a thread, each with its own sockets, its own upstream connections, and nothing shared
//! on the hot path but the index.
//!
//! What a thread serves by, a [`Generation`], is given to it at its start and by [`Order`]s afterwards, by which threads
//! also hand connections to each other. What a single thread does with them stands in [`thread`], what doors are made
//! of in [`parts`].

mod parts;
mod thread;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::Shared;
use super::generation::Generation;
use super::sockets::{SocketFault, Sockets};
use crate::config::Limits;
use crate::crypto::random;
use crate::net::{ConnectionLimits, ConnectionSlot, ConnectionSlots, Drain, ListenerId, Queue};

/// The running door threads.
#[derive(Debug)]
pub(super) struct DoorThreads {
    /// They end once the drain has begun and their connections have ended.
    pub(super) handles: Vec<JoinHandle<()>>,
    /// By the number of the thread.
    pub(super) orders: Vec<OrderSender>,
    /// Counts the connections of all of them.
    pub(super) slots: Arc<ConnectionSlots>,
    /// By the number of the thread.
    pub(super) pulses: Vec<Pulse>,
}

/// What a thread is told to do. Connections that wait here are as many as `limits.connections` at most, since each has
/// its slot.
#[derive(Debug)]
pub(super) enum Order {
    /// Serve by this generation from now on, also at these new doors, and say so.
    PutInForce(Arc<Generation>, Vec<DoorSockets>, oneshot::Sender<()>),
    /// Serve a connection that another thread accepted.
    Serve(HandedOver),
    /// Say that what was ordered before is done.
    Echo(oneshot::Sender<()>),
}

pub(super) type OrderSender = mpsc::UnboundedSender<Order>;

/// What a thread accepts on for a door.
#[derive(Debug)]
pub(super) struct DoorSockets {
    id: ListenerId,
    sockets: Vec<TcpListener>,
    /// Who has what queues there when the process is stopped.
    queue: Queue,
}

/// A connection on its way to the thread that has room for it.
#[derive(Debug)]
pub(super) struct HandedOver {
    /// The listener.
    door: ListenerId,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    slot: ConnectionSlot,
}

/// Shows that a thread turns: a number that grows while it does.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Beats once.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has beaten.
    pub(super) fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What `limits` say about how many connections may be open.
pub(super) const fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits { total: limits.connections, per_address: limits.connections_per_address }
}

/// What each of `threads` accepts on for the doors of `generation` that `before` does not have.
///
/// # Errors
/// The system has no descriptor left; nothing has changed then.
pub(super) fn sockets_for_new_doors(
    generation: &Generation,
    before: Option<&Generation>,
    sockets: &Sockets,
    threads: NonZeroUsize,
) -> Result<Vec<Vec<DoorSockets>>, SocketFault> {
    let mut of_threads = Vec::new();
    of_threads.resize_with(threads.get(), Vec::new);
    let was_there = |id| before.is_some_and(|before| before.doors.iter().any(|door| door.id == id));
    for door in generation.doors.iter().filter(|door| !was_there(door.id)) {
        let (id, queue) = (door.id, sockets.queue(&door.listener_name));
        let shares = sockets.shares(&door.listener_name, threads)?;
        for (of_thread, sockets) in of_threads.iter_mut().zip(shares) {
            of_thread.push(DoorSockets { id, sockets, queue });
        }
    }
    Ok(of_threads)
}

/// Starts the door threads, which serve by `generation` until `drain` begins. None accepts before all of them can.
///
/// # Errors
/// A thread cannot be started, or cannot accept; nothing was accepted then.
pub(super) fn spawn(
    shared: &Shared,
    generation: &Arc<Generation>,
    sockets: &Sockets,
    drain: &Drain,
) -> Result<DoorThreads> {
    let config = &generation.config;
    let threads = config.threads;
    let gauges = (0..threads.get()).map(|number| shared.metrics.thread(number)).collect();
    shared.metrics.set_connections_limit(config.limits.connections);
    let slots = ConnectionSlots::new(connection_limits(&config.limits), gauges);
    let pulses: Vec<_> = (0..threads.get()).map(|_| Pulse::default()).collect();
    let sockets = sockets_for_new_doors(generation, None, sockets, threads)?;
    let (orders, received): (Vec<_>, Vec<_>) = (0..threads.get()).map(|_| mpsc::unbounded_channel()).unzip();
    let accepting = TaskTracker::new();
    accepting.close();
    let plans = sockets.into_iter().zip(received).zip(&pulses).enumerate().map(
        |(number, ((sockets, received), pulse))| {
            Ok(thread::Plan {
                number,
                shared: shared.clone(),
                generation: Arc::clone(generation),
                sockets,
                slots: Arc::clone(&slots),
                // One of the thread's own: its lock is taken at every wake of every session.
                drain: drain.child(),
                accepting: (accepting.clone(), accepting.token()),
                pulse: pulse.clone(),
                seed: random::bits()?,
                orders: orders.clone(),
                received,
            })
        },
    );
    // All of them before the first runs: none may find that nobody accepts any more.
    let plans = plans.collect::<Result<Vec<_>>>()?;
    let begun: Vec<Begun> = plans.into_iter().map(begin).collect::<Result<_>>()?;
    let mut started = Vec::new();
    for Begun { handle, can_accept, go } in begun {
        let answer = can_accept.blocking_recv().unwrap_or_else(|_| Err(anyhow!("it ended at once")));
        answer.context("a door thread could not be started")?;
        started.push((handle, go));
    }
    let accept = |(handle, go): (JoinHandle<()>, oneshot::Sender<()>)| {
        // It waits for this and for nothing else.
        let _ = go.send(());
        handle
    };
    let handles = started.into_iter().map(accept).collect();
    Ok(DoorThreads { handles, orders, slots, pulses })
}

/// A thread that has begun and accepts nothing yet.
struct Begun {
    handle: JoinHandle<()>,
    /// Says whether it can.
    can_accept: oneshot::Receiver<Result<()>>,
    /// Has it accept; dropped, it ends the thread.
    go: oneshot::Sender<()>,
}

fn begin(plan: thread::Plan) -> Result<Begun> {
    let name = format!("door-{}", plan.number);
    let (ready, can_accept) = oneshot::channel();
    let (go, may_accept) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name).spawn(move || thread::run(plan, ready, may_accept));
    let handle = thread.context("a door thread could not be started")?;
    Ok(Begun { handle, can_accept, go })
}

#[cfg(test)]
mod tests;
