//! The fast path: plain requests of HTTP/1.1, from the bytes that come to the bytes that go, with no map of fields between.
//!
//! A request is plain if it came as a whole, with nothing behind it, has no body, a key as its credential, and nothing
//! in its head that a proxy has to translate (`request_head`): nearly all that an API's clients ask. Whatever else comes
//! on a connection, its bytes go to hyper, untouched and before anything was decided, and the connection stays there until
//! it rests. Decision, telling, choice of a server, deadlines and records are the same for both; and where a plain
//! request gets another answer than a plain one, hyper reads the request once more, and finds the answer waiting.
//!
//! Driven by `server`.

mod fields;
mod judging;
mod own_answer;
mod request_head;
mod written_date;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::fields::{is_plain_name, is_special, write_field, write_read, write_status};
use self::judging::{Admitted, Judged, judge};
pub use self::own_answer::OurWord;
pub use self::request_head::{ComposedRequest, PlainRequest, no_fields};
use self::written_date::WrittenDate;
use super::client::ClientConnection;
use super::deadlines::WatchedIo;
use super::denial::{Fault, put_quota};
use super::door_body::DoorBody;
use super::doorway::HttpDoorway;
use super::drive::Drainable;
use super::forward::pass_back;
use super::record::RequestRecord;
use super::upstream::{Came, Waited};
use crate::auth::Quota;
use crate::net::turn::end_of_turn;

/// What is read at once: as much as the head of a plain request may have.
const READ_BYTES: usize = 4 * 1024;
/// What a client may send while it waits for an answer, before nothing more is read of it.
const EARLY_BYTES: usize = 16 * 1024;
/// What is read of that at once.
const EARLY_AT_ONCE: usize = 512;
/// The room for answers that a busy connection keeps.
const KEPT_BYTES: usize = 16 * 1024;

/// Why the fast path is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// What comes next is hyper's.
    ForHyper,
    /// The connection has come to its end.
    Ended,
}

/// A client's connection on the fast path.
pub struct FastPath<'c> {
    served: Pin<Box<dyn Future<Output = Left> + 'c>>,
    ends: Rc<Cell<bool>>,
    left: Option<Left>,
}

impl<'c> FastPath<'c> {
    /// Serves the plain requests that come over `io`.
    pub fn new<S: AsyncRead + AsyncWrite + Unpin>(
        io: &'c mut WatchedIo<S>,
        client: &'c Rc<ClientConnection>,
        doorway: &'c HttpDoorway,
    ) -> Self {
        let ends = Rc::new(Cell::new(false));
        let lane = Lane {
            io,
            client,
            doorway,
            ends: Rc::clone(&ends),
            has_said_so: Cell::new(false),
            received: Vec::new(),
            early: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
            date: WrittenDate::default(),
        };
        Self { served: Box::pin(lane.serve()), ends, left: None }
    }

    /// Why it was left, once it was.
    pub const fn left(&self) -> Option<Left> {
        self.left
    }
}

impl Future for FastPath<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.served.as_mut().poll(cx).map(|left| self.left = Some(left))
    }
}

impl Drainable for FastPath<'_> {
    /// HTTP/1 says it by closing.
    const FAREWELL: Duration = Duration::ZERO;
    const CAN_REST: bool = true;
    const LOSES_WHAT_CROSSES: bool = true;

    fn end_gently(self: Pin<&mut Self>) {
        self.ends.set(true);
    }
}

/// What serves one request after the other.
struct Lane<'c, S> {
    io: &'c mut WatchedIo<S>,
    client: &'c Rc<ClientConnection>,
    doorway: &'c HttpDoorway,
    /// No further request is taken.
    ends: Rc<Cell<bool>>,
    /// Did the last answer's head say that it is the connection's last? Who was not told may have sent another request.
    has_said_so: Cell<bool>,
    /// The request that is answered.
    received: Vec<u8>,
    /// What came behind it.
    early: Vec<u8>,
    /// Room for what goes upstream.
    up: Vec<u8>,
    /// What goes to the client.
    down: Vec<u8>,
    date: WrittenDate,
}

/// Where a connection stands behind an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// The client has it.
    Here,
    /// hyper will find it.
    Carried,
}

/// The connection can carry nothing more: its client is gone, or must see that an answer broke off.
struct Broken;

