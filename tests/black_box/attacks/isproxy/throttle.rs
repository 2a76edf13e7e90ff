//! S46: a connection ends with its third failed login, however it failed and whatever came between.

use super::transcript::{Door, Given, Transcript};

const FAILED: &str = "400 Login failed";

fn case(name: &str) -> Transcript {
    Transcript::new("throttle", name)
}

/// Fails that often with `line`.
fn failing(case: Transcript, line: &str, times: usize) -> Transcript {
    (0..times).fold(case, |case, _| case.line(line).expect(FAILED))
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    let (wrong, one_shot) = ("LOGIN wrong", "IS wrong a.example");
    let right_behind = format!("LOGIN {key}\r\nIS a.example\r\n");
    let wrong_number = "400 Wrong number of arguments";
    vec![
        failing(case("two"), wrong, 2),
        failing(case("three"), wrong, 3).closes(),
        failing(case("three-passwords"), "LOGIN acme/admin wrong", 3).closes(),
        failing(case("three-one-shots"), one_shot, 3).closes(),
        failing(failing(case("one-shots-and-a-login"), one_shot, 2), wrong, 1).closes(),
        failing(failing(case("all-kinds"), wrong, 1), one_shot, 1)
            .line("LOGIN acme/nobody wrong")
            .expect(FAILED)
            .closes(),
        case("three-with-a-right-one-behind")
            .send(format!("{}{right_behind}", "LOGIN wrong\r\n".repeat(3)))
            .expect_all([FAILED; 3])
            .closes(),
        case("a-hundred-in-one-segment").send("LOGIN wrong\r\n".repeat(100)).expect_all([FAILED; 3]).closes(),
        failing(case("a-right-one-behind-two"), wrong, 2)
            .line(format!("LOGIN {key}"))
            .expect("100 Login ok")
            .stays_in(),
        failing(case("a-right-one-shot-resets-nothing"), wrong, 2)
            .line(format!("IS {key} a.example"))
            .expect("a.example available")
            .upstream(["IS a.example"])
            .line(wrong)
            .expect(FAILED)
            .closes(),
        failing(failing(case("counted-across-starttls").in_clear(), wrong, 2).start_tls(), wrong, 1).closes(),
        failing(failing(case("one-in-clear-and-two-inside").in_clear(), wrong, 1).start_tls(), wrong, 2)
            .closes(),
        failing(
            case("right-keys-in-clear-where-refused").in_clear().at(Door::Refusing),
            &format!("LOGIN {key}"),
            3,
        )
        .closes(),
        failing(case("deleted-keys"), &format!("LOGIN {}", given.deleted), 3).closes(),
        failing(case("keys-of-the-other-door"), &format!("LOGIN {}", given.other_door), 3).closes(),
        failing(case("mistakes-do-not-count"), wrong, 2)
            .send("LOGIN\r\nLOGIN a b c\r\nIS a.example\r\nHELP\r\n")
            .expect_all([wrong_number, wrong_number, "400 not authenticated", "400 Unknown command"]),
        failing(
            failing(case("mistakes-between-reset-nothing"), wrong, 2)
                .line("HELP")
                .expect("400 Unknown command"),
            wrong,
            1,
        )
        .closes(),
    ]
}
