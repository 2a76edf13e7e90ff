//! Keys that are nearly right, and credentials in other forms.

use super::transcript::{Door, Given, Transcript};
use base64::Engine;

const FAILED: &str = "400 Login failed";

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("credentials", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = refused(given);
    cases.extend(malformed(given));
    let key = &given.key;
    for (name, other) in [("other-door", &given.other_door), ("deleted", &given.deleted)] {
        cases.push(case(name).line(format!("LOGIN {other}")).expect(FAILED));
        let one_shot = format!("IS {other} a.example");
        cases.push(case(format!("{name}-one-shot")).line(one_shot).expect(FAILED));
    }
    for (name, line) in [("login", format!("LOGIN {key}")), ("one-shot", format!("IS {key} a.example"))] {
        let name = format!("{name}-in-clear-where-that-is-refused");
        cases.push(case(name).in_clear().at(Door::Refusing).line(line).expect(FAILED));
    }
    // Blanks divide words, so none can be a part of a key.
    cases.push(case("blanks-behind").line(format!("LOGIN {key}   ")).expect("100 Login ok").stays_in());
    cases.push(
        case("twice")
            .login(given)
            .line(format!("LOGIN {key}"))
            .expect("400 Already authenticated")
            .stays_in(),
    );
    cases
}

/// The same text as a login, and as the key of a one-shot request where it is one word.
fn refused(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    let swapped: String = key
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let credentials = [
        ("wrong", "wrong".to_owned()),
        ("last-character-missing", key[..key.len() - 1].to_owned()),
        ("first-character-missing", key[1..].to_owned()),
        ("half", key[..key.len() / 2].to_owned()),
        ("prefix-only", "lk1_".to_owned()),
        ("prefix-and-one", key[..5].to_owned()),
        ("one-more-character", format!("{key}x")),
        ("twice-in-one", format!("{key}{key}")),
        ("upper-case", key.to_uppercase()),
        ("other-case", swapped),
        ("1000-bytes", "k".repeat(1_000)),
        ("right-and-long", format!("{key}{}", "k".repeat(900))),
        ("user-colon-key", format!("acme/admin:{key}")),
        ("key-colon", format!("{key}:")),
        ("quoted", format!("\"{key}\"")),
        ("base64", base64::engine::general_purpose::STANDARD.encode(key)),
        ("percent-encoded", key.replace('_', "%5f")),
        ("escaped-nul", format!("{key}%00")),
        ("wildcard", "*".to_owned()),
        ("sql-wildcard", "lk1_%".to_owned()),
        ("sql", "'OR'1'='1".to_owned()),
        ("injected-document", "{\"$ne\":null}".to_owned()),
        ("user-alone", "acme/admin".to_owned()),
        ("user-and-key", format!("acme/admin {key}")),
        ("key-and-key", format!("{key} {key}")),
        ("scheme-and-key", format!("ApiKey {key}")),
        ("user-and-wrong-password", "acme/admin wrong".to_owned()),
        ("unknown-user", format!("nobody/nobody {key}")),
    ];
    let mut cases = Vec::new();
    for (name, credential) in credentials {
        cases.push(case(name).line(format!("LOGIN {credential}")).expect(FAILED));
        if !credential.contains(' ') && credential.len() < 100 {
            let one_shot = format!("IS {credential} a.example");
            cases.push(case(format!("{name}-one-shot")).line(one_shot).expect(FAILED));
        }
    }
    cases
}

/// What is no credential at all.
fn malformed(given: &Given) -> Vec<Transcript> {
    let key = &given.key;
    let wrong_number = "400 Wrong number of arguments";
    vec![
        case("none").line("LOGIN").expect(wrong_number),
        case("blanks").line("LOGIN     ").expect(wrong_number),
        case("three").line(format!("LOGIN acme admin {key}")).expect(wrong_number),
        case("four").line(format!("LOGIN {key} a b c")).expect(wrong_number),
        case("nul-behind").send(format!("LOGIN {key}\0\r\n")).expect("400 Bad request").closes(),
        case("nul-and-password")
            .send(format!("LOGIN acme/admin {key}\0x\r\n"))
            .expect("400 Bad request")
            .closes(),
        case("verb-and-key-in-one").line(format!("LOGIN{key}")).expect("400 Unknown command"),
        case("key-alone").line(key).expect("400 Unknown command"),
        case("authorization").line(format!("Authorization: ApiKey {key}")).expect("400 Unknown command"),
    ]
}
