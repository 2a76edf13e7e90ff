//! How long the index takes to load, and how many bytes a key takes in memory.
//!
//! `cargo bench --bench index_load` imports 10,000 and 1,000,000 keys, one user each and ten users a customer, into a
//! store of its own, loads it, and prints time and resident memory. Both figures are of one process in one run.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench reports on stdout and ends at the first fault"
)]

#[path = "shared/users.rs"]
mod users;

use std::time::Instant;

use latchkey::config::StoreLocation;
use latchkey::crypto::DigestKey;
use latchkey::model::{KeyDigest, KeyId, Timestamp};
use latchkey::store::{ImportedKey, Index, ROWS_PER_BATCH, Store};
use users::import_users;

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{:>10} {:>10} {:>10} {:>14} {:>10}", "keys", "import s", "load s", "bytes per key", "MiB");
    for keys in [10_000, 1_000_000] {
        runtime.block_on(measure(keys));
    }
}

async fn measure(keys: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open_or_create(&StoreLocation::Sqlite(folder.path().join("latchkey.db"))).await.unwrap();
    let began = Instant::now();
    import(&store, keys).await;
    let import = began.elapsed();

    let before = resident_bytes();
    let began = Instant::now();
    let index = Index::load(&store).await.unwrap();
    let load = began.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    assert_eq!(index.size().keys, keys);
    println!(
        "{keys:>10} {:>10.2} {:>10.2} {:>14} {:>10}",
        import.as_secs_f64(),
        load.as_secs_f64(),
        grown / keys,
        grown / (1024 * 1024)
    );
    store.close().await;
}

async fn import(store: &Store, keys: usize) {
    let import = store.begin_import(NOW).await.unwrap();
    let users = import_users(&import, keys).await;
    let wanted: Vec<ImportedKey> =
        users.iter().zip(0_u64..).map(|(user, n)| imported_key(*user, n)).collect();
    for batch in wanted.chunks(ROWS_PER_BATCH) {
        import.add_keys(batch, "api,isproxy".parse().unwrap()).await.unwrap();
    }
    import.commit(&[], &DigestKey::new([7; 32])).await.unwrap();
}

/// A key whose digest is spread like a real one's.
fn imported_key(user: latchkey::model::UserId, number: u64) -> ImportedKey {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let digest =
        std::array::from_fn(|i| mixed.rotate_left(u32::try_from(i * 7 % 64).unwrap()).to_le_bytes()[i % 8]);
    let mut digest: [u8; 32] = digest;
    digest[24..].copy_from_slice(&number.to_le_bytes());
    ImportedKey {
        id: KeyId::from_random(number + 1),
        user,
        digest: KeyDigest(digest),
        last_characters: "abcd".into(),
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
