//! A head as a server reads it that takes nothing but what RFC 9112 has; and what is to hold of each that goes upstream.

use latchkey::gateway::http::UploadFraming;
use latchkey::model::is_own_cookie;

/// What the second upstream is called by, whatever the client says.
pub const OWN_HOST: &str = "own.example";

/// Fields of one connection, and credentials for a proxy (RFC 9110 §7.6.1, and by custom).
const OF_ONE_CONNECTION: [&str; 8] = [
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
    "http2-settings",
    "alt-used",
];
/// What the gateway says, and therefore says once and alone, by names with `-` for every mark.
const SAID: [(&str, &[u8]); 8] = [
    ("x-auth-customer", b"acme"),
    ("x-auth-user", b"alex"),
    ("remote-user", b"alex"),
    ("x-auth-key-id", b"key_0000000000007"),
    ("x-auth-method", b"api-key"),
    ("x-forwarded-for", b"192.0.2.7"),
    ("x-forwarded-proto", b"https"),
    ("x-request-id", b"00000000000000ab"),
];
/// What only a proxy that is trusted could say.
const CLAIMS: [&str; 8] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
];

/// A head, read.
pub struct Written<'a> {
    /// The request line.
    pub line: String,
    fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Written<'a> {
    /// Reads a head that ends with `head`.
    pub fn read(head: &'a [u8]) -> Self {
        let lines = head.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
        // A CR or LF that ends no line stays in one, where it is found below.
        let mut lines =
            lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = std::str::from_utf8(lines.next().unwrap_or_default()).expect("a request line");
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        assert!(line.split(' ').count() == 3 && line.split(' ').all(|word| !word.is_empty()), "{line:?}");
        let fields: Vec<_> = lines.map(field).collect();
        let parts = head.split(|byte| *byte == b'\r').count();
        assert_eq!(parts, fields.len() + 3, "a CR for each line and no other");
        Self { line: line.to_owned(), fields }
    }

    fn values(&self, name: &str) -> Vec<&'a [u8]> {
        self.fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect()
    }

    /// The value of a field that is there once.
    pub fn only(&self, name: &str) -> &'a [u8] {
        let values = self.values(name);
        assert_eq!(values.len(), 1, "{name} stands there {} times", values.len());
        values[0]
    }

    /// Is there a field of this name with this value?
    pub fn has(&self, name: &str, value: &[u8]) -> bool {
        self.values(name).contains(&value)
    }

    /// Nobody but the gateway steers a connection, frames the message or says who calls.
    pub fn check(&self, framing: UploadFraming) {
        let host = self.only("host");
        let is_own = host == OWN_HOST.as_bytes();
        assert!(!host.is_empty() && host.iter().all(u8::is_ascii_graphic) && !host.contains(&b'@'));
        let told = self.only("x-forwarded-host");
        assert!(!told.is_empty() && (is_own || told.eq_ignore_ascii_case(host)));
        match self.values("authorization").as_slice() {
            [] => {}
            [own] => assert!(is_own && *own == b"ApiKey own"),
            several => panic!("{} credentials", several.len()),
        }
        self.check_framing(framing);
        for (name, value) in &self.fields {
            self.check_name(name);
            if *name == "cookie" {
                let names = value
                    .split(|byte| *byte == b';')
                    .map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default());
                assert!(names.into_iter().all(|name| !is_own_cookie(name)), "a cookie of the console");
            }
        }
        // `Remote-User` is said to the second upstream only, and means nothing to the first.
        for (name, value) in SAID.into_iter().filter(|(name, _)| is_own || *name != "remote-user") {
            assert!(self.values(name).iter().all(|said| *said == value), "{name} is forged");
        }
        for name in ["x-auth-key-id", "x-auth-method", "x-forwarded-for", "x-forwarded-proto", "x-request-id"]
        {
            let _ = self.only(name);
        }
        let by = self.values("via").pop().expect("who passed it on");
        assert!(by.ends_with(b" latchkey"));
    }

    fn check_framing(&self, framing: UploadFraming) {
        let (lengths, codings) = (self.values("content-length"), self.values("transfer-encoding"));
        match framing {
            UploadFraming::Ended => {
                assert!(codings.is_empty() && lengths.len() <= 1 && lengths.iter().all(|said| *said == b"0"));
            }
            UploadFraming::Length(length) => {
                assert!(codings.is_empty() && lengths == [length.to_string().as_bytes()]);
            }
            UploadFraming::Chunked => assert!(lengths.is_empty() && codings == [b"chunked"]),
        }
        let expected = self.values("expect");
        assert!(expected.is_empty() || framing != UploadFraming::Ended, "nothing to wait for");
        assert!(expected.iter().all(|said| said.eq_ignore_ascii_case(b"100-continue")));
        let trailers = self.values("te");
        assert!(trailers.iter().all(|said| *said == b"trailers") && trailers.len() <= 1);
        let options = self.values("connection");
        assert!(options.len() == trailers.len() && options.iter().all(|said| *said == b"te"));
    }

    /// No name reads as another one that counts, whatever mark a server takes for `-`.
    fn check_name(&self, name: &str) {
        let plain: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
        assert!(!OF_ONE_CONNECTION.contains(&name), "{name}");
        assert!(!CLAIMS.contains(&plain.as_str()), "{name}");
        let is_twin = plain != name;
        let counts = ["content-length", "transfer-encoding"].contains(&plain.as_str())
            || plain.starts_with("x-auth-")
            || plain.starts_with("x-forwarded")
            || SAID.iter().any(|(said, _)| *said == plain);
        let is_meant = plain != "remote-user" || self.only("host") == OWN_HOST.as_bytes();
        assert!(!(is_twin && counts && is_meant), "{name} reads as {plain}");
        let is_ours = SAID.iter().any(|(said, _)| *said == name) || name == "x-forwarded-host";
        assert!(is_ours || !(plain.starts_with("x-auth-") || plain.starts_with("x-forwarded")), "{name}");
    }
}

/// A name and its value (RFC 9110 §5.5).
fn field(line: &[u8]) -> (&str, &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
    let (name, value) = line.split_at(colon);
    let name = std::str::from_utf8(name).expect("a name");
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?}");
    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
    let value = value.strip_prefix(b": ").expect("a blank behind the colon");
    assert!(value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)), "{name}: {value:?}");
    (name, value)
}
