//! Whose socket is looked at first: a peer that never stops sending always has its own ready, and must not keep the
//! other one waiting.
//!
//! The upstream's comes first, so that many replies leave in one write; but not more often in a row than that takes.
//! Called by `connection`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::link::UpstreamEvent;
use super::stream::Exchange;

/// Enough to fill what is written at once from what is read at once, twice.
const MOST_IN_A_ROW: u32 = 8;

/// What came of one of the two.
#[derive(Debug)]
pub enum PeerEvent {
    /// Of the upstream's.
    Upstream(UpstreamEvent),
    /// Of the client's.
    Client(Exchange),
}

/// Counts how often the upstream's came first.
#[derive(Debug, Default)]
pub struct Turns {
    upstream_in_a_row: u32,
}

impl Turns {
    /// Waits for whichever is ready, the one first whose turn it is. Cancel-safe if both are.
    pub async fn next(
        &mut self,
        upstream: impl Future<Output = UpstreamEvent>,
        client: impl Future<Output = Exchange>,
    ) -> PeerEvent {
        let (mut upstream, mut client) = (pin!(upstream), pin!(client));
        let is_clients_turn = self.upstream_in_a_row >= MOST_IN_A_ROW;
        let event = poll_fn(|context| {
            if is_clients_turn && let Poll::Ready(exchange) = client.as_mut().poll(context) {
                return Poll::Ready(PeerEvent::Client(exchange));
            }
            match upstream.as_mut().poll(context) {
                Poll::Ready(event) => Poll::Ready(PeerEvent::Upstream(event)),
                Poll::Pending if is_clients_turn => Poll::Pending,
                Poll::Pending => client.as_mut().poll(context).map(PeerEvent::Client),
            }
        })
        .await;
        self.upstream_in_a_row = match event {
            PeerEvent::Upstream(_) => self.upstream_in_a_row.saturating_add(1),
            PeerEvent::Client(_) => 0,
        };
        event
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_always_ready_does_not_keep_the_other_waiting() {
        let mut turns = Turns::default();
        let mut events = Vec::new();
        for _ in 0..2 * (MOST_IN_A_ROW + 1) {
            events.push(turns.next(ready(UpstreamEvent::Read), ready(Exchange::Read(1))).await);
        }
        let clients = |event: &&PeerEvent| matches!(event, PeerEvent::Client(_));
        assert_eq!(events.iter().filter(clients).count(), 2);
        assert!(events[..8].iter().all(|event| matches!(event, PeerEvent::Upstream(_))));
    }

    #[tokio::test]
    async fn whoever_is_ready_alone_is_served() {
        let mut turns = Turns::default();
        for _ in 0..3 * MOST_IN_A_ROW {
            let event = turns.next(ready(UpstreamEvent::Read), pending()).await;
            assert!(matches!(event, PeerEvent::Upstream(UpstreamEvent::Read)), "{event:?}");
        }
        for _ in 0..3 {
            let event = turns.next(pending(), ready(Exchange::Read(1))).await;
            assert!(matches!(event, PeerEvent::Client(Exchange::Read(1))), "{event:?}");
        }
    }
}
