//! The listening sockets of the process, of all listeners, by their addresses.
//!
//! A socket stays open while the configuration names its address, whichever listener that is then: what queues there is
//! never reset, and two listeners may change places. New addresses are bound before anything else happens, so that one
//! that cannot be had changes nothing, and listened on last of all. Sockets that systemd or the process before this one hands over are taken before
//! any is made. Accepts nothing; called by `app` and `reload`.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::config::{Config, Listener, ListenerProtocol};
use crate::net::{BoundListener, ListenError, Queue, bind};

/// One listener's sockets.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The listener's; of sockets that systemd made, empty.
    pub(super) name: String,
    /// What the configuration says; port 0 stays port 0.
    pub(super) asked: SocketAddr,
    pub(super) bound: Arc<BoundListener>,
}

/// All listeners' sockets, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(Vec<Held>);

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketFault {
    #[error("listener `{0}` cannot listen: {1}")]
    Refused(String, ListenError),
    #[error(
        "listener `{name}` cannot listen on {address} while listener `{holder}` is at {held}; move one of them to another \
         port first, or restart"
    )]
    Overlapping { name: String, address: SocketAddr, holder: String, held: SocketAddr },
    #[error("listener `{0}` cannot listen: {1}")]
    NoDescriptors(String, std::io::Error),
}

impl Sockets {
    /// The sockets that were there before.
    pub(super) const fn of(held: Vec<Held>) -> Self {
        Self(held)
    }

    /// The sockets for `config`: those of this that it names still, and new ones.
    ///
    /// # Errors
    /// Every address that cannot be had; none is bound then that was not before.
    pub(super) fn successor(&self, config: &Config) -> Result<Self, Vec<SocketFault>> {
        let (mut held, mut faults): (Vec<Held>, _) = (Vec::new(), Vec::new());
        for listener in &config.listeners {
            let sockets = match self.held_by(listener) {
                Some(sockets) => unless_taken(sockets, &held),
                None => match self.0.iter().chain(&held).find(|other| overlaps(other, listener.address)) {
                    Some(other) => Err(overlapping(&listener.name, listener.address, other)),
                    None => bind_for(listener, config),
                },
            };
            match sockets {
                Ok(sockets) => held.push(sockets),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self(held)) } else { Err(faults) }
    }

    /// What `listener` can go on with. Ports that the system chose belong to the listener that asked for them.
    fn held_by(&self, listener: &Listener) -> Option<Held> {
        let fits = |held: &&Held| match listener.address.port() {
            0 => held.asked == listener.address && held.name == listener.name,
            _ => held.bound.address == listener.address,
        };
        let Held { bound, .. } = self.0.iter().find(fits)?.clone();
        Some(Held { name: listener.name.clone(), asked: listener.address, bound })
    }

    /// Listens on those where that is not done already: connections to them queue from now on.
    ///
    /// # Errors
    /// Every address that somebody else has taken in between.
    pub(super) fn listen(&self) -> Result<(), Vec<SocketFault>> {
        let refused = |held: &Held| Some(SocketFault::Refused(held.name.clone(), held.bound.listen().err()?));
        let faults: Vec<_> = self.0.iter().filter_map(refused).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Where each listener listens, in the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.0.iter().map(|held| (held.name.clone(), held.bound.address)).collect()
    }

    /// All of them.
    pub(super) fn held(&self) -> &[Held] {
        &self.0
    }

