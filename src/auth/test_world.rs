//! A small world for tests of what stands behind a decision: real users, real keys, a real [`Authenticator`].
//!
//! Customer `acme` with the users `alex`, who has one key for each door, and `bob`, who has a password only.

#![expect(clippy::missing_panics_doc, reason = "tests panic when they fail")]

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Attempt, Authenticator, AuthenticatorParts, Credential, Decision, Permit, PresentedKey};
use crate::clock::Clock;
use crate::config::{Limits, Policy};
use crate::crypto::{DigestKey, KeyRing, KeyText, TagKey, hash_password};
use crate::model::{
    AccessPoints, AllowList, ApiKeyRecord, ClientIp, CustomerId, KeyId, MfaRequirement, Permissions, Secret,
    Service, Timestamp, UserId,
};
use crate::store::{Index, Mutation, NewCustomer, NewUser, Store};

/// The password of `acme/bob`.
pub const PASSWORD: &str = "a password of the tests";
const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

/// An authenticator that knows somebody.
#[derive(Debug)]
pub struct TestWorld {
    /// Judges for the test.
    pub authenticator: Arc<Authenticator>,
    /// A key of `acme/alex` of scope `api`.
    pub api_key: String,
    /// A key of `acme/alex` of scope `isproxy`.
    pub isproxy_key: String,
    _key_uses: mpsc::Receiver<crate::store::KeyUse>,
}

impl TestWorld {
    /// Makes the world under `limits`; its store is gone once it is loaded.
    pub async fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&folder.path().join("latchkey.db")).await.unwrap();
        let key_ring = KeyRing { digest: DigestKey::new([1; 32]), tag: TagKey::new([2; 32]) };
        let mut change = store.mutate().await.unwrap();
        let customer =
            NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
        let customer = change.insert_customer(&customer).await.unwrap();
        let alex = add_user(&mut change, customer, "alex").await;
        add_user(&mut change, customer, "bob").await;
        let api_key = add_key(&mut change, &key_ring, alex, "api").await;
        let isproxy_key = add_key(&mut change, &key_ring, alex, "isproxy").await;
        // The mark that the use case sets with a first key.
        let mut marked = change.user(&"acme/alex".parse().unwrap()).await.unwrap().unwrap();
        marked.password_off_by_key = true;
        change.update_user(&marked).await.unwrap();
        change.commit().await.unwrap();
        let (key_uses, noted) = mpsc::channel(1);
        let authenticator = Authenticator::new(AuthenticatorParts {
            index: Arc::new(Index::load(&store).await.unwrap()),
            key_ring: Arc::new(key_ring),
            policy: Policy::default(),
            limits: Arc::new(limits),
            clock: Clock::given(NOW),
            key_uses,
            password_threads: 1,
        });
        Self { authenticator: Arc::new(authenticator.unwrap()), api_key, isproxy_key, _key_uses: noted }
    }

    /// What lets `acme/alex` in by key, from 192.0.2.7.
    pub async fn permit_by_key(&self) -> Permit {
        self.permit(Credential::ApiKey(PresentedKey(self.api_key.as_bytes()))).await
    }

    /// What lets `acme/bob` in by password, from 192.0.2.7.
    pub async fn permit_by_password(&self) -> Permit {
        self.permit(Credential::Password { user: "acme/bob", password: Secret::new(PASSWORD.into()) }).await
    }

    async fn permit(&self, credential: Credential<'_>) -> Permit {
        let client_ip = ClientIp::new("192.0.2.7".parse().unwrap());
        match self.authenticator.authenticate(Attempt { credential, service: Service::Api, client_ip }).await
        {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => panic!("{denial:?}"),
        }
    }
}

async fn add_user(change: &mut Mutation, customer: CustomerId, login: &str) -> UserId {
    let user = NewUser {
        customer,
        login: login.parse().unwrap(),
        full_name: String::new(),
        email: String::new(),
        administrator: false,
        permissions: Permissions::default(),
        access_points: AccessPoints::ALL,
        password_hash: Some(hash_password(&Secret::new(PASSWORD.into())).unwrap()),
        mfa: MfaRequirement::Optional,
        created_at: NOW,
    };
    change.insert_user(&user).await.unwrap()
}

async fn add_key(change: &mut Mutation, key_ring: &KeyRing, user: UserId, scope: &str) -> String {
    let text = KeyText::draw(&key_ring.tag).unwrap();
    let record = ApiKeyRecord {
        id: KeyId::from_random(crate::crypto::random::bits().unwrap()),
        user,
        digest: key_ring.digest.digest(text.expose().as_bytes()),
        last_characters: text.last_characters().into(),
        description: "test".into(),
        scope: scope.parse().unwrap(),
        enabled: true,
        expires_at: None,
        allow_list: AllowList::default(),
        created_at: NOW,
    };
    change.insert_key(&record).await.unwrap();
    text.expose().to_owned()
}
