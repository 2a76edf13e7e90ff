//! What systemd is told (`sd_notify(3)`), and the sockets that it passes (`sd_listen_fds(3)`).
//!
//! Where nobody asked to be told, telling does nothing. Descriptors are passed to `serve` only: called by `app`,
//! `reload` and `watchdog`.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};

use super::sockets::Held;
use crate::clock::monotonic_microseconds;
use crate::net::adopt;

/// Names where systemd is told.
pub(super) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Variables that are for the process which systemd started, and for no other.
pub(super) const OWN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Who supervises the process, if anybody does; clones tell the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervisor {
    told: Option<Arc<Told>>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Told {
    socket: UnixDatagram,
    address: UnixAddress,
}

impl Supervisor {
    /// The one that the environment names, if there is one. It tells this process alone how often it wants a sign of life.
    pub(super) fn from_environment() -> Self {
        Self::read(|name| std::env::var_os(name))
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let told = variable(NOTIFY_SOCKET).and_then(|name| {
            let told =
                address_of(&name).and_then(|address| Ok(Told { socket: UnixDatagram::unbound()?, address }));
            told.inspect_err(|error| tracing::warn!(%error, "NOTIFY_SOCKET cannot be used")).ok()
        });
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_for_us = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|microseconds| is_for_us && *microseconds > 0);
        Self { told: told.map(Arc::new), watchdog: watchdog.map(Duration::from_micros) }
    }

    /// Within which time it wants a sign of life; `None`: it wants none.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.told.is_some())
    }

    /// All listeners are served, by what `status` says.
    pub(super) fn tell_ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is read again; [`Supervisor::tell_ready`] ends it.
    pub(super) fn tell_reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()));
    }

    /// The process drains and ends.
    pub(super) fn tell_stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// The service's process is `pid` from now on.
    pub(super) fn tell_main_process(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// A sign of life.
    pub(super) fn tell_alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, lines: &str) {
        let Some(told) = &self.told else { return };
        if let Err(error) = told.socket.send_to_addr(lines.as_bytes(), &told.address) {
            tracing::warn!(%error, "systemd could not be told");
        }
    }
}

/// A path, or `@` and an abstract name.
fn address_of(name: &OsString) -> io::Result<UnixAddress> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => UnixAddress::from_abstract_name(abstract_name),
        None => UnixAddress::from_pathname(name),
    }
}

/// The sockets that systemd passes to this process. A listener takes those at its address.
///
/// # Errors
/// One of them is no TCP socket that listens, or another process serves its address.
pub(super) fn passed_sockets() -> Result<Vec<Held>> {
    let mut passed = ListenFd::from_env();
    let mut by_address: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
    for number in 0..passed.len() {
        let unusable = || format!("the socket {number} that systemd passes (LISTEN_FDS) cannot be used");
        let taken = passed.take_tcp_listener(number).with_context(unusable)?;
        let Some(socket) = taken else { continue };
        // Programs that we run get none of them.
        fcntl_setfd(&socket, FdFlags::CLOEXEC).with_context(unusable)?;
        let address = socket.local_addr().with_context(unusable)?;
        match by_address.iter_mut().find(|(known, _)| *known == address) {
            Some((_, sockets)) => sockets.push(socket),
            None => by_address.push((address, vec![socket])),
        }
    }
    let held = |(address, sockets)| {
        let bound = adopt(address, sockets)?;
        Ok(Held { name: String::new(), asked: address, bound: Arc::new(bound) })
    };
    by_address.into_iter().map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &'static [(&str, &str)], notify: &str) -> Supervisor {
        let notify = OsString::from(notify);
        Supervisor::read(move |name| match name {
            "NOTIFY_SOCKET" => (!notify.is_empty()).then(|| notify.clone()),
            _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)),
        })
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn what_is_told_arrives_by_a_path_and_by_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("latchkey-test-notify-{}", std::process::id());
        let address = UnixAddress::from_abstract_name(&name).unwrap();
        for (socket, variable) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}")),
        ] {
            let supervisor = told(&[], &variable);
            supervisor.tell_ready("serving");
            assert_eq!(received(&socket), "READY=1\nSTATUS=serving");
            supervisor.tell_main_process(4_711);
            assert_eq!(received(&socket), "MAINPID=4711");
            supervisor.tell_reloading();
            let reloading = received(&socket);
            let since =
                reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
            assert!(since <= monotonic_microseconds(), "{reloading}");
        }
    }

    #[test]
    fn a_sign_of_life_is_due_only_where_it_is_wanted_of_this_process() {
        const WANTED: &[(&str, &str)] = &[("WATCHDOG_USEC", "3000000")];
        const OF_ANOTHER: &[(&str, &str)] = &[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")];
        assert_eq!(told(WANTED, "@latchkey-test-nobody").watchdog(), Some(Duration::from_secs(3)));
        assert_eq!(told(OF_ANOTHER, "@latchkey-test-nobody").watchdog(), None);
        assert_eq!(told(WANTED, "").watchdog(), None, "nobody could be told");
        told(&[], "").tell_alive();
        told(&[], "@latchkey-test-nobody").tell_alive();
        assert!(passed_sockets().unwrap().is_empty());
    }
}
