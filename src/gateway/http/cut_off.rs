//! Ending a connection, or one HTTP/2 stream of it, from outside its own tasks.
//!
//! hyper stops asking a body for more while its client takes nothing, so that an error of the body would never be
//! seen. What must end is therefore dropped: the connection, where it carries one request at a time; or the task of
//! one HTTP/2 stream, upon which h2 forgets what the stream still had to send, sends `RST_STREAM` (RFC 9113 §6.4), and
//! leaves the connection's other streams alone. It decides nothing; `open_bodies` does.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task;

use super::deadlines::ConnectionWatch;

/// What of one connection has been cut off.
#[derive(Debug, Default)]
pub struct CutOff {
    connection: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    streams: RefCell<Vec<task::Id>>,
}

/// The task of an HTTP/2 stream.
#[derive(Debug)]
pub struct StreamTask {
    id: task::Id,
    waker: Waker,
}

impl StreamTask {
    /// The task that polls with `cx`; `None`: that is none.
    pub fn current(cx: &Context<'_>) -> Option<Self> {
        Some(Self { id: task::try_id()?, waker: cx.waker().clone() })
    }
}

impl CutOff {
    /// Has the connection dropped by the task that drives it.
    pub fn cut_connection(&self) {
        self.connection.set(true);
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Is the connection to be dropped? To be asked at each poll of what drives it, which is woken when that changes.
    pub fn connection_is_cut(&self, cx: &Context<'_>) -> bool {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        self.connection.get()
    }

    /// Has the stream of `task` dropped.
    pub fn cut_stream(&self, task: &StreamTask) {
        self.streams.borrow_mut().push(task.id);
        task.waker.wake_by_ref();
    }

    /// The stream of `task` has ended.
    pub fn forget_stream(&self, task: &StreamTask) {
        self.streams.borrow_mut().retain(|cut| *cut != task.id);
    }

    /// Is the stream of the present task to be dropped?
    fn stream_is_cut(&self) -> bool {
        let streams = self.streams.borrow();
        !streams.is_empty() && task::try_id().is_some_and(|id| streams.contains(&id))
    }
}

/// Runs each HTTP/2 stream of a connection in a task of its own, on the connection's thread, until it is cut off.
#[derive(Clone, Debug)]
pub struct StreamTasks {
    watch: Rc<ConnectionWatch>,
}

impl StreamTasks {
    /// The streams of the connection under `watch`.
    pub const fn new(watch: Rc<ConnectionWatch>) -> Self {
        Self { watch }
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let watch = Rc::clone(&self.watch);
        task::spawn_local(async move {
            let mut stream = pin!(stream);
            std::future::poll_fn(|cx| {
                if watch.cut_off().stream_is_cut() {
                    return Poll::Ready(());
                }
                stream.as_mut().poll(cx).map(drop)
            })
            .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::config::Limits;
    use crate::gateway::http::tests::harness::on_door_thread;

    /// A stream that tells its task, and when it is dropped; it never ends by itself.
    fn stream(streams: &StreamTasks) -> (oneshot::Receiver<StreamTask>, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        let (kept, dropped) = oneshot::channel::<()>();
        streams.execute(async move {
            let _kept = kept;
            let task = std::future::poll_fn(|cx| Poll::Ready(StreamTask::current(cx))).await;
            tell.send(task.unwrap()).unwrap();
            std::future::pending::<()>().await;
        });
        (told, dropped)
    }

    #[test]
    fn a_stream_that_is_cut_off_is_dropped_and_its_neighbours_go_on() {
        on_door_thread(async {
            let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
            let streams = StreamTasks::new(Rc::clone(&watch));
            let (task, dropped) = stream(&streams);
            let (other, mut other_dropped) = stream(&streams);
            let (task, other) = (task.await.unwrap(), other.await.unwrap());
            watch.cut_off().cut_stream(&task);
            dropped.await.unwrap_err();
            watch.cut_off().forget_stream(&task);
            other.waker.wake_by_ref();
            task::yield_now().await;
            assert_eq!(other_dropped.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        });
    }

    #[test]
    fn whoever_drives_a_connection_is_woken_when_it_is_cut_off() {
        on_door_thread(async {
            let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
            let theirs = Rc::clone(&watch);
            let driver = task::spawn_local(std::future::poll_fn(move |cx| {
                if theirs.cut_off().connection_is_cut(cx) { Poll::Ready(()) } else { Poll::Pending }
            }));
            task::yield_now().await;
            assert!(!driver.is_finished());
            watch.cut_off().cut_connection();
            driver.await.unwrap();
        });
    }
}
