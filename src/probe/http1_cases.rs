//! The attacks on an API listener that are one message of HTTP/1 each: its bytes, and how it is judged. Pure.

use super::finding::Outcome;
use super::judge::{self, FORGED, Identity, Refusal, Seen};
use super::keys::{CUSTOMER, Keys, LOGIN};
use super::origins::Origins;
use super::rehearsal::Target;

/// Fields of a request that spoofs identities, at most; the copy takes a hundred.
const SPOOFED_FIELDS_MAX: usize = 80;
/// More than a gateway may read away behind a refusal before it closes (SECURITY S09: 64 KiB).
const LONG_BODY_BYTES: usize = 100_000;

/// One message, and what must become of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    pub(super) bytes: Vec<u8>,
    pub(super) judged: Judged,
}

/// Does a case say something only where somebody is let in?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    LettingIn,
    /// It says something only where a client's word about its address does not count.
    Stranger,
}

/// How a case is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Refused(Refusal),
    OneFraming,
    NotFolded,
    NotBelieved,
    NotUpgraded,
    TrueAddress,
}

/// What cases are made of.
pub(super) struct Material<'a> {
    pub(super) target: &'a Target,
    pub(super) keys: &'a Keys,
    pub(super) origins: &'a Origins,
    pub(super) header_bytes: usize,
}

impl Case {
    /// What came of it.
    pub(super) fn judge(&self, seen: &Seen, material: &Material<'_>) -> Outcome {
        let Material { keys, origins, .. } = material;
        match self.judged {
            Judged::Refused(how) => judge::refused(seen, how),
            Judged::OneFraming => judge::one_framing(seen),
            Judged::NotFolded => judge::not_folded(seen),
            Judged::NotUpgraded => judge::not_upgraded(seen),
            Judged::NotBelieved => judge::not_believed(seen, &material.identity(), keys.right.text.expose()),
            Judged::TrueAddress => {
                let client = origins.client.client().to_string();
                judge::true_address(seen, &client, &origins.claimed.to_string())
            }
        }
    }
}

impl Material<'_> {
    /// What the upstream must be told.
    pub(super) fn identity(&self) -> Identity {
        let names = &self.target.identity;
        let told = [
            (&names.customer, CUSTOMER),
            (&names.user, LOGIN),
            (&names.key_id, self.keys.right.id.as_str()),
            (&names.method, "api-key"),
        ];
        let told = told.into_iter().filter_map(|(name, value)| Some((name.as_ref()?, value)));
        Identity(told.map(|(name, value)| (name.as_str().to_owned(), value.to_owned())).collect())
    }

    /// The beginning of a request with the right key.
    fn head(&self, method: &str) -> String {
        self.head_with(method, self.keys.right.text.expose())
    }

    fn head_with(&self, method: &str, key: &str) -> String {
        format!("{}Authorization: ApiKey {key}\r\n", self.bare_head(method))
    }

    fn bare_head(&self, method: &str) -> String {
        let Target { path, host, .. } = self.target;
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n")
    }

    /// A request with the right key.
    pub(super) fn request(&self) -> Vec<u8> {
        format!("{}\r\n", self.head("GET")).into_bytes()
    }

    /// A request with the key that is right at the claimed address only.
    pub(super) fn listed_request(&self, fields: &str) -> Vec<u8> {
        let head = self.head_with("GET", self.keys.listed.text.expose());
        format!("{head}{fields}\r\n").into_bytes()
    }

    /// Headers that claim another address, in every way that is in use.
    pub(super) fn claims(&self) -> String {
        let claimed = self.origins.claimed;
        format!(
            "X-Forwarded-For: {claimed}\r\nForwarded: for=\"{claimed}\"\r\nX-Real-IP: {claimed}\r\n\
             True-Client-IP: {claimed}\r\nX_Forwarded_For: {claimed}\r\n"
        )
    }

    /// A whole request to be hidden within another message.
    fn smuggled(&self, authorization: &str) -> String {
        let Target { path, host, .. } = self.target;
        format!("GET {path}/smuggled HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n")
    }

    /// Every spelling of every name that the upstream takes for the gateway's word.
    fn spoofed_names(&self) -> Vec<String> {
        let own = self.target.identity.names().chain(&self.target.set).map(|name| name.as_str().to_owned());
        let usual = ["x-auth-customer", "x-auth-user", "x-auth-key-id", "x-auth-method", "x-auth-role"];
        let mut names: Vec<String> = own.chain(usual.map(str::to_owned)).collect();
        names.sort_unstable();
        names.dedup();
        let spelled = |name: &String| [name.clone(), name.to_ascii_uppercase(), name.replace('-', "_")];
        names.iter().flat_map(spelled).take(SPOOFED_FIELDS_MAX).collect()
    }

    fn spoofed_fields(&self) -> String {
        let fields: Vec<String> =
            self.spoofed_names().iter().map(|name| format!("{name}: {FORGED}\r\n")).collect();
        fields.concat()
    }
}

/// The cases, in the order of the list.
pub(super) fn cases(material: &Material<'_>) -> Vec<Case> {
    [credentials(material), framing(material), identities(material), methods(material)]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, needs: Needs, judged: Judged, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, needs, bytes: bytes.into(), judged }
}

