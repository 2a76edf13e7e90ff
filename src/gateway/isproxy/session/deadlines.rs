//! The session's deadlines: the client's silence, replies it does not take, replies the upstream owes, held
//! refusals, a limited key's turns.
//!
//! They are computed from what the session remembers, never kept as timers: the connection holds the only timer.

use tokio::time::{Duration, Instant};

use super::relay::answer_error;
use super::{EndReason, GivenUp, Login, Session, Waiting};

impl Session {
    /// When [`Self::on_deadline`] is due, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.reply_deadline(), self.wait_deadline(), self.write_deadline(), self.idle_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn reply_deadline(&self) -> Option<Instant> {
        let oldest = self.pending.oldest().filter(|_| self.reads_upstream())?;
        Some(oldest.max(self.upstream_read_since) + seconds(self.rules.limits.isproxy_reply_seconds))
    }

    fn wait_deadline(&self) -> Option<Instant> {
        match self.waiting {
            Waiting::HeldRefusal { until } => Some(until),
            Waiting::Turn { due, .. } => due,
            Waiting::Enable { since, .. } if self.reads_upstream() => {
                let since = since.max(self.upstream_read_since);
                Some(since + seconds(self.rules.limits.isproxy_reply_seconds))
            }
            _ => None,
        }
    }

    fn write_deadline(&self) -> Option<Instant> {
        let stalled = seconds(self.rules.limits.isproxy_write_seconds);
        (!self.to_client.is_empty()).then(|| self.write_progress_at + stalled)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let idle = matches!(self.waiting, Waiting::Nothing) && self.pending.is_empty();
        let limit = match self.login {
            Login::Out => self.rules.limits.isproxy_login_seconds,
            Login::In => self.rules.limits.isproxy_idle_seconds,
        };
        (idle && self.to_client.is_empty()).then(|| self.active_at + seconds(limit))
    }

    /// [`Self::deadline`] may have passed.
    pub fn on_deadline(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if due(self.write_deadline()) {
            return self.close_at_once(EndReason::WriteStalled);
        }
        if due(self.idle_deadline()) {
            return self.close(EndReason::Idle);
        }
        if due(self.wait_deadline()) {
            match self.waiting {
                Waiting::HeldRefusal { .. } => self.answer_failed_login(now),
                Waiting::Turn { .. } => self.send_if_due(now),
                _ => self.drop_upstream(GivenUp::Late, now),
            }
        }
        if due(self.reply_deadline()) {
            self.on_replies_overdue(now);
        }
    }

    /// The overdue get `error`; an upstream that said nothing at all meanwhile is given up.
    fn on_replies_overdue(&mut self, now: Instant) {
        let Some(until) = now.checked_sub(seconds(self.rules.limits.isproxy_reply_seconds)) else { return };
        if self.upstream_heard_at <= until {
            return self.drop_upstream(GivenUp::Late, now);
        }
        self.note_write(now);
        let (to_client, tally) = (&mut self.to_client, &mut self.tally);
        self.pending.take_asked_until(until, |asked| answer_error(to_client, tally, asked, now));
    }
}

const fn seconds(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}
