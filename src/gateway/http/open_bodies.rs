//! The bodies of answers that are on their way in one door thread: which of them have become streams, to be ended
//! with their credential, and which wait too long for their client.
//!
//! Only this thread sees the register, so that being in it costs no lock and, but for its growth, no allocation. An
//! answer that is complete at once over HTTP/1.1 is never in it. Nothing ticks while it is empty. Who is ended is
//! `auth`'s decision, how is `cut_off`'s. Called by `door_body`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::cut_off::StreamTask;
use super::deadlines::{ConnectionWatch, Spoken};
use crate::auth::{Authenticator, Permit};

/// How often the register is looked through.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS_PER_SECOND: u32 = 10;
/// A body that is open for longer than these many looks, one second, is a stream (PROTOCOL section 3, point 10).
const STREAM_AFTER_LOOKS: u32 = LOOKS_PER_SECOND;

/// The register of one door thread.
#[derive(Debug)]
pub struct OpenBodies {
    authenticator: Arc<Authenticator>,
    places: RefCell<Slab<Place>>,
    /// Is somebody looking through it?
    watched: Cell<bool>,
}

/// A body's place in the register; dropping it takes the body out.
#[derive(Debug)]
pub struct OpenBody {
    register: Rc<OpenBodies>,
    number: usize,
}

/// What is known of a body that is on its way.
#[derive(Debug)]
pub struct Opened {
    /// By whose leave it comes; `None`: the gateway's own, which no credential opens.
    pub permit: Option<Permit>,
    /// The client's connection.
    pub watch: Rc<ConnectionWatch>,
    /// What that connection speaks.
    pub spoken: Spoken,
    /// How long an HTTP/2 client may take nothing of what is there for it, in seconds.
    pub stall_seconds: u32,
}

/// Why a body was ended before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its credential would no longer be let in.
    Revoked,
    /// Its client takes nothing.
    WriteStalled,
}

#[derive(Debug)]
struct Place {
    /// Taken out when the body becomes a stream.
    permit: Option<Permit>,
    watch: Rc<ConnectionWatch>,
    /// `None`: the connection carries nothing else.
    stream: Option<StreamTask>,
    age_looks: u32,
    stall: Stall,
    ended: Option<Ending>,
    /// The task that waits for the credential's end.
    waits: Option<AbortHandle>,
}

/// Whether an HTTP/2 stream waits for its window. Over HTTP/1.1 the connection's own watch sees it.
#[derive(Debug)]
struct Stall {
    /// hyper has a part of the body and has not come back for more.
    owed: bool,
    looks: u32,
    limit_looks: u32,
}

impl Ending {
    /// The reason in the access log; `IsProxy` sessions have the same.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::WriteStalled => "write_stalled",
        }
    }
}

impl OpenBodies {
    /// An empty register; `authenticator` tells when a stream must end.
    pub fn new(authenticator: Arc<Authenticator>) -> Rc<Self> {
        Rc::new(Self { authenticator, places: RefCell::default(), watched: Cell::new(false) })
    }

