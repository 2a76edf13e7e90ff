//! How a session gets in: TLS, credentials, and what is counted of those that fail.

use tokio::time::{Duration, Instant};

use super::{
    EndReason, LastRequest, Login, Presented, PresentedCredential, Session, Step, TlsOffer, Transport,
    Verdict, Waiting,
};
use crate::config::PlaintextCredentials;
use crate::gateway::isproxy::command::LoginArguments;
use crate::gateway::isproxy::line::Behind;
use crate::gateway::isproxy::reply::Answer;
use crate::model::Secret;

impl Session {
    /// S16, S17: nothing but a lone `STARTTLS` of a session that has done nothing yet is upgraded, and where it
    /// cannot be, the client must not go on in clear.
    pub(super) fn on_start_tls(&mut self, behind: Behind, now: Instant) {
        match (self.transport, behind, self.login, self.rules.tls) {
            (Transport::Tls, ..) => {
                self.refuse_command("STARTTLS", "tls_already_active", Answer::TlsAlreadyActive, now);
            }
            (_, Behind::Bytes, ..) => self.close_at_once(EndReason::BytesBehindStartTls),
            (_, _, Login::In, _) => {
                self.refuse_command("STARTTLS", "already_authenticated", Answer::AlreadyAuthenticated, now);
            }
            (_, _, _, TlsOffer::NotOffered) => self.close(EndReason::TlsUnavailable),
            // Its replies would stand in clear behind `100 OK`.
            _ if !self.pending.is_empty() => self.close(EndReason::TlsUnavailable),
            _ => {
                self.answer(Answer::Ok, now);
                self.waiting = Waiting::Tls;
            }
        }
    }

    /// The handshake is done. Nothing that came before it counts any more but the failed logins (S17).
    pub fn on_tls_established(&mut self, now: Instant) {
        self.transport = Transport::Tls;
        self.waiting = Waiting::Nothing;
        self.active_at = now;
    }

    pub(super) fn on_login(&mut self, arguments: LoginArguments<'_>, now: Instant) {
        let credential = match arguments {
            LoginArguments::WrongNumber => {
                let answer = Answer::WrongNumberOfArguments;
                return self.refuse_command("LOGIN", "wrong_number_of_arguments", answer, now);
            }
            _ if self.login == Login::In => {
                let answer = Answer::AlreadyAuthenticated;
                return self.refuse_command("LOGIN", "already_authenticated", answer, now);
            }
            LoginArguments::Key(key) => PresentedCredential::Key(Secret::new(key.to_owned())),
            LoginArguments::Password { user, password } => PresentedCredential::Password {
                user: user.to_owned(),
                password: Secret::new(password.to_owned()),
            },
        };
        self.present(Presented { credential, one_shot: None });
    }

    /// Has a credential judged, unless it came in clear where that is refused.
    pub(super) fn present(&mut self, presented: Presented) {
        let refused = self.rules.plaintext_credentials == PlaintextCredentials::Refuse;
        self.waiting = Waiting::Decision { one_shot: presented.one_shot.clone() };
        self.step = Some(if self.transport == Transport::Plain && refused {
            Step::RefuseExposed(presented)
        } else {
            Step::Authenticate(presented)
        });
    }

    /// The first failure is answered at once, the others late.
    fn on_failed_login(&mut self, now: Instant) {
        self.failed_logins = self.failed_logins.saturating_add(1);
        let delay = self.rules.limits.isproxy_failed_login_delay_milliseconds;
        if self.failed_logins > 1 && delay > 0 {
            self.waiting = Waiting::HeldRefusal { until: now + Duration::from_millis(delay.into()) };
        } else {
            self.answer_failed_login(now);
        }
    }

    pub(super) fn answer_failed_login(&mut self, now: Instant) {
        self.waiting = Waiting::Nothing;
        self.answer(Answer::LoginFailed, now);
        if self.failed_logins >= self.rules.limits.isproxy_failed_logins {
            self.close(EndReason::FailedLogins);
        }
    }

    /// The authenticator has judged what [`Step::Authenticate`] carried.
    pub fn on_decision(&mut self, verdict: Verdict, now: Instant) {
        let Waiting::Decision { one_shot } = std::mem::replace(&mut self.waiting, Waiting::Nothing) else {
            return;
        };
        self.active_at = now;
        if verdict == Verdict::Admitted {
            // Whatever was refused last was another credential's.
            self.last_request = LastRequest::Taken;
        }
        match (verdict, one_shot) {
            (Verdict::Refused, _) => self.on_failed_login(now),
            (Verdict::Busy, _) => self.answer(Answer::LoginFailed, now),
            (Verdict::Admitted, Some(domain)) => self.request(domain.as_bytes(), now),
            (Verdict::Admitted, None) => {
                self.login = Login::In;
                self.answer(Answer::LoginOk, now);
            }
        }
    }
}
