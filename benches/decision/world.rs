//! What decisions are made from: an index of as many keys as are wanted, and an authenticator over it.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use latchkey::auth::{Authenticator, AuthenticatorParts, SessionKeeper, SessionKeeperParts};
use latchkey::clock::Clock;
use latchkey::config::{Limits, Policy, StoreLocation};
use latchkey::crypto::{DigestKey, KeyRing, KeyText};
use latchkey::model::{KeyDigest, KeyId, Timestamp};
use latchkey::store::{ImportedKey, Index, KeyUse, ROWS_PER_BATCH, Store};
use tokio::sync::mpsc;

use super::users::import_users;

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);
/// Keys that are asked for, spread over all that there are.
pub const ASKED: usize = 10_000;

/// An authenticator in memory; its store is gone.
pub struct World {
    pub key_ring: Arc<KeyRing>,
    pub index: Arc<Index>,
    pub authenticator: Authenticator,
    pub asked: Vec<Asked>,
    /// Held so that uses of keys can be noted.
    _key_uses: mpsc::Receiver<KeyUse>,
}

/// One key, in every form in which a step gets it.
pub struct Asked {
    /// As a client shows it.
    pub text: String,
    /// What it is found by.
    pub digest: KeyDigest,
    /// The fields of a request with it.
    pub headers: HeaderMap,
    /// The line that logs in with it.
    pub login: Vec<u8>,
}

impl World {
    /// A world of so many keys, each made by `draw`.
    pub fn new(keys: usize, draw: impl FnMut(&KeyRing) -> String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Self::load(keys, draw))
    }

    async fn load(keys: usize, draw: impl FnMut(&KeyRing) -> String) -> Self {
        let key_ring =
            Arc::new(KeyRing::fill(|purpose| Ok::<_, Infallible>([purpose as u8 + 1; 32])).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open_or_create(&StoreLocation::Sqlite(folder.path().join("latchkey.db"))).await.unwrap();
        let asked = import(&store, &key_ring, keys, draw).await;
        let index = Arc::new(Index::load(&store).await.unwrap());
        assert_eq!(index.size().keys, keys);
        let clock = Clock::system();
        let limits = Arc::new(Limits::default());
        let (_, session_orders) = SessionKeeper::new(SessionKeeperParts {
            store: store.clone(),
            index: Arc::clone(&index),
            key_ring: Arc::clone(&key_ring),
            clock: clock.clone(),
            limits: Arc::clone(&limits),
        });
        // Room for each key's use once a minute.
        let (key_uses, noted) = mpsc::channel(100 * ASKED);
        let authenticator = Authenticator::new(AuthenticatorParts {
            index: Arc::clone(&index),
            key_ring: Arc::clone(&key_ring),
            policy: Policy::default(),
            limits,
            clock,
            key_uses,
            session_orders,
            shared_failures: None,
            password_threads: 1,
        });
        store.close().await;
        Self { key_ring, index, authenticator: authenticator.unwrap(), asked, _key_uses: noted }
    }
}

impl Asked {
    fn new(text: &str, key_ring: &KeyRing) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (HOST, "api.example"),
            (USER_AGENT, "registrar/1.0"),
            (ACCEPT, "application/json"),
            (CONTENT_TYPE, "application/json"),
            (AUTHORIZATION, &format!("ApiKey {text}")),
        ] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        Self {
            text: text.to_owned(),
            digest: key_ring.digest.digest(text.as_bytes()),
            headers,
            login: format!("LOGIN {text}\r\n").into_bytes(),
        }
    }
}

/// A key of Latchkey's own form.
pub fn draw_own(key_ring: &KeyRing) -> String {
    KeyText::draw(&key_ring.tag).unwrap().expose().to_owned()
}

/// Imports keys; answers those that will be asked for.
async fn import(
    store: &Store,
    key_ring: &KeyRing,
    keys: usize,
    mut draw: impl FnMut(&KeyRing) -> String,
) -> Vec<Asked> {
    let import = store.begin_import(NOW).await.unwrap();
    let users = import_users(&import, keys).await;
    let mut asked = Vec::new();
    let mut batch = Vec::new();
    for (number, user) in users.into_iter().enumerate() {
        let text = draw(key_ring);
        if number % (keys / ASKED).max(1) == 0 {
            asked.push(Asked::new(&text, key_ring));
        }
        batch.push(ImportedKey {
            id: KeyId::from_random(number as u64 + 1),
            user,
            digest: key_ring.digest.digest(text.as_bytes()),
            last_characters: text[text.len() - 4..].into(),
        });
        if batch.len() == ROWS_PER_BATCH {
            import.add_keys(&std::mem::take(&mut batch), "api,isproxy".parse().unwrap()).await.unwrap();
        }
    }
    import.add_keys(&batch, "api,isproxy".parse().unwrap()).await.unwrap();
    import.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
    asked
}