    /// What each of `threads` accepts on for the listener `name`.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn shares(
        &self,
        name: &str,
        threads: NonZeroUsize,
    ) -> Result<Vec<Vec<TcpListener>>, SocketFault> {
        let held = self.0.iter().find(|held| held.name == name);
        let Some(held) = held else { return Ok(Vec::new()) };
        held.bound.shares(threads).map_err(|error| SocketFault::NoDescriptors(name.to_owned(), error))
    }

    /// All that the listener `name` accepts on, for one who accepts alone, on the present runtime.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn whole(&self, name: &str) -> Result<Vec<tokio::net::TcpListener>, SocketFault> {
        let failed = |error| SocketFault::NoDescriptors(name.to_owned(), error);
        let sockets = self.shares(name, NonZeroUsize::MIN)?.into_iter().flatten();
        sockets.map(|socket| tokio::net::TcpListener::from_std(socket).map_err(failed)).collect()
    }

    /// Who has what queues at the listener `name` when this process is stopped.
    pub(super) fn queue(&self, name: &str) -> Queue {
        let held = self.0.iter().find(|held| held.name == name);
        held.map_or(Queue::Ours, |held| held.bound.queue)
    }

    /// Closes the sockets, but for those that others hold, and keeps the addresses. To be called before those who accept
    /// are told to end: they take what queues and close the sockets then, and none may stay open behind them.
    pub(super) fn close(&mut self) {
        for held in &mut self.0 {
            let (address, queue) = (held.bound.address, held.bound.queue);
            let lock = Arc::clone(&held.bound.lock);
            held.bound = Arc::new(BoundListener { address, sockets: Vec::new(), lock, queue });
        }
    }

    /// Tells which of these `named` does not hold: connections to those would wait in vain.
    pub(super) fn tell_unnamed(&self, named: &Self) {
        for Held { bound, .. } in &self.0 {
            if !named.0.iter().any(|held| Arc::ptr_eq(&held.bound, bound)) {
                let address = bound.address;
                tracing::warn!(%address, "a socket was handed over that no listener of the configuration is at");
            }
        }
    }

    /// Tells where they listen that `before` did not hold.
    pub(super) fn tell_beside(&self, before: &Self) {
        for Held { name, bound, .. } in &self.0 {
            let was_there = before.0.iter().any(|held| held.name == *name && Arc::ptr_eq(&held.bound, bound));
            if !was_there {
                tracing::info!(listener = name, address = %bound.address, "listening");
            }
        }
    }
}

/// A port that the system chose for one listener may be named by another one, too.
fn unless_taken(sockets: Held, taken: &[Held]) -> Result<Held, SocketFault> {
    match taken.iter().find(|other| Arc::ptr_eq(&other.bound, &sockets.bound)) {
        Some(holder) => Err(overlapping(&sockets.name, sockets.asked, holder)),
        None => Ok(sockets),
    }
}

/// Is one of the two addresses within the other? The system would have both, and choose.
fn overlaps(held: &Held, address: SocketAddr) -> bool {
    let other = held.bound.address;
    other.port() == address.port()
        && other.is_ipv6() == address.is_ipv6()
        && (other.ip().is_unspecified() || address.ip().is_unspecified())
}

fn overlapping(name: &str, address: SocketAddr, holder: &Held) -> SocketFault {
    let (holder, held) = (holder.name.clone(), holder.bound.address);
    SocketFault::Overlapping { name: name.to_owned(), address, holder, held }
}

