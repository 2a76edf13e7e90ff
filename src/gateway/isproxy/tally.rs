//! What a session answered since it was last looked at; the journal turns it into metrics and log lines.

use tokio::time::{Duration, Instant};

use super::reply::Answer;
use crate::auth::DenialReason;

/// Answers since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests for the upstream.
    pub asked: u32,
    /// Replies to `IS`, and answers that begin with 100.
    pub succeeded: u32,
    /// Answers that begin with 400.
    pub refused: u32,
    /// How long requests waited for their upstream: for its reply, or until it was lost, given up, or too late.
    pub waits: Waits,
    /// The refused commands that no authenticator saw.
    pub refusals: Vec<RefusedCommand>,
}

/// How long requests waited, counted together where it was the same: what comes at once was mostly asked at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waits {
    latest: Option<Wait>,
    earlier: Vec<Wait>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    asked: Instant,
    until: Instant,
    requests: u32,
}

/// A command that the session itself refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedCommand {
    /// The verb, or `?`.
    pub verb: &'static str,
    /// What was wrong.
    pub fault: CommandFault,
}

/// What was wrong with a refused command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandFault {
    /// It lacked a right, or presented a credential where none is taken.
    Denied(DenialReason),
    /// It was no command, or not possible now.
    Malformed(&'static str),
}

impl CommandFault {
    /// The reason in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.as_str(),
            Self::Malformed(reason) => reason,
        }
    }
}

impl Tally {
    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        let Self { asked, succeeded, refused, waits, refusals } = self;
        asked | succeeded | refused == 0 && waits.latest.is_none() && refusals.is_empty()
    }

    /// Counts an answer.
    pub const fn count(&mut self, answer: Answer) {
        if answer.is_success() {
            self.succeeded += 1;
        } else {
            self.refused += 1;
        }
    }

    /// Notes a command without the right to it.
    pub fn deny(&mut self, verb: &'static str, reason: DenialReason) {
        self.refusals.push(RefusedCommand { verb, fault: CommandFault::Denied(reason) });
    }

    /// Notes a command that is none, or not possible now.
    pub fn reject(&mut self, verb: &'static str, reason: &'static str) {
        self.refusals.push(RefusedCommand { verb, fault: CommandFault::Malformed(reason) });
    }
}

impl Waits {
    /// A request waited from `asked` to `until`.
    pub fn count(&mut self, asked: Instant, until: Instant) {
        match &mut self.latest {
            Some(wait) if wait.asked == asked && wait.until == until => {
                wait.requests = wait.requests.saturating_add(1);
            }
            latest => self.earlier.extend(latest.replace(Wait { asked, until, requests: 1 })),
        }
    }

    /// How long, and how many waited so long, in the order of their ends.
    pub fn each(&self) -> impl Iterator<Item = (Duration, u32)> {
        let waits = self.earlier.iter().chain(&self.latest);
        waits.map(|wait| (wait.until.saturating_duration_since(wait.asked), wait.requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_equally_long_is_counted_together() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut waits = Waits::default();
        for (asked, until) in [(0, 2), (0, 2), (1, 2), (1, 3), (1, 3), (4, 3)] {
            waits.count(at(asked), at(until));
        }
        let told: Vec<_> = waits.each().map(|(time, requests)| (time.as_secs(), requests)).collect();
        assert_eq!(told, [(2, 2), (1, 1), (2, 2), (0, 1)]);
    }

    #[test]
    fn answers_are_counted_by_their_code_and_refusals_keep_their_reason() {
        let mut tally = Tally::default();
        for answer in [Answer::Ok, Answer::LoginOk, Answer::LoginFailed] {
            tally.count(answer);
        }
        tally.deny("IS", DenialReason::NoCredential);
        tally.reject("?", "unknown_command");
        assert_eq!((tally.succeeded, tally.refused), (2, 1));
        let reasons: Vec<&str> = tally.refusals.iter().map(|refused| refused.fault.as_str()).collect();
        assert_eq!(reasons, ["no_credential", "unknown_command"]);
    }
}
