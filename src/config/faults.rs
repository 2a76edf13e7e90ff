//! What is wrong with a configuration: every fault with its place, its key and what to do.
//!
//! Holds no value of the configuration that could be a secret: who reports a fault decides what of a value may be
//! shown, by [`shown`]. Used by every step of [`crate::config`]; printed by `check` and `serve`.

use std::fmt;

/// The longest key or value that a fault repeats, in characters: shorter than any key of ours and of most vendors.
const SHOWN_MAX_CHARACTERS: usize = 32;

/// Line and column, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The way from the root of the file to a value: `listeners[0].tls.certificate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The path of `key` below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The path of the element at `index`, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// From the root on.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path without its indices, to look a key up whatever element it is in: `listeners[].tls`.
    pub(super) fn pattern(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.extend([".", key]),
                Step::Index(_) => text.push_str("[]"),
            }
        }
        text
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    write!(f, "{}{}", if position == 0 { "" } else { "." }, shown(key).unwrap_or("…"))?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// `text`, if it is so short and plain that it may be repeated in a fault.
///
/// A key or an enumerated value with a typing error is; a credential that landed in the wrong place is not.
pub(super) fn shown(text: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (!text.is_empty() && text.len() <= SHOWN_MAX_CHARACTERS && text.chars().all(plain)).then_some(text)
}

/// The one of `known` that `text` is most likely a misspelling of.
pub(super) fn closest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = text.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    place: Option<Place>,
    path: KeyPath,
    subject: KeyPath,
    message: String,
    help: Option<String>,
}

impl Fault {
    /// `message` about the value at `path`, which stands at `place`.
    pub(super) fn new(place: Place, path: &KeyPath, message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            path: path.clone(),
            subject: path.clone(),
            message: message.into(),
            help: None,
        }
    }

    /// `message` about the file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Self {
            place: None,
            path: KeyPath::default(),
            subject: KeyPath::default(),
            message: message.into(),
            help: None,
        }
    }

    /// Adds what to do about it.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The fault is shown at its path, but is about `subject` below it: a key that is missing or unknown.
    pub(super) fn about(self, subject: KeyPath) -> Self {
        Self { subject, ..self }
    }

    fn position(&self, file: &str) -> String {
        self.place.map_or_else(|| file.to_owned(), |place| format!("{file}:{}:{}", place.line, place.column))
    }
}

/// The faults found so far. Takes at most [`FAULTS_MAX`]: nobody reads more, and comparing them stays cheap.
#[derive(Default)]
pub(super) struct FaultList(Vec<Fault>);

const FAULTS_MAX: usize = 500;

impl FaultList {
    /// Adds `fault`, unless the list is full.
    pub(super) fn push(&mut self, fault: Fault) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(fault);
        }
    }

    /// Is there a fault about `path` or something below it?
    pub(super) fn cover(&self, path: &KeyPath) -> bool {
        self.0.iter().any(|fault| fault.subject.steps().starts_with(path.steps()))
    }

    /// The faults of `file` in their order in it; `None` where there are none.
    pub(super) fn into_faults(self, file: &str) -> Option<Faults> {
        let mut faults = self.0;
        faults.sort_by_key(|fault| fault.place);
        (!faults.is_empty()).then(|| Faults { file: file.to_owned(), faults })
    }
}

/// Everything that is wrong with one configuration, in the order of the file; never empty.
///
/// Its text is what `latchkey check` prints: `file:line:column  error  key.path: what is wrong`, then what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Faults {
    file: String,
    faults: Vec<Fault>,
}

impl Faults {
    /// One fault of `file`.
    pub(super) fn one(file: &str, fault: Fault) -> Self {
        Self { file: file.to_owned(), faults: vec![fault] }
    }

