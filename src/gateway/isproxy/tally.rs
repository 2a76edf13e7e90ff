//! What a session answered since it was last looked at; the journal turns it into metrics and log lines.

use tokio::time::Duration;

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
    /// How long each request had waited that its upstream owed a reply when it was lost or given up, or was too late for it.
    pub unanswered: Vec<Duration>,
    /// The refused commands that no authenticator saw.
    pub refusals: Vec<RefusedCommand>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
