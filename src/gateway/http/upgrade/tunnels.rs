//! The tunnels of one client's connection: its only one, where HTTP/1.1 was upgraded, or one for each stream of HTTP/2.
//!
//! The connection's task waits for them, so that its slot, its count and its drain cover them. Used by `server`, which
//! gives up the connection's stream, and by `upgrade`, which opens them.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use super::tunnel::{Detached, Farewell};

/// Nothing, for nearly every connection.
#[derive(Default)]
pub struct Tunnels {
    /// Who gets the connection's stream when HTTP on it has ended.
    heir: Cell<Option<oneshot::Sender<Detached>>>,
    running: OnceCell<TaskTracker>,
    stuck: OnceCell<Rc<Notify>>,
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnels").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Tunnels {
    /// Claims the connection's stream, which comes once the answer before it is written, or never.
    pub fn inherit(&self) -> oneshot::Receiver<Detached> {
        let (heir, inheritance) = oneshot::channel();
        self.heir.set(Some(heir));
        inheritance
    }

    /// Who claimed the stream. To be called when HTTP has ended, well or not: an heir that is dropped is told so.
    pub fn take_heir(&self) -> Option<oneshot::Sender<Detached>> {
        self.heir.take()
    }

    /// Runs a tunnel on this thread.
    pub fn spawn(&self, tunnel: impl Future<Output = Farewell> + 'static) {
        let stuck = Rc::clone(self.stuck.get_or_init(Rc::default));
        self.running.get_or_init(TaskTracker::new).spawn_local(async move {
            if tunnel.await == Farewell::Stuck {
                stuck.notify_one();
            }
        });
    }

    /// Completes when a tunnel has ended whose client takes nothing, so that only closing the connection ends it.
    pub async fn stuck(&self) {
        self.stuck.get_or_init(Rc::default).notified().await;
    }

    /// Waits until all have ended.
    pub async fn ended(&self) {
        if let Some(running) = self.running.get() {
            running.close();
            running.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_stream_goes_to_who_claimed_it_or_is_told_to_come_no_more() {
        let tunnels = Tunnels::default();
        assert!(tunnels.take_heir().is_none());
        let inheritance = tunnels.inherit();
        let (stream, _other) = tokio::io::duplex(1);
        let left = Detached { stream: Box::new(stream), read_ahead: Bytes::from_static(b"ahead") };
        assert!(tunnels.take_heir().unwrap().send(left).is_ok());
        assert_eq!(inheritance.await.ok().unwrap().read_ahead, "ahead");
        let inheritance = tunnels.inherit();
        drop(tunnels.take_heir());
        assert!(inheritance.await.is_err());
    }

    #[tokio::test]
    async fn the_connection_waits_for_its_tunnels_and_learns_of_a_stuck_one() {
        let tunnels = Tunnels::default();
        tunnels.ended().await;
        let running = async {
            let (end, ended) = oneshot::channel::<()>();
            tunnels.spawn(async move {
                let _ = ended.await;
                Farewell::Stuck
            });
            tunnels.spawn(async { Farewell::Gone });
            let short = Duration::from_millis(20);
            assert!(timeout(short, tunnels.ended()).await.is_err(), "one is open");
            assert!(timeout(short, tunnels.stuck()).await.is_err(), "none is stuck");
            drop(end);
            tunnels.stuck().await;
            tunnels.ended().await;
        };
        LocalSet::new().run_until(running).await;
    }
}
