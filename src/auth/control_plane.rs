//! What the use cases work on, and what can go wrong in them.
//!
//! The use cases themselves are methods of [`ControlPlane`] in the files beside this one. Each acts for the plane's
//! [`Actor`] and asks for that one's rights itself. Callers: the command line, the console, the management API.

use std::sync::Arc;

use super::actor::Actor;
use super::hashing::HashingLane;
use super::key_ring::{KeyRingError, open_key_ring};
use super::master_key_rotation::RotationError;
use super::passwords::PasswordFault;
use super::restoring::UntrustedBackup;
use super::rights::Forbidden;
use crate::clock::Clock;
use crate::config::{Config, Policy};
use crate::crypto::random::RandomError;
use crate::crypto::{KeyRing, SealError};
use crate::model::{CustomerHandle, KeyId, TokenDigest, UserName};
use crate::store::{
    BackupError, CopyError, CustomerRecord, Mutation, RestoreError, Store, StoreError, UserRecord,
};

/// Everything that reading and changing customers, users and keys needs. Clones share the store.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// Where the records are.
    pub store: Store,
    /// What keys are made and found with.
    pub key_ring: Arc<KeyRing>,
    /// Where the time comes from.
    pub clock: Clock,
    /// The rules that the operator chose.
    pub policy: Policy,
    /// On whose behalf.
    pub actor: Actor,
    /// The form or call that the next change comes from, which may make something once; `None`: no form.
    pub once: Option<TokenDigest>,
    /// Where new passwords and recovery codes are hashed.
    pub hashing: HashingLane,
}

/// What to do where no store is yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingStore {
    /// Make it, with a new key ring and, where it is a file, a new master key.
    Make,
    /// Fail with [`StoreError::Missing`].
    Refuse,
}

