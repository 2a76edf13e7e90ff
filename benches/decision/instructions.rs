//! The same steps in instructions: the bench runs itself under callgrind, which counts within one function only.

use std::process::Command;

use super::steps::{Step, steps};
use super::world::{World, draw_own};

/// What the bench is called with to be counted; the number of a step follows.
pub const UNDER_CALLGRIND: &str = "--under-callgrind";
/// Keys in the index: callgrind is slow, and more keys cost cache misses and not instructions.
pub const KEYS: usize = 1_000;
/// The function within which callgrind counts; it may know it by its mangled name only.
const COUNTED: &str = "*instructions*counted*";
/// Turns that are counted of each step, and as many before.
const TURNS: usize = 1_000;

/// Each step's name and instructions, from a process of its own.
pub fn count() -> impl Iterator<Item = (&'static str, f64)> {
    let names: Vec<_> = steps(&World::new(KEYS, draw_own)).into_iter().map(|step| step.name).collect();
    names.into_iter().enumerate().map(|(number, name)| (name, count_step(number)))
}

fn count_step(number: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    let status = Command::new("valgrind")
        .args(["-q", "--tool=callgrind"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", dump.display()))
        .arg(std::env::current_exe().unwrap())
        .args([UNDER_CALLGRIND, &number.to_string()])
        .status();
    assert!(status.unwrap().success());
    let dump = std::fs::read_to_string(dump).unwrap();
    let total = dump.lines().find_map(|line| line.strip_prefix("totals:")).unwrap();
    total.trim().parse::<f64>().unwrap() / TURNS as f64
}

/// What runs under callgrind: the step of this number.
pub fn run_step(number: &str) {
    let world = World::new(KEYS, draw_own);
    let Step { mut turn, .. } = steps(&world).swap_remove(number.parse().unwrap());
    (0..TURNS).for_each(&mut *turn);
    counted(&mut *turn);
}

#[inline(never)]
fn counted(turn: &mut dyn FnMut(usize)) {
    (0..TURNS).for_each(turn);
}
