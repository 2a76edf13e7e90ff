//! Many lines at once: one reply for each request, no more of them open than may be, and an end that forgets none.

use super::transcript::{Given, Transcript};

/// One more than may be pending (PROTOCOL: at most 4,096).
const ONE_TOO_MANY: usize = 4_097;
/// What the kernels on both sides hold is in it.
const MOST_TAKEN: usize = 64 * 1_024 * 1_024;

fn case(name: &str) -> Transcript {
    Transcript::new("pipelines", name)
}

fn available(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name} available")).collect()
}

/// Sends requests for `names` in one write, to be answered each.
fn asking(case: Transcript, names: &[String]) -> Transcript {
    let lines: Vec<String> = names.iter().map(|name| format!("IS {name}")).collect();
    case.send(lines.join("\r\n") + "\r\n")
        .expect_all(names.iter().map(|name| format!("{name} available")))
        .upstream(lines)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = many(given);
    cases.extend(ends(given));
    cases.extend(faults(given));
    cases
}

fn many(given: &Given) -> Vec<Transcript> {
    let held: Vec<String> = (0..ONE_TOO_MANY).map(|number| format!("held{number}")).collect();
    let plenty: Vec<String> = (0..1_000).map(|number| format!("n{number}.example")).collect();
    let unread = format!("IS {}.example\r\n", "n".repeat(400)).repeat(100);
    let logging_in = Transcript::new("pipelines", "a-login-in-front");
    vec![
        asking(case("one-more-than-may-be-pending").login(given), &held).stays_in(),
        asking(case("the-same-name-100-times").login(given), &vec!["same.example".to_owned(); 100])
            .stays_in(),
        asking(case("1000-names").login(given), &plenty).stays_in(),
        case("the-same-name-in-other-cases")
            .login(given)
            .send("IS A.example\r\nIS a.EXAMPLE\r\nIS a.example\r\n")
            .expect_all(available(&["A.example", "a.EXAMPLE", "a.example"]))
            .upstream(["IS A.example", "IS a.EXAMPLE", "IS a.example"])
            .stays_in(),
        logging_in
            .send(format!("LOGIN {}\r\nIS a.example\r\nIS b.example\r\n", given.key))
            .expect("100 Login ok")
            .expect_all(available(&["a.example", "b.example"]))
            .upstream(["IS a.example", "IS b.example"])
            .stays_in(),
        case("a-client-that-never-reads").login(given).flood(unread, MOST_TAKEN).upstream_flooded(),
        case("a-client-that-never-reads-refusals").flood("HELP\r\n".repeat(1_000), MOST_TAKEN),
    ]
}

fn ends(given: &Given) -> Vec<Transcript> {
    let two = ["IS a.example", "IS b.example"];
    vec![
        case("quit-in-the-middle")
            .login(given)
            .send("IS a.example\r\nIS b.example\r\nQUIT\r\nIS c.example\r\n")
            .expect_all(available(&["a.example", "b.example"]))
            .upstream(two)
            .closes(),
        case("quit-with-held-requests")
            .login(given)
            .send("IS held.a\r\nIS held.b\r\nCLOSE\r\nLOGIN a\r\n")
            .expect_all(available(&["held.a", "held.b"]))
            .upstream(["IS held.a", "IS held.b"])
            .closes(),
        case("half-closed")
            .login(given)
            .send("IS held.a\r\nIS held.b\r\n")
            .finish_sending()
            .expect_all(available(&["held.a", "held.b"]))
            .upstream(["IS held.a", "IS held.b"])
            .closes(),
        case("half-closed-within-a-line")
            .login(given)
            .send("IS a.example\r\nIS b.exa")
            .finish_sending()
            .expect("a.example available")
            .upstream(["IS a.example"])
            .closes(),
        case("half-closed-with-nothing").finish_sending().closes(),
        case("reset-with-requests-pending")
            .login(given)
            .send("IS silent.a\r\nIS silent.b\r\n")
            .reset()
            .upstream_perhaps(["IS silent.a", "IS silent.b"]),
        case("silent-upstream")
            .login(given)
            .send("IS silent.a\r\nIS b.example\r\n")
            .expect_all(["b.example available", "silent.a error"])
            .upstream(["IS silent.a", "IS b.example"])
            .stays_in(),
    ]
}

/// What is wrong with one line does not take replies from those before it, and lets none behind it through.
fn faults(given: &Given) -> Vec<Transcript> {
    vec![
        case("a-second-login-in-the-middle")
            .login(given)
            .send("IS a.example\r\nLOGIN wrong\r\nIS b.example\r\n")
            .expect_all(["a.example available", "400 Already authenticated", "b.example available"])
            .upstream(["IS a.example", "IS b.example"])
            .stays_in(),
        case("a-bad-byte-in-the-middle")
            .login(given)
            .send("IS a.example\r\nIS \0.example\r\nIS c.example\r\n")
            .expect_all(["a.example available", "400 Bad request"])
            .upstream(["IS a.example"])
            .closes(),
        case("a-long-line-in-the-middle")
            .login(given)
            .send(format!("IS a.example\r\nIS {}\r\nIS c.example\r\n", "n".repeat(1_030)))
            .expect_all(["a.example available", "400 Line too long"])
            .upstream(["IS a.example"])
            .closes(),
        case("http-in-the-middle")
            .login(given)
            .send("IS silent.a\r\nGET / HTTP/1.1\r\nIS c.example\r\n")
            .upstream_perhaps(["IS silent.a"])
            .closes(),
        case("starttls-in-the-middle")
            .login(given)
            .in_clear()
            .send("IS silent.a\r\nSTARTTLS\r\nIS c.example\r\n")
            .upstream_perhaps(["IS silent.a"])
            .closes(),
    ]
}
