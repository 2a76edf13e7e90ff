//! For unit tests of `auth` and of the doors: an authenticator over a store of its own, with a customer, a user and keys.
//!
//! Compiled for tests only.

pub mod people;

/// What tests of the console put into the store.
pub(crate) use crate::store::{NewMethod, SeenAddress};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Attempt, Authenticator, AuthenticatorParts, Credential, Decision, PresentedKey, SessionKeeper,
    SessionKeeperParts,
};
use crate::clock::Clock;
use crate::config::{Limits, Policy};
use crate::crypto::{KeyRing, KeyText, hash_password};
use crate::model::{
    AccessPoints, AllowList, ApiKeyRecord, ClientIp, KeyId, MfaRequirement, Permissions, Secret, Service,
    Timestamp, UserId, UserName,
};
use crate::store::{
    Follower, FollowerEvents, Index, KeyUse, NewCustomer, NewUser, Store, StoreError, Subject,
};

/// Where the clock stands.
pub const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);
/// The user's password.
pub const PASSWORD: &str = "a password of the tests";

/// An authenticator over a store of its own, which a test changes directly and then loads again.
pub struct World {
    _folder: tempfile::TempDir,
    pub store: Store,
    pub key_ring: Arc<KeyRing>,
    pub clock: Clock,
    pub uses: mpsc::Receiver<KeyUse>,
    pub authenticator: Arc<Authenticator>,
    pub user: UserId,
    pub index: Arc<Index>,
    /// Carries out orders once [`World::keep_sessions`] is called; without it, nobody does.
    pub keeper: Option<SessionKeeper>,
    keeping: Option<DropGuard>,
}

/// Ends what is open by what the feed says, as the control plane does.
struct Sweep(Arc<Authenticator>);

impl FollowerEvents for Sweep {
    fn trusted(&self) -> std::time::Duration {
        std::time::Duration::from_mins(1)
    }

    fn applied(&mut self, subjects: &[Subject]) -> u64 {
        self.0.end_revoked_sessions(subjects)
    }

    fn database_time(&mut self, _: Timestamp) {}

    fn store_state(&mut self, _: Result<(), &StoreError>) {}
}

impl World {
    pub async fn new(limits: Limits) -> Self {
        Self::with_password_threads(limits, 1).await
    }

    /// Whoever sends a password waits for ever, or finds the queue full.
    pub async fn without_password_threads(limits: Limits) -> Self {
        Self::with_password_threads(limits, 0).await
    }