fn bind_for(listener: &Listener, config: &Config) -> Result<Held, SocketFault> {
    let threads = match listener.protocol {
        ListenerProtocol::Console(_) | ListenerProtocol::Ops => NonZeroUsize::MIN,
        _ => config.threads,
    };
    let (name, asked) = (listener.name.clone(), listener.address);
    match bind(asked, threads) {
        Ok(bound) => Ok(Held { name, asked, bound: Arc::new(bound) }),
        Err(error) => Err(SocketFault::Refused(name, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::net::TcpStream;

    use super::*;

    fn config(listeners: &[(&str, SocketAddr)]) -> Config {
        let mut text = String::from("threads: 2\nlisteners:\n");
        for (name, address) in listeners {
            let rest = "protocol: http, routes: [{ path: /, upstream: up }]";
            writeln!(text, "  - {{ name: {name}, address: \"{address}\", {rest} }}").unwrap();
        }
        text.push_str("upstreams: [{ name: up, protocol: http, servers: [\"http://127.0.0.1:1\"] }]\n");
        crate::config::parse(&text, "f.yaml".as_ref(), "".as_ref(), &|_| None)
            .unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn listen(address: SocketAddr) -> Result<BoundListener, ListenError> {
        let bound = bind(address, NonZeroUsize::MIN)?;
        bound.listen()?;
        Ok(bound)
    }

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn told(faults: Result<Sockets, Vec<SocketFault>>) -> Vec<String> {
        faults.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_socket_stays_while_its_address_is_named_by_whomever() {
        let first = Sockets::default().successor(&config(&[("a", any()), ("b", any())])).unwrap();
        let [a, b] = [0, 1].map(|number: usize| first.addresses()[number].1);
        let same = first.successor(&config(&[("a", any()), ("b", any())])).unwrap();
        assert_eq!(same.addresses(), first.addresses(), "a port that the system chose stays");
        let fixed = first.successor(&config(&[("a", b), ("c", a)])).unwrap();
        assert_eq!(fixed.addresses(), [("a".to_owned(), b), ("c".to_owned(), a)]);
        assert!(Arc::ptr_eq(&fixed.0[0].bound, &first.0[1].bound));
        // One that asks for any port under another name gets another.
        let other = first.successor(&config(&[("c", any())])).unwrap();
        assert!(![a, b].contains(&other.addresses()[0].1));
        let twice = told(first.successor(&config(&[("a", any()), ("c", a)])));
        assert!(twice[0].starts_with(&format!("listener `c` cannot listen on {a} while listener `a`")));
    }

    #[test]
    fn nobody_queues_at_an_address_before_it_is_to_be_served() {
        let sockets = Sockets::default().successor(&config(&[("a", any()), ("b", any())])).unwrap();
        let refuses = |(_, address): &(String, SocketAddr)| TcpStream::connect(address).is_err();
        assert!(sockets.addresses().iter().all(refuses));
        sockets.listen().unwrap();
        assert!(!sockets.addresses().iter().any(refuses));
    }

    #[test]
    fn an_address_that_cannot_be_had_is_told_with_all_others_and_nothing_is_bound() {
        let first = Sockets::default().successor(&config(&[("a", any())])).unwrap();
        let address = first.addresses()[0].1;
        let free = std::net::TcpListener::bind(any()).unwrap().local_addr().unwrap();
        let taken = std::net::TcpListener::bind(any()).unwrap();
        let elsewhere: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let wanted =
            config(&[("a", address), ("b", taken.local_addr().unwrap()), ("c", elsewhere), ("d", free)]);
        let faults = told(first.successor(&wanted));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("listener `b` cannot listen: ") && faults[0].contains("in use"));
        assert!(faults[1].starts_with("listener `c` cannot listen: cannot listen on 192.0.2.1:4000"));
        assert!(TcpStream::connect(free).is_err(), "what was bound beside it is closed again");
        drop(taken);
        let held = listen(free).unwrap();
        let faults = told(first.successor(&config(&[("d", held.address)])));
        assert!(faults[0].contains("already served by another process"), "{faults:?}");
    }

    #[test]
    fn an_address_within_one_of_our_own_is_told_as_such() {
        let first = Sockets::default().successor(&config(&[("a", any())])).unwrap();
        let mut all = first.addresses()[0].1;
        all.set_ip("0.0.0.0".parse().unwrap());
        let faults = told(first.successor(&config(&[("b", all)])));
        assert!(faults[0].contains(&format!("{all} while listener `a` is at")), "{faults:?}");
        drop(first);
        let [one, all] = [SocketAddr::from(([127, 0, 0, 1], all.port())), all];
        let both = told(Sockets::default().successor(&config(&[("a", one), ("b", all)])));
        assert!(both[0].contains(&format!("{all} while listener `a` is at")), "{both:?}");
    }

    #[tokio::test]
    async fn what_was_handed_over_is_taken_before_anything_is_bound() {
        let made = listen(any()).unwrap();
        let (address, descriptors) = (made.address, made.sockets.len());
        let inherited = Held { name: String::new(), asked: address, bound: Arc::new(made) };
        let sockets = Sockets::of(vec![inherited]).successor(&config(&[("a", address)])).unwrap();
        assert_eq!(sockets.held()[0].bound.sockets.len(), descriptors);
        assert_eq!(sockets.shares("a", NonZeroUsize::new(3).unwrap()).unwrap().len(), 3);
        assert_eq!(sockets.whole("a").unwrap().len(), 1);
        assert_eq!(sockets.shares("b", NonZeroUsize::MIN).unwrap().len(), 0);
        let mut closed = sockets.clone();
        closed.close();
        assert!(TcpStream::connect(address).is_ok(), "another holds the socket");
        drop(sockets);
        assert!(TcpStream::connect(address).is_err());
        assert!(matches!(listen(address), Err(ListenError::AlreadyServed(_))));
    }
}
