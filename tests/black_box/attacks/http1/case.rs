//! A case: what a client sends, and what may come of it.

use super::answers::Asked;

/// Sequences of final statuses that are right, one status an answer: 200 is the upstream's, [`BROKEN_OFF`] an answer that
/// ends early. None at all: the connection is closed unanswered.
pub type Allowed = &'static [&'static [u16]];

/// Stands for an answer of which a client sees that a part is missing.
pub const BROKEN_OFF: u16 = 0;

pub const PASSED: Allowed = &[&[200]];
pub const REFUSED: Allowed = &[&[400], &[]];
pub const EITHER: Allowed = &[&[200], &[400], &[]];
/// The head is sound, and the body does not come to a sound end.
pub const NEVER_WHOLE: Allowed = &[&[400], &[408], &[]];

/// What the upstream may have seen where nothing of the outcome is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Not a byte.
    Untouched,
    /// The beginning of a request, which never becomes whole.
    MayBegin,
    /// Not a byte, although the answer is 200.
    NotAsked,
}

/// What the client does when everything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for answers.
    Waits,
    /// It says that nothing more comes.
    Ends,
}

#[derive(Clone)]
pub struct Case {
    pub category: &'static str,
    pub name: String,
    /// The section that tells what is right.
    pub rule: &'static str,
    /// What is sent: a character is a byte, `{key}` stands for a valid key.
    pub text: String,
    pub allowed: Allowed,
    pub upstream: Upstream,
    pub then: Then,
}

impl Case {
    pub fn new(
        category: &'static str,
        name: impl Into<String>,
        rule: &'static str,
        text: impl Into<String>,
        allowed: Allowed,
    ) -> Self {
        let (name, text) = (name.into(), text.into());
        Self { category, name, rule, text, allowed, upstream: Upstream::Untouched, then: Then::Waits }
    }

    /// A request whose body does not come to a sound end, after which the client ends.
    pub fn never_whole(category: &'static str, name: &str, rule: &'static str, text: String) -> Self {
        let case = Self::new(category, name, rule, text, NEVER_WHOLE);
        Self { upstream: Upstream::MayBegin, then: Then::Ends, ..case }
    }

    /// The bytes to send.
    pub fn bytes(&self, key: &str) -> Vec<u8> {
        let text = self.text.replace("{key}", key);
        text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
    }

    /// What the first request asks for.
    pub fn asked(&self) -> Asked {
        if self.text.starts_with("HEAD ") { Asked::Head } else { Asked::Other }
    }

    /// The target as it must go upstream, if it was sent as a path.
    pub fn path(&self) -> Option<Vec<u8>> {
        let bytes = self.bytes("");
        let line =
            bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
        let target = line.split(|byte| *byte == b' ').nth(1)?;
        target.starts_with(b"/").then(|| target.to_vec())
    }
}

/// What must never be taken for a request of its own.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: api.example\r\n\r\n";

/// A request with a valid key: `line` without its version, `fields` each with its end, and what follows the head.
pub fn request(line: &str, fields: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {{key}}\r\n{fields}\r\n{body}")
}

pub fn post(fields: &str, body: &str) -> String {
    request("POST /t", fields, body)
}

pub fn get(fields: &str) -> String {
    request("GET /t", fields, "")
}

/// So many fields, each of another name.
pub fn numbered_fields(count: usize) -> String {
    let fields: Vec<String> = (0..count).map(|number| format!("X-{number}: 1\r\n")).collect();
    fields.concat()
}
