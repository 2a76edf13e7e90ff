//! Opening the store and loading the index; from the snapshot where a shared store is away.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::snapshots::Snapshots;
use crate::auth::{BuriedAgain, bury_risen, open_key_ring, open_stored_key_ring};
use crate::clock::Clock;
use crate::config::{Config, PostgresUrl, StoreLocation};
use crate::crypto::KeyRing;
use crate::model::QuotaMoment;
use crate::store::{Index, Snapshot, SnapshotKeeper, Store, StoreMark};

/// What decides, and where it comes from.
pub(super) struct Loaded {
    pub(super) store: Store,
    pub(super) key_ring: Arc<KeyRing>,
    pub(super) index: Arc<Index>,
    pub(super) snapshots: Snapshots,
}

/// What is to happen where the shared store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreAway {
    /// Nobody decides yet: the snapshot is better than nothing.
    FromSnapshot,
    /// A process decides already by more than a snapshot holds, such as sessions, and goes on.
    Refuse,
}

/// Opens the store that `config` names.
pub(super) async fn load(config: &Config, clock: &Clock, away: StoreAway) -> Result<Loaded> {
    let store = match (Store::open_or_create(&config.store).await, &config.store) {
        (Ok(store), _) => store,
        (Err(error), StoreLocation::Postgres(url)) if error.is_away() => {
            if away == StoreAway::Refuse {
                bail!("{error}, and the process before this one goes on with what it knows");
            }
            let loaded = load_snapshot(config, url, clock);
            return loaded.with_context(|| format!("{error}, and the gateway cannot be started without it"));
        }
        (Err(error), _) => return Err(error.into()),
    };
    let key_ring = Arc::new(open_key_ring(&store, &config.master_key, clock.now()).await?);
    refuse_demo_beyond_loopback(&store, config).await?;
    warn_of_moved_store(&store).await?;
    if let Some(BuriedAgain { customers, users, keys, codes }) =
        bury_risen(&store, &key_ring, clock.now()).await?
    {
        tracing::warn!(
            customers = named(&customers),
            users = named(&users),
            keys,
            codes,
            "the store was put back by hand: customers, users and keys that were deleted, and recovery codes that were used, \
             are deleted again"
        );
    }
    let index = Index::load(&store).await?.with_clock(clock.clone());
    // Before anybody is let in: what was used before counts.
    index.look_at_quotas(&store, QuotaMoment::of(clock.now())).await?;
    let index = Arc::new(index);
    let keeper = match &config.store {
        StoreLocation::Sqlite(_) => None,
        StoreLocation::Postgres(_) => {
            Some(Arc::new(SnapshotKeeper::new(config.snapshot.clone(), Arc::clone(&key_ring))?))
        }
    };
    Ok(Loaded { store, key_ring, index, snapshots: Snapshots { keeper, age: None, relying_party: None } })
}

fn load_snapshot(config: &Config, url: &PostgresUrl, clock: &Clock) -> Result<Loaded> {
    let allowed = i64::from(config.policy.max_staleness.seconds());
    let now = clock.now();
    let snapshot = Snapshot::open(&config.snapshot, now, allowed)?;
    let key_ring = Arc::new(open_stored_key_ring(&snapshot.key_ring, &config.master_key)?);
    let (written_at, relying_party) = (snapshot.written_at, snapshot.relying_party.clone());
    let age = now.unix_milliseconds().saturating_sub(written_at.unix_milliseconds());
    let (index, keeper) = snapshot.load(&key_ring)?;
    tracing::warn!(%written_at, "the store is away: started from the snapshot, keys are let in and nothing else");
    Ok(Loaded {
        store: Store::awaiting(url)?,
        key_ring,
        index: Arc::new(index.with_clock(clock.clone())),
        snapshots: Snapshots {
            keeper: Some(Arc::new(keeper)),
            age: Some(Duration::from_millis(u64::try_from(age).unwrap_or(0))),
            relying_party,
        },
    })
}

/// A demo's credentials were printed on a terminal: nobody else may reach it (S103).
async fn refuse_demo_beyond_loopback(store: &Store, config: &Config) -> Result<()> {
    let beyond = config.listeners.iter().find(|listener| !listener.address.ip().is_loopback());
    match beyond {
        Some(listener) if store.is_marked(StoreMark::Demo).await? => bail!(
            "listener `{}` is at {}, and this store was made by `latchkey demo`: it may be served on loopback addresses only",
            listener.name,
            listener.address
        ),
        _ => Ok(()),
    }
}

/// A few of `names`; the audit trail has them all.
fn named(names: &[String]) -> String {
    const AT_MOST: usize = 20;
    let mut few: Vec<&str> = names.iter().take(AT_MOST).map(String::as_str).collect();
    if names.len() > AT_MOST {
        few.push("…");
    }
    few.join(", ")
}

/// A gateway that was left with the old store would let in what is deleted at the new one.
async fn warn_of_moved_store(store: &Store) -> Result<()> {
    if store.is_marked(StoreMark::Moved).await? {
        let store = store.location();
        tracing::warn!(%store, "this store was copied to another one: changes made there are not seen here");
    }
    Ok(())
}
