//! S19: one line of a client is one line upstream, written by the gateway.

use super::transcript::{Given, Transcript};

/// The longest name that can be answered.
const NAME_BYTES: usize = 982;

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("injection", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = whole_names(given);
    cases.extend(no_names(given));
    cases.extend(rewritten(given));
    cases
}

/// Visible ASCII that could mean something to somebody: it is a name, goes up as it is, and comes back as it is.
fn whole_names(given: &Given) -> Vec<Transcript> {
    let longest = "n".repeat(NAME_BYTES);
    let names = [
        ("percent-encoded-crlf", "a%0d%0aIS%20b.example"),
        ("twice-percent-encoded", "a%250d%250aIS%2520b.example"),
        ("backslash-escapes", r"a\r\nIS\x20b.example"),
        ("entities", "a&#13;&#10;IS&#32;b.example"),
        ("utf-7", "a+AA0ACg-IS+ACA-b.example"),
        ("login", "LOGIN"),
        ("quit", "QUIT"),
        ("starttls", "STARTTLS"),
        ("enable", "ENABLE"),
        ("is", "IS"),
        ("number-of-an-answer", "100"),
        ("number-of-a-refusal", "400"),
        ("detail", "a.example(reason=x)"),
        ("shell", "$(reboot);`reboot`|reboot"),
        ("format", "%s%n%x"),
        ("path", "../../etc/passwd"),
        ("quotes", "'\";--"),
        ("longest", &longest),
    ];
    names
        .into_iter()
        .map(|(name, asked)| case(format!("name-{name}")).login(given).ask(asked).stays_in())
        .collect()
}

/// What is more than a name.
fn no_names(given: &Given) -> Vec<Transcript> {
    let lines = [
        "IS a.example available",
        "IS a.example b.example",
        "IS a.example not available",
        "IS a.example available (reason=mine)",
        "IS a b c d e f",
        "IS a.example IS b.example",
        "IS",
        "IS   ",
    ];
    let mut cases: Vec<Transcript> = lines
        .into_iter()
        .map(|line| {
            let refused = case(line.replace(' ', "-")).login(given).line(line);
            refused.expect("400 Wrong number of arguments").stays_in()
        })
        .collect();
    let too_long = format!("IS {}", "n".repeat(NAME_BYTES + 1));
    cases.push(case("a-name-too-long").login(given).line(too_long).expect("400 Line too long").closes());
    let carriage_return = "IS a.example\rIS b.example";
    cases.push(case("cr").login(given).line(carriage_return).expect("400 Bad request").closes());
    cases.push(
        case("cr-and-the-answer-of-another")
            .login(given)
            .line("IS a.example\rb.example available")
            .expect("400 Bad request")
            .closes(),
    );
    cases
}

/// Not copied, but written anew.
fn rewritten(given: &Given) -> Vec<Transcript> {
    vec![
        case("blanks-are-not-copied")
            .login(given)
            .line("   is    a.example     ")
            .expect("a.example available")
            .upstream(["IS a.example"])
            .stays_in(),
        case("the-case-of-a-name-is-kept").login(given).ask("A.eXaMpLe").stays_in(),
        case("a-one-shot-key-does-not-go-up")
            .line(format!("IS {} a.example", given.key))
            .expect("a.example available")
            .upstream(["IS a.example"]),
        case("a-one-shot-after-a-login")
            .login(given)
            .line(format!("IS {} a.example", given.key))
            .expect("400 Wrong number of arguments")
            .stays_in(),
        case("a-login-after-a-login")
            .login(given)
            .line("LOGIN acme/admin hunter2")
            .expect("400 Already authenticated")
            .stays_in(),
    ]
}
