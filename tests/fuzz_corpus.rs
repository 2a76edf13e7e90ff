//! What the fuzzer begins with, and what it has found, run without it: every file of `fuzz/corpus` through the body of its
//! target, whole and with small changes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may end in a panic; that is what a body finds"
)]

#[path = "../fuzz/bodies/authorization.rs"]
mod authorization;
#[path = "../fuzz/bodies/config.rs"]
mod config;
#[path = "../fuzz/bodies/console_head.rs"]
mod console_head;
#[path = "../fuzz/bodies/forwarded_for.rs"]
mod forwarded_for;
#[path = "../fuzz/bodies/isproxy_line.rs"]
mod isproxy_line;
#[path = "../fuzz/bodies/isproxy_reply.rs"]
mod isproxy_reply;
#[path = "../fuzz/bodies/isproxy_session.rs"]
mod isproxy_session;
#[path = "../fuzz/bodies/key_form.rs"]
mod key_form;
#[path = "../fuzz/bodies/key_import.rs"]
mod key_import;
#[path = "../fuzz/bodies/names.rs"]
mod names;
#[path = "../fuzz/bodies/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../fuzz/bodies/request_head.rs"]
mod request_head;
#[path = "../fuzz/bodies/upstream_answer.rs"]
mod upstream_answer;
#[path = "../fuzz/bodies/websocket_handshake.rs"]
mod websocket_handshake;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A target has at least so many files.
const FEWEST: usize = 8;
/// A file is cut off at each place up to here.
const CUT_UP_TO: usize = 256;
/// Every so many bytes one is replaced.
const REPLACED_EVERY: usize = 16;
/// What one is replaced by: what ends, parts and escapes things, and what no text holds.
const REPLACEMENTS: [u8; 6] = [b'\n', 0, b' ', b':', b'%', 0xff];

/// A test for each target, which bears its name.
macro_rules! test_targets {
    ($($target:ident),+ $(,)?) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),+];

        $(
            #[test]
            fn $target() {
                run_corpus(stringify!($target), $target::run);
            }
        )+
    };
}

test_targets!(
    authorization,
    config,
    console_head,
    forwarded_for,
    isproxy_line,
    isproxy_reply,
    isproxy_session,
    key_form,
    key_import,
    names,
    proxy_protocol,
    request_head,
    upstream_answer,
    websocket_handshake,
);

fn run_corpus(target: &str, body: fn(&[u8])) {
    let files = files_in(&folder().join("corpus").join(target));
    assert!(files.len() >= FEWEST, "{target} has {} files", files.len());
    for file in files {
        let input = fs::read(&file).unwrap();
        for changed in changes(&input) {
            if let Err(panic) = std::panic::catch_unwind(|| body(&changed)) {
                eprintln!("{target}: {} as {}", file.display(), changed.escape_ascii());
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// The input, cut off at each place, and with single bytes replaced.
fn changes(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..input.len().min(CUT_UP_TO)).map(|end| input[..end].to_vec());
    let replaced = (0..input.len()).step_by(REPLACED_EVERY).flat_map(move |place| {
        // Not always the first byte of so many.
        let place = (place + place / REPLACED_EVERY % REPLACED_EVERY).min(input.len() - 1);
        REPLACEMENTS
            .iter()
            .map(move |replacement| [&input[..place], &[*replacement], &input[place + 1..]].concat())
    });
    std::iter::once(input.to_vec()).chain(cut).chain(replaced)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_has_a_body_a_corpus_a_program_and_a_test() {
    let tested: BTreeSet<String> = TARGETS.iter().map(|&name| name.to_owned()).collect();
    for (part, extension) in [("bodies", Some("rs")), ("fuzz_targets", Some("rs")), ("corpus", None)] {
        let files = files_in(&folder().join(part)).into_iter();
        let files =
            files.filter(|file| file.extension().and_then(|extension| extension.to_str()) == extension);
        // Beside a body may lie a folder of the same name, with its parts.
        let files = files.filter(|file| file.is_dir() == extension.is_none());
        let named: BTreeSet<String> =
            files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(named, tested, "fuzz/{part}");
    }
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]").skip(1).map(|program| {
        let value = |key: &str| program.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        let name = value("name").unwrap().trim_matches('"').to_owned();
        assert_eq!(value("path").unwrap(), format!("\"fuzz_targets/{name}.rs\""));
        name
    });
    assert_eq!(programs.collect::<BTreeSet<_>>(), tested, "fuzz/Cargo.toml");
}