/// Why a use case did not do what it was asked for; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such customer.
    #[error("there is no customer `{0}`")]
    UnknownCustomer(CustomerHandle),
    /// No such user.
    #[error("there is no user `{0}`")]
    UnknownUser(UserName),
    /// No such key, or not any more.
    #[error("there is no key {0}; perhaps it was deleted")]
    UnknownKey(KeyId),
    /// The login name is taken.
    #[error("user `{0}` exists already")]
    UserExists(UserName),
    /// PROTOCOL section 3, point 3.
    #[error(
        "`{user}` is the last active administrator of customer `{customer}`, and one active administrator always \
         remains; make another one first, or delete the whole customer",
        customer = .0.customer, user = .0
    )]
    LastAdministrator(UserName),
    /// PROTOCOL section 3, point 4.
    #[error(
        "customer `{customer}` requires MFA of all its users, so that it cannot be optional for `{user}` alone; it can \
         be made optional for the customer",
        customer = .0.customer, user = .0
    )]
    MfaRequiredByCustomer(UserName),
    /// PROTOCOL section 3, point 1.
    #[error("`{user}` still has {keys} API key(s); the password can be allowed again once none is left")]
    KeysLeft {
        /// Whose keys.
        user: UserName,
        /// How many are left.
        keys: usize,
    },
    /// The first key would end what the password opens, and nobody has agreed to that.
    #[error(
        "this is the first API key of `{0}`: it ends the access to the API by password, also after the key is deleted"
    )]
    EndsPasswordAccess(UserName),
    /// PROTOCOL section 3, point 5.
    #[error("a key of scope `manage` needs an allow-list of its own: name at least one network for it")]
    ManageKeyWithoutList,
    /// A new key would open what the old one does not.
    #[error("{0} is disabled, and a key in its place would not be; enable it first, or make another key")]
    RotatesDisabledKey(KeyId),
    /// There is nothing left to overlap with.
    #[error("{0} has expired, so that there is nothing left to replace; make another key")]
    RotatesExpiredKey(KeyId),
    /// The end lies behind us.
    #[error("the key would expire in the past")]
    ExpiresInThePast,
    /// A text that people read is empty, too long, or would disturb a terminal.
    #[error("{what} is not allowed: {allowed}")]
    Text {
        /// Which text.
        what: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// What a form was to change is not what the form showed any more.
    #[error("somebody changed this user meanwhile; look again and repeat your change")]
    ChangedMeanwhile,
    /// The network to remove is not in the list.
    #[error("{0} is not in the list")]
    NotListed(ipnet::IpNet),
    /// There is no quota to take away.
    #[error("{0} has no quota")]
    NoQuota(Box<str>),
    /// The same form or call was sent before, and has made this; nothing was made again.
    #[error("this was sent before, and has made `{0}`; nothing was made again")]
    MadeBefore(String),
    /// The actor may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The password is not allowed.
    #[error(transparent)]
    Password(#[from] PasswordFault),
    /// A password could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hashing(String),
    /// Too many of the same person are being hashed already.
    #[error("too many passwords or recovery codes of yours are being worked on; try again in a moment")]
    HashingBusy,
    /// What an authenticator app is set up with could not be shown.
    #[error("the authenticator app could not be set up: {0}")]
    SetUp(String),
    /// A sealed secret does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The data keys cannot be opened.
    #[error(transparent)]
    KeyRing(#[from] KeyRingError),
    /// The master key was not rotated.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The store was not backed up, or the backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The store was not put back to a backup.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The backup is not put in force.
    #[error(transparent)]
    UntrustedBackup(#[from] UntrustedBackup),
    /// The store was not copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ControlPlane {
    /// Opens the store that `config` names, and its key ring.
    pub async fn open(
        config: &Config,
        clock: Clock,
        missing: MissingStore,
        actor: Actor,
    ) -> Result<Self, ControlError> {
        let store = match missing {
            MissingStore::Make => Store::open_or_create(&config.store).await?,
            MissingStore::Refuse => Store::open(&config.store).await?,
        };
        store.clear_dead_imports().await?;
        let key_ring = Arc::new(open_key_ring(&store, &config.master_key, clock.now()).await?);
        Ok(Self {
            store,
            key_ring,
            clock,
            policy: config.policy.clone(),
            actor,
            once: None,
            hashing: HashingLane::default(),
        })
    }
}

/// Text that people wrote about a person or a key: one line that cannot disturb a terminal or a table.
pub(super) fn check_text(what: &'static str, text: &str) -> Result<(), ControlError> {
    const MAX_CHARACTERS: usize = 200;
    if text.chars().count() > MAX_CHARACTERS || text.chars().any(char::is_control) {
        return Err(ControlError::Text { what, allowed: "one line of at most 200 characters" });
    }
    Ok(())
}

/// A language tag such as `en` or `pt-BR` (BCP 47), in form only.
pub(super) fn check_language(tag: &str) -> Result<(), ControlError> {
    let is_part =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_tag = tag.len() <= 35
        && tag.split('-').all(is_part)
        && tag.starts_with(|first: char| first.is_ascii_alphabetic());
    is_tag
        .then_some(())
        .ok_or(ControlError::Text { what: "the language", allowed: "a tag such as `en` or `pt-BR`" })
}

pub(super) async fn require_customer(
    change: &mut Mutation,
    handle: &CustomerHandle,
) -> Result<CustomerRecord, ControlError> {
    change.customer(handle).await?.ok_or_else(|| ControlError::UnknownCustomer(handle.clone()))
}

pub(super) async fn require_user(change: &mut Mutation, name: &UserName) -> Result<UserRecord, ControlError> {
    change.user(name).await?.ok_or_else(|| ControlError::UnknownUser(name.clone()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::MasterKeySource;
    use crate::model::{Secret, Timestamp};

    pub(in crate::auth) const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    /// A control plane on a new store, with customer `acme` (MFA optional), `acme/admin` and `acme/alex`, both with a password.
    pub(in crate::auth) async fn plane() -> (tempfile::TempDir, ControlPlane) {
        let (folder, store) = crate::store::testing::empty_store().await;
        let key_ring =
            KeyRing::fill(|purpose| Ok::<_, std::convert::Infallible>([purpose as u8 + 1; 32])).unwrap();
        let plane = ControlPlane {
            store,
            key_ring: Arc::new(key_ring),
            clock: Clock::given(NOW),
            policy: Policy::default(),
            actor: Actor::Operator(String::from("tester")),
            once: None,
            hashing: HashingLane::default(),
        };
        let order = super::super::CustomerToMake {
            mfa: Some(crate::model::MfaRequirement::Optional),
            admin_password: super::super::FirstPassword::Chosen(password()),
            ..super::super::CustomerToMake::new("acme".parse().unwrap())
        };
        plane.create_customer(order).await.unwrap();
        let alex = super::super::UserToMake {
            password: super::super::FirstPassword::Chosen(password()),
            ..super::super::UserToMake::new("acme/alex".parse().unwrap())
        };
        plane.create_user(alex).await.unwrap();
        (folder, plane)
    }

    pub(in crate::auth) fn password() -> Secret<String> {
        Secret::new("correct horse battery".to_owned())
    }

    pub(in crate::auth) async fn config(folder: &std::path::Path) -> Config {
        Config {
            store: crate::store::testing::new_location(folder).await,
            snapshot: folder.join("latchkey.snapshot"),
            master_key: MasterKeySource::File(folder.join("master.key")),
            listeners: Vec::new(),
            upstreams: Vec::new(),
            threads: std::num::NonZeroUsize::MIN,
            policy: Policy::default(),
            limits: crate::config::Limits::default(),
            access_log: None,
            traces: None,
            security_events: None,
            acme: None,
        }
    }

    #[tokio::test]
    async fn a_store_is_made_only_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path()).await;
        let open = |missing| {
            let actor = Actor::Operator(String::from("tester"));
            ControlPlane::open(&config, Clock::given(NOW), missing, actor)
        };
        let error = open(MissingStore::Refuse).await.unwrap_err();
        assert!(matches!(error, ControlError::Store(StoreError::Missing(_))), "{error}");
        assert!(!folder.path().join("master.key").exists());
        let made = open(MissingStore::Make).await.unwrap();
        let again = open(MissingStore::Refuse).await.unwrap();
        assert_eq!(made.key_ring.tag.tag(b"random part"), again.key_ring.tag.tag(b"random part"));
    }

    #[test]
    fn text_that_would_disturb_a_terminal_is_refused() {
        assert!(check_text("the description", "CI of the shop, ünïcode is fine").is_ok());
        for text in ["two\nlines", "\u{1b}[31mred", "a\u{7}", &"x".repeat(201)] {
            assert!(check_text("the description", text).is_err(), "{text:?}");
        }
    }
}