    async fn with_password_threads(limits: Limits, password_threads: usize) -> Self {
        let (folder, store) = crate::store::testing::empty_store().await;
        let mut change = store.mutate().await.unwrap();
        let new =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&new).await.unwrap();
        let new = NewUser {
            customer,
            login: "alex".parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: String::from("en"),
            administrator: false,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            password_hash: Some(hash_password(&Secret::new(PASSWORD.into())).unwrap()),
            password_ends_at: None,
            mfa: MfaRequirement::Optional,
            created_at: NOW,
        };
        let user = change.insert_user(&new).await.unwrap();
        change.commit().await.unwrap();
        let key_ring = Arc::new(
            KeyRing::fill(|purpose| Ok::<_, std::convert::Infallible>([purpose as u8 + 1; 32])).unwrap(),
        );
        let clock = Clock::given(NOW);
        let (key_uses, noted) = mpsc::channel(10);
        let index = Arc::new(Index::load(&store).await.unwrap().with_clock(clock.clone()));
        let limits = Arc::new(limits);
        let (keeper, session_orders) = SessionKeeper::new(SessionKeeperParts {
            store: store.clone(),
            index: Arc::clone(&index),
            key_ring: Arc::clone(&key_ring),
            clock: clock.clone(),
            limits: Arc::clone(&limits),
        });
        let authenticator = Arc::new(
            Authenticator::new(AuthenticatorParts {
                index: Arc::clone(&index),
                key_ring: Arc::clone(&key_ring),
                policy: Policy::default(),
                limits,
                clock: clock.clone(),
                key_uses,
                session_orders,
                shared_failures: None,
                password_threads,
            })
            .unwrap(),
        );
        Self {
            _folder: folder,
            store,
            key_ring,
            clock,
            uses: noted,
            authenticator,
            user,
            index,
            keeper: Some(keeper),
            keeping: None,
        }
    }

    /// Runs the keeper of sessions and follows the feed, for as long as the world lasts.
    pub async fn keep_sessions(&mut self) {
        let stop = CancellationToken::new();
        let applied = *self.index.applied().borrow();
        let new = crate::store::NewGateway {
            id: "a1".into(),
            name: "test".into(),
            trusted: std::time::Duration::from_mins(1),
        };
        let registration = self.store.register_gateway(new, applied, NOW).await.unwrap();
        let follower = Follower::new(self.store.clone(), Arc::clone(&self.index), registration);
        let (mut sweep, stopped) = (Sweep(Arc::clone(&self.authenticator)), stop.clone());
        tokio::spawn(async move { follower.run(&mut sweep, stopped).await });
        tokio::spawn(self.keeper.take().unwrap().run(stop.clone()));
        self.keeping = Some(stop.drop_guard());
    }

    /// The command line's control plane.
    pub fn plane(&self) -> super::ControlPlane {
        super::ControlPlane {
            store: self.store.clone(),
            key_ring: Arc::clone(&self.key_ring),
            clock: self.clock.clone(),
            policy: self.authenticator.policy(),
            actor: super::Actor::Operator(String::from("tester")),
            once: None,
            hashing: super::HashingLane::default(),
        }
    }

    pub async fn add_key(&self, scope: &str) -> (String, ApiKeyRecord) {
        let text = KeyText::draw(&self.key_ring.tag).unwrap();
        let record = ApiKeyRecord {
            id: KeyId::from_random(crate::crypto::random::bits().unwrap()),
            user: self.user,
            digest: self.key_ring.digest.digest(text.expose().as_bytes()),
            last_characters: text.last_characters().into(),
            description: "test".into(),
            scope: scope.parse().unwrap(),
            enabled: true,
            expires_at: None,
            allow_list: AllowList::default(),
            created_at: NOW,
        };
        let mut change = self.store.mutate().await.unwrap();
        change.insert_key(&record, "").await.unwrap();
        change.commit().await.unwrap();
        self.reload().await;
        (text.expose().to_owned(), record)
    }

    /// Writes so many requests of the user, by its password at the API, as a gateway does.
    pub async fn add_uses(&self, requests: u64) {
        let made = crate::store::testing::CredentialUse {
            whose: crate::model::Recognised::Password(self.user),
            service: Service::Api,
            hour: crate::store::UsageHour::of(NOW),
            requests,
            refusals: 0,
        };
        self.store.add_uses(&[made]).await;
    }

    pub async fn change_user(&self, edit: impl FnOnce(&mut crate::store::UserRecord)) {
        let mut change = self.store.mutate().await.unwrap();
        let name: UserName = "acme/alex".parse().unwrap();
        let mut user = change.user(&name).await.unwrap().unwrap();
        edit(&mut user);
        change.update_user(&user).await.unwrap();
        change.commit().await.unwrap();
        self.reload().await;
    }

    /// Judges what is open again; answers how much of it was ended.
    pub fn end_revoked_sessions(&self) -> u64 {
        self.authenticator.end_revoked_sessions(&[crate::store::Subject::Everything])
    }

    pub async fn reload(&self) {
        self.index.resynchronise(&self.store).await.unwrap();
    }

    pub async fn key(&self, text: &str, service: Service) -> Decision {
        self.attempt(Credential::ApiKey(PresentedKey(text.as_bytes())), service).await
    }

    pub async fn password(&self, password: &str, service: Service) -> Decision {
        self.attempt(
            Credential::Password { user: "acme/alex", password: Secret::new(password.into()) },
            service,
        )
        .await
    }

    pub async fn attempt(&self, credential: Credential<'_>, service: Service) -> Decision {
        let client_ip = ClientIp::new("192.0.2.1".parse().unwrap());
        self.authenticator.authenticate(Attempt { credential, service, client_ip }).await
    }
}
