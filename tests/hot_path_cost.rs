//! What a request costs on the hot path, in instructions: more than 5 % above `hot_path_cost/baseline.json` fails.
//!
//! `latchkey serve` runs under valgrind's callgrind, and what its only door thread executes in user space is counted
//! while requests of each kind come one after the other. Unlike time that repeats within 1 % on any machine, busy or
//! not. It sees no cache misses, no system calls and no waiting: those are for a load test.
//!
//! `cargo hot-path-cost` runs it, with the crate optimised (see `hot_path_cost/profile.toml`), since unoptimised code tells
//! little; a plain `cargo test` leaves it out, and `tests/all --full` runs it. `LATCHKEY_ACCEPT=1 cargo hot-path-cost` accepts
//! new counts.
//!
//! Valgrind's CPU knows neither SHA-NI nor AVX-512 nor VAES. No row hashes with SHA, since handshakes are not counted;
//! BLAKE3 and AES-GCM count as on a CPU with AVX2.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a test may end in a panic; a difference in percent needs no more than a float"
)]

#[path = "hot_path_cost/baseline.rs"]
mod baseline;
#[path = "hot_path_cost/callgrind.rs"]
mod callgrind;
#[path = "hot_path_cost/rows.rs"]
mod rows;

/// Where the black-box tests live.
#[path = "black_box"]
mod black_box {
    #[expect(dead_code, unused_imports, reason = "the stories use the rest")]
    pub mod harness;
}

use std::io::Write;
use std::process::Command;

use baseline::{ACCEPT, Comparison, Counts, TOLERANCE_PERCENT};
use black_box::harness::run;
use callgrind::CountedGateway;
use rows::{ROWS, Row};

/// Turns before those that count: connections are made, buffers have grown.
const WARM_UP_TURNS: usize = 20;

#[test]
fn a_request_costs_no_more_than_its_baseline() {
    assert!(
        is_optimised(),
        "unoptimised code tells little: run `cargo hot-path-cost`, which optimises the crate"
    );
    let installation = rows::installation();
    installation.create_customer("acme");
    let key = installation.create_key("acme/admin");
    let counted = CountedGateway::serve(installation);
    let instructions = ROWS.iter().map(|row| {
        let mut ask = (row.open)(counted.gateway(), &key);
        (row.name.to_owned(), count(&counted, row, &mut *ask))
    });
    let now = Counts {
        instructions: instructions.collect(),
        rustc: version_of("rustc"),
        valgrind: version_of("valgrind"),
    };
    if std::env::var("LATCHKEY_ACCEPT").is_ok_and(|accepts| accepts == "1") {
        now.write();
    }
    let baseline = Counts::read();
    tell(&now.table(&baseline));
    match now.compare(&baseline) {
        Comparison::Failed(why) => panic!("{why}"),
        Comparison::Passed { cheaper } if cheaper.is_empty() => {}
        Comparison::Passed { cheaper } => tell(&format!(
            "more than {TOLERANCE_PERCENT} % cheaper than the baseline, which can be renewed by `{ACCEPT}`:\n{}\n",
            cheaper.join("\n")
        )),
    }
}

/// Was this built as the alias says? The crate and its tests are built alike.
const fn is_optimised() -> bool {
    !cfg!(debug_assertions)
}

/// Instructions of one request.
fn count(counted: &CountedGateway, row: &Row, ask: &mut dyn FnMut()) -> u64 {
    (0..WARM_UP_TURNS).for_each(|_| ask());
    let all = counted.count(|| (0..row.turns).for_each(|_| ask()));
    all / u64::try_from(row.turns * row.requests_of_a_turn).unwrap()
}

fn version_of(program: &str) -> String {
    run(Command::new(program).arg("--version"), b"").expect_success().trim().to_owned()
}

/// Tells it although the test passes: output of the `print` macros is kept back then.
fn tell(text: &str) {
    // Whoever does not listen misses nothing that matters.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
