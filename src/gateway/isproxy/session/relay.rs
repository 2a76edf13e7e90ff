//! The session's side towards the upstream: what is asked, and exactly one reply for each of it.

use tokio::time::Instant;

use super::{GivenUp, LastRequest, Session, Step, Upstream, Waiting};
use crate::auth::{DenialReason, QuotasInForce};
use crate::gateway::isproxy::outbox::Outbox;
use crate::gateway::isproxy::pending::Asked;
use crate::gateway::isproxy::reply::{self, Answer, Availability, UpstreamLine};
use crate::gateway::isproxy::tally::Tally;

impl Session {
    /// The connection to the upstream stands: functions first, then every name in the order asked.
    pub fn on_upstream_connected(&mut self, now: Instant) {
        self.upstream = Upstream::Open;
        self.upstream_heard_at = now;
        self.replays_unanswered = self.enabled.len();
        let to_upstream = &mut self.to_upstream;
        for function in &self.enabled {
            to_upstream.push(&[function.line()]);
        }
        self.pending.for_each(|asked| to_upstream.push(&[b"IS ", asked.name, b"\r\n"]));
        if let Waiting::Enable { function, .. } = self.waiting {
            self.to_upstream.push(&[function.line()]);
        }
    }

    /// The upstream cannot be reached, or broke off.
    pub fn on_upstream_lost(&mut self, now: Instant) {
        self.upstream = Upstream::Absent;
        self.replays_unanswered = 0;
        self.to_upstream.clear();
        self.note_write(now);
        let (to_client, tally) = (&mut self.to_client, &mut self.tally);
        self.pending.take_all(|asked| answer_error(to_client, tally, asked, now));
        self.finish_enable(Answer::Ok, now);
    }

    /// A line of the upstream, without its end. What answers no request is dropped.
    pub fn on_upstream_line(&mut self, line: &[u8], now: Instant) {
        self.upstream_heard_at = now;
        let read = match self.pending.oldest_named(line) {
            Some(name) => UpstreamLine::parse_of(name.len(), line),
            None => UpstreamLine::parse(line),
        };
        match read {
            UpstreamLine::Reply { name, availability, detail } => {
                self.note_write(now);
                if let Some(asked) = self.pending.take(name) {
                    self.tally.succeeded += 1;
                    self.tally.waits.count(asked.at, now);
                    reply::write_reply(&mut self.to_client, asked.name, availability, detail);
                }
            }
            UpstreamLine::Done | UpstreamLine::Refused if self.replays_unanswered > 0 => {
                self.replays_unanswered -= 1;
            }
            UpstreamLine::Done => self.finish_enable(Answer::Ok, now),
            UpstreamLine::Refused if matches!(self.waiting, Waiting::Enable { .. }) => {
                self.finish_enable(Answer::UnknownFunction, now);
            }
            // Whose request it refuses cannot be told, and none of them may wait for a reply that never comes.
            UpstreamLine::Refused if !self.pending.is_empty() => self.drop_upstream(GivenUp::Refused, now),
            UpstreamLine::Refused | UpstreamLine::Garbled => {}
        }
    }

    /// The upstream sent what is no line of the protocol: nothing it says can be trusted to be whole.
    pub fn on_upstream_fault(&mut self, now: Instant) {
        self.drop_upstream(GivenUp::Garbled, now);
    }

    /// One request: sent at once, unless keys have a limit or a quota counts it; then each has its turn, and the lines
    /// behind it wait. A name that no request can hold takes nothing of either.
    pub(super) fn request(&mut self, domain: &[u8], now: Instant) {
        if domain.len() > reply::MAX_NAME_BYTES {
            return self.refuse_too_long(now);
        }
        if self.rules.limits.requests_per_second_per_key == 0 && self.quotas == QuotasInForce::None {
            return self.ask_upstream(domain, now);
        }
        self.waiting = Waiting::Turn { domain: domain.into(), due: None };
        self.step = Some(Step::TakeTurn);
    }

    /// The request that [`Step::TakeTurn`] was for is not sent, because a quota is used up: it gets the one reply that
    /// says nothing about its name, and the session goes on (PROTOCOL: exactly one reply a request).
    pub fn on_request_refused(&mut self, reason: DenialReason, now: Instant) {
        let Waiting::Turn { domain, .. } = &mut self.waiting else { return };
        let domain = std::mem::take(domain);
        self.waiting = Waiting::Nothing;
        self.active_at = now;
        self.note_write(now);
        self.tally.succeeded += 1;
        // One line for all of one credential that follow one another: a client may go on asking a million names.
        let refused = LastRequest::Refused(reason);
        if std::mem::replace(&mut self.last_request, refused) != refused {
            self.tally.deny("IS", reason);
        }
        reply::write_reply(&mut self.to_client, &domain, Availability::Error, b"");
    }

    /// The request that [`Step::TakeTurn`] was for may be sent from `due` on.
    pub fn on_turn(&mut self, due: Instant, now: Instant) {
        self.last_request = LastRequest::Taken;
        if let Waiting::Turn { due: known, .. } = &mut self.waiting {
            *known = Some(due);
            self.send_if_due(now);
        }
    }

    pub(super) fn send_if_due(&mut self, now: Instant) {
        if !matches!(self.waiting, Waiting::Turn { due: Some(due), .. } if due <= now) {
            return;
        }
        if let Waiting::Turn { domain, .. } = std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            self.active_at = now;
            self.ask_upstream(&domain, now);
        }
    }

    fn ask_upstream(&mut self, domain: &[u8], now: Instant) {
        self.tally.asked += 1;
        self.pending.add(domain, now);
        self.relay(&[b"IS ", domain, b"\r\n"]);
    }

    /// Sends a line upstream; without a connection, the line is made again when one stands.
    pub(super) fn relay(&mut self, line: &[&[u8]]) {
        match self.upstream {
            Upstream::Open => self.to_upstream.push(line),
            Upstream::Connecting => {}
            Upstream::Absent => {
                self.upstream = Upstream::Connecting;
                self.step = Some(Step::ConnectUpstream);
            }
        }
    }

    pub(super) fn drop_upstream(&mut self, why: GivenUp, now: Instant) {
        self.on_upstream_lost(now);
        self.step = Some(Step::DropUpstream(why));
    }

    /// Answers `ENABLE`. Without an upstream it is `100 OK` too: the function is replayed on the next connection.
    pub(super) fn finish_enable(&mut self, answer: Answer, now: Instant) {
        let Waiting::Enable { function, .. } = self.waiting else { return };
        self.waiting = Waiting::Nothing;
        if answer.is_success() && !self.enabled.contains(&function) {
            self.enabled.push(function);
        }
        self.answer(answer, now);
    }
}

/// What is answered to a request that its upstream does not answer.
pub(super) fn answer_error(to_client: &mut Outbox, tally: &mut Tally, asked: Asked<'_>, now: Instant) {
    tally.succeeded += 1;
    tally.waits.count(asked.at, now);
    reply::write_reply(to_client, asked.name, Availability::Error, b"");
}
