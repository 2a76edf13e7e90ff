//! People at the console, as they are kept: sessions, methods, links. Never a secret in clear.

use std::fmt;

use super::{Timestamp, UserId};

/// The keyed digest of something that a browser or a mail holds: what the store has instead of it; prints nothing of
/// itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// How far a sign-in has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInStage {
    /// The password was right; a second factor is due. Good for nothing else (S28).
    Half,
    /// Signed in.
    Full,
}

impl SignInStage {
    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Full => "full",
        }
    }
}

/// One session at the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSessionRecord {
    /// What it is found by.
    pub digest: TokenDigest,
    /// Whose it is.
    pub user: UserId,
    /// How far its sign-in has come.
    pub stage: SignInStage,
    /// Second factors that were tried in vain in a half sign-in.
    pub tries: u32,
    /// The version of the password that opened it; it ends with that password.
    pub password_version: i64,
    /// The state of the user's methods when it was opened.
    pub mfa_generation: i64,
    /// When the sign-in was done.
    pub created_at: Timestamp,
    /// Its last use, to the minute.
    pub last_used_at: Timestamp,
    /// When password, and factor where there is one, were last shown (S96).
    pub authenticated_at: Timestamp,
    /// Where it was opened from, as text.
    pub client_ip: String,
    /// What the browser calls itself, cut to a line.
    pub browser: String,
}

/// A kind of second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// An authenticator app (RFC 6238).
    App,
    /// A security key (`WebAuthn`).
    SecurityKey,
}

impl MethodKind {
    /// The word in the store and in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::SecurityKey => "key",
        }
    }

    /// The word in sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "authenticator app",
            Self::SecurityKey => "security key",
        }
    }
}

/// The row of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodId(pub i64);

/// Failures of one factor: those in a row disable it, those of ten minutes make it wait (S31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorFailures {
    /// In a row.
    pub in_a_row: u32,
    /// Since `burst_began_at`.
    pub burst: u32,
    /// When the present ten minutes began.
    pub burst_began_at: Timestamp,
}

impl FactorFailures {
    /// So many in a row disable the factor until it is bound again.
    pub const DISABLED_AFTER: u32 = 100;
    /// So many within [`FactorFailures::BURST_SECONDS`] make it wait for the rest of them.
    pub const BURST: u32 = 10;
    /// How long failures are counted together.
    pub const BURST_SECONDS: i64 = 600;

    /// Nothing failed yet.
    pub const fn none(now: Timestamp) -> Self {
        Self { in_a_row: 0, burst: 0, burst_began_at: now }
    }

    /// Disabled until it is bound again?
    pub const fn is_disabled(self) -> bool {
        self.in_a_row >= Self::DISABLED_AFTER
    }

    /// Seconds to wait before the next try; `None`: none. A clock that was set back begins the ten minutes anew.
    pub fn wait(self, now: Timestamp) -> Option<i64> {
        let age = now.unix_seconds().saturating_sub(self.burst_began_at.unix_seconds());
        (self.burst >= Self::BURST && (0..Self::BURST_SECONDS).contains(&age))
            .then_some(Self::BURST_SECONDS - age)
    }

    /// One more.
    #[must_use]
    pub fn and_one_at(self, now: Timestamp) -> Self {
        let age = now.unix_seconds().saturating_sub(self.burst_began_at.unix_seconds());
        let (burst, burst_began_at) = if (0..Self::BURST_SECONDS).contains(&age) {
            (self.burst.saturating_add(1), self.burst_began_at)
        } else {
            (1, now)
        };
        Self { in_a_row: self.in_a_row.saturating_add(1), burst, burst_began_at }
    }
}

/// One method of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct MethodRecord {
    /// Its row.
    pub id: MethodId,
    /// Whose it is.
    pub user: UserId,
    /// Of which kind.
    pub kind: MethodKind,
    /// What its user calls it.
    pub name: String,
    /// Sealed: the app's seed, or the security key's public key and counter.
    pub secret: Vec<u8>,
    /// The last time step whose code was taken (RFC 6238 §5.2: none is taken twice).
    pub last_step: Option<u64>,
    /// What failed.
    pub failures: FactorFailures,
    /// When it was set up.
    pub created_at: Timestamp,
    /// When it last signed its user in.
    pub last_used_at: Option<Timestamp>,
}

impl fmt::Debug for MethodRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodRecord").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What a one-time link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPurpose {
    /// Choosing a password.
    Password,
    /// Signing in, beside the password, after a reset of MFA.
    SignIn,
}

impl LinkPurpose {
    /// The word in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SignIn => "sign_in",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    #[test]
    fn s31_ten_failures_in_ten_minutes_wait_and_a_hundred_in_a_row_disable() {
        let mut failures = FactorFailures::none(NOW);
        for _ in 0..9 {
            failures = failures.and_one_at(NOW);
        }
        assert_eq!(failures.wait(NOW), None);
        failures = failures.and_one_at(NOW.plus_seconds(60));
        assert_eq!(failures.wait(NOW.plus_seconds(60)), Some(540));
        assert_eq!(failures.wait(NOW.plus_seconds(600)), None);
        assert_eq!(
            failures.wait(NOW.plus_seconds(-3_600)),
            None,
            "a clock that was set back locks nobody out"
        );
        for minute in 0..90 {
            failures = failures.and_one_at(NOW.plus_seconds(600 + minute * 60));
        }
        assert!(failures.is_disabled() && failures.in_a_row == 100);
        assert!(failures.wait(NOW.plus_seconds(100 * 60)).is_none());
    }

    #[test]
    fn digests_and_secrets_print_nothing_of_themselves() {
        assert_eq!(format!("{:?}", TokenDigest([7; 32])), "TokenDigest(…)");
        let method = MethodRecord {
            id: MethodId(1),
            user: UserId(2),
            kind: MethodKind::App,
            name: "phone".into(),
            secret: vec![250; 20],
            last_step: None,
            failures: FactorFailures::none(NOW),
            created_at: NOW,
            last_used_at: None,
        };
        assert!(!format!("{method:?}").contains("250"));
    }
}
