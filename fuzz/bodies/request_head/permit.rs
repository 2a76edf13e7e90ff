//! A permit, which only an authenticator makes: of one that knows a single key.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use latchkey::auth::{
    Attempt, Authenticator, AuthenticatorParts, Credential, Decision, Permit, PresentedKey, SessionKeeper,
    SessionKeeperParts,
};
use latchkey::clock::Clock;
use latchkey::config::{Limits, Policy, StoreLocation};
use latchkey::crypto::{DigestKey, KeyRing, KeyText};
use latchkey::model::{ClientIp, KeyId, Service, Timestamp};
use latchkey::store::{ImportedKey, ImportedUser, Index, Store};
use tokio::sync::mpsc;

/// The same one for every input.
pub fn permit() -> &'static Permit {
    static PERMIT: OnceLock<Permit> = OnceLock::new();
    PERMIT.get_or_init(|| {
        // Beside whatever runtime asks for it, which must not wait within itself.
        let made = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(make_permit())
        });
        made.join().expect("a permit")
    })
}

async fn make_permit() -> Permit {
    let key_ring = KeyRing::fill(|purpose| Ok::<_, Infallible>([purpose as u8 + 1; 32])).expect("a key ring");
    let key_ring = Arc::new(key_ring);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open_or_create(&StoreLocation::Sqlite(folder.path().join("latchkey.db")))
        .await
        .expect("a store");
    let key = KeyText::draw(&key_ring.tag).expect("a key");
    import(&store, &key_ring, &key).await;
    let index = Arc::new(Index::load(&store).await.expect("an index"));
    let (clock, limits) = (Clock::system(), Arc::new(Limits::default()));
    let (_, session_orders) = SessionKeeper::new(SessionKeeperParts {
        store: store.clone(),
        index: Arc::clone(&index),
        key_ring: Arc::clone(&key_ring),
        clock: clock.clone(),
        limits: Arc::clone(&limits),
    });
    let (key_uses, _noted) = mpsc::channel(1);
    let authenticator = Authenticator::new(AuthenticatorParts {
        index,
        key_ring,
        policy: Policy::default(),
        limits,
        clock,
        key_uses,
        session_orders,
        shared_failures: None,
        password_threads: 0,
    });
    let attempt = Attempt {
        credential: Credential::ApiKey(PresentedKey(key.expose().as_bytes())),
        service: Service::Api,
        client_ip: ClientIp::new(IpAddr::from(Ipv4Addr::new(192, 0, 2, 7))),
    };
    let decision = authenticator.expect("an authenticator").authenticate(attempt).await;
    store.close().await;
    match decision {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => panic!("{denial:?}"),
    }
}

/// Makes `acme/alex` and its key.
async fn import(store: &Store, key_ring: &KeyRing, key: &KeyText) {
    let import = store.begin_import(Timestamp::from_unix_milliseconds(0)).await.expect("an import");
    let handle = "acme".parse().expect("a handle");
    let customers = import.add_customers(&[handle]).await.expect("a customer");
    let login = "alex".parse().expect("a login name");
    let user = ImportedUser { customer: customers[0], login, administrator: false, has_key: true };
    let users = import.add_users(&[user]).await.expect("a user");
    let row = ImportedKey {
        id: KeyId::from_random(7),
        user: users[0],
        digest: key_ring.digest.digest(key.expose().as_bytes()),
        last_characters: key.last_characters().into(),
    };
    import.add_keys(&[row], "api".parse().expect("a scope")).await.expect("a row");
    import.commit(&[], &DigestKey::new([7; 32])).await.expect("a commit");
}
