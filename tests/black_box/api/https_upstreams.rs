//! Upstreams by TLS: who is believed, who is not, and what they are shown.

use serde_json::{Value, json};

use crate::harness::{Authority, Installation, Key, Request, TestGateway, TlsUpstream, Validity};

fn gateway_before(upstream: &TlsUpstream, tls: &Value) -> (TestGateway, Key) {
    gateway_at(&format!("https://{}", upstream.address()), tls)
}

fn gateway_at(url: &str, tls: &Value) -> (TestGateway, Key) {
    let mut installation = Installation::new();
    let client = Authority::shared().certify("client.example", Validity::Now);
    client.write_to(installation.folder(), "client");
    installation.reconfigure(|config| {
        config["upstreams"][0]["servers"] = json!([url]);
        config["upstreams"][0]["tls"] = tls.clone();
    });
    let gateway = installation.serve();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

#[test]
fn an_upstream_with_a_certificate_of_the_own_authority_is_believed_and_sessions_are_resumed() {
    let upstream = TlsUpstream::start(Authority::shared().server("127.0.0.1", Validity::Now));
    let (gateway, key) = gateway_before(&upstream, &json!({ "ca": "ca.crt" }));
    let mut wire = gateway.connect("api");
    for _ in 0..4 {
        let answer = wire.exchange(&Request::get("/v2/x").authorization(&key.authorization()));
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    let seen = upstream.requests();
    assert!(
        seen[0].head.starts_with("GET /v2/x HTTP/1.1\r\n") && seen[0].head.contains("x-auth-user: admin")
    );
    assert!(!seen[0].resumed && seen[1..].iter().all(|request| request.resumed), "{seen:?}");
    assert!(seen.iter().all(|request| !request.client_certificate));
}

#[test]
fn s78_a_bad_certificate_of_an_upstream_is_502_and_a_line_in_the_log() {
    let authority = Authority::shared();
    for (case, name, validity, tls, told) in [
        ("wrong name", "other.example", Validity::Now, json!({ "ca": "ca.crt" }), "not valid for name"),
        ("expired", "127.0.0.1", Validity::Over, json!({ "ca": "ca.crt" }), "certificate expired"),
        // What is trusted is another certificate than the authority's.
        ("unknown authority", "127.0.0.1", Validity::Now, json!({ "ca": "client.crt" }), "certificate"),
    ] {
        let upstream = TlsUpstream::start(authority.server(name, validity));
        let (gateway, key) = gateway_before(&upstream, &tls);
        let request = Request::get("/").authorization(&key.authorization());
        let mut wire = gateway.connect("api");
        for _ in 0..2 {
            wire.exchange(&request).assert_refusal(502, "ProviderConnectionError");
        }
        assert_eq!(gateway.access_log(2)[0]["reason"], "upstream_tls_failed", "{case}");
        assert!(upstream.requests().is_empty(), "{case}: a request went to a server that is not trusted");
        let (_, log, _) = gateway.stop();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("cannot be reached")).collect();
        assert_eq!(lines.len(), 1, "{case}: told once, not for each request: {log}");
        assert!(lines[0].contains("WARN") && lines[0].contains(told), "{case}: {}", lines[0]);
    }
}

#[test]
fn s78_without_an_own_authority_the_systems_decide() {
    let upstream = TlsUpstream::start(Authority::shared().server("127.0.0.1", Validity::Now));
    let mut installation = Installation::new();
    installation.reconfigure(|config| {
        config["upstreams"][0]["servers"] = json!([format!("https://{}", upstream.address())]);
    });
    // The variable stands for the system's list; the listener's own certificate is no authority.
    for (trusted, status) in [("ca.crt", 200), ("server.crt", 502)] {
        let file = installation.path(trusted);
        let gateway = installation.serve_with(&[("SSL_CERT_FILE", file.to_str().unwrap())]);
        if status == 200 {
            gateway.create_customer("acme");
        }
        let key = gateway.create_key("acme/admin");
        let request = Request::get("/").authorization(&key.authorization());
        assert_eq!(gateway.connect("api").exchange(&request).status, status, "{trusted}");
        (_, _, installation) = gateway.stop();
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let upstream = TlsUpstream::start(Authority::shared().demanding_server("127.0.0.1"));
    let shown = json!({
        "ca": "ca.crt", "client_certificate": "client.crt", "client_private_key": "client.key",
    });
    let (gateway, key) = gateway_before(&upstream, &shown);
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert!(upstream.requests()[0].client_certificate);
    let (gateway, key) = gateway_before(&upstream, &json!({ "ca": "ca.crt" }));
    gateway.api_get("/", &key.authorization()).assert_refusal(502, "ProviderConnectionError");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn the_certificates_name_can_differ_from_the_servers_host() {
    let upstream = TlsUpstream::start(Authority::shared().server("api.internal", Validity::Now));
    let (gateway, key) = gateway_before(&upstream, &json!({ "ca": "ca.crt", "server_name": "api.internal" }));
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(upstream.requests()[0].server_name.as_deref(), Some("api.internal"));
}