    /// How many there are, at least one.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// Each fault in a line of its own, with its place, for a log.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.faults.iter().map(|fault| {
            let separator = if fault.path.steps().is_empty() { "" } else { ": " };
            let place = fault.position(&self.file);
            let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{place}: {}{separator}{}{help}", fault.path, fault.message)
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.faults.iter().map(|fault| fault.position(&self.file).chars().count()).max().unwrap_or(0);
        for fault in &self.faults {
            let separator = if fault.path.steps().is_empty() { "" } else { ": " };
            let position = fault.position(&self.file);
            writeln!(f, "{position:<width$}  error  {}{separator}{}", fault.path, fault.message)?;
            if let Some(help) = &fault.help {
                writeln!(f, "{:width$}  help   {help}", "")?;
            }
        }
        write!(f, "{} error{}", self.count(), if self.count() == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(steps: &[&str]) -> KeyPath {
        steps.iter().fold(KeyPath::default(), |path, step| match step.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(step),
        })
    }

    #[test]
    fn faults_print_as_the_documented_sample() {
        let certificate = path(&["listeners", "0", "tls", "certificate"]);
        let upstream = path(&["upstreams", "0"]);
        let faults = vec![
            Fault::new(
                Place { line: 31, column: 5 },
                &upstream,
                "unknown key `timout`; did you mean `timeout`?",
            )
            .about(upstream.key("timout")),
            Fault::new(Place { line: 14, column: 13 }, &certificate, "file not found: certs/api.pem")
                .help("`latchkey demo` makes one"),
        ];
        let faults = FaultList(faults).into_faults("config/latchkey.yaml").unwrap();
        assert_eq!(
            faults.to_string(),
            "config/latchkey.yaml:14:13  error  listeners[0].tls.certificate: file not found: certs/api.pem\n\
             \u{20}                           help   `latchkey demo` makes one\n\
             config/latchkey.yaml:31:5   error  upstreams[0]: unknown key `timout`; did you mean `timeout`?\n\
             2 errors"
        );
        assert_eq!(faults.count(), 2);
        let lines: Vec<String> = faults.lines().collect();
        assert_eq!(
            lines,
            [
                "config/latchkey.yaml:14:13: listeners[0].tls.certificate: file not found: certs/api.pem (`latchkey demo` makes one)",
                "config/latchkey.yaml:31:5: upstreams[0]: unknown key `timout`; did you mean `timeout`?"
            ]
        );
    }

    #[test]
    fn a_fault_of_the_whole_file_has_no_line_and_one_error_is_singular() {
        let faults = Faults::one("x.yaml", Fault::of_file("cannot be read: not found"));
        assert_eq!(faults.to_string(), "x.yaml  error  cannot be read: not found\n1 error");
        assert!(FaultList::default().into_faults("x.yaml").is_none());
    }

    #[test]
    fn a_fault_covers_its_own_path_and_what_is_above_it() {
        let fault =
            Fault::new(Place { line: 1, column: 1 }, &path(&["listeners", "0"]), "missing key `address`")
                .about(path(&["listeners", "0", "address"]));
        let faults = FaultList(vec![fault]);
        assert!(faults.cover(&path(&["listeners", "0", "address"])));
        assert!(faults.cover(&path(&["listeners"])));
        assert!(!faults.cover(&path(&["listeners", "0", "routes"])));
        assert_eq!(path(&["listeners", "0", "tls", "certificate"]).pattern(), "listeners[].tls.certificate");
    }

    #[test]
    fn only_short_plain_words_are_repeated() {
        assert_eq!(shown("timout"), Some("timout"));
        for text in ["", "with blank", "a/b", "\u{1b}[31m", "lk1_0123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(shown(text), None, "{text:?}");
        }
        assert_eq!(path(&["set_headers", "a secret key"]).to_string(), "set_headers.…");
    }

    #[test]
    fn a_misspelling_finds_its_word_and_nonsense_finds_none() {
        let known = ["routes", "upstream", "allow_list", "tls"];
        assert_eq!(closest("rotues", known), Some("routes"));
        assert_eq!(closest("Allow-List", known), Some("allow_list"));
        assert_eq!(closest("tsl", known), Some("tls"));
        assert_eq!(closest("password", known), None);
    }
}
