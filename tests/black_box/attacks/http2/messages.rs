//! Bodies that are not as long as their head says, trailers, and what an upstream of HTTP/1 could take for a request of
//! its own (RFC 9113 §8.1, §10.3).

use super::case::{Allowed, Case, Given, Step};
use super::frames::{self, END_HEADERS, Head, WHOLE, data, last_data};

const LENGTH: &str = "content-length";
const SMUGGLING: &str = "smuggling";
const TRAILERS: &str = "trailers";
const REQUEST: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: api.example\r\n\r\n";

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [lengths(given), smuggled(given), trailers(given), second_heads(given)].concat()
}

fn lengths(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §8.1.1";
    let head =
        |name: &str, length: &str| given.post(&format!("/{LENGTH}/{name}")).with("content-length", length);
    let broken = |name: &str| Case::new(LENGTH, name, SECTION, Allowed::malformed().in_the_middle());
    let mut cases = vec![
        broken("too-much").send(head("too-much", "5").and_body(1, b"12345678")),
        broken("too-much-in-parts")
            .send(head("too-much-in-parts", "5").open(1))
            .send([data(1, b"123"), data(1, b"456"), last_data(1, b"789")].concat()),
        surplus_that_comes_later(&head("surplus-comes-later", "5")),
        broken("too-little").send(head("too-little", "9").and_body(1, b"12345")),
        broken("too-little-and-an-empty-end")
            .send(head("too-little-and-an-empty-end", "9").open(1))
            .send([data(1, b"12345"), last_data(1, b"")].concat()),
        broken("too-little-and-trailers")
            .send([head("too-little-and-trailers", "9").open(1), data(1, b"12345")].concat())
            .send(Head::empty().with("x-sum", "1").frame(1, WHOLE)),
        broken("length-but-no-body").send(head("length-but-no-body", "5").whole(1)),
        broken("none-was-promised").send(head("none-was-promised", "0").and_body(1, b"1")),
        broken("doubled-and-different")
            .send(head("doubled-and-different", "5").with("content-length", "6").and_body(1, b"12345")),
        // One value may be taken for both (RFC 9110 §8.6).
        Case::new(LENGTH, "doubled-and-equal", "RFC 9110 §8.6", Allowed::passed().or(Allowed::malformed()))
            .send(head("doubled-and-equal", "5").with("content-length", "5").and_body(1, b"12345")),
        Case::new(LENGTH, "right", SECTION, Allowed::passed()).send(head("right", "5").and_body(1, b"12345")),
        Case::new(LENGTH, "right-and-an-end-of-its-own", SECTION, Allowed::passed())
            .send([head("right-and-an-end-of-its-own", "5").open(1), data(1, b"12345")].concat())
            .step(Step::Settle)
            .send(last_data(1, b"")),
    ];
    for (name, length) in [
        ("letters", "abc"),
        ("list", "5, 5"),
        ("plus", "+5"),
        ("minus", "-5"),
        ("hexadecimal", "0x5"),
        ("blank-before", " 5"),
        ("blank-behind", "5 "),
        ("empty", ""),
        ("fraction", "5.0"),
        ("beyond-64-bits", "18446744073709551621"),
        ("letter-behind", "5a"),
    ] {
        cases.push(broken(name).send(head(name, length).and_body(1, b"12345")));
    }
    cases
}

/// The promised bytes are long on their way when the surplus comes.
fn surplus_that_comes_later(head: &Head) -> Case {
    let allowed = Allowed::malformed().in_the_middle();
    let mut case = Case::new(LENGTH, "surplus-comes-later", "RFC 9113 §8.1.1", allowed)
        .send([head.open(1), data(1, b"12345")].concat());
    for _ in 0..100 {
        case = case.step(Step::Settle);
    }
    case.send(last_data(1, REQUEST))
}

