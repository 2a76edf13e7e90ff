//! S18: nothing is asked or switched on before a login, nor behind one that failed.

use super::transcript::{Given, Transcript};

const NOT_AUTHENTICATED: &str = "400 not authenticated";
const FAILED: &str = "400 Login failed";
const WRONG_NUMBER: &str = "400 Wrong number of arguments";

fn case(name: &str) -> Transcript {
    Transcript::new("before-login", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    vec![
        case("is").line("IS a.example").expect(NOT_AUTHENTICATED),
        case("is-without-a-name").line("IS").expect(NOT_AUTHENTICATED),
        case("is-with-three").line("IS a b c").expect(NOT_AUTHENTICATED),
        case("enable").line("ENABLE reason").expect(NOT_AUTHENTICATED),
        case("enable-unknown").line("ENABLE other").expect(NOT_AUTHENTICATED),
        case("quit").send("QUIT\r\nIS a.example\r\n").closes(),
        case("close").send(format!("CLOSE\r\nLOGIN {key}\r\nIS a.example\r\n")).closes(),
        case("a-hundred-names").send("IS a.example\r\n".repeat(100)).expect_all([NOT_AUTHENTICATED; 100]),
        case("failed-login-then-is")
            .line("LOGIN wrong")
            .expect(FAILED)
            .line("IS a.example")
            .expect(NOT_AUTHENTICATED),
        case("failed-login-and-is-in-one-segment")
            .send("LOGIN wrong\r\nIS a.example\r\nENABLE reason\r\n")
            .expect(FAILED)
            .expect(NOT_AUTHENTICATED)
            .expect(NOT_AUTHENTICATED),
        case("failed-password-and-is-in-one-segment")
            .send("LOGIN acme/admin wrong\r\nIS a.example\r\n")
            .expect(FAILED)
            .expect(NOT_AUTHENTICATED),
        case("failed-login-in-pieces")
            .send("LOG")
            .send("IN wro")
            .send("ng\r")
            .send("\nI")
            .send("S a.example\r\n")
            .expect(FAILED)
            .expect(NOT_AUTHENTICATED),
        case("login-without-a-key-then-is")
            .send("LOGIN\r\nIS a.example\r\n")
            .expect(WRONG_NUMBER)
            .expect(NOT_AUTHENTICATED),
        case("login-with-a-right-key-among-three")
            .send(format!("LOGIN {key} {key} {key}\r\nIS a.example\r\n"))
            .expect(WRONG_NUMBER)
            .expect(NOT_AUTHENTICATED),
        case("is-in-front-of-a-right-login")
            .send(format!("IS early.example\r\nLOGIN {key}\r\n"))
            .expect(NOT_AUTHENTICATED)
            .expect("100 Login ok")
            .stays_in(),
        case("the-answer-said-by-the-client").line("100 Login ok").expect("400 Unknown command"),
        case("one-shot-with-a-wrong-key").line("IS wrong a.example").expect(FAILED),
        case("a-right-one-shot-leaves-it-out")
            .line(format!("IS {key} a.example"))
            .expect("a.example available")
            .send("IS b.example\r\nENABLE reason\r\n")
            .expect(NOT_AUTHENTICATED)
            .expect(NOT_AUTHENTICATED)
            .upstream(["IS a.example"]),
        case("a-right-one-shot-and-is-in-one-segment")
            .send(format!("IS {key} a.example\r\nIS b.example\r\n"))
            .expect_all(["a.example available", NOT_AUTHENTICATED])
            .upstream(["IS a.example"]),
    ]
}
