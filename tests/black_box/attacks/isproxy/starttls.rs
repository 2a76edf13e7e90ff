//! S16, S17: what stands behind `STARTTLS` is never executed, and nothing of the time in clear counts after it.

use super::transcript::{Door, Given, Transcript};

/// A TLS 1.2 hello as far as a server needs to see it.
pub const TLS_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03";
/// What one read of the gateway takes.
const READ_BYTES: usize = 4_096;

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("starttls", name).in_clear()
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = behind(given);
    cases.extend(split(given));
    cases.extend(states(given));
    cases.extend(not_offered(given));
    cases
}

/// In the same read.
fn behind(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    let login = format!("LOGIN {key}\r\nIS injected.example\r\n").into_bytes();
    let one_shot = format!("IS {key} injected.example\r\n").into_bytes();
    let several: [(&str, &[u8]); 10] = [
        ("login", &login),
        ("one-shot", &one_shot),
        ("is", b"IS injected.example\r\n"),
        ("tls-hello", TLS_HELLO),
        ("starttls", b"STARTTLS\r\n"),
        ("empty-line", b"\r\n"),
        ("blank", b" "),
        ("nul", b"\0"),
        ("quit", b"QUIT\r\n"),
        ("half-a-line", b"LOGIN lk1_"),
    ];
    let mut cases = Vec::new();
    for (name, bytes) in several {
        for door in [Door::Usual, Door::Refusing] {
            let name = format!("behind-{name}-{door:?}");
            cases.push(case(name).at(door).send([b"STARTTLS\r\n", bytes].concat()).closes());
        }
    }
    for (name, line) in
        [("bare-lf", "STARTTLS\n"), ("lower-case", "starttls\r\n"), ("arguments", "STARTTLS now\r\n")]
    {
        let name = format!("behind-login-{name}");
        cases.push(case(name).send([line.as_bytes(), &login].concat()).closes());
    }
    let after_login =
        [format!("LOGIN {key}\r\nSTARTTLS\r\n").as_bytes(), b"IS injected.example\r\n"].concat();
    cases.push(case("behind-after-a-login").send(after_login).perhaps("100 Login ok").closes());
    cases
}

/// Not in the same read, or not wholly.
fn split(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    let rest = format!("\nLOGIN {key}\r\nIS injected.example\r\n");
    let fill = "\r\n".repeat((READ_BYTES - "STARTTLS\r\n".len()) / 2);
    let in_clear = format!("LOGIN {key}\r\nIS injected.example\r\n");
    vec![
        case("split-within-the-verb").send("STARTT").send(format!("LS\r{rest}")).closes(),
        case("split-before-the-lf").send("STARTTLS\r").send(&rest).closes(),
        case("behind-an-answered-line")
            .line("HELP")
            .expect("400 Unknown command")
            .send(format!("STARTTLS\r{rest}"))
            .closes(),
        case("in-the-next-packet")
            .line("STARTTLS")
            .expect("100 OK")
            .send(&in_clear)
            .closes_perhaps_by_alert(),
        case("behind-a-whole-read")
            .send(format!("{fill}STARTTLS\r{rest}"))
            .perhaps("100 OK")
            .closes_perhaps_by_alert(),
        case("half-a-hello-then-the-end")
            .line("STARTTLS")
            .expect("100 OK")
            .send(TLS_HELLO)
            .finish_sending()
            .closes_perhaps_by_alert(),
        case("starttls-again-instead-of-a-hello")
            .line("STARTTLS")
            .expect("100 OK")
            .line("STARTTLS")
            .closes_perhaps_by_alert(),
    ]
}

/// What is known before and after.
fn states(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    vec![
        case("inside-tls").start_tls().line("STARTTLS").expect("400 TLS already active"),
        case("inside-tls-with-lines-behind")
            .start_tls()
            .send("STARTTLS\r\nIS a.example\r\n")
            .expect("400 TLS already active")
            .expect("400 not authenticated"),
        case("inside-tls-after-a-login")
            .start_tls()
            .login(given)
            .line("STARTTLS")
            .expect("400 TLS already active")
            .stays_in(),
        case("after-a-login").login(given).line("STARTTLS").expect("400 Already authenticated").stays_in(),
        case("with-arguments").line("STARTTLS now please").expect("100 OK").begin_tls(),
        case("a-login-in-clear-that-was-refused-counts-for-nothing")
            .at(Door::Refusing)
            .line(format!("LOGIN {key}"))
            .expect("400 Login failed")
            .start_tls()
            .line("IS a.example")
            .expect("400 not authenticated"),
        case("a-one-shot-in-clear-lets-nobody-in")
            .line(format!("IS {key} a.example"))
            .expect("a.example available")
            .start_tls()
            .line("IS b.example")
            .expect("400 not authenticated")
            .line("ENABLE reason")
            .expect("400 not authenticated")
            .upstream(["IS a.example"]),
        case("with-a-request-pending")
            .line(format!("IS {key} silent.example"))
            .line("STARTTLS")
            .expect("silent.example error")
            .upstream(["IS silent.example"])
            .closes(),
        case("half-a-line-in-clear-is-not-completed-inside")
            .send("STARTTLS\r\nIS half")
            .perhaps("100 OK")
            .closes_perhaps_by_alert(),
    ]
}

/// Where there is no certificate: a client that went on in clear would show its key.
fn not_offered(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    let bare = |name: &str| case(name).at(Door::WithoutTls);
    vec![
        bare("not-offered").line("STARTTLS").closes(),
        bare("not-offered-with-arguments").line("starttls now").closes(),
        bare("not-offered-with-a-login-behind")
            .send(format!("STARTTLS\r\nLOGIN {key}\r\nIS injected.example\r\n"))
            .closes(),
        bare("not-offered-behind-a-line")
            .line("IS a.example")
            .expect("400 not authenticated")
            .line("STARTTLS")
            .closes(),
        bare("not-offered-after-a-login")
            .login(given)
            .line("STARTTLS")
            .expect("400 Already authenticated")
            .stays_in(),
    ]
}