fn smuggled(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §10.3";
    const INJECTED: &str = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: api.example\r\nx-b: ";
    let get = |name: &str| given.get(&format!("/{SMUGGLING}/{name}"));
    let post = |name: &str| given.post(&format!("/{SMUGGLING}/{name}"));
    let refused = |name: &str, head: &Head| {
        Case::new(SMUGGLING, name, SECTION, Allowed::malformed()).send(head.whole(1))
    };
    let passes = |name: &str| Case::new(SMUGGLING, name, SECTION, Allowed::passed());
    let mut cases = vec![
        refused("request-in-value", &get("request-in-value").with("x-a", INJECTED)),
        refused("request-in-cookie", &get("request-in-cookie").with("cookie", INJECTED)),
        refused("request-in-user-agent", &get("request-in-user-agent").with("user-agent", INJECTED)),
        refused("request-in-name", &get("request-in-name").with(format!("x-a: {INJECTED}"), "1")),
        refused("request-in-path", &get("-").set(":path", format!("/{INJECTED}"))),
        refused("request-in-query", &get("-").set(":path", format!("/?{INJECTED}"))),
        refused(
            "request-in-method",
            &get("request-in-method").set(":method", format!("GET / HTTP/1.1\r\n{INJECTED}")),
        ),
        refused("request-in-authority", &get("request-in-authority").set(":authority", INJECTED)),
        refused("request-in-scheme", &get("request-in-scheme").set(":scheme", INJECTED)),
        refused(
            "request-behind-bare-lf",
            &get("request-behind-bare-lf").with("x-a", "x\n\nGET /smuggled HTTP/1.1\n"),
        ),
        refused("length-in-value", &get("length-in-value").with("x-a", "x\r\ncontent-length: 10")),
        refused("coding-in-value", &get("coding-in-value").with("x-a", "x\r\ntransfer-encoding: chunked")),
        refused("identity-in-value", &get("identity-in-value").with("x-a", "x\r\nx-auth-user: root")),
        refused("lf-in-host", &get("lf-in-host").without(":authority").with("host", "api.example\nx-b: 1")),
        passes("request-in-body").send(post("request-in-body").and_body(1, REQUEST)),
        passes("request-in-body-with-length").send(
            post("request-in-body-with-length")
                .with("content-length", REQUEST.len().to_string())
                .and_body(1, REQUEST),
        ),
        passes("end-of-chunks-in-body")
            .send(post("end-of-chunks-in-body").and_body(1, &[b"0\r\n\r\n", REQUEST].concat())),
        passes("request-in-body-of-get").send(get("request-in-body-of-get").and_body(1, REQUEST)),
        passes("request-in-body-of-delete")
            .send(get("request-in-body-of-delete").set(":method", "DELETE").and_body(1, REQUEST)),
        passes("request-in-body-of-head")
            .send(get("request-in-body-of-head").set(":method", "HEAD").and_body(1, REQUEST)),
        passes("body-that-expects-continue")
            .send(post("body-that-expects-continue").with("expect", "100-continue").and_body(1, REQUEST)),
    ];
    // Servers that take `_` for `-` would frame the body by these.
    for (name, field, value) in [
        ("twin-of-transfer-encoding", "transfer_encoding", "chunked"),
        ("twin-of-content-length", "content_length", "0"),
        ("dotted-twin-of-transfer-encoding", "transfer.encoding", "chunked"),
        ("dotted-twin-of-content-length", "content.length", "0"),
    ] {
        let allowed = Allowed::passed().or(Allowed::malformed());
        let head = post(name).with(field, value);
        cases.push(Case::new(SMUGGLING, name, SECTION, allowed).send(head.and_body(1, REQUEST)));
    }
    cases
}

fn trailers(given: &Given) -> Vec<Case> {
    const SECTION: &str = "RFC 9113 §8.1";
    let with_trailers = |case: Case, name: &str, trailers: &Head| {
        let head = given.post(&format!("/{TRAILERS}/{name}"));
        case.send([head.open(1), data(1, b"body"), trailers.frame(1, WHOLE)].concat())
    };
    let broken = |name: &str, trailers: &Head| {
        let case = Case::new(TRAILERS, name, SECTION, Allowed::malformed().in_the_middle());
        with_trailers(case, name, trailers)
    };
    let field = |name: &str, value: &str| Head::empty().with(name, value);
    let mut cases = vec![
        broken("upper-case", &field("X-Sum", "1")),
        broken("crlf-in-value", &field("x-sum", "1\r\nx-auth-user: root")),
        broken("lf-in-name", &field("x-sum\nx-auth-user", "root")),
        broken("blank-before-value", &field("x-sum", " 1")),
        broken("blank-behind-value", &field("x-sum", "1\t")),
        broken("connection", &field("connection", "close")),
        broken("transfer-encoding", &field("transfer-encoding", "chunked")),
        broken("te-gzip", &field("te", "gzip")),
        with_trailers(
            Case::new(TRAILERS, "harmless", SECTION, Allowed::passed()),
            "harmless",
            &field("x-sum", "1"),
        ),
    ];
    // Pseudo-header fields there are malformed too; the parser drops them, so that nobody behind it is shown one.
    for (name, pseudo, value) in [("path", ":path", "/smuggled"), ("status", ":status", "200")] {
        let case =
            Case::new(TRAILERS, name, SECTION, Allowed::passed().or(Allowed::malformed().in_the_middle()));
        cases.push(with_trailers(case, name, &field(pseudo, value)));
    }
    // What means something only in a head is left out; or the whole is refused (RFC 9110 §6.5.1).
    for (name, value) in [
        ("content-length", "0"),
        ("host", "smuggled.example"),
        ("x-auth-user", "root"),
        ("x_auth_user", "root"),
        ("x-auth-customer", "root"),
        ("authorization", given.authorization.as_str()),
        ("x-forwarded-for", "192.0.2.1"),
    ] {
        let case = Case::new(
            TRAILERS,
            name,
            "RFC 9110 §6.5.1",
            Allowed::passed().or(Allowed::malformed().in_the_middle()),
        );
        cases.push(with_trailers(case, name, &field(name, value)));
    }
    cases
}

/// A second HEADERS that ends nothing, or comes behind the end.
fn second_heads(given: &Given) -> Vec<Case> {
    let broken =
        |name: &str| Case::new(TRAILERS, name, "RFC 9113 §8.1", Allowed::malformed().in_the_middle());
    let sum = Head::empty().with("x-sum", "1");
    let closed = Allowed::stream_error(&[frames::STREAM_CLOSED, frames::PROTOCOL_ERROR]).after(1);
    vec![
        broken("that-do-not-end-the-stream").send(
            [
                given.post("/trailers/that-do-not-end-the-stream").open(1),
                data(1, b"body"),
                sum.frame(1, END_HEADERS),
            ]
            .concat(),
        ),
        broken("a-second-head")
            .send([given.post("/trailers/a-second-head").open(1), given.get("/smuggled").open(1)].concat()),
        Case::new(TRAILERS, "twice", "RFC 9113 §5.1", closed)
            .send([given.post("/trailers/twice").open(1), sum.whole(1), sum.whole(1)].concat()),
    ]
}
