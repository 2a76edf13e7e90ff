//! One door thread: accepts on its sockets, serves connections, and changes its doors when it is told to.
//!
//! Doors are told apart by their listeners' ids, which stay right from one generation to the next: a connection may be
//! handed over by a thread that is a generation ahead, or one behind.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::parts::{Door, Parts};
use super::{DoorSockets, HandedOver, Order, OrderSender, Pulse};
use crate::app::Shared;
use crate::app::generation::{DoorPlan, Generation};
use crate::config::Limits;
use crate::net::turn::TASKS_OF_A_TURN;
use crate::net::{AcceptedAt, ConnectionSlot, ConnectionSlots, Drain, ListenerId, Queue, accept_connections};
use crate::telemetry::{AccessLogWriter, SpanWriter};

/// How often a thread hands its buffered access log lines and spans on, and shows that it turns.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Connections end themselves when the drain is over; a thread waits so much longer, so that they are written down.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a thread is given.
pub(super) struct Plan {
    pub(super) number: usize,
    pub(super) shared: Shared,
    pub(super) generation: Arc<Generation>,
    /// For each door.
    pub(super) sockets: Vec<DoorSockets>,
    pub(super) slots: Arc<ConnectionSlots>,
    pub(super) drain: Drain,
    /// Empty when no thread accepts any more, and this one's place there.
    pub(super) accepting: (TaskTracker, TaskTrackerToken),
    pub(super) pulse: Pulse,
    /// Where the thread's request ids and draws start.
    pub(super) seed: u64,
    /// To all threads, by their numbers.
    pub(super) orders: Vec<OrderSender>,
    /// To this one.
    pub(super) received: mpsc::UnboundedReceiver<Order>,
}

/// Says by `ready` whether this thread can serve; accepts when `may_accept` says so, and runs until the drain is over.
pub(super) fn run(plan: Plan, ready: oneshot::Sender<Result<()>>, may_accept: oneshot::Receiver<()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_OF_A_TURN)
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // Whoever does not wait for it has given up.
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    runtime.block_on(async move {
        let Plan { generation, sockets, received, accepting: (all_accepting, own_place), pulse, .. } = plan;
        let thread = Rc::new(Thread {
            number: plan.number,
            slots: plan.slots,
            drain: plan.drain,
            drain_seconds: Cell::new(generation.limits.drain_seconds),
            orders: plan.orders,
            connections: TaskTracker::new(),
            accepting: TaskTracker::new(),
            parts: Parts::new(plan.shared, plan.seed, &generation),
            doors: RefCell::default(),
            early: RefCell::default(),
        });
        let listeners = match thread.begin(&generation, sockets) {
            Ok(listeners) => listeners,
            Err(error) => return drop(ready.send(Err(error))),
        };
        drop(generation);
        if ready.send(Ok(())).is_err() || may_accept.await.is_err() {
            return;
        }
        for listener in listeners {
            thread.accept_on(listener);
        }
        let (access_log, spans) = (Rc::clone(&thread.parts.access_log), Rc::clone(&thread.parts.spans));
        tokio::task::spawn_local(flush_regularly(Rc::clone(&access_log), Rc::clone(&spans), pulse));
        tokio::task::spawn_local(Rc::clone(&thread).follow_orders(received));
        thread.drain.begun().await;
        thread.accepting.close();
        thread.accepting.wait().await;
        drop(own_place);
        let grace = thread.drain_time() + FAREWELL;
        let until = Instant::now() + grace;
        // Others may still hand over what they have accepted.
        if timeout(grace, all_accepting.wait()).await.is_ok() {
            thread.orders_followed().await;
        }
        thread.connections.close();
        if tokio::time::timeout_at(until, thread.connections.wait()).await.is_err() {
            let connections = thread.connections.len();
            tracing::warn!(connections, "cutting connections that did not end in time");
        }
        access_log.flush();
        spans.flush();
    });
}

