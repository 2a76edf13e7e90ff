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

use futures_util::FutureExt;
use latchkey::auth::{Attempt, Credential, Decision, PresentedKey};
use latchkey::crypto::{KeyText, random};
use latchkey::model::{ClientIp, Service};

use welch::{LIMIT, Row, Sample};
use world::World;

/// Keys in the index.
const KEYS: usize = 10_000;
/// Decisions of each kind.
const DECISIONS: usize = 20_000;
const ROUNDS: usize = 5;
const KEY_LENGTH: usize = 44;
/// So many keys of each kind that nobody has: a single one is looked up at a place of its own.
const UNKNOWN: usize = 2_000;

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
    let world = World::new(KEYS);
    let real: Vec<&str> = world.asked.iter().map(|asked| asked.text.as_str()).collect();
    let mut rows =
        vec![compare("random keys against random keys (control)", random_key, random_key, |key| {
            decide(&world, key);
        })];
    for shared in [8, KEY_LENGTH / 2, KEY_LENGTH - 1] {
        let guess = || begins_like(real[below(real.len())], shared);
        let name = format!("keys that share {shared} letters with a real one against random keys");
        rows.push(compare(&name, guess, random_key, |key| {
            decide(&world, key);
        }));
    }
    // Their tag is right: they are looked up, as a deleted key is.
    let unknown: Vec<[String; 2]> = (0..UNKNOWN)
        .map(|_| [0, 1].map(|_| KeyText::draw(&world.key_ring.tag).unwrap().expose().to_owned()))
        .collect();
    let deleted = |which: usize| unknown[below(unknown.len())][which].clone();
    rows.push(compare(
        "unknown keys with a right tag against others",
        || deleted(0),
        || deleted(1),
        |key| {
            decide(&world, key);
        },
    ));
    let secret = real[0].to_owned();
    let leak = compare(
        "planted leak: a comparison that ends at the first wrong letter",
        || begins_like(&secret, KEY_LENGTH - 1),
        random_key,
        |key| {
            black_box(compare_leaking(key.as_bytes(), secret.as_bytes()));
        },
    );
    rows.push(Row { must_differ: true, ..leak });
    rows
}

/// Times `act` for credentials of both kinds in random order. Of several rounds the middle one counts: what others on the
/// machine do is no difference.
fn compare(name: &str, one: impl Fn() -> String, other: impl Fn() -> String, act: impl Fn(&str)) -> Row {
    let mut rounds: Vec<Row> = (0..ROUNDS).map(|_| compare_once(name, &one, &other, &act)).collect();
    rounds.sort_by(|one, other| one.t.abs().total_cmp(&other.t.abs()));
    rounds.swap_remove(ROUNDS / 2)
}

fn compare_once(name: &str, one: impl Fn() -> String, other: impl Fn() -> String, act: impl Fn(&str)) -> Row {
    let (mut ones, mut others) = (Sample::default(), Sample::default());
    // Everything is made before it is timed, and what comes first finds cold caches.
    let mut made: Vec<(bool, String)> = (0..2 * DECISIONS)
        .map(|number| (number % 2 == 0, if number % 2 == 0 { one() } else { other() }))
        .collect();
    shuffle(&mut made);
    for (_, key) in made.iter().take(DECISIONS / 10) {
        act(key);
    }
    for (is_one, key) in &made {
        let began = Instant::now();
        act(black_box(key));
        let took = began.elapsed();
        if *is_one { ones.add(took) } else { others.add(took) }
    }
    Row::new(name, &ones, &others)
}

fn decide(world: &World, key: &str) {
    let credential = Credential::ApiKey(PresentedKey(key.as_bytes()));
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

fn random_key() -> String {
    let letters = random::bytes::<40>().unwrap().map(|byte| char::from(LETTERS[usize::from(byte) % 64]));
    format!("lk1_{}", letters.iter().collect::<String>())
}

/// The first `shared` letters of `key`, and others behind.
fn begins_like(key: &str, shared: usize) -> String {
    let rest: String = random_key()[shared..].chars().collect();
    let rest = if key[shared..] == rest { rest.chars().rev().collect() } else { rest };
    let guess = format!("{}{rest}", &key[..shared]);
    // One letter in 64 is the right one.
    if guess == key { begins_like(key, shared) } else { guess }
}

fn below(bound: usize) -> usize {
    usize::try_from(random::bits().unwrap() % bound as u64).unwrap()
}

fn shuffle<T>(all: &mut [T]) {
    for place in (1..all.len()).rev() {
        all.swap(place, below(place + 1));
    }
}
