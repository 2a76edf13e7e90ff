//! `X-Forwarded-For` and its like, from trusted proxies and from strangers.

use serde_json::json;

use super::{CLIENT, INNER, OTHER_CLIENT, OUTER, gateway, gateway_with, logged_client};
use crate::harness::{Answer, Request, TestGateway};

fn get(gateway: &TestGateway, peer: &str, authorization: &str, fields: &[(&str, &str)]) -> Answer {
    let request = Request::get("/").authorization(authorization);
    let request = fields.iter().fold(request, |request, (name, value)| request.field(name, value));
    gateway.connect_from(peer, "api").exchange(&request)
}

#[test]
fn s14_forwarding_headers_of_strangers_decide_nothing_and_are_removed() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "192.0.2.0/24"]).expect_success();
    let claims = [
        ("X-Forwarded-For", CLIENT),
        ("X-Real-IP", CLIENT),
        ("Forwarded", "for=192.0.2.7"),
        ("X_Forwarded_For", CLIENT),
    ];
    // A stranger is not believed, whichever header it sends; of a trusted proxy, one header is.
    for (name, value) in claims {
        let answer = get(&gateway, "127.0.0.1", &key.authorization(), &[(name, value)]);
        answer.assert_refusal(403, "AuthorizationError");
        let answer = get(&gateway, INNER, &key.authorization(), &[(name, value)]);
        assert_eq!(answer.status, if name == "X-Forwarded-For" { 200 } else { 403 }, "{name}");
    }
    // A proxy that itself comes through a stranger's claim is none either.
    let through = [("X-Forwarded-For", "192.0.2.7, 198.51.100.1")];
    get(&gateway, INNER, &key.authorization(), &through).assert_refusal(403, "AuthorizationError");
    assert_eq!(gateway.api_upstream.requests().len(), 1);

    gateway.cli(&["allow", "add", "customer:acme", "127.0.0.1"]).expect_success();
    let told =
        [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Port", "1")];
    assert_eq!(get(&gateway, "127.0.0.1", &key.authorization(), &[&claims[..], &told].concat()).status, 200);
    let seen = gateway.api_upstream.last_request();
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.field("x-forwarded-host").as_deref(), Some("api.example"));
    for name in ["forwarded", "x-real-ip", "x_forwarded_for", "x-forwarded-port"] {
        assert_eq!(seen.field(name), None, "{}", seen.head);
    }
}

#[test]
fn s14_the_upstream_is_told_the_trusted_chain_and_the_peer_last() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for (fields, chain) in [
        (&[][..], "127.0.0.10"),
        (&[("X-Forwarded-For", CLIENT)], "192.0.2.7, 127.0.0.10"),
        (&[("X-Forwarded-For", "10.0.0.1,  192.0.2.7:4711,127.0.0.11")], "192.0.2.7, 127.0.0.11, 127.0.0.10"),
        (
            &[("X-Forwarded-For", "10.0.0.1, 192.0.2.7"), ("X-Forwarded-For", OUTER)],
            "192.0.2.7, 127.0.0.11, 127.0.0.10",
        ),
        (&[("X-Forwarded-For", "[2001:db8::7]:443")], "2001:db8::7, 127.0.0.10"),
        (&[("X-Forwarded-For", "::ffff:192.0.2.7")], "192.0.2.7, 127.0.0.10"),
        (&[("X-Forwarded-For", "127.0.0.11, 127.0.0.11")], "127.0.0.11, 127.0.0.11, 127.0.0.10"),
        (&[("X-Forwarded-For", CLIENT), ("Connection", "X-Forwarded-For")], "192.0.2.7, 127.0.0.10"),
        (&[("X-Forwarded-For", CLIENT), ("Forwarded", "for=10.0.0.1")], "192.0.2.7, 127.0.0.10"),
    ] {
        let answer = get(&gateway, INNER, &key.authorization(), fields);
        assert_eq!(answer.status, 200, "{fields:?}");
        let seen = gateway.api_upstream.last_request();
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some(chain), "{fields:?}");
        assert_eq!(seen.field("forwarded"), None);
        assert_eq!(logged_client(&gateway, &answer), chain.split(", ").next().unwrap(), "{fields:?}");
    }
    for proto in ["https", "http"] {
        get(&gateway, INNER, &key.authorization(), &[("X-Forwarded-Proto", proto)]);
        assert_eq!(gateway.api_upstream.last_request().field("x-forwarded-proto").as_deref(), Some(proto));
    }
}

