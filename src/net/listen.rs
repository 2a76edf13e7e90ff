//! One listening socket for each door thread, on one address.
//!
//! With `SO_REUSEPORT` the kernel spreads connections over the threads' sockets, so that they share no queue. The
//! same option would silently let a second process in, which would then take a share of the connections with another
//! configuration; a lock and a probe keep it out. An address is taken first and listened on later, so that nobody queues at
//! a gateway that may still find that it cannot serve. Sockets that were there before, of systemd or of the process before
//! this one, are taken as they are, and shared among the threads: one of several on an address that is closed takes what
//! queues at it with it. Accepts nothing; called by `app` for every listener.

mod lock;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;

use rustix::net::sockopt::socket_acceptconn;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub use self::lock::ListenerLock;
use self::lock::lock_address;
use super::Queue;

/// Connections that the kernel completes and holds for one thread until it accepts them.
const BACKLOG: i32 = 4096;
/// Ports that may be passed over where the system chooses one.
const PORTS_TRIED: usize = 16;

/// A listener's sockets, usually one for each thread, all on `address`.
#[derive(Debug)]
pub struct BoundListener {
    /// The address itself; where port 0 was asked for, with the port that was found.
    pub address: SocketAddr,
    /// Non-blocking; [`BoundListener::shares`] has those that threads accept on.
    pub sockets: Vec<TcpListener>,
    /// Keeps other processes out; hold it as long as the sockets.
    pub lock: Arc<ListenerLock>,
    /// Who has what queues there when this process is stopped.
    pub queue: Queue,
}

impl BoundListener {
    /// Listens, where that is not done already: the system completes connections from now on.
    ///
    /// # Errors
    /// A program that came in between listens there.
    pub fn listen(&self) -> Result<(), ListenError> {
        let listen = |socket: &TcpListener| {
            if socket_acceptconn(socket)? { Ok(()) } else { rustix::net::listen(socket, BACKLOG) }
        };
        let listening = self.sockets.iter().try_for_each(listen);
        listening.map_err(|error| refused(self.address, error.into()))
    }

    /// What each of `threads` accepts on, for `tokio::net::TcpListener::from_std`: the same sockets by descriptors of
    /// their own. Every socket has a thread and every thread a socket, however many there are of both.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn shares(&self, threads: NonZeroUsize) -> io::Result<Vec<Vec<TcpListener>>> {
        let of_thread = |thread| {
            let numbers = numbers_of(thread, threads, self.sockets.len());
            let sockets = numbers.filter_map(|number| self.sockets.get(number));
            sockets.map(TcpListener::try_clone).collect()
        };
        (0..threads.get()).map(of_thread).collect()
    }
}

/// Which of so many `sockets` `thread` accepts on.
fn numbers_of(thread: usize, threads: NonZeroUsize, sockets: usize) -> impl Iterator<Item = usize> {
    let first = if thread < sockets { thread } else { thread.checked_rem(sockets).unwrap_or_default() };
    let end = if thread < sockets { sockets } else { first + 1 };
    (first..end).step_by(threads.get())
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another gateway holds the lock.
    #[error("{0} is already served by another process; stop that `latchkey` first, or choose another port")]
    AlreadyServed(SocketAddr),
    /// A process without our lock listens there.
    #[error("{0} is in use by another program; choose another port (`ss -ltnp` shows who has it)")]
    InUse(SocketAddr),
    /// The system refuses for another reason: no such address here, or no right to a port below 1024.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Binds `address` once for each of `threads`; [`BoundListener::listen`] is to follow.
pub fn bind(address: SocketAddr, threads: NonZeroUsize) -> Result<BoundListener, ListenError> {
    let mut sockets = Vec::with_capacity(threads.get());
    let (address, lock) = if address.port() == 0 {
        let (first, found, lock) = take_unlocked(address, || bind_shared(address))?;
        sockets.push(first);
        (found, lock)
    } else {
        let lock = lock_address(address)?;
        probe(address)?;
        (address, lock)
    };
    while sockets.len() < threads.get() {
        sockets.push(bind_shared(address).map_err(|source| ListenError::Refused { address, source })?);
    }
    Ok(BoundListener { address, sockets, lock: Arc::new(lock), queue: Queue::Ours })
}

/// Takes over `sockets` that are bound to `address` and listen already, which systemd goes on holding; nobody holds the lock
/// yet.
pub fn adopt(address: SocketAddr, sockets: Vec<TcpListener>) -> Result<BoundListener, ListenError> {
    let lock = Arc::new(lock_address(address)?);
    for socket in &sockets {
        socket.set_nonblocking(true).map_err(|source| ListenError::Refused { address, source })?;
    }
    Ok(BoundListener { address, sockets, lock, queue: Queue::Kept })
}

/// The first of the sockets that `bind` makes on ports of the system's choice whose port is not locked. A gateway that
/// is draining has closed its sockets and still holds its locks: a port of such a one is passed over.
fn take_unlocked(
    address: SocketAddr,
    mut bind: impl FnMut() -> io::Result<TcpListener>,
) -> Result<(TcpListener, SocketAddr, ListenerLock), ListenError> {
    let refused = |source| ListenError::Refused { address, source };
    // Kept until one fits, so that the system chooses another.
    let mut passed_over = Vec::new();
    loop {
        let socket = bind().map_err(refused)?;
        let found = socket.local_addr().map_err(refused)?;
        match lock_address(found) {
            Ok(lock) => return Ok((socket, found, lock)),
            Err(ListenError::AlreadyServed(_)) if passed_over.len() < PORTS_TRIED => passed_over.push(socket),
            Err(error) => return Err(error),
        }
    }
}

/// Binds without `SO_REUSEPORT` for a moment: that fails where any other program listens, ours would not.
fn probe(address: SocketAddr) -> Result<(), ListenError> {
    let bound = socket(address).and_then(|socket| socket.bind(&SockAddr::from(address)));
    bound.map_err(|source| refused(address, source))
}

fn refused(address: SocketAddr, source: io::Error) -> ListenError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Refused { address, source },
    }
}

fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// A socket that may bind although connections of an earlier process still linger.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners, so that each one's connections carry addresses of one kind.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn listen(address: SocketAddr, threads: NonZeroUsize) -> Result<BoundListener, ListenError> {
        let bound = bind(address, threads)?;
        bound.listen()?;
        Ok(bound)
    }

    /// A socket of another program, which would share its port.
    fn listening() -> TcpListener {
        let socket = bind_shared(loopback()).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        socket
    }

    #[test]
    fn an_address_that_is_only_taken_refuses_connections_and_other_gateways() {
        let taken = bind(loopback(), TWO).unwrap();
        assert!(TcpStream::connect(taken.address).is_err());
        assert!(matches!(bind(taken.address, TWO), Err(ListenError::AlreadyServed(_))));
        taken.listen().unwrap();
        taken.listen().unwrap();
        TcpStream::connect(taken.address).unwrap();
    }

    #[test]
    fn a_chosen_port_whose_lock_is_still_held_is_passed_over() {
        // Like a gateway that drains: the port can be bound, its lock is held.
        let draining = bind_shared(loopback()).unwrap();
        let locked = draining.local_addr().unwrap();
        let _lock = lock_address(locked).unwrap();
        let mut offered = vec![bind_shared(loopback()).unwrap(), draining];
        let (_, found, _) = take_unlocked(loopback(), || Ok(offered.pop().unwrap())).unwrap();
        assert_ne!(found, locked);
        assert!(offered.is_empty());
    }

    #[test]
    fn every_thread_has_a_socket_on_the_port_that_the_first_found() {
        let bound = listen(loopback(), NonZeroUsize::new(3).unwrap()).unwrap();
        assert_ne!(bound.address.port(), 0);
        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap(), bound.address);
        }
        TcpStream::connect(bound.address).unwrap();
    }

    #[test]
    fn an_address_is_served_once_and_is_free_again_afterwards() {
        let first = listen(loopback(), TWO).unwrap();
        let address = first.address;
        let refused = listen(address, TWO).unwrap_err();
        assert!(matches!(refused, ListenError::AlreadyServed(_)), "{refused}");
        assert!(refused.to_string().contains("is already served by another process"));
        drop(first);
        assert_eq!(listen(address, TWO).unwrap().address, address);
    }

    #[test]
    fn a_foreign_program_on_the_port_is_noticed_even_if_it_shares_it() {
        let foreign = listening();
        let refused = listen(foreign.local_addr().unwrap(), TWO).unwrap_err();
        assert!(matches!(refused, ListenError::InUse(_)), "{refused}");
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_its_reason() {
        let refused = listen("192.0.2.1:4000".parse().unwrap(), TWO).unwrap_err();
        assert!(matches!(refused, ListenError::Refused { .. }), "{refused}");
        assert!(refused.to_string().starts_with("cannot listen on 192.0.2.1:4000: "));
    }

    #[test]
    fn every_socket_has_a_thread_and_every_thread_a_socket() {
        for threads in 1..9 {
            for sockets in 1..9 {
                let threads = NonZeroUsize::new(threads).unwrap();
                let shares: Vec<Vec<usize>> =
                    (0..threads.get()).map(|thread| numbers_of(thread, threads, sockets).collect()).collect();
                let what = format!("{sockets} sockets, {threads} threads: {shares:?}");
                assert!(shares.iter().all(|share| !share.is_empty()), "{what}");
                let mut all = shares.concat();
                all.sort_unstable();
                let unneeded = all.len() - threads.get().max(sockets);
                all.dedup();
                assert_eq!((all, unneeded), ((0..sockets).collect(), 0), "{what}");
            }
        }
    }

    #[test]
    fn sockets_of_another_origin_are_taken_with_the_lock_and_what_queues_at_them() {
        let made = [listening()];
        let address = made[0].local_addr().unwrap();
        let waiting = TcpStream::connect(address).unwrap();
        let adopted = adopt(address, made.into()).unwrap();
        assert!(matches!(listen(address, TWO).unwrap_err(), ListenError::AlreadyServed(_)));
        let shares = adopted.shares(TWO).unwrap();
        drop(adopted.sockets);
        let sockets = shares.iter().flatten();
        let peers: Vec<_> = sockets.filter_map(|socket| socket.accept().ok()).collect();
        assert_eq!(peers.len(), 1, "both threads accept on the one socket");
        assert_eq!(peers[0].1, waiting.local_addr().unwrap());
    }

    #[test]
    fn a_lock_that_was_handed_on_holds_when_the_first_holder_is_gone() {
        let bound = listen(loopback(), TWO).unwrap();
        let address = bound.address;
        let handed = ListenerLock::from(bound.lock.as_fd().try_clone_to_owned().unwrap());
        drop(bound);
        assert!(matches!(listen(address, TWO).unwrap_err(), ListenError::AlreadyServed(_)));
        drop(handed);
        assert!(listen(address, TWO).is_ok());
    }

    #[test]
    fn ipv6_is_listened_on_alone() {
        let Ok(bound) = listen("[::1]:0".parse().unwrap(), TWO) else {
            // A machine without IPv6 has nothing to show here.
            return assert!(TcpListener::bind("[::1]:0").is_err());
        };
        TcpStream::connect(bound.address).unwrap();
    }
}
