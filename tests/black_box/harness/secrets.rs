//! What no log, store, metric, audit trail or page may hold, whatever a story did: noted when a story gets to know it,
//! looked for whenever something is read, and everywhere when the installation goes.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// From this length on half of a secret is one, too. Keys, cookies and links are as long.
const HALVED: usize = 32;
/// What is shorter stands in a log by chance: the six digits of an app's code in a time, for one.
const SHORTEST: usize = 12;

/// The secrets of one installation.
#[derive(Default)]
pub struct Secrets {
    known: Mutex<Vec<Secret>>,
}

struct Secret {
    /// Such as "key".
    kind: String,
    /// As it is shown or sent.
    text: String,
    /// The bytes that give it away.
    traces: Vec<Vec<u8>>,
}

impl Secrets {
    /// From now on nothing may hold `text`, nor half of a long one, nor its bytes as base64 or hexadecimal digits. Of a
    /// one-time link the end is secret, not the console's address.
    pub fn note(&self, kind: &str, text: &str) {
        let text = text.rsplit_once("/welcome/").map_or(text, |(_, token)| token);
        self.add(kind, text, &[text.as_bytes()]);
    }

    /// A recovery code is typed with or without its hyphens, and in any case.
    pub fn note_recovery_code(&self, code: &str) {
        let plain = code.replace('-', "");
        let forms = [code, &plain, &code.to_lowercase(), &plain.to_lowercase()].map(str::to_owned);
        self.add("recovery code", code, &forms.each_ref().map(String::as_bytes));
    }

    /// An app's secret is shown in base32, in groups of four.
    pub fn note_app_secret(&self, shown: &str, bytes: &[u8]) {
        let plain = shown.replace(' ', "");
        self.add("app's secret", shown, &[shown.as_bytes(), plain.as_bytes(), bytes]);
    }

    fn add(&self, kind: &str, text: &str, forms: &[&[u8]]) {
        if text.len() < SHORTEST {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|other| other.text == text) {
            return;
        }
        let traces = forms.iter().flat_map(|form| traces(form)).collect();
        known.push(Secret { kind: kind.to_owned(), text: text.to_owned(), traces });
    }

    /// Fails if `place` holds a secret that is known by now.
    #[track_caller]
    pub fn search(&self, place: &str, bytes: &[u8]) {
        self.search_but(place, bytes, &[]);
    }

    /// Fails if `place` holds a secret that is known by now, but for those that end what is `shown`.
    #[track_caller]
    pub fn search_but(&self, place: &str, bytes: &[u8], shown: &[String]) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shown = |secret: &Secret| shown.iter().any(|shown| shown.ends_with(&secret.text));
        let given_away = known.iter().filter(|secret| !is_shown(secret)).find_map(|secret| {
            let found = secret.traces.iter().find(|trace| memmem::find(bytes, trace).is_some())?;
            Some(secret.written_as(found))
        });
        assert!(given_away.is_none(), "{place} holds {}", given_away.unwrap());
    }

    /// Fails if a file below `folder` holds a secret: the store with all that belongs to it, logs, snapshots. What an
    /// operator writes stays out: the configuration, certificates, the master key, files that the tests import.
    #[track_caller]
    pub fn search_files(&self, folder: &Path) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let traces: Vec<(&Secret, &Vec<u8>)> =
            known.iter().flat_map(|secret| secret.traces.iter().map(move |trace| (secret, trace))).collect();
        // Each file is read once, however many secrets there are: thousands, and logs of an hour.
        let finder = AhoCorasick::new(traces.iter().map(|(_, trace)| trace)).unwrap();
        for path in files_to_search(folder) {
            // A log may have been turned over, and a journal ended, since the folder was read.
            let Ok(bytes) = fs::read(&path) else { continue };
            if let Some(found) = finder.find(&bytes) {
                let (secret, trace) = traces[found.pattern().as_usize()];
                panic!("{} holds {}", path.display(), secret.written_as(trace));
            }
        }
    }
}

impl Secret {
    fn written_as(&self, trace: &[u8]) -> String {
        format!("the {} {}, written {:?}", self.kind, self.text, String::from_utf8_lossy(trace))
    }
}

fn files_to_search(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(files_to_search(&path));
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy();
        let is_of_the_store = folder.ends_with("data");
        if is_of_the_store || name.contains(".jsonl") || name.contains(".log") {
            files.push(path);
        }
    }
    files
}

/// The ways in which bytes could be written by somebody who did not mean to.
fn traces(form: &[u8]) -> Vec<Vec<u8>> {
    let hexadecimal = hexadecimal(form);
    let mut traces = vec![
        form.to_vec(),
        STANDARD_NO_PAD.encode(form).into_bytes(),
        URL_SAFE_NO_PAD.encode(form).into_bytes(),
        hexadecimal.to_uppercase().into_bytes(),
        hexadecimal.into_bytes(),
    ];
    if form.len() >= HALVED {
        let (first, second) = form.split_at(form.len() / 2);
        traces.extend([first.to_vec(), second.to_vec()]);
    }
    traces
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes every digit.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    let secrets = Secrets::default();
    let key = "lk_0123456789abcdefghijklmnopqrstuvwxyzABCDE";
    secrets.note("key", key);
    secrets.note_recovery_code("ABCD-EFGH-JKLM-NPQR");
    secrets.note("code", "123456");
    for written in [
        key.to_owned(),
        key[..22].to_owned(),
        key[22..].to_owned(),
        STANDARD_NO_PAD.encode(key),
        hexadecimal(key.as_bytes()),
        "ABCDEFGHJKLMNPQR".to_owned(),
        "abcd-efgh-jklm-npqr".to_owned(),
    ] {
        let place = format!("before {written} behind");
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            secrets.search("a log", place.as_bytes());
        }));
        assert!(found.is_err(), "{written} is not found");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("access.jsonl"), &place).unwrap();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            secrets.search_files(folder.path());
        }));
        assert!(found.is_err(), "{written} is not found in a file");
    }
    secrets.search("a log", b"a time of 12:00:00.123456 and the last characters BCDE");
    secrets.search_but("the page that shows it", key.as_bytes(), &[key.to_owned()]);
}