/// One door thread at work.
struct Thread {
    number: usize,
    slots: Arc<ConnectionSlots>,
    drain: Drain,
    drain_seconds: Cell<u32>,
    orders: Vec<OrderSender>,
    connections: TaskTracker,
    accepting: TaskTracker,
    parts: Parts,
    doors: RefCell<HashMap<ListenerId, Rc<OpenDoor>>>,
    /// Connections of doors that other threads have opened already. Bounded by `limits.connections`, like all.
    early: RefCell<Vec<HandedOver>>,
}

/// A listener that is served here, or was until a moment ago.
struct OpenDoor {
    door: Door,
    drain: Drain,
    accepting: RefCell<Vec<JoinHandle<()>>>,
    /// Its listener is gone, and it drains.
    is_gone: Cell<bool>,
}

/// What is accepted on for a door.
struct OpenSockets {
    open: Rc<OpenDoor>,
    id: ListenerId,
    listeners: Vec<TcpListener>,
    queue: Queue,
}

impl Thread {
    /// Opens the doors of `generation`; accepts nothing yet.
    fn begin(&self, generation: &Generation, sockets: Vec<DoorSockets>) -> Result<Vec<OpenSockets>> {
        self.parts.go_by(generation);
        for plan in &generation.doors {
            self.open(plan, &generation.limits);
        }
        sockets.into_iter().map(|sockets| self.registered(sockets)).collect()
    }

    fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.get().into())
    }

    fn door(&self, id: ListenerId) -> Option<Rc<OpenDoor>> {
        self.doors.borrow().get(&id).map(Rc::clone)
    }

    fn open(&self, plan: &DoorPlan, limits: &Arc<Limits>) {
        // A generation holds every upstream that its doors ask.
        let Some(door) = self.parts.open(plan, limits) else { return };
        let open = OpenDoor {
            door,
            drain: self.drain.child(),
            accepting: RefCell::default(),
            is_gone: Cell::new(false),
        };
        self.doors.borrow_mut().insert(plan.id, Rc::new(open));
    }

    /// Has this thread's runtime watch `sockets`.
    fn registered(&self, sockets: DoorSockets) -> Result<OpenSockets> {
        let DoorSockets { id, sockets, queue } = sockets;
        let open = self.door(id).context("there is no such door")?;
        let listeners = sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
        Ok(OpenSockets { open, id, listeners, queue })
    }

    /// Accepts on `sockets` until their door drains, and closes them then.
    fn accept_on(self: &Rc<Self>, sockets: OpenSockets) {
        let OpenSockets { open, id, listeners, queue } = sockets;
        for listener in listeners {
            let thread = Rc::clone(self);
            let accepting = accept_connections(
                listener,
                queue,
                Arc::clone(&self.slots),
                AcceptedAt { listener: id, thread: self.number },
                open.drain.clone(),
                move |stream, peer, slot| thread.take(id, stream, peer, slot),
            );
            open.accepting.borrow_mut().push(self.accepting.spawn_local(accepting));
        }
    }

    /// Serves a connection that was accepted here, or hands it to the thread that has room for it.
    fn take(&self, door: ListenerId, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        if slot.thread() == self.number {
            if let Some(open) = self.door(door) {
                self.serve(&open, stream, peer, slot);
            }
            return;
        }
        let Some(other) = self.orders.get(slot.thread()) else { return };
        match stream.into_std() {
            // A thread that has ended takes no more, and neither does this one then.
            Ok(stream) => drop(other.send(Order::Serve(HandedOver { door, stream, peer, slot }))),
            Err(error) => tracing::debug!(%peer, %error, "a connection could not be handed over"),
        }
    }

    /// Serves a connection in a task of its own.
    fn serve(&self, open: &OpenDoor, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        let drain = open.drain.clone();
        match &open.door {
            Door::Http(doorway) => {
                let serving = Rc::clone(doorway).serve_connection(stream, peer, drain);
                self.track(serving, slot);
            }
            Door::IsProxy(present) => {
                let serving = Rc::clone(&present.borrow()).serve_connection(stream, peer, drain);
                self.track(serving, slot);
            }
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
                Order::PutInForce(generation, new, done) => {
                    self.put_in_force(&generation, new).await;
                    // Who waits for it may have lost its patience.
                    let _ = done.send(());
                }
                Order::Serve(handed) => self.serve_handed_over(handed),
                Order::Echo(done) => drop(done.send(())),
            }
        }
    }

    /// Completes when everything that has been ordered by now is done.
    async fn orders_followed(&self) {
        let (done, followed) = oneshot::channel();
        if let Some(own) = self.orders.get(self.number)
            && own.send(Order::Echo(done)).is_ok()
        {
            // It is answered, or nobody follows orders any more.
            let _ = followed.await;
        }
    }

    fn serve_handed_over(&self, handed: HandedOver) {
        let Some(open) = self.door(handed.door) else {
            // The thread that accepted it has the next generation already; this one will.
            return self.early.borrow_mut().push(handed);
        };
        let HandedOver { stream, peer, slot, .. } = handed;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.serve(&open, stream, peer, slot),
            Err(error) => tracing::debug!(%peer, %error, "a connection could not be handed over"),
        }
    }

    /// Sends what begins from now on through doors of `generation`, accepts at those that are `new`, and at others that
    /// are gone no longer.
    async fn put_in_force(self: &Rc<Self>, generation: &Generation, new: Vec<DoorSockets>) {
        let (parts, limits) = (&self.parts, &generation.limits);
        parts.go_by(generation);
        self.drain_seconds.set(limits.drain_seconds);
        for plan in &generation.doors {
            match self.door(plan.id) {
                Some(open) => parts.replace(&open.door, plan, limits),
                None => self.open(plan, limits),
            }
        }
        for sockets in new {
            match self.registered(sockets) {
                Ok(sockets) => self.accept_on(sockets),
                Err(error) => tracing::error!(%error, "a listener is not served by one of the threads"),
            }
        }
        self.close_doors_beside(generation).await;
        let newest = generation.doors.iter().map(|plan| plan.id).max();
        for handed in self.early.take() {
            // Of a door that is not known and not to come, a connection was too late.
            if self.door(handed.door).is_some() || Some(handed.door) > newest {
                self.serve_handed_over(handed);
            }
        }
    }

    /// Drains the doors that `generation` does not have; completes when their sockets are closed.
    async fn close_doors_beside(self: &Rc<Self>, generation: &Generation) {
        let now = Instant::now();
        let gone: Vec<_> = {
            let is_gone = |(id, open): &(&ListenerId, &Rc<OpenDoor>)| {
                !open.is_gone.get() && !generation.doors.iter().any(|plan| plan.id == **id)
            };
            let doors = self.doors.borrow();
            doors.iter().filter(is_gone).map(|(id, open)| (*id, Rc::clone(open))).collect()
        };
        for (id, open) in gone {
            open.is_gone.set(true);
            tokio::task::spawn_local(Rc::clone(self).forget(id, now + self.drain_time() + FAREWELL));
            // What is asked in the first half of the time has the second one to be answered in.
            open.drain.begin_gently(now + self.drain_time() / 2);
            for accepting in open.accepting.take() {
                // One that panicked accepts nothing any more, either.
                let _ = accepting.await;
            }
        }
    }

    /// Forgets the door `id` at that moment. Other threads may not know yet that its listener is gone, and hand a connection
    /// over until then at the latest; longer, it would hold upstreams that nobody asks.
    async fn forget(self: Rc<Self>, id: ListenerId, at: Instant) {
        sleep_until(at).await;
        self.doors.borrow_mut().remove(&id);
    }
}

async fn flush_regularly(access_log: Rc<AccessLogWriter>, spans: Rc<SpanWriter>, pulse: Pulse) {
    let mut ticks = interval(FLUSH_EVERY);
    loop {
        ticks.tick().await;
        access_log.flush();
        spans.flush();
        pulse.beat();
    }
}