fn credentials(material: &Material<'_>) -> Vec<Case> {
    let credential = Judged::Refused(Refusal::Credential);
    let wrong = material.head_with("GET", &material.keys.right.wrong());
    let in_query = material.bare_head("GET").replacen(
        "/latchkey-probe ",
        &format!("/latchkey-probe?apikey={} ", material.keys.right.text.expose()),
        1,
    );
    vec![
        case("no credential", Needs::Nothing, credential, format!("{}\r\n", material.bare_head("GET"))),
        case("a wrong key", Needs::LettingIn, credential, format!("{wrong}\r\n")),
        case("a right key in the query", Needs::Nothing, credential, format!("{in_query}\r\n")),
        case(
            "two Authorization headers",
            Needs::LettingIn,
            credential,
            format!(
                "{}Authorization: ApiKey {}\r\n\r\n",
                material.head("GET"),
                material.keys.right.text.expose()
            ),
        ),
    ]
}

fn framing(material: &Material<'_>) -> Vec<Case> {
    let post = material.head("POST");
    let hidden = material.smuggled("");
    let (length, chunked) = ("Content-Length: 5", "Transfer-Encoding: chunked");
    let ends_early = format!("0\r\n\r\n{hidden}");
    let refusal = Judged::Refused(Refusal::Message);
    let get = material.head("GET");
    let filler = "x".repeat(material.header_bytes);
    let mut cases = vec![
        case(
            "Content-Length before Transfer-Encoding",
            Needs::Nothing,
            Judged::OneFraming,
            format!("{post}{length}\r\n{chunked}\r\n\r\n{ends_early}"),
        ),
        case(
            "Transfer-Encoding before Content-Length",
            Needs::Nothing,
            Judged::OneFraming,
            format!("{post}{chunked}\r\n{length}\r\n\r\n{ends_early}"),
        ),
        case(
            "two Content-Length that differ",
            Needs::Nothing,
            refusal,
            format!("{post}Content-Length: 0\r\n{length}\r\n\r\nhello{hidden}"),
        ),
        case("a folded header", Needs::Nothing, Judged::NotFolded, format!("{get}X-Folded: a\r\n b\r\n\r\n")),
        case("a blank before the colon", Needs::Nothing, refusal, format!("{get}X-Blank : a\r\n\r\n")),
        case("a head beyond limits.http_header_bytes", Needs::Nothing, refusal, {
            format!("{get}X-Filler: {filler}\r\n\r\n")
        }),
    ];
    let right = format!("Authorization: ApiKey {}\r\n", material.keys.right.text.expose());
    for (name, padding) in [
        ("a request hidden in a refused body", 0),
        ("a request hidden in a refused body, behind 100,000 bytes", LONG_BODY_BYTES),
    ] {
        let body = format!("{}{}", "x".repeat(padding), material.smuggled(&right));
        let head = material.head_with("POST", &material.keys.right.wrong());
        let message = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        cases.push(case(name, Needs::Nothing, refusal, message));
    }
    cases
}

fn identities(material: &Material<'_>) -> Vec<Case> {
    let (get, post) = (material.head("GET"), material.head("POST"));
    let fields = material.spoofed_fields();
    let names = material.spoofed_names().join(", ");
    let own: Vec<&str> = material.target.identity.names().map(http::HeaderName::as_str).collect();
    let claims = material.claims();
    let (believed, address) = (Judged::NotBelieved, Judged::TrueAddress);
    vec![
        case(
            "forged identity headers, in every spelling",
            Needs::LettingIn,
            believed,
            format!("{get}{fields}\r\n"),
        ),
        case(
            "forged identity headers in trailers",
            Needs::LettingIn,
            believed,
            format!(
                "{post}Trailer: {names}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{fields}\r\n"
            ),
        ),
        case(
            "identity headers that Connection names away",
            Needs::LettingIn,
            believed,
            format!("{get}Connection: {}, host, x-forwarded-for\r\n\r\n", own.join(", ")),
        ),
        case(
            "a forged X-Forwarded-For told upstream",
            Needs::Stranger,
            address,
            format!("{get}{claims}\r\n"),
        ),
        case(
            "a forged X-Forwarded-For and a key's allow-list",
            Needs::Stranger,
            Judged::Refused(Refusal::Forbidden),
            material.listed_request(&claims),
        ),
    ]
}

fn methods(material: &Material<'_>) -> Vec<Case> {
    let refusal = Judged::Refused(Refusal::Message);
    let host = &material.target.host;
    let authorization = format!("Authorization: ApiKey {}\r\n", material.keys.right.text.expose());
    vec![
        case("TRACE", Needs::Nothing, refusal, format!("{}\r\n", material.head("TRACE"))),
        case(
            "CONNECT",
            Needs::Nothing,
            refusal,
            format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{authorization}\r\n"),
        ),
        case(
            "an upgrade to h2c",
            Needs::Nothing,
            Judged::NotUpgraded,
            format!(
                "{}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
                material.head("GET")
            ),
        ),
    ]
}
