//! Does time tell anything about a credential (S37, S38)?
//!
//! `cargo bench --bench timing` measures whole decisions one by one, two kinds of credentials in random order, and asks
//! whether their times differ by Welch's t-test, as dudect does (Reparaz, Balasch, Verbauwhede 2017): the slowest tenth is
//! left out, as what disturbs it is the machine. Beyond 4.5 they differ. A comparison that ends at the first wrong letter
//! is measured the same way and must be found, else the measurement is blind. Ends with 1 where a row is wrong.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench reports on stdout and ends at the first fault"
)]

#[path = "timing/passwords.rs"]
mod passwords;
#[path = "shared/users.rs"]
mod users;
#[path = "timing/welch.rs"]
mod welch;
#[path = "decision/world.rs"]
#[expect(dead_code, reason = "another bench measures the steps one by one")]
mod world;

use std::hint::black_box;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use latchkey::auth::{Attempt, Credential, Decision, PresentedKey};
use latchkey::crypto::random;
use latchkey::model::{ClientIp, Service};

use welch::{LIMIT, Row, Sample};
use world::{World, draw_own};

/// Keys in the index.
const KEYS: usize = 10_000;
/// Decisions of each kind.
const DECISIONS: usize = 20_000;
const ROUNDS: usize = 5;
const KEY_LENGTH: usize = 44;
/// Letters in front of what is random in a key, and how many are.
const PREFIX: &str = "lk1_";
const RANDOM_BYTES: usize = 26;

fn main() {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it starts.
    if has("--test") || has("--list") {
        return;
    }
    let mut rows = keys();
    rows.extend(passwords::measure());
    println!("{:<64} {:>8} {:>12}", "", "t", "medians");
    for row in &rows {
        println!("{row}");
    }
    if rows.iter().any(|row| !row.is_right()) {
        println!("a row is wrong: beyond {LIMIT} times differ, and only the planted leak may");
        std::process::exit(1);
    }
}

/// Keys that share a beginning with a real one, against keys that share nothing.
fn keys() -> Vec<Row> {
    let own = World::new(KEYS, draw_own);
    let imported = World::new(KEYS, |_| letters(KEY_LENGTH));
    let mut rows = vec![compare("control: random keys", random_key, random_key, |key| decide(&own, key))];
    for shared in [8, KEY_LENGTH / 2, KEY_LENGTH - 1] {
        let guess = || begins_like(real(&own), shared, random_key);
        let name = format!("keys with a wrong tag that share {shared} letters with a real one");
        rows.push(compare(&name, guess, random_key, |key| decide(&own, key)));
    }
    // Their tag is right: they are looked up, as a deleted key is.
    let unknown = || draw_own(&own.key_ring);
    rows.push(compare("control: unknown keys with a right tag", unknown, unknown, |key| decide(&own, key)));
    for shared in [4, RANDOM_BYTES / 2, RANDOM_BYTES - 1] {
        let guess = || tagged_like(&own, shared);
        let name = format!("keys with a right tag that share {shared} of 26 bytes with a real one");
        rows.push(compare(&name, guess, unknown, |key| decide(&own, key)));
    }
    let foreign = || letters(KEY_LENGTH);
    rows.push(compare("control: unknown imported keys", foreign, foreign, |key| decide(&imported, key)));
    for shared in [8, KEY_LENGTH / 2, KEY_LENGTH - 1] {
        let guess = || begins_like(real(&imported), shared, foreign);
        let name = format!("imported keys that share {shared} letters with a real one");
        rows.push(compare(&name, guess, foreign, |key| decide(&imported, key)));
    }
    let secret = real(&own);
    let leak = compare(
        "planted leak: a comparison that ends at the first wrong letter",
        || begins_like(secret, KEY_LENGTH - 1, random_key),
        random_key,
        |key| {
            black_box(compare_leaking(key, secret.as_bytes()));
        },
    );
    rows.push(Row { must_differ: true, ..leak });
    rows
}