impl<S: AsyncRead + AsyncWrite + Unpin> Lane<'_, S> {
    async fn serve(mut self) -> Left {
        loop {
            if self.received.is_empty() && !matches!(self.read().await, Ok(1..)) {
                return self.end().await;
            }
            let door = self.doorway.present();
            let answered = match judge(&door, self.client, &self.received, &mut self.up) {
                Judged::NotPlain => {
                    self.io.put_back(Bytes::from(self.received));
                    return Left::ForHyper;
                }
                Judged::Refused(fault, quota, record) => self.refuse(fault, quota, record).await,
                Judged::Admitted(admitted) => self.ask(admitted).await,
            };
            match answered {
                Ok(Answered::Here) if self.has_said_so.get() || self.ends.get() => return self.end().await,
                Ok(Answered::Here) => {}
                Ok(Answered::Carried) => {
                    self.io.put_back(Bytes::from(self.early));
                    self.io.put_back_begun(Bytes::from(self.received));
                    return Left::ForHyper;
                }
                Err(Broken) => return Left::Ended,
            }
            self.received.clear();
            std::mem::swap(&mut self.received, &mut self.early);
        }
    }

    /// Waits for what comes next; 0: nothing does, or is taken.
    async fn read(&mut self) -> io::Result<usize> {
        self.received.reserve(READ_BYTES);
        poll_fn(|cx| {
            if self.ends.get() {
                return Poll::Ready(Ok(0));
            }
            self.io.poll_read_untold(cx, &mut self.received)
        })
        .await
    }

    /// Is the answer whose head is written now the connection's last?
    fn is_last(&self) -> bool {
        self.has_said_so.set(self.ends.get() || self.client.watch.answers_last());
        self.has_said_so.get()
    }

    async fn end(&mut self) -> Left {
        // Whether the other side hears of it or not, this is the end.
        let _ = poll_fn(|cx| Pin::new(&mut *self.io).poll_shutdown(cx)).await;
        Left::Ended
    }

    /// Answers for the gateway.
    async fn refuse(
        &mut self,
        fault: Fault,
        quota: Option<Quota>,
        mut record: Box<RequestRecord>,
    ) -> Result<Answered, Broken> {
        record.refused(fault);
        let is_last = self.is_last();
        let (request_id, date) = (record.id().to_ascii(), self.date.at(record.at()));
        let ours = OurWord { request_id, date, quota, is_last };
        record.sent(ours.write_fault(&mut self.down, fault));
        drop(record);
        end_of_turn().await;
        self.write(Bytes::new()).await?;
        Ok(Answered::Here)
    }

    /// Passes a request on, and its answer back.
    async fn ask(&mut self, admitted: Admitted) -> Result<Answered, Broken> {
        let Admitted { request, upstream, quota, mut record, judged } = admitted;
        let request_id = record.id().to_ascii();
        let (ends, watch, has_said_so) = (&self.ends, &self.client.watch, &self.has_said_so);
        let date = self.date.at(record.at());
        let ours = || {
            has_said_so.set(ends.get() || watch.answers_last());
            OurWord { request_id, date, quota, is_last: has_said_so.get() }
        };
        end_of_turn().await;
        let mut waited = Waited::default();
        let answer = upstream.send_plain(judged, &request, &mut self.down, ours, &mut waited);
        let answer = unless_client_goes(self.io, &mut self.early, answer).await.ok_or(Broken)?;
        self.up = request.into_room();
        match answer {
            Ok(Came::Whole { status, body_bytes }) => {
                record.answered(status);
                record.passed_on(&waited, Ok(status));
                record.sent(usize::try_from(body_bytes).unwrap_or(usize::MAX));
                if let Some(now) = waited.until {
                    record.ends_at(now);
                }
                drop(record);
                end_of_turn().await;
                self.write(Bytes::new()).await?;
                Ok(Answered::Here)
            }
            Ok(Came::Begun { status, body }) => {
                record.answered(status);
                record.passed_on(&waited, Ok(status));
                self.pass_body(DoorBody::upstream(body, record)).await?;
                Ok(Answered::Here)
            }
            Ok(Came::Other(response)) => {
                let id = record.id_value();
                let mut answer = pass_back(response, id, record, &waited);
                if let Some(quota) = quota {
                    put_quota(answer.headers_mut(), quota);
                }
                self.client.carry(answer);
                if self.is_last() {
                    self.client.watch.note_last_answer();
                }
                Ok(Answered::Carried)
            }
            Err(fault) => {
                record.passed_on(&waited, Err(fault));
                self.refuse(fault, quota, record).await
            }
        }
    }

    /// Passes a body on behind the head that is written already, part by part.
    async fn pass_body(&mut self, mut body: DoorBody) -> Result<(), Broken> {
        loop {
            let mut next = pin!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
            // What is there already leaves together with the head; that does not wait for what is not.
            let frame = match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.write(Bytes::new()).await?;
                    unless_client_goes(self.io, &mut self.early, next).await.ok_or(Broken)?
                }
            };
            match frame {
                None => return self.write(Bytes::new()).await,
                Some(Ok(frame)) => {
                    if let Ok(part) = frame.into_data() {
                        self.write(part).await?;
                    }
                }
                Some(Err(_)) => return Err(Broken),
            }
        }
    }

    /// Writes what goes to the client, and `part` behind it.
    async fn write(&mut self, mut part: Bytes) -> Result<(), Broken> {
        let mut head = self.down.as_slice();
        let written: io::Result<()> = poll_fn(|cx| {
            while !(head.is_empty() && part.is_empty()) {
                let io = Pin::new(&mut *self.io);
                let count = match (head, &part[..]) {
                    (one, []) | ([], one) => ready!(io.poll_write(cx, one))?,
                    (one, other) => {
                        ready!(io.poll_write_vectored(cx, &[IoSlice::new(one), IoSlice::new(other)]))?
                    }
                };
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                let of_head = count.min(head.len());
                head = head.get(of_head..).unwrap_or_default();
                part.advance((count - of_head).min(part.len()));
            }
            Pin::new(&mut *self.io).poll_flush(cx)
        })
        .await;
        self.down.clear();
        self.down.shrink_to(KEPT_BYTES);
        written.map_err(|_| Broken)
    }
}

/// What `awaited` comes to; `None`: the client is gone meanwhile. What it sends is kept in `early`.
async fn unless_client_goes<S: AsyncRead + Unpin, T>(
    io: &mut WatchedIo<S>,
    early: &mut Vec<u8>,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let mut awaited = pin!(awaited);
    poll_fn(|cx| {
        if let Poll::Ready(it) = awaited.as_mut().poll(cx) {
            return Poll::Ready(Some(it));
        }
        while early.len() < EARLY_BYTES {
            let mut room = [const { MaybeUninit::uninit() }; EARLY_AT_ONCE];
            let mut read = ReadBuf::uninit(&mut room);
            match ready!(Pin::new(&mut *io).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => early.extend_from_slice(read.filled()),
                Ok(()) | Err(_) => return Poll::Ready(None),
            }
        }
        Poll::Pending
    })
    .await
}
