//! Which listener is which, from one configuration to the next. Pure; called by `generation`.

use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;

use crate::config::{Listener, ListenerProtocol};
use crate::net::ListenerId;

/// Which listener, and where. One that keeps its name, address and protocol is the same as before; one that moves or
/// speaks another protocol is another one, whose connections have nothing to do with those of before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: ListenerId,
    pub(super) name: String,
    /// As configured; port 0 stays port 0.
    pub(super) address: SocketAddr,
    protocol: Discriminant<ListenerProtocol>,
}

impl Place {
    /// Does it speak what `protocol` is, whatever its settings are?
    pub(super) fn speaks(&self, protocol: &ListenerProtocol) -> bool {
        self.protocol == discriminant(protocol)
    }

    /// Is `listener` the one that was here before?
    fn is_of(&self, listener: &Listener) -> bool {
        self.name == listener.name && self.address == listener.address && self.speaks(&listener.protocol)
    }
}

/// The places of `listeners`, those that are `known` first among them, and how many have been told from each other by
/// now, `count` of them before.
pub(super) fn places(listeners: &[Listener], known: &[Place], mut count: u64) -> (Vec<Place>, u64) {
    let mut place = |listener: &Listener| {
        if let Some(same) = known.iter().find(|place| place.is_of(listener)) {
            return same.clone();
        }
        let id = ListenerId(count);
        // An id is never given twice: connections of a listener that is gone may still be on their way.
        count += 1;
        let (name, protocol) = (listener.name.clone(), discriminant(&listener.protocol));
        Place { id, name, address: listener.address, protocol }
    };
    let places = listeners.iter().map(&mut place).collect();
    (places, count)
}