/// Times `act` for credentials of both kinds in random order. Of several rounds the middle one counts: what others on the
/// machine do is no difference.
fn compare(name: &str, one: impl Fn() -> String, other: impl Fn() -> String, act: impl Fn(&[u8])) -> Row {
    let mut rounds: Vec<Row> = (0..ROUNDS).map(|_| compare_once(name, &one, &other, &act)).collect();
    rounds.sort_by(|one, other| one.t.abs().total_cmp(&other.t.abs()));
    rounds.swap_remove(ROUNDS / 2)
}

fn compare_once(
    name: &str,
    one: impl Fn() -> String,
    other: impl Fn() -> String,
    act: impl Fn(&[u8]),
) -> Row {
    let (mut ones, mut others) = (Sample::default(), Sample::default());
    // Everything is made before it is timed, and what comes first finds cold caches.
    let text = |key: String| <[u8; KEY_LENGTH]>::try_from(key.into_bytes()).unwrap();
    let mut made: Vec<(bool, [u8; KEY_LENGTH])> = (0..2 * DECISIONS)
        .map(|number| (number % 2 == 0, text(if number % 2 == 0 { one() } else { other() })))
        .collect();
    shuffle(&mut made);
    for (_, key) in made.iter().take(DECISIONS / 10) {
        act(key);
    }
    // Every key is read from the same place, so that where it lay before tells nothing.
    let mut presented = [0; KEY_LENGTH];
    for (is_one, key) in &made {
        presented.copy_from_slice(key);
        let began = Instant::now();
        act(black_box(&presented));
        let took = began.elapsed();
        if *is_one { ones.add(took) } else { others.add(took) }
    }
    Row::new(name, &ones, &others)
}

fn decide(world: &World, key: &[u8]) {
    let credential = Credential::ApiKey(PresentedKey(key));
    let client_ip = ClientIp::new([10, 3, 200, 7].into());
    let attempt = Attempt { credential, service: Service::Api, client_ip };
    let decision = world.authenticator.authenticate(attempt).now_or_never().unwrap();
    assert!(matches!(decision, Decision::Deny(_)), "a guess was let in");
}

/// As nobody may compare a secret; slow enough to be seen among everything that a decision is.
#[inline(never)]
fn compare_leaking(one: &[u8], other: &[u8]) -> bool {
    for (a, b) in one.iter().zip(other) {
        for _ in 0..8 {
            black_box(a);
        }
        if a != b {
            return false;
        }
    }
    one.len() == other.len()
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One of the keys that are let in.
fn real(world: &World) -> &str {
    &world.asked[below(world.asked.len())].text
}

fn letters(count: usize) -> String {
    (0..count).map(|_| char::from(LETTERS[below(LETTERS.len())])).collect()
}

/// Of our own form, but for the tag.
fn random_key() -> String {
    format!("{PREFIX}{}", letters(KEY_LENGTH - PREFIX.len()))
}

/// The first `shared` letters of `key`, and behind them those of another.
fn begins_like(key: &str, shared: usize, draw: impl Fn() -> String) -> String {
    loop {
        let guess = format!("{}{}", &key[..shared], &draw()[shared..]);
        // Where one letter is left, one guess in 64 is right.
        if guess != key {
            return guess;
        }
    }
}

/// A key with a right tag whose first `shared` random bytes are a real one's.
fn tagged_like(world: &World, shared: usize) -> String {
    let key = real(world);
    loop {
        let mut body = URL_SAFE_NO_PAD.decode(&key[PREFIX.len()..]).unwrap();
        body[shared..RANDOM_BYTES].copy_from_slice(&random::bytes::<RANDOM_BYTES>().unwrap()[shared..]);
        let tag = world.key_ring.tag.tag(&body[..RANDOM_BYTES]);
        body[RANDOM_BYTES..].copy_from_slice(&tag);
        let guess = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body));
        if guess != key {
            return guess;
        }
    }
}

fn below(bound: usize) -> usize {
    usize::try_from(random::bits().unwrap() % bound as u64).unwrap()
}

fn shuffle<T>(all: &mut [T]) {
    for place in (1..all.len()).rev() {
        all.swap(place, below(place + 1));
    }
}
