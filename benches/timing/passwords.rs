//! Passwords that are refused for different reasons, at both doors.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use latchkey::auth::{
    Attempt, Authenticator, AuthenticatorParts, Credential, Decision, SessionKeeper, SessionKeeperParts,
};
use latchkey::clock::Clock;
use latchkey::config::{Limits, Policy, StoreLocation};
use latchkey::crypto::{KeyRing, hash_password};
use latchkey::model::{AccessPoints, ClientIp, MfaRequirement, Permissions, Secret, Service, Timestamp};
use latchkey::store::{Index, NewCustomer, NewUser, Store};
use tokio::sync::mpsc;

use super::welch::{Row, Sample};

/// Tries of each kind; each takes a whole hash.
const TRIES: usize = 60;
const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);
const PASSWORD: &str = "correct horse battery staple";

/// Each kind against a wrong password of an ordinary user.
pub fn measure() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let authenticator = authenticator().await;
        let mut rows = Vec::new();
        for service in [Service::Api, Service::IsProxy] {
            for (name, user, password) in [
                ("a wrong password against another one (control)", "acme/plain", "another wrong password"),
                ("an unknown user", "acme/nobody", PASSWORD),
                ("a name that is none", "nonsense", PASSWORD),
                ("the right password that MFA switched off", "acme/mfa", PASSWORD),
                ("the right password of a user who is inactive", "acme/inactive", PASSWORD),
            ] {
                let (mut ones, mut others) = (Sample::default(), Sample::default());
                for number in 0..2 * TRIES {
                    // In turn: what drifts, drifts for both.
                    let is_one = (number + number / 2) % 2 == 0;
                    let (user, password) =
                        if is_one { (user, password) } else { ("acme/plain", "a wrong password") };
                    let began = Instant::now();
                    refuse(&authenticator, user, password, service).await;
                    let took = began.elapsed();
                    if is_one { ones.add(took) } else { others.add(took) }
                }
                let name = format!("{}: {name}", service.as_str());
                rows.push(Row { medians_count: true, ..Row::new(&name, &ones, &others) });
            }
        }
        rows
    })
}

async fn refuse(authenticator: &Authenticator, user: &str, password: &str, service: Service) {
    let credential = Credential::Password { user, password: Secret::new(password.to_owned()) };
    let client_ip = ClientIp::new([10, 3, 200, 7].into());
    let decision = authenticator.authenticate(Attempt { credential, service, client_ip }).await;
    assert!(matches!(decision, Decision::Deny(_)), "{user} was let in");
}

/// Users of every kind, and no throttle.
async fn authenticator() -> Authenticator {
    let key_ring = Arc::new(KeyRing::fill(|purpose| Ok::<_, Infallible>([purpose as u8 + 1; 32])).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open_or_create(&StoreLocation::Sqlite(folder.path().join("latchkey.db"))).await.unwrap();
    add_users(&store).await;
    let index = Arc::new(Index::load(&store).await.unwrap());
    let clock = Clock::system();
    let limits = Arc::new(Limits {
        failed_credentials_per_address: 0,
        failed_passwords_per_user: 0,
        ..Limits::default()
    });
    let (_, session_orders) = SessionKeeper::new(SessionKeeperParts {
        store: store.clone(),
        index: Arc::clone(&index),
        key_ring: Arc::clone(&key_ring),
        clock: clock.clone(),
        limits: Arc::clone(&limits),
    });
    let (key_uses, _) = mpsc::channel(1);
    let parts = AuthenticatorParts {
        index,
        key_ring,
        policy: Policy::default(),
        limits,
        clock,
        key_uses,
        session_orders,
        shared_failures: None,
        password_threads: 1,
    };
    store.close().await;
    Authenticator::new(parts).unwrap()
}

async fn add_users(store: &Store) {
    let mut change = store.mutate().await.unwrap();
    let customer =
        NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
    let customer = change.insert_customer(&customer).await.unwrap();
    let hash = hash_password(&Secret::new(PASSWORD.to_owned())).unwrap();
    for (login, mfa) in [
        ("plain", MfaRequirement::Optional),
        ("mfa", MfaRequirement::Required),
        ("inactive", MfaRequirement::Optional),
    ] {
        let user = NewUser {
            customer,
            login: login.parse().unwrap(),
            full_name: String::new(),
            email: String::new(),
            language: "en".to_owned(),
            administrator: false,
            permissions: Permissions::default(),
            access_points: AccessPoints::ALL,
            password_hash: Some(hash.clone()),
            password_ends_at: None,
            mfa,
            created_at: NOW,
        };
        let id = change.insert_user(&user).await.unwrap();
        if login == "inactive" {
            let mut user = change.user_by_id(id).await.unwrap().unwrap();
            user.active = false;
            change.update_user(&user).await.unwrap();
        }
    }
    change.commit().await.unwrap();
}
