//! What signing in, its second step, and its repetition have in common: which ways a user has, and what a page says of
//! what was presented in vain. Called by the handlers beside it.

use axum::response::Response;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

use askama::Template;

use super::super::failure::Failure;
use super::super::frame::FieldError;
use super::super::page::page_with;
use super::super::pages::sign_in::SecondStep;
use super::super::parts::counted;
use super::super::visit::Person;
use crate::auth::{FactorRefusal, MfaOverview, PresentedFactor, SignInFault};
use crate::model::{MethodKind, MethodRecord, Secret, Timestamp};

/// What a page says of something that was presented in vain.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    /// The fault and its remedy.
    pub(super) text: String,
    retry_after: Option<u32>,
}

impl Refused {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after: None }
    }

    fn wait(seconds: u32) -> Self {
        let text = format!("Too many attempts. Try again in {}.", wait_in_words(seconds));
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// Of a password; `wrong` is said of one that is not right.
    pub(super) fn password(fault: SignInFault, wrong: &str) -> Result<Self, Failure> {
        match fault {
            SignInFault::Wrong => Ok(Self::new(StatusCode::UNPROCESSABLE_ENTITY, wrong)),
            SignInFault::Wait { seconds } => Ok(Self::wait(seconds)),
            SignInFault::Busy => {
                let text = "Too many people sign in just now. Try again in a minute.";
                Ok(Self { retry_after: Some(60), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) })
            }
            SignInFault::Control(error) => Err(error.into()),
        }
    }

    /// Of a second factor; `None`: no further one is taken, and the sign-in begins again.
    pub(super) fn factor(refusal: FactorRefusal, step: SecondStep) -> Result<Option<Self>, Failure> {
        let text = match refusal {
            FactorRefusal::Wrong => match step {
                SecondStep::App => {
                    "The code is not correct or no longer valid. Enter the code the app shows now."
                }
                SecondStep::RecoveryCode => "The code is not correct or was used already.",
                SecondStep::Key => "The security key could not be used. Try again.",
            },
            FactorRefusal::Wait { seconds } => {
                let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
                return Ok(Some(Self::wait(seconds)));
            }
            FactorRefusal::Disabled => {
                "This method was switched off after too many failures. Use another one, and set this one up anew."
            }
            FactorRefusal::NotOffered => match step {
                SecondStep::Key => "The security key was not used in time. Try again when you are ready.",
                SecondStep::App | SecondStep::RecoveryCode => "You cannot use this now. Use another way.",
            },
            FactorRefusal::Over => return Ok(None),
            FactorRefusal::Control(error) => return Err(error.into()),
        };
        Ok(Some(Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)))
    }

    /// The fault as one of the field with this id; empty: of none.
    pub(super) fn of_field(&self, field: &str) -> Vec<FieldError> {
        vec![FieldError::new(field, self.text.as_str())]
    }

    /// The page again, which says this already.
    pub(super) fn answer(&self, page: &impl Template) -> Response {
        let mut answer = page_with(self.status, page);
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// The ways in which the user of a session can show a second factor, the one used last first.
pub(super) async fn ways_of(person: &Person) -> Result<Vec<SecondStep>, Failure> {
    let MfaOverview { mut methods, recovery_codes_left, .. } =
        person.access().own_mfa(person.session()).await?;
    if !person.access().offers_security_keys() {
        methods.retain(|method| method.kind != MethodKind::SecurityKey);
    }
    Ok(ways(&methods, recovery_codes_left))
}

/// The ways that `methods` and recovery codes give, the one used last first. Recovery codes come last, and are named
/// without being there where nothing else is.
fn ways(methods: &[MethodRecord], recovery_codes_left: usize) -> Vec<SecondStep> {
    let last_use = |kind: MethodKind| -> Option<Option<Timestamp>> {
        methods.iter().filter(|method| method.kind == kind).map(|method| method.last_used_at).max()
    };
    let mut found: Vec<_> = [(MethodKind::SecurityKey, SecondStep::Key), (MethodKind::App, SecondStep::App)]
        .into_iter()
        .filter_map(|(kind, step)| Some((last_use(kind)?, step)))
        .collect();
    // A stable sort: of methods never used, the security key comes first.
    found.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    let mut ways: Vec<_> = found.into_iter().map(|(_, step)| step).collect();
    if recovery_codes_left > 0 || ways.is_empty() {
        ways.push(SecondStep::RecoveryCode);
    }
    ways
}

/// The factor that a form brought.
pub(super) fn presented(step: SecondStep, text: String) -> PresentedFactor {
    let text = Secret::new(text);
    match step {
        SecondStep::App => PresentedFactor::Code(text),
        SecondStep::Key => PresentedFactor::SecurityKey(text),
        SecondStep::RecoveryCode => PresentedFactor::RecoveryCode(text),
    }
}

/// `1 minute`, `5 minutes`, `2 hours`: never less than what is left.
fn wait_in_words(seconds: u32) -> String {
    let minutes = usize::try_from(seconds.div_ceil(60).max(1)).unwrap_or(usize::MAX);
    match minutes {
        0..=90 => counted(minutes, "minute", "minutes"),
        _ => counted(minutes.div_ceil(60), "hour", "hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FactorFailures, MethodId, UserId};

    fn method(kind: MethodKind, last_used: Option<i64>) -> MethodRecord {
        let now = Timestamp::from_unix_milliseconds(0);
        MethodRecord {
            id: MethodId(1),
            user: UserId(1),
            kind,
            name: String::new(),
            secret: Vec::new(),
            last_step: None,
            failures: FactorFailures::none(now),
            created_at: now,
            last_used_at: last_used.map(Timestamp::from_unix_milliseconds),
        }
    }

    #[test]
    fn the_way_used_last_comes_first_and_recovery_codes_come_last() {
        use MethodKind::{App, SecurityKey};
        let cases: [(&[MethodRecord], usize, &[SecondStep]); 6] = [
            (&[method(App, None)], 3, &[SecondStep::App, SecondStep::RecoveryCode]),
            (&[method(App, Some(5)), method(SecurityKey, Some(9))], 0, &[SecondStep::Key, SecondStep::App]),
            (
                &[method(App, Some(9)), method(SecurityKey, Some(5))],
                1,
                &[SecondStep::App, SecondStep::Key, SecondStep::RecoveryCode],
            ),
            (
                &[method(SecurityKey, None), method(SecurityKey, Some(7)), method(App, Some(6))],
                0,
                &[SecondStep::Key, SecondStep::App],
            ),
            (&[method(App, None), method(SecurityKey, None)], 0, &[SecondStep::Key, SecondStep::App]),
            (&[], 0, &[SecondStep::RecoveryCode]),
        ];
        for (methods, codes, expected) in cases {
            assert_eq!(ways(methods, codes), expected);
        }
    }

    #[test]
    fn waits_are_told_in_minutes_that_are_never_too_few() {
        for (seconds, text) in [
            (0, "1 minute"),
            (1, "1 minute"),
            (60, "1 minute"),
            (61, "2 minutes"),
            (300, "5 minutes"),
            (7_200, "2 hours"),
            (7_201, "3 hours"),
        ] {
            assert_eq!(wait_in_words(seconds), text);
        }
    }

    #[test]
    fn s95_a_sign_in_that_is_over_has_nothing_to_be_tried_again() {
        assert!(Refused::factor(FactorRefusal::Over, SecondStep::App).unwrap().is_none());
        let wrong = Refused::factor(FactorRefusal::Wrong, SecondStep::App).unwrap().unwrap();
        assert_eq!((wrong.status, wrong.retry_after), (StatusCode::UNPROCESSABLE_ENTITY, None));
        let wait = Refused::factor(FactorRefusal::Wait { seconds: 90 }, SecondStep::Key).unwrap().unwrap();
        assert_eq!((wait.status, wait.retry_after), (StatusCode::TOO_MANY_REQUESTS, Some(90)));
        assert_eq!(wait.text, "Too many attempts. Try again in 2 minutes.");
    }
}
