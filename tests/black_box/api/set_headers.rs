//! Headers that an upstream is sent in place of the client's (`set_headers`).

use std::fs;

use serde_json::json;

use crate::harness::{Installation, Request};

#[test]
fn s12_s40_an_upstreams_own_key_from_a_file_replaces_what_the_client_sent() {
    const SECRET: &str = "only-the-upstream-may-see-this";
    let mut installation = Installation::new();
    fs::create_dir(installation.path("secrets")).unwrap();
    fs::write(installation.path("secrets/upstream.key"), format!("{SECRET}\n")).unwrap();
    installation.reconfigure(|config| {
        config["upstreams"][0]["set_headers"] = json!({
            "Authorization": "ApiKey ${file:secrets/upstream.key}",
            "X-Tenant": "acme",
            "Host": "api.internal",
        });
    });
    let gateway = installation.serve_verbosely();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/v2/x")
        .authorization(&key.authorization())
        .field("X-Tenant", "forged")
        .field("x_tenant", "forged")
        .field("Connection", "X-Tenant");
    assert_eq!(gateway.connect("api").exchange(&request).status, 200);
    let seen = gateway.api_upstream.only_request();
    assert_eq!(seen.field("authorization").as_deref(), Some(format!("ApiKey {SECRET}").as_str()));
    assert_eq!(seen.field("x-tenant").as_deref(), Some("acme"));
    assert_eq!(seen.field("host").as_deref(), Some("api.internal"));
    assert_eq!(seen.field("x-auth-user").as_deref(), Some("admin"));
    assert!(!seen.head.contains("forged") && !seen.head.contains(&key.authorization()), "{}", seen.head);
    let access_log = gateway.access_log(1);
    assert!(!access_log[0].to_string().contains(SECRET));
    let (_, log, _) = gateway.stop();
    assert!(!log.contains(SECRET), "{log}");
}
