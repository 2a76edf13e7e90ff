//! S46: a line has 1,024 bytes at most, and nobody waits for the end of a longer one.

use super::transcript::{Given, Transcript};

const LINE_BYTES: usize = 1_024;
const TOO_LONG: &str = "400 Line too long";
const KIB: usize = 1_024;
/// What the kernels on both sides hold is in it.
const MOST_TAKEN: usize = 32 * KIB * KIB;

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("lengths", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = bounds(given);
    cases.extend(without_end(given));
    cases.extend(nothing(given));
    cases
}

fn bounds(given: &Given) -> Vec<Transcript> {
    let filled = |count: usize| "x".repeat(count);
    let mut cases = Vec::new();
    for (name, end) in [("crlf", "\r\n"), ("lf", "\n")] {
        let longest = format!("{}{end}", filled(LINE_BYTES));
        let longer = format!("{}{end}IS a.example\r\n", filled(LINE_BYTES + 1));
        cases.push(case(format!("1024-{name}")).send(longest).expect("400 Unknown command"));
        cases.push(case(format!("1025-{name}")).login(given).send(longer).expect(TOO_LONG).closes());
    }
    let login = format!("LOGIN {}", filled(LINE_BYTES - 6));
    let padded = format!("LOGIN {}{}", given.key, " ".repeat(LINE_BYTES));
    let cr_within = format!("{}\rIS a.example\r\n", filled(LINE_BYTES));
    cases.extend([
        case("1024-in-pieces")
            .send(filled(1_000))
            .send(filled(24))
            .send("\r")
            .send("\n")
            .expect("400 Unknown command"),
        case("1024-of-login").line(login).expect("400 Login failed"),
        case("a-key-with-blanks-behind").line(padded).expect(TOO_LONG).closes(),
        case("cr-behind-1024").login(given).send(cr_within).expect(TOO_LONG).closes(),
        case("a-hundred-longest-lines")
            .send(format!("{}\r\n", filled(LINE_BYTES)).repeat(100))
            .expect_all(["400 Unknown command"; 100]),
        case("behind-a-request")
            .login(given)
            .send(format!("IS a.example\r\nIS {}\r\n", filled(LINE_BYTES)))
            .expect_all(["a.example available", TOO_LONG])
            .upstream(["IS a.example"])
            .closes(),
        case("http").send(format!("GET /{} HTTP/1.1\r\n", filled(LINE_BYTES))).closes(),
    ]);
    cases
}

fn without_end(given: &Given) -> Vec<Transcript> {
    let never = |name: &str| case(format!("{name}-without-an-end"));
    let name = "IS ".to_owned() + &"n".repeat(64 * KIB);
    vec![
        never("1026").send("x".repeat(1_026)).expect(TOO_LONG).closes(),
        never("64-kib").send("x".repeat(64 * KIB)).expect(TOO_LONG).closes(),
        never("64-kib-of-name").login(given).send(name).expect(TOO_LONG).closes(),
        never("64-kib-of-nul").send(vec![0; 64 * KIB]).expect(TOO_LONG).closes(),
        never("64-kib-of-blanks").send(" ".repeat(64 * KIB)).expect(TOO_LONG).closes(),
        never("2-mib").send("x".repeat(2 * KIB * KIB)).perhaps(TOO_LONG).closes(),
        never("any-number").flood("x".repeat(64 * KIB), MOST_TAKEN),
        never("any-number-of-http").flood("GET /".to_owned() + &"x".repeat(64 * KIB), MOST_TAKEN),
    ]
}

fn nothing(given: &Given) -> Vec<Transcript> {
    let blank_line = |count: usize| format!("{}\r\n", " ".repeat(count));
    vec![
        case("20000-empty-lines").send("\r\n".repeat(20_000)),
        case("20000-empty-lines-logged-in").login(given).send("\n".repeat(20_000)).stays_in(),
        case("1000-lines-of-blanks").send(blank_line(60).repeat(1_000)),
        case("1024-blanks").send(blank_line(LINE_BYTES)),
        case("1025-blanks").send(blank_line(LINE_BYTES + 1)).expect(TOO_LONG).closes(),
    ]
}
