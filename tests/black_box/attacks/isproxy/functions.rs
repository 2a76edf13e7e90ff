//! `ENABLE`: two functions and nothing else reach the upstream.

use super::transcript::{Given, Transcript};

const UNKNOWN: &str = "400 Unknown function";

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("functions", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let unknown = [
        "ENABLE",
        "ENABLE  ",
        "ENABLE other",
        "ENABLE reasons",
        "ENABLE reaso",
        "ENABLE reason premium",
        "ENABLE reason reason",
        "ENABLE reason;premium",
        "ENABLE reason,premium",
        "ENABLE reason=1",
        "ENABLE %72eason",
        "ENABLE *",
        "ENABLE IS",
        "ENABLE \"reason\"",
    ];
    let mut cases: Vec<Transcript> = unknown
        .into_iter()
        .map(|line| case(line.replace(' ', "-")).login(given).line(line).expect(UNKNOWN).stays_in())
        .collect();
    for (name, line) in [
        ("nul", "ENABLE rea\0son"),
        ("nul-behind", "ENABLE reason\0"),
        ("cr", "ENABLE reason\rIS a.example"),
        ("tab", "ENABLE\treason"),
        ("utf-8", "ENABLE r\u{e9}ason"),
        ("escape", "ENABLE \u{1b}[31mreason"),
    ] {
        cases.push(case(name).login(given).line(line).expect("400 Bad request").closes());
    }
    let long = format!("ENABLE {}", "f".repeat(1_024));
    cases.extend([
        case("doubled")
            .login(given)
            .send("ENABLE reason\r\nENABLE reason\r\n")
            .expect_all(["100 OK"; 2])
            .upstream(["ENABLE reason"; 2])
            .stays_in(),
        case("written-anew")
            .login(given)
            .send("enable   PREMIUM  \r\n")
            .expect("100 OK")
            .upstream(["ENABLE premium"])
            .stays_in(),
        case("with-requests-behind")
            .login(given)
            .send("ENABLE other\r\nENABLE reason\r\nIS a.example\r\n")
            .expect(UNKNOWN)
            .expect("100 OK")
            .expect("a.example available")
            .upstream(["ENABLE reason", "IS a.example"])
            .stays_in(),
        case("in-one-word").login(given).line("ENABLEreason").expect("400 Unknown command").stays_in(),
        case("too-long").login(given).line(long).expect("400 Line too long").closes(),
    ]);
    cases
}
