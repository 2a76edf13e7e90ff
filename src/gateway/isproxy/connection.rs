//! Does on sockets what the session says: one task a client, which waits on client, upstream, deadline, drain and
//! the end of its credential at once.
//!
//! No rule of the protocol stands here; the permit does, without which nothing goes upstream. Called by `server`.

mod entering;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, Sleep, sleep_until, timeout};

use super::ending::{Calls, Ending};
use super::journal::Journal;
use super::line::{LineReader, NextLine};
use super::link::{Fetch, UpstreamEvent, UpstreamLink};
use super::server::DoorParts;
use super::session::{EndReason, LineFault, Rules, Session, Step};
use super::stream::{ClientStream, Duplex, Exchange};
use super::turns::{PeerEvent, Turns};
use crate::auth::{LiveSession, Permit};
use crate::model::ClientIp;
use crate::net::Drain;
use crate::net::turn::end_of_turn;

/// How long, and how many bytes, a closing connection is read on, so that its last answer arrives.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1_024;
/// The timer's next look where the session has no deadline.
const FAR: Duration = Duration::from_hours(1);

/// One client's connection.
pub struct Connection<'d> {
    door: &'d DoorParts,
    client_ip: ClientIp,
    session: Session,
    reader: LineReader,
    client_input: Input,
    upstream: UpstreamLink,
    /// Leave to send what the session has for the upstream.
    permit: Option<Permit>,
    journal: Journal,
    timer: Pin<Box<Sleep>>,
    ending: Ending,
    turns: Turns,
    /// The credential's end, a drain and the timer were asked for since the task was last woken; each of them wakes it.
    has_looked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

/// Why the loop hands back the client's stream.
enum Phase {
    LoggedIn(LiveSession),
    UpgradeTls,
    Closing(EndReason),
    Ended(EndReason),
}

enum Event {
    CredentialEnded,
    /// Since now; the client may ask once more until then.
    Drained(Option<Instant>),
    Deadline,
    Peer(PeerEvent),
}

impl<'d> Connection<'d> {
    /// A connection that has just been accepted from `peer`, which is the client or told of it.
    pub fn new(door: &'d DoorParts, rules: Rules, client_ip: ClientIp, peer: ClientIp) -> Self {
        let now = Instant::now();
        Self {
            door,
            client_ip,
            session: Session::new(rules, now),
            reader: LineReader::new(),
            client_input: Input::Open,
            upstream: UpstreamLink::absent(),
            permit: None,
            journal: Journal::begin(door, client_ip, peer),
            timer: Box::pin(sleep_until(now + FAR)),
            ending: Ending::NotYet,
            turns: Turns::default(),
            has_looked: false,
        }
    }

    /// Writes the session's last line to the log.
    pub fn end(self, reason: EndReason) {
        let permit = self.permit.as_ref().filter(|_| self.session.is_logged_in());
        self.journal.end(self.door, reason, permit);
    }

    /// Serves it through its phases: in clear, inside TLS, logged in.
    pub async fn serve(&mut self, stream: TcpStream, drain: Drain) -> EndReason {
        let mut client = Duplex::new(ClientStream::Plain(stream));
        let mut live = None;
        loop {
            match self.run(&mut client, &Calls { live: live.as_ref(), drain: &drain }).await {
                Phase::LoggedIn(session) => live = Some(session),
                Phase::UpgradeTls => match self.upgrade(client).await {
                    Some(inside_tls) => client = inside_tls,
                    None => return EndReason::TlsHandshakeFailed,
                },
                Phase::Closing(reason) => {
                    self.upstream.disconnect();
                    let _ = timeout(LINGER, client.close_gently(&mut self.reader, LINGER_BYTES)).await;
                    return reason;
                }
                Phase::Ended(reason) => return reason,
            }
        }
    }

    /// Until the phase is over: do what is to be done, wait for what comes, tell the session.
    async fn run(&mut self, client: &mut Duplex<ClientStream>, calls: &Calls<'_>) -> Phase {
        self.has_looked = false;
        let mut woken = pin!(calls.wake());
        // Asked once, they wake this task; from then on a look at what they say is enough.
        let _ = poll_fn(|cx| Poll::Ready(woken.as_mut().poll(cx))).await;
        loop {
            if let Some(phase) = self.settle().await {
                self.tell_journal();
                return phase;
            }
            self.tell_journal();
            let event = self.next_event(client, calls).await;
            if let Some(phase) = self.on_event(event) {
                return phase;
            }
        }
    }

