//! What each step of a decision about an API key takes: nanoseconds, and with `--instructions` also instructions.
//!
//! `cargo bench --bench decision` imports 10,000 and 1,000,000 keys, one user each, into stores of its own, loads them
//! as the gateway does, and asks for 10,000 of the keys in turn, so that the larger index has to come from memory and
//! not from the CPU's caches. The steps are those of `auth::Authenticator` for a key, in their order; what a step gets
//! is made before. `empty step` is the loop itself and is contained in each of the others.
//!
//! `cargo bench --bench decision -- --instructions` runs itself again under valgrind's callgrind, with 1,000 keys.
//! Valgrind's CPU has neither AVX-512 nor SHA-NI, so the keyed digest counts as BLAKE3 with SSE 4.1.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a bench reports on stdout and ends at the first fault"
)]

#[path = "decision/instructions.rs"]
mod instructions;
#[path = "decision/steps.rs"]
mod steps;
#[path = "shared/users.rs"]
mod users;
#[path = "decision/world.rs"]
mod world;

use std::time::{Duration, Instant};

use steps::{Step, steps};
use world::{World, draw_own};

/// Keys in the index of each table.
const FEW_KEYS: usize = 10_000;
const MANY_KEYS: usize = 1_000_000;
/// Each step is done for so long, several times; the quickest counts, which others on the machine disturbed least.
const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;
/// How often a step is done between two looks at the clock.
const TURNS_AT_ONCE: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let has = |wanted: &str| arguments.contains(&wanted);
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it starts.
    if has("--test") || has("--list") {
        return;
    }
    if let [instructions::UNDER_CALLGRIND, step] = arguments[..] {
        return instructions::run_step(step);
    }
    for keys in [FEW_KEYS, MANY_KEYS] {
        let began = Instant::now();
        let world = World::new(keys, draw_own);
        println!(
            "\n{keys} keys, ready after {:.1} s\n{:<44} {:>10}",
            began.elapsed().as_secs_f64(),
            "",
            "ns"
        );
        for Step { name, mut turn } in steps(&world) {
            println!("{name:<44} {:>10.1}", nanoseconds(&mut *turn));
        }
    }
    if has("--instructions") {
        println!("\n{} keys\n{:<44} {:>10}", instructions::KEYS, "", "instructions");
        for (name, count) in instructions::count() {
            println!("{name:<44} {count:>10.1}");
        }
    }
}

/// What one turn takes.
fn nanoseconds(turn: &mut dyn FnMut(usize)) -> f64 {
    // Each key once, so that its first use is noted and its place in the tables made.
    (0..world::ASKED).for_each(&mut *turn);
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        let mut turns = 0;
        while began.elapsed() < ROUND {
            (turns..turns + TURNS_AT_ONCE).for_each(&mut *turn);
            turns += TURNS_AT_ONCE;
        }
        began.elapsed().as_nanos() as f64 / turns as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}
