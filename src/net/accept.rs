//! The accept loop of one listening socket.
//!
//! It limits, and hands on; it reads nothing from a connection. Runs once for each listener on each door thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{AcceptedAt, ConnectionSlot, ConnectionSlots, Drain};
use crate::model::ClientIp;

/// How long the loop rests when the system has no file descriptor or memory for another connection (S75).
/// Long enough not to spin, short enough to be back within two seconds.
const REST_WITHOUT_RESOURCES: Duration = Duration::from_millis(200);

/// As many connections of a queue are taken when the loop ends: more than one holds, and no endless flood.
const QUEUE_MAX: usize = 8_192;

/// Who has what queues at a socket when the process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Nobody else holds the socket: closing it would reset what queues there.
    Ours,
    /// systemd holds the socket, too, and passes it to the next process.
    Kept,
}

/// Accepts until `stop` begins and hands each connection on with its slot, which `on_connection` must keep while the
/// connection is open. Connections beyond the limits are closed at once. What has queued by the end is taken, too, unless
/// the `queue` is kept for a process that serves it once this one has stopped.
///
/// `at` says which listener and thread this is; a slot may say that another thread is to serve the connection.
/// `on_connection` must not wait: it spawns a task on its own thread, or hands the connection over.
pub async fn accept_connections(
    listener: TcpListener,
    queue: Queue,
    slots: Arc<ConnectionSlots>,
    at: AcceptedAt,
    stop: Drain,
    mut on_connection: impl FnMut(TcpStream, SocketAddr, ConnectionSlot),
) {
    let mut take = |stream: TcpStream, peer: SocketAddr| {
        let Some(slot) = slots.take(ClientIp::new(peer.ip()), at) else {
            tracing::debug!(%peer, "connection limit reached");
            return;
        };
        // Without it small answers wait for the peer's delayed acknowledgement; where it fails, they do.
        let _ = stream.set_nodelay(true);
        on_connection(stream, peer, slot);
    };
    let mut resting = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.begun() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                resting = false;
                take(stream, peer);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !resting {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                resting = true;
                tokio::select! {
                    () = stop.begun() => break,
                    () = tokio::time::sleep(REST_WITHOUT_RESOURCES) => {}
                }
            }
        }
    }
    if queue == Queue::Ours || stop.idle_until().is_some() {
        take_queued(listener, take);
    }
}

/// Takes what queues at `listener`, and closes it. Asks the system itself: the runtime may not have been told yet of
/// what came last.
pub fn take_queued(listener: TcpListener, mut take: impl FnMut(TcpStream, SocketAddr)) {
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..QUEUE_MAX {
        match listener.accept() {
            Ok((stream, peer)) => {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                match stream {
                    Ok(stream) => take(stream, peer),
                    Err(error) => tracing::debug!(%peer, %error, "a queued connection could not be taken"),
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            // The queue is empty, or the system has nothing left for another connection.
            Err(_) => return,
        }
    }
}

/// Did only this one connection fail, before it could be accepted? Then the next one can be taken at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::net::{ConnectionLimits, ListenerId};

    fn on_local_runtime(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn connections_beyond_the_limit_are_closed_and_freed_places_are_taken_again() {
        on_local_runtime(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = Drain::default();
            let held = Rc::new(RefCell::new(Vec::new()));
            let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
            let accepting = tokio::task::spawn_local({
                let (held, stop) = (Rc::clone(&held), stop.clone());
                let limits = ConnectionLimits { total: 10, per_address: 1 };
                let slots = ConnectionSlots::new(limits, Vec::new());
                let at = AcceptedAt { listener: ListenerId(0), thread: 0 };
                accept_connections(listener, Queue::Ours, slots, at, stop, move |stream, peer, slot| {
                    assert!(stream.nodelay().unwrap());
                    held.borrow_mut().push((stream, slot));
                    arrived.send(peer).unwrap();
                })
            });

            let first = TcpStream::connect(address).await.unwrap();
            assert_eq!(arrivals.recv().await, Some(first.local_addr().unwrap()));
            let mut second = TcpStream::connect(address).await.unwrap();
            assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0, "the second is closed at once");
            held.borrow_mut().clear();
            let third = TcpStream::connect(address).await.unwrap();
            assert_eq!(arrivals.recv().await, Some(third.local_addr().unwrap()));

            stop.begin();
            accepting.await.unwrap();
        });
    }

    /// Ends accepting at `listener` by `stop`, and answers whom it has taken.
    async fn taken_at_the_end(listener: TcpListener, queue: Queue, stop: Drain) -> Vec<SocketAddr> {
        let limits = ConnectionLimits { total: 100, per_address: 0 };
        let slots = ConnectionSlots::new(limits, Vec::new());
        let mut taken = Vec::new();
        let at = AcceptedAt { listener: ListenerId(0), thread: 0 };
        accept_connections(listener, queue, slots, at, stop, |_, peer, _| taken.push(peer)).await;
        taken
    }

    /// They queue in the kernel: nobody has accepted yet.
    fn queue_at(address: SocketAddr) -> Vec<SocketAddr> {
        (0..20).map(|_| std::net::TcpStream::connect(address).unwrap().local_addr().unwrap()).collect()
    }

    #[test]
    fn what_queues_when_accepting_ends_is_taken() {
        on_local_runtime(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients = queue_at(address);
            let stop = Drain::default();
            stop.begin();
            assert_eq!(taken_at_the_end(listener, Queue::Ours, stop).await, clients);
            assert!(std::net::TcpStream::connect(address).is_err(), "the socket is closed");
        });
    }

    #[test]
    fn what_queues_at_a_socket_of_systemds_waits_for_the_next_process() {
        on_local_runtime(async {
            let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            kept.set_nonblocking(true).unwrap();
            let ours = || TcpListener::from_std(kept.try_clone().unwrap()).unwrap();
            let clients = queue_at(kept.local_addr().unwrap());
            let (stop, handing_over) = (Drain::default(), Drain::default());
            stop.begin();
            assert!(taken_at_the_end(ours(), Queue::Kept, stop).await.is_empty());
            handing_over.begin_gently(tokio::time::Instant::now());
            assert_eq!(taken_at_the_end(ours(), Queue::Kept, handing_over).await, clients);
        });
    }

    #[test]
    fn only_faults_of_one_connection_are_passed_over() {
        assert!(is_of_one_connection(&io::ErrorKind::ConnectionAborted.into()));
        // 24 is EMFILE, 23 ENFILE: taking the next one at once would spin.
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(24)));
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(23)));
    }
}
