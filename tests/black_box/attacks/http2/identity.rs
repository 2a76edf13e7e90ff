//! Who calls: what only the gateway may say, and credentials that are none (S01, S11, S12).

use super::case::{Allowed, Case, Given};
use super::frames::{Head, WHOLE, data};

const SPOOFED: &str = "identity";
const CREDENTIALS: &str = "credentials";

/// All cases.
pub fn cases(given: &Given) -> Vec<Case> {
    [spoofed(given), without_credential(given), elsewhere(given), cookies(given)].concat()
}

/// What the gateway says takes the place of what a client says.
fn spoofed(given: &Given) -> Vec<Case> {
    let rows: [(&str, &[(&str, &str)]); 13] = [
        ("user", &[("x-auth-user", "root")]),
        ("user-twice", &[("x-auth-user", "root"), ("x-auth-user", "admin")]),
        ("user-with-underscores", &[("x_auth_user", "root")]),
        ("user-with-one-underscore", &[("x-auth_user", "root")]),
        ("user-with-dots", &[("x.auth.user", "root")]),
        ("user-with-a-tilde", &[("x~auth~user", "root")]),
        ("customer", &[("x-auth-customer", "root")]),
        ("another-of-the-kind", &[("x-auth-role", "root")]),
        ("key-id", &[("x-auth-key-id", "root"), ("x_auth_key_id", "root")]),
        ("empty-user", &[("x-auth-user", "")]),
        ("forwarded", &[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")]),
        ("request-id", &[("x-request-id", "smuggled"), ("x_request_id", "smuggled")]),
        ("original-url", &[("x-original-url", "/smuggled"), ("x-rewrite-url", "/smuggled")]),
    ];
    let of_row = |(name, fields): &(&str, &[(&str, &str)])| {
        let head = given.get(&format!("/{SPOOFED}/{name}"));
        let head = fields.iter().fold(head, |head, (field, value)| head.with(field, value));
        Case::new(SPOOFED, name, "RFC 9113 §10.3", Allowed::passed()).send(head.whole(1))
    };
    rows.iter().map(of_row).collect()
}

fn without_credential(given: &Given) -> Vec<Case> {
    let good = given.authorization.as_str();
    let key = good.rsplit(' ').next().unwrap();
    let bare = |name: &str| given.get(&format!("/{CREDENTIALS}/{name}")).without("authorization");
    let case = |name: &str, head: &Head| {
        Case::new(CREDENTIALS, name, "RFC 9110 §11.6.2", Allowed::refused(&[401])).send(head.whole(1))
    };
    let value = |name: &str, value: &str| case(name, &bare(name).with("authorization", value));
    let malformed = |name: &str, value: &str| {
        let head = bare(name).with("authorization", value);
        Case::new(CREDENTIALS, name, "RFC 9113 §8.2.1", Allowed::malformed().or(Allowed::refused(&[401])))
            .send(head.whole(1))
    };
    vec![
        case("none", &bare("none")),
        case("twice", &bare("twice").with("authorization", good).with("authorization", good)),
        case(
            "wrong-behind-right",
            &bare("wrong-behind-right").with("authorization", good).with("authorization", "ApiKey x"),
        ),
        case(
            "right-behind-wrong",
            &bare("right-behind-wrong").with("authorization", "ApiKey x").with("authorization", good),
        ),
        case(
            "in-query",
            &bare("in-query").set(":path", format!("/credentials/in-query?apikey={key}&access_token={key}")),
        ),
        case("in-cookie", &bare("in-cookie").with("cookie", format!("authorization={good}"))),
        case(
            "in-cookie-crumbs",
            &bare("in-cookie-crumbs").with("cookie", "authorization=ApiKey").with("cookie", key),
        ),
        case("for-a-proxy", &bare("for-a-proxy").with("proxy-authorization", good)),
        case("x-authorization", &bare("x-authorization").with("x-authorization", good)),
        case("x-api-key", &bare("x-api-key").with("x-api-key", key)),
        case("name-with-a-mark", &bare("name-with-a-mark").with("authorization_", good)),
        value("list", &format!("{good}, {good}")),
        value("something-behind", &format!("{good} trailing")),
        value("without-scheme", key),
        value("another-scheme", &format!("Bearer {key}")),
        value("cut", &good[..good.len() - 1]),
        value("longer", &format!("{good}A")),
        malformed("nul-behind", &format!("{good}\0")),
        malformed("blank-behind", &format!("{good} ")),
        malformed("blank-before", &format!(" {good}")),
        malformed("in-two-lines", &format!("ApiKey\r\n {key}")),
    ]
}

/// The credential is there, and not where it counts.
fn elsewhere(given: &Given) -> Vec<Case> {
    let good = given.authorization.as_str();
    let bare = |name: &str| given.get(&format!("/{CREDENTIALS}/{name}")).without("authorization");
    vec![
        Case::new(CREDENTIALS, "in-trailers", "RFC 9110 §6.5.1", Allowed::refused(&[401])).send(
            [
                bare("in-trailers").set(":method", "POST").open(1),
                data(1, b"body"),
                Head::empty().with("authorization", good).frame(1, WHOLE),
            ]
            .concat(),
        ),
        Case::new(CREDENTIALS, "in-the-body", "RFC 9110 §11.6.2", Allowed::refused(&[401])).send(
            bare("in-the-body")
                .set(":method", "POST")
                .and_body(1, format!("authorization: {good}\r\n\r\n").as_bytes()),
        ),
        // The stream before it was let in.
        Case::new(CREDENTIALS, "none-behind-a-right-one", "RFC 9113 §5", Allowed::refused(&[401]).after(1))
            .on(3)
            .send(
                [given.get("/credentials/right").whole(1), bare("none-behind-a-right-one").whole(3)].concat(),
            ),
    ]
}

/// Crumbs are one field again before they go where HTTP/1 is spoken.
fn cookies(given: &Given) -> Vec<Case> {
    let crumbs = |name: &str, crumbs: &[&str]| {
        let head = given.get(&format!("/{SPOOFED}/{name}"));
        let head = crumbs.iter().fold(head, |head, crumb| head.with("cookie", crumb));
        Case::new(SPOOFED, name, "RFC 9113 §8.2.3", Allowed::passed()).send(head.whole(1))
    };
    vec![
        crumbs("cookie-crumbs", &["a=1", "b=2", "c=3"]),
        crumbs("cookie-crumbs-of-the-console", &["a=1", "__Host-latchkey-session=x", "b=2"]),
    ]
}
