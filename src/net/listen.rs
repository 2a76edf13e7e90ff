//! One listening socket for each door thread, on one address.
//!
//! With `SO_REUSEPORT` the kernel spreads connections over the threads' sockets, so that they share no queue. The
//! same option would silently let a second process in, which would then take a share of the connections with another
//! configuration; a lock and a probe keep it out. Accepts nothing; called by `app` for every listener.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that the kernel completes and holds for one thread until it accepts them.
const BACKLOG: i32 = 4096;
/// Ports that may be passed over where the system chooses one.
const PORTS_TRIED: usize = 16;

/// A listener's sockets, one for each thread, all on `address`.
#[derive(Debug)]
pub struct BoundListener {
    /// The address itself; where port 0 was asked for, with the port that was found.
    pub address: SocketAddr,
    /// Non-blocking, for `tokio::net::TcpListener::from_std` on the thread that accepts.
    pub sockets: Vec<TcpListener>,
    /// Keeps other processes out; hold it as long as the sockets.
    pub lock: ListenerLock,
}

/// Holds an address for this process; the kernel gives it free when the process ends, however it ends.
#[derive(Debug)]
pub struct ListenerLock(#[expect(dead_code, reason = "it is held, not used")] UnixListener);

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

/// Binds `address` once for each of `threads`.
pub fn listen(address: SocketAddr, threads: NonZeroUsize) -> Result<BoundListener, ListenError> {
    let refused = |source| ListenError::Refused { address, source };
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
        sockets.push(bind_shared(address).map_err(refused)?);
    }
    Ok(BoundListener { address, sockets, lock })
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

/// Takes the lock: an abstract socket name, which is atomic to take and cannot be left behind by a crash.
fn lock_address(address: SocketAddr) -> Result<ListenerLock, ListenError> {
    let name = format!("latchkey-listener-{address}");
    let taken = UnixAddress::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name));
    match taken {
        Ok(socket) => Ok(ListenerLock(socket)),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(ListenError::AlreadyServed(address)),
        Err(source) => Err(ListenError::Refused { address, source }),
    }
}

/// Binds without `SO_REUSEPORT` for a moment: that fails where any other program listens, ours would not.
fn probe(address: SocketAddr) -> Result<(), ListenError> {
    let bound = socket(address).and_then(|socket| socket.bind(&SockAddr::from(address)));
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Refused { address, source },
    })
}

fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
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

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
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
        let foreign = bind_shared(loopback()).unwrap();
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
    fn ipv6_is_listened_on_alone() {
        let Ok(bound) = listen("[::1]:0".parse().unwrap(), TWO) else {
            // A machine without IPv6 has nothing to show here.
            return assert!(TcpListener::bind("[::1]:0").is_err());
        };
        TcpStream::connect(bound.address).unwrap();
    }
}