    async fn next_event(&mut self, client: &mut Duplex<ClientStream>, calls: &Calls<'_>) -> Event {
        let session = &self.session;
        let reads_client = session.reads_client() && self.client_input == Input::Open;
        let fetch = if session.reads_upstream() { Fetch::Replies } else { Fetch::Nothing };
        let sends = !session.to_upstream().is_empty() || !session.to_client().is_empty();
        let upstream = self.upstream.progress(self.permit.as_ref(), session.to_upstream(), fetch);
        let client = client.exchange(reads_client.then_some(&mut self.reader), session.to_client());
        let mut peers = pin!(self.turns.next(upstream, client));
        let mut turn = sends.then(end_of_turn);
        let (timer, ending, has_looked) = (&mut self.timer, self.ending, &mut self.has_looked);
        poll_fn(|cx| {
            if let Some(turn) = &mut turn
                && Pin::new(turn).poll(cx).is_pending()
            {
                *has_looked = false;
                return Poll::Pending;
            }
            // Once a turn, not at each of its events, and before the sockets: a peer that never stops sending
            // uses up the turn of the runtime, and the timer with it.
            if !*has_looked {
                if calls.credential_has_ended() {
                    return Poll::Ready(Event::CredentialEnded);
                }
                if ending == Ending::NotYet && calls.drain.has_begun() {
                    return Poll::Ready(Event::Drained(calls.drain.idle_until()));
                }
                if timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Event::Deadline);
                }
                *has_looked = true;
            }
            if let Poll::Ready(event) = peers.as_mut().poll(cx) {
                return Poll::Ready(Event::Peer(event));
            }
            *has_looked = false;
            // The timer is only moved to an earlier moment, or set anew after it fired: a line costs no timer operation.
            match deadline(session, ending).filter(|at| *at < timer.deadline()) {
                Some(deadline) => {
                    timer.as_mut().reset(deadline);
                    timer.as_mut().poll(cx).map(|()| Event::Deadline)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    fn on_event(&mut self, event: Event) -> Option<Phase> {
        let now = Instant::now();
        match event {
            Event::CredentialEnded => self.session.on_revoked(),
            Event::Drained(until) => {
                let cut_at = now + Duration::from_secs(self.door.limits.drain_seconds.into());
                match until {
                    Some(until) => self.ending = Ending::BehindNextReply { until, cut_at },
                    None => self.tell_session_of_drain(cut_at),
                }
            }
            Event::Deadline => {
                self.session.on_deadline(now);
                match self.ending {
                    Ending::BehindNextReply { until, cut_at } if until <= now => {
                        self.tell_session_of_drain(cut_at);
                    }
                    Ending::Told { cut_at } if cut_at <= now => {
                        return Some(Phase::Ended(EndReason::Draining));
                    }
                    _ => {}
                }
                let next = deadline(&self.session, self.ending).unwrap_or(now + FAR);
                self.timer.as_mut().reset(next);
            }
            Event::Peer(PeerEvent::Upstream(event)) => self.on_upstream_event(event, now),
            Event::Peer(PeerEvent::Client(Exchange::Wrote(count))) => {
                self.journal.wrote(count);
                self.session.on_written(count, now);
            }
            Event::Peer(PeerEvent::Client(Exchange::Read(0))) => self.client_input = Input::Ended,
            Event::Peer(PeerEvent::Client(Exchange::Read(_))) => {}
            Event::Peer(PeerEvent::Client(Exchange::Failed(error))) => {
                tracing::debug!(session = %self.journal.id(), %error, "a client's connection broke");
                return Some(Phase::Ended(EndReason::ConnectionLost));
            }
        }
        None
    }

    fn on_upstream_event(&mut self, event: UpstreamEvent, now: Instant) {
        match event {
            UpstreamEvent::Connected => self.session.on_upstream_connected(now),
            UpstreamEvent::Wrote(count) => self.session.on_written_upstream(count),
            UpstreamEvent::Read => {}
            UpstreamEvent::Lost(loss) => {
                if self.session.awaits_upstream() {
                    let (session, upstream) = (self.journal.id(), self.door.upstream.name());
                    tracing::debug!(%session, upstream, %loss, "a session lost its upstream");
                    self.upstream.blame(&loss);
                }
                self.upstream.disconnect();
                self.session.on_upstream_lost(now);
            }
        }
    }

    /// Does every step and hands in every line that can be, until there is something to wait for.
    async fn settle(&mut self) -> Option<Phase> {
        let now = Instant::now();
        self.look_at_quotas();
        loop {
            while let Some(step) = self.session.next_step() {
                // It may take longer than a turn.
                self.has_looked = false;
                if let Some(phase) = self.perform(step).await {
                    return Some(phase);
                }
            }
            if !self.session.is_logged_in() && !self.session.awaits_upstream() && self.permit.is_some() {
                // What it was asked for is counted while it is known whose it is.
                self.tell_journal();
                self.permit = None;
            }
            if !self.take_upstream_lines(now) && !self.take_client_lines(now) {
                match self.ending {
                    // With all that has come handed in: the session reads no more from here on.
                    Ending::BehindNextReply { cut_at, .. } if self.session.awaits_upstream() => {
                        self.tell_session_of_drain(cut_at);
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Quotas may be given and taken away while the session is open; whoever has none pays for no line.
    fn look_at_quotas(&mut self) {
        if let Some(permit) = self.permit.as_ref().filter(|_| !self.reader.is_empty()) {
            self.session.on_quotas(self.door.authenticator.quotas_in_force(permit));
        }
    }

    fn tell_session_of_drain(&mut self, cut_at: Instant) {
        self.ending = Ending::Told { cut_at };
        self.session.on_drain();
    }

    /// Hands in what the upstream said, as far as it is whole, or up to a step that is to be done. `false`: there was
    /// nothing.
    fn take_upstream_lines(&mut self, now: Instant) -> bool {
        let mut took_any = false;
        while !self.session.has_step() {
            match self.upstream.next_line() {
                NextLine::Complete(line, _) => self.session.on_upstream_line(line, now),
                NextLine::TooLong(_) | NextLine::TlsHello => self.session.on_upstream_fault(now),
                NextLine::Incomplete => break,
            }
            took_any = true;
        }
        took_any
    }

    /// Hands in the client's lines, as long as they can be. `false`: there was none, nor the end of all.
    fn take_client_lines(&mut self, now: Instant) -> bool {
        let mut took_any = false;
        while self.session.reads_client() {
            match self.reader.next_line() {
                NextLine::Complete(line, behind) => self.session.on_line(line, behind, now),
                NextLine::TooLong(start) => self.session.on_line_fault(LineFault::TooLong(start), now),
                NextLine::TlsHello => self.session.on_line_fault(LineFault::TlsHello, now),
                NextLine::Incomplete if self.client_input == Input::Ended => self.session.on_end_of_input(),
                NextLine::Incomplete => break,
            }
            took_any = true;
        }
        took_any
    }

    async fn perform(&mut self, step: Step) -> Option<Phase> {
        match step {
            Step::Authenticate(presented) => self.authenticate(presented).await.map(Phase::LoggedIn),
            Step::RefuseExposed(presented) => {
                self.refuse_exposed(&presented);
                None
            }
            Step::TakeTurn => {
                self.take_turn();
                None
            }
            Step::UpgradeTls => Some(Phase::UpgradeTls),
            Step::ConnectUpstream => {
                self.connect_upstream();
                None
            }
            Step::DropUpstream(why) => {
                let (session, upstream) = (self.journal.id(), self.door.upstream.name());
                tracing::debug!(%session, upstream, %why, "a session gives its upstream up");
                self.upstream.give_up(why);
                None
            }
            Step::Close(reason) => Some(Phase::Closing(reason)),
            Step::CloseAtOnce(reason) => Some(Phase::Ended(reason)),
        }
    }

    fn take_turn(&mut self) {
        let now = Instant::now();
        let authenticator = &self.door.authenticator;
        // Without a permit the session gets no further than its next step.
        let Some(permit) = &self.permit else { return self.session.on_turn(now, now) };
        match authenticator.take_request_from_quotas(permit) {
            Ok(()) => self.session.on_turn(now + authenticator.take_request_in_turn(permit), now),
            Err(denial) => self.session.on_request_refused(denial.reason, now),
        }
    }

    fn connect_upstream(&mut self) {
        match &self.permit {
            Some(permit) => self.upstream.connect(permit, &self.door.upstream),
            // The session asks only after a verdict that came with a permit; without one nothing may be sent.
            None => self.session.on_upstream_lost(Instant::now()),
        }
    }

    fn tell_journal(&mut self) {
        if !self.session.has_tally() {
            return;
        }
        let tally = self.session.take_tally();
        if let Some(permit) = &self.permit {
            self.door.authenticator.count_requests(permit, tally.asked);
        }
        let asking = self.permit.as_ref();
        let session = asking.filter(|_| self.session.is_logged_in());
        self.journal.answered(self.door, &tally, session, asking);
    }
}

/// The next moment at which something is due by itself.
fn deadline(session: &Session, ending: Ending) -> Option<Instant> {
    [session.deadline(), ending.deadline()].into_iter().flatten().min()
}