    /// Takes in a body that is polled with `cx`. Runs on a `LocalRuntime`: it spawns a local task.
    pub fn take_in(self: &Rc<Self>, opened: Opened, cx: &Context<'_>) -> OpenBody {
        let stream = match opened.spoken {
            Spoken::Http1 => None,
            Spoken::Http2 => StreamTask::current(cx),
        };
        let place = Place {
            permit: opened.permit,
            watch: opened.watch,
            stream,
            age_looks: 0,
            stall: Stall {
                owed: false,
                looks: 0,
                limit_looks: opened.stall_seconds.saturating_mul(LOOKS_PER_SECOND),
            },
            ended: None,
            waits: None,
        };
        let number = self.places.borrow_mut().insert(place);
        if !self.watched.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).look_regularly());
        }
        OpenBody { register: Rc::clone(self), number }
    }

    async fn look_regularly(self: Rc<Self>) {
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        // After a pause of the whole machine nobody's silence is counted for that pause.
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            looks.tick().await;
            if self.places.borrow().is_empty() {
                self.watched.set(false);
                return;
            }
            self.look();
        }
    }

    fn look(self: &Rc<Self>) {
        for (number, place) in self.places.borrow_mut().iter_mut() {
            place.age_looks = place.age_looks.saturating_add(1);
            if place.stall.is_over() {
                place.end(Ending::WriteStalled);
            }
            if place.age_looks > STREAM_AFTER_LOOKS
                && let Some(permit) = place.permit.take()
            {
                place.waits = Some(self.end_with_credential(number, &permit));
            }
        }
    }

    /// Registers a stream with `auth`, which judges its credential anew, and ends it when that must be.
    fn end_with_credential(self: &Rc<Self>, number: usize, permit: &Permit) -> AbortHandle {
        let live = self.authenticator.open_session(permit);
        let register = Rc::clone(self);
        let waits = tokio::task::spawn_local(async move {
            live.ended().await;
            if let Some(place) = register.places.borrow_mut().get_mut(number) {
                place.end(Ending::Revoked);
            }
        });
        waits.abort_handle()
    }
}

impl Place {
    fn end(&mut self, ending: Ending) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(ending);
        match &self.stream {
            Some(stream) => {
                self.watch.cut_off().cut_stream(stream);
                self.watch.cut_if_stuck();
            }
            None => self.watch.cut_off().cut_connection(),
        }
    }
}

impl Stall {
    /// Counts a look.
    const fn is_over(&mut self) -> bool {
        if self.owed {
            self.looks = self.looks.saturating_add(1);
        }
        self.looks > self.limit_looks
    }
}

impl OpenBody {
    /// hyper asks for more: what it had has found its way.
    pub fn asked(&self) {
        self.change(|place| {
            place.stall.owed = false;
            place.stall.looks = 0;
        });
    }

    /// hyper got a part.
    pub fn gave(&self) {
        self.change(|place| place.stall.owed = place.stream.is_some());
    }

    /// Why it was ended, if it was.
    pub fn ended(&self) -> Option<Ending> {
        self.register.places.borrow().get(self.number)?.ended
    }

    fn change(&self, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.register.places.borrow_mut().get_mut(self.number) {
            change(place);
        }
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        let Some(place) = self.register.places.borrow_mut().try_remove(self.number) else { return };
        // First of all: its number may be another's from now on.
        if let Some(waits) = &place.waits {
            waits.abort();
        }
        if let Some(stream) = place.stream.as_ref().filter(|_| place.ended.is_some()) {
            place.watch.cut_off().forget_stream(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use tokio::time::{pause, sleep};

    use super::*;
    use crate::auth::Decision;
    use crate::auth::testing::{NOW, World};
    use crate::config::Limits;
    use crate::gateway::http::tests::harness::on_door_thread;
    use crate::model::Service;

    const STALL_SECONDS: u32 = 3;

    /// A register, and a permit whose key ends at `world`'s time plus 60 s. From here on the test moves time.
    async fn register() -> (World, Rc<OpenBodies>, Permit) {
        let world = World::new(Limits::default()).await;
        let (text, mut record) = world.add_key("api").await;
        record.expires_at = Some(NOW.plus_seconds(60));
        let mut change = world.store.mutate().await.unwrap();
        change.update_key(&record).await.unwrap();
        change.commit().await.unwrap();
        world.reload().await;
        let Decision::Allow(permit) = world.key(&text, Service::Api).await else { panic!("refused") };
        pause();
        let register = OpenBodies::new(Arc::clone(&world.authenticator));
        (world, register, permit)
    }

    async fn open(register: &Rc<OpenBodies>, permit: Option<&Permit>, spoken: Spoken) -> OpenBody {
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        let mut opened =
            Some(Opened { permit: permit.cloned(), watch, spoken, stall_seconds: STALL_SECONDS });
        let register = Rc::clone(register);
        let task = tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            Poll::Ready(register.take_in(opened.take().unwrap(), cx))
        }));
        task.await.unwrap()
    }