#[test]
fn s105_lists_are_asked_for_each_request_of_a_proxys_connection() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "192.0.2.0/24"]).expect_success();
    let mut proxy = gateway.connect_from(INNER, "api");
    for (client, status) in
        [(CLIENT, 200), (OTHER_CLIENT, 403), ("192.0.2.8", 200), (OUTER, 403), (CLIENT, 200)]
    {
        let request = Request::get("/").authorization(&key.authorization()).field("X-Forwarded-For", client);
        assert_eq!(proxy.exchange(&request).status, status, "{client}");
    }
    let clients: Vec<String> =
        gateway.access_log(5).iter().map(|line| line["client_ip"].as_str().unwrap().to_owned()).collect();
    assert_eq!(clients, [CLIENT, OTHER_CLIENT, "192.0.2.8", OUTER, CLIENT]);
}

#[test]
fn s105_a_listeners_list_judges_the_client_and_not_the_proxy() {
    let gateway = gateway_with(|config| {
        for listener in config["listeners"].as_array_mut().unwrap() {
            if listener["protocol"] != "ops" {
                listener["allow_list"] = json!(["192.0.2.0/24"]);
            }
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for front in super::Front::ALL {
        assert_eq!(front.api_get(&gateway, CLIENT, &key.authorization()).status, 200, "{front:?}");
        front.api_get(&gateway, OTHER_CLIENT, &key.authorization()).assert_refusal(403, "AuthorizationError");
        assert_eq!(front.isproxy(&gateway, CLIENT).ask(&key.login()), "100 Login ok");
        front.isproxy(&gateway, OTHER_CLIENT).expect_closed();
    }
}

#[test]
fn s105_nobody_is_a_trusted_proxy_unless_it_is_configured() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for field in ["192.0.2.7", "nonsense"] {
        let answer = get(&gateway, INNER, &key.authorization(), &[("X-Forwarded-For", field)]);
        assert_eq!(answer.status, 200);
        let seen = gateway.api_upstream.last_request();
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some(INNER));
        assert_eq!(logged_client(&gateway, &answer), INNER);
    }
}

#[test]
fn s105_a_trusted_proxys_header_that_cannot_be_read_refuses_the_request() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for fields in [
        &[("X-Forwarded-For", "unknown")][..],
        &[("X-Forwarded-For", "192.0.2.7, nonsense")],
        &[("X-Forwarded-For", "nonsense, 192.0.2.7")],
        &[("X-Forwarded-For", "for=192.0.2.7")],
        &[("X-Forwarded-For", CLIENT), ("X-Forwarded-For", "192.0.2.999")],
        &[("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https, http")],
        &[("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "javascript")],
    ] {
        get(&gateway, INNER, &key.authorization(), fields).assert_refusal(400, "InvalidMessage");
    }
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    for line in gateway.access_log(7) {
        assert_eq!(
            (&line["reason"], &line["client_ip"]),
            (&json!("unreadable_forwarding_header"), &json!(INNER))
        );
    }
}

#[test]
fn a_proxy_that_says_https_does_not_make_plaintext_credentials_acceptable() {
    let gateway = gateway_with(|config| {
        for listener in config["listeners"].as_array_mut().unwrap() {
            if listener["name"] == "api-refuse" {
                listener["trusted_proxies"] = json!([INNER]);
            }
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/").authorization(&key.authorization()).field("X-Forwarded-Proto", "https");
    gateway.connect_from(INNER, "api-refuse").exchange(&request).assert_refusal(403, "AuthorizationError");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn s44_failures_are_counted_for_the_client_and_not_for_the_proxy() {
    let gateway = gateway_with(|config| config["limits"]["failed_credentials_per_address"] = json!(3));
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for (number, front) in super::Front::ALL.into_iter().enumerate() {
        let guilty = format!("198.51.100.{number}");
        for _ in 0..3 {
            front.api_get(&gateway, &guilty, "ApiKey wrong").assert_refusal(401, "AuthenticationError");
        }
        assert_eq!(front.api_get(&gateway, &guilty, "ApiKey wrong").status, 429, "{front:?}");
        assert_eq!(
            front.api_get(&gateway, &format!("192.0.2.{number}"), "ApiKey wrong").status,
            401,
            "{front:?}"
        );
        assert_eq!(front.api_get(&gateway, &guilty, &key.authorization()).status, 200, "{front:?}");
    }
}
