//! Which gateway has an address: a name that one process at a time can hold.
//!
//! An abstract socket name (unix(7)) is atomic to take and cannot be left behind by a crash; and any user of the machine can
//! take one, so that only a name which a process of our own user holds counts. Another user's process could not share the
//! address with us either (`SO_REUSEPORT` of socket(7)): where it listens, the probe finds it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener};

use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use super::ListenError;

/// A holder that ends while it is looked at has left the name behind by the next attempt.
const ATTEMPTS: usize = 3;

/// Holds an address for this process, and for one that it is handed to; the kernel gives it free when the last of them
/// ends, however it ends.
#[derive(Debug)]
pub struct ListenerLock(OwnedFd);

impl AsFd for ListenerLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for ListenerLock {
    /// A lock that another process has taken.
    fn from(taken: OwnedFd) -> Self {
        Self(taken)
    }
}

/// Who holds a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A gateway, or whatever else runs as our user.
    OurUser,
    OtherUser,
    /// It takes no connection, as a gateway's would, or has gone.
    Unknown,
}

/// Takes the lock of `address`. Where something holds its name that is no gateway of our user, nothing is locked, and a
/// warning says so.
pub(super) fn lock_address(address: SocketAddr) -> Result<ListenerLock, ListenError> {
    let refused = |source| ListenError::Refused { address, source };
    let name = format!("latchkey-listener-{address}");
    for _ in 0..ATTEMPTS {
        let taken = UnixAddress::from_abstract_name(&name).and_then(|name| UnixListener::bind_addr(&name));
        match taken {
            Ok(socket) => return Ok(ListenerLock(socket.into())),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(refused(source)),
        }
        match holder_of(&name).map_err(refused)? {
            Holder::OurUser => return Err(ListenError::AlreadyServed(address)),
            Holder::OtherUser => break,
            Holder::Unknown => {}
        }
    }
    tracing::warn!(
        %address,
        "the abstract socket @{name} is held by something that is no gateway of this user; going on without it"
    );
    Ok(ListenerLock(UnixDatagram::unbound().map_err(refused)?.into()))
}

/// Who listens behind `name`, by what the kernel says of its user.
fn holder_of(name: &str) -> io::Result<Holder> {
    // Waits for nobody: whoever holds the name may take no connection.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let asking = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&asking, &SocketAddrUnix::new_abstract_name(name.as_bytes())?) {
        Ok(()) if socket_peercred(&asking)?.uid == geteuid() => Ok(Holder::OurUser),
        Ok(()) => Ok(Holder::OtherUser),
        Err(Errno::CONNREFUSED | Errno::AGAIN) => Ok(Holder::Unknown),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        // Of no machine: others test with addresses of this one.
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_name_of_our_own_user_counts_until_its_last_holder_has_gone() {
        let held = lock_address(address(1)).unwrap();
        let handed = ListenerLock::from(held.as_fd().try_clone_to_owned().unwrap());
        drop(held);
        assert!(matches!(lock_address(address(1)), Err(ListenError::AlreadyServed(_))));
        drop(handed);
        assert!(lock_address(address(1)).is_ok());
    }

    #[test]
    fn a_name_behind_which_nobody_listens_keeps_no_gateway_from_its_address() {
        let flags = SocketFlags::CLOEXEC;
        let squatter = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let name = format!("latchkey-listener-{}", address(2));
        rustix::net::bind(&squatter, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        assert_eq!(holder_of(&name).unwrap(), Holder::Unknown);
        assert!(lock_address(address(2)).is_ok());
    }
}
