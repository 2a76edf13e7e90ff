//! The door threads: one runtime a thread, each with its own sockets, its own upstream connections, and nothing shared
//! on the hot path but the index.
//!
//! What a thread serves by, a [`Generation`], is given to it at its start and by [`Order`]s afterwards, by which threads
//! also hand connections to each other. What a single thread does with them stands in [`thread`].

mod thread;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::generation::Generation;
use crate::config::{Limits, ListenerProtocol};
use crate::crypto::random;
use crate::net::{BoundListener, ConnectionLimits, ConnectionSlot, ConnectionSlots};

/// The running door threads.
#[derive(Debug)]
pub(super) struct DoorThreads {
    /// They end once the drain has begun and their connections have ended.
    pub(super) handles: Vec<JoinHandle<()>>,
    /// By the number of the thread.
    pub(super) orders: Vec<OrderSender>,
    /// Counts the connections of all of them.
    pub(super) slots: Arc<ConnectionSlots>,
}

/// What a thread is told to do. Connections that wait here are as many as `limits.connections` at most, since each has
/// its slot.
#[derive(Debug)]
pub(super) enum Order {
    /// Serve by this generation from now on, and say so.
    PutInForce(Arc<Generation>, oneshot::Sender<()>),
    /// Serve a connection that another thread accepted.
    Serve(HandedOver),
}

pub(super) type OrderSender = mpsc::UnboundedSender<Order>;

/// A connection on its way to the thread that has room for it.
#[derive(Debug)]
pub(super) struct HandedOver {
    /// The listener, by its place among the doors.
    door: usize,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    slot: ConnectionSlot,
}

/// What `limits` say about how many connections may be open.
pub(super) const fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits { total: limits.connections, per_address: limits.connections_per_address }
}

/// Starts the door threads, which serve by `generation` until `drain` is cancelled.
pub(super) fn spawn(
    shared: &Shared,
    generation: &Arc<Generation>,
    bound: Vec<(String, BoundListener)>,
    drain: &CancellationToken,
) -> Result<DoorThreads> {
    let config = &generation.config;
    let threads = config.threads.get();
    let gauges = (0..threads).map(|number| shared.metrics.thread(number)).collect();
    shared.metrics.set_connections_limit(config.limits.connections);
    let slots = ConnectionSlots::new(connection_limits(&config.limits), generation.doors.len(), gauges);
    let mut sockets: Vec<Vec<TcpListener>> = Vec::new();
    sockets.resize_with(threads, Vec::new);
    let mut locks = Vec::new();
    for (listener, (_, bound)) in config.listeners.iter().zip(bound) {
        if matches!(
            listener.protocol,
            ListenerProtocol::Http(_) | ListenerProtocol::IsProxy(_) | ListenerProtocol::ForwardAuth(_)
        ) {
            sockets.iter_mut().zip(bound.sockets).for_each(|(own, socket)| own.push(socket));
        }
        locks.push(bound.lock);
    }
    let locks = Arc::new(locks);
    let (orders, received): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::unbounded_channel()).unzip();
    let mut handles = Vec::new();
    for (number, (sockets, received)) in sockets.into_iter().zip(received).enumerate() {
        let plan = thread::Plan {
            number,
            shared: shared.clone(),
            generation: Arc::clone(generation),
            sockets,
            slots: Arc::clone(&slots),
            // A token of the thread's own: its lock is taken at every wake of every session.
            drain: drain.child_token(),
            seed: random::bits()?,
            orders: orders.clone(),
            received,
        };
        let locks = Arc::clone(&locks);
        let thread = std::thread::Builder::new().name(format!("door-{number}")).spawn(move || {
            if let Err(error) = thread::run(plan) {
                tracing::error!(%error, "a door thread could not be started");
            }
            drop(locks);
        });
        handles.push(thread.context("a door thread could not be started")?);
    }
    Ok(DoorThreads { handles, orders, slots })
}