    async fn pass(milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds)).await;
    }

    fn is_cut(body: &OpenBody) -> bool {
        let places = body.register.places.borrow();
        let watch = &places[body.number].watch;
        watch.cut_off().connection_is_cut(&Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn s20_a_body_is_a_stream_after_a_second_and_ends_when_its_keys_time_is_over() {
        on_door_thread(async {
            let (world, register, permit) = register().await;
            let doomed = open(&register, Some(&permit), Spoken::Http1).await;
            let unmoved = open(&register, None, Spoken::Http1).await;
            pass(900).await;
            world.clock.set(NOW.plus_seconds(59));
            assert_eq!((world.authenticator.open_sessions(), doomed.ended()), (0, None));
            pass(300).await;
            assert_eq!((world.authenticator.open_sessions(), doomed.ended()), (1, None));
            world.clock.set(NOW.plus_seconds(60));
            assert_eq!(world.authenticator.end_expired_sessions(), 1);
            tokio::task::yield_now().await;
            assert_eq!((doomed.ended(), is_cut(&doomed)), (Some(Ending::Revoked), true));
            assert_eq!((unmoved.ended(), is_cut(&unmoved)), (None, false));
            assert_eq!(world.authenticator.open_sessions(), 0);
        });
    }

    #[test]
    fn s21_a_body_whose_key_ended_in_its_first_second_ends_with_that_second() {
        on_door_thread(async {
            let (world, register, permit) = register().await;
            let body = open(&register, Some(&permit), Spoken::Http1).await;
            world.clock.set(NOW.plus_seconds(60));
            assert_eq!(world.authenticator.end_expired_sessions(), 0);
            pass(900).await;
            assert_eq!(body.ended(), None, "an ordinary request in flight");
            pass(300).await;
            assert_eq!(body.ended(), Some(Ending::Revoked));
        });
    }

    #[test]
    fn a_body_that_is_gone_leaves_the_register_and_nothing_ticks_then() {
        on_door_thread(async {
            let (world, register, permit) = register().await;
            let first = open(&register, Some(&permit), Spoken::Http1).await;
            pass(1_200).await;
            assert_eq!(world.authenticator.open_sessions(), 1);
            drop(first);
            // It takes the first one's number, and has nothing to do with its end.
            let second = open(&register, None, Spoken::Http1).await;
            pass(50).await;
            assert_eq!((world.authenticator.open_sessions(), second.ended()), (0, None));
            assert!(register.watched.get());
            drop(second);
            pass(200).await;
            assert!(!register.watched.get());
            let third = open(&register, Some(&permit), Spoken::Http1).await;
            pass(1_200).await;
            assert_eq!((world.authenticator.open_sessions(), third.ended()), (1, None));
        });
    }

    #[test]
    fn s74_an_http2_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        on_door_thread(async {
            let (_world, register, _) = register().await;
            let stalled = open(&register, None, Spoken::Http2).await;
            let slow = open(&register, None, Spoken::Http2).await;
            let unasked = open(&register, None, Spoken::Http2).await;
            let http1 = open(&register, None, Spoken::Http1).await;
            for _ in 0..4 {
                for body in [&stalled, &slow, &http1] {
                    body.gave();
                }
                pass(2_000).await;
                slow.asked();
                if stalled.ended().is_some() {
                    break;
                }
            }
            assert_eq!(stalled.ended(), Some(Ending::WriteStalled));
            // Of that connection only the stream.
            assert!(!is_cut(&stalled));
            for body in [&slow, &unasked, &http1] {
                assert_eq!(body.ended(), None);
            }
        });
    }
}
