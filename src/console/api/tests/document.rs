//! The document says what is there, and nothing else.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::fixture::{Api, As, new_key};
use super::matrix::{Callers, run};
use crate::auth::UserChanges;
use crate::console::api::BASE;
use crate::model::MfaRequirement;

const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "options"];

/// Every operation: method, path, and its description.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

fn filled(path: &str) -> String {
    path.replace("{login}", "nobody").replace("{id}", "key_0000000000001")
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else() {
    let api = Api::new().await;
    let operations = operations(&api.document);
    assert_eq!(operations.len(), 36, "a new operation is told in the changelog");
    let ids: BTreeSet<_> =
        operations.iter().map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "each has an id of its own");
    for (path, item) in api.document["paths"].as_object().unwrap() {
        for method in METHODS {
            let request =
                Request::builder().method(&*method.to_uppercase()).uri(format!("{BASE}{}", filled(path)));
            let request = request.header("sec-fetch-site", "same-origin").body(Body::empty()).unwrap();
            let answer = api.send(request, super::fixture::ADDRESS).await;
            let is_open = path == "/openapi.json";
            match (item[method].is_object(), is_open) {
                (true, false) => assert_eq!(answer.status, 401, "{method} {path}"),
                (true, true) => assert_eq!(answer.body, api.document),
                (false, _) => assert_eq!(answer.status, 405, "{method} {path}"),
            }
        }
    }
    let (_, key) = api.add_key("acme/admin", "manage").await;
    for path in ["", "/", "/nowhere", "/users/kim/nowhere", "/Users"] {
        let request = Request::get(format!("{BASE}{path}")).header("authorization", format!("ApiKey {key}"));
        let answer = api.send(request.body(Body::empty()).unwrap(), super::fixture::ADDRESS).await;
        assert_eq!((answer.status, answer.kind()), (404, "NotFound"), "{path}");
    }
    let request = Request::put(format!("{BASE}/users")).header("authorization", format!("ApiKey {key}"));
    let answer = api.send(request.body(Body::empty()).unwrap(), super::fixture::ADDRESS).await;
    assert_eq!((answer.status, answer.kind()), (405, "InvalidMessage"));
    assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_whose_references_all_lead_somewhere() {
    let api = Api::new().await;
    assert_eq!(api.document["openapi"], "3.1.0");
    let text = api.document.to_string();
    let references = text.split(r##""$ref":"#"##).skip(1).map(|rest| rest.split('"').next().unwrap());
    for reference in references {
        assert!(api.document.pointer(reference).is_some(), "{reference}");
    }
}

/// All but what only a defect, a store that is away, and the server before any route answer.
#[tokio::test]
async fn every_described_status_is_one_that_is_answered() {
    let api = Api::new().await;
    let callers = Callers::of(&api).await;
    run(&api, &callers).await;
    api.get(&As::Nobody, "/openapi.json").await;
    provoke_refusals(&api, callers.key()).await;
    provoke_conflicts(&api, &callers).await;
    replay(&api, callers.admin()).await;
    let described: BTreeSet<_> = operations(&api.document)
        .into_iter()
        .flat_map(|(method, path, operation)| {
            let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().cloned().collect();
            statuses.into_iter().map(move |status| (format!("{method} {path}"), status))
        })
        .filter(|(_, status)| !["413", "500", "503"].contains(&status.as_str()))
        .collect();
    let seen = api.seen.lock().unwrap().clone();
    let missing: Vec<_> = described.difference(&seen).collect();
    assert!(missing.is_empty(), "described, and never answered: {missing:?}");
}

/// 400, 401, 403, 404, 415, 422 and 429, of whatever operation describes them.
async fn provoke_refusals(api: &Api, key: &As) {
    let fresh = api.sign_in("acme/clerk").await;
    let clerk = "acme/clerk".parse().unwrap();
    let required = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
    api.operator().update_user(&clerk, &required).await.unwrap();
    for (method, path, operation) in operations(&api.document) {
        if path == "/openapi.json" {
            continue;
        }
        let path = filled(&path);
        let has_body = operation["requestBody"].is_object();
        let body = has_body.then(|| example(&method, &path).to_string());
        let ask = async |caller: &As, body: Option<String>, fields: &[(&str, &str)]| {
            api.ask_with(caller, &method, &path, body, fields).await
        };
        assert_eq!(ask(&As::Nobody, None, &[]).await.status, 401, "{method} {path}");
        let told = ask(&fresh, body.clone(), &[]).await;
        assert_eq!((told.status, told.kind()), (403, "mfa_setup_required"), "{method} {path}");
        if path.contains("nobody") || path.contains("key_0") {
            assert_eq!(ask(key, body.clone(), &[]).await.status, 404, "{method} {path}");
        }
        if has_body {
            for broken in ["", "{", "\u{7f}", "[1,"] {
                assert_eq!(ask(key, Some(broken.into()), &[]).await.status, 400, "{method} {path} {broken}");
            }
            for kind in ["text/plain", "", "application/x-www-form-urlencoded"] {
                let told = ask(key, body.clone(), &[("content-type", kind)]).await;
                assert_eq!(told.status, 415, "{method} {path} {kind}");
            }
            for wrong in ["[]", "null", r#"{"nonsense":1}"#, "7"] {
                assert_eq!(ask(key, Some(wrong.into()), &[]).await.status, 422, "{method} {path} {wrong}");
            }
        }
        if operation["parameters"].to_string().contains("Idempotency-Key") {
            for wrong in ["a b", "", &"x".repeat(129)] {
                let told = ask(key, body.clone(), &[("idempotency-key", wrong)]).await;
                assert_eq!(told.status, 422, "{method} {path} {wrong:?}");
            }
        }
        if operation["parameters"].to_string().contains(r#""query""#) {
            for wrong in ["limit=0", "limit=501", "limit=x", "cursor=%20x", "nonsense=1"] {
                let told = api.get(key, &format!("{path}?{wrong}")).await;
                assert_eq!(told.status, 422, "{method} {path}?{wrong}");
            }
        }
    }
    // Last, since the address is refused from then on.
    for _ in 0..6 {
        api.get(&As::Key("wrong".into()), "/me").await;
    }
    for (method, path, _) in
        operations(&api.document).into_iter().filter(|(_, path, _)| path != "/openapi.json")
    {
        let told = api.ask(&As::Key("wrong".into()), &method, &filled(&path), None).await;
        assert_eq!((told.status, told.kind()), (429, "AuthenticationRatelimitedError"), "{method} {path}");
        assert!(told.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    }
    assert_eq!(api.get(key, "/me").await.status, 200, "a right key is never refused for failures");
}

/// A body that the operation takes.
fn example(method: &str, path: &str) -> Value {
    match (method, path) {
        ("POST", "/users") => json!({ "login": "newcomer" }),
        ("POST", path) if path.ends_with("/replace") => json!({ "overlapSeconds": 0 }),
        ("POST", _) => new_key(),
        ("PUT", path) if path.ends_with("/quota") => json!({ "day": 5 }),
        ("PUT", _) => json!({ "networks": [] }),
        _ => json!({}),
    }
}

async fn provoke_conflicts(api: &Api, callers: &Callers) {
    let admin = callers.admin();
    let (key, _) = api.add_key("acme/kim", "api").await;
    api.operator().disable_key(key).await.unwrap();
    // Those that the matrix has made.
    for user in api.operator().users(None).await.unwrap() {
        if user.name.customer.as_str() == "acme" && user.administrator && user.name.login.as_str() != "admin"
        {
            api.operator().delete_user(&user.name).await.unwrap();
        }
    }
    let replace = format!("/api-keys/{key}/replace");
    for (method, path, body, kind) in [
        ("POST", "/users", Some(json!({ "login": "kim" })), "UserExists"),
        ("PATCH", "/users/admin", Some(json!({ "administrator": false })), "LastAdministrator"),
        ("DELETE", "/users/admin", None, "LastAdministrator"),
        ("POST", "/users/admin/deactivate", None, "LastAdministrator"),
        ("POST", "/users/kim/allow-password", None, "KeysLeft"),
        (
            "POST",
            "/users/alex/api-keys",
            Some(json!({ "description": "CI", "scope": ["api"] })),
            "EndsPasswordAccess",
        ),
        ("POST", &replace, Some(json!({ "overlapSeconds": 0 })), "KeyDisabled"),
    ] {
        let told = api.ask(admin, method, path, body.as_ref()).await;
        assert_eq!((told.status, told.kind()), (409, kind), "{method} {path}: {told:?}");
    }
}

/// Each operation that makes something, sent twice.
pub async fn replay(api: &Api, admin: &As) {
    let (key, _) = api.add_key("acme/kim", "api").await;
    let (replace, overlap) = (format!("/api-keys/{key}/replace"), json!({ "overlapSeconds": 0 }));
    for (path, body, secret) in [
        ("/users", Some(json!({ "login": "lee", "link": true })), "/link/url"),
        ("/users/kim/api-keys", Some(new_key()), "/key"),
        (&replace, Some(overlap), "/key"),
        ("/users/kim/link", None, "/url"),
        ("/users/kim/reset-mfa", None, "/url"),
    ] {
        let send = async |token: &str| {
            let body = body.as_ref().map(Value::to_string);
            api.ask_with(admin, "POST", path, body, &[("idempotency-key", token)]).await
        };
        let first = send("a").await;
        assert_eq!(first.status, 201, "{path}: {first:?}");
        let secret = first.body.pointer(secret).unwrap().as_str().unwrap().to_owned();
        let again = send("a").await;
        assert_eq!(again.status, 200, "{path}: {again:?}");
        assert!(!again.body.to_string().contains(&secret));
        let [(name, made)] = &again.body.as_object().unwrap().iter().collect::<Vec<_>>()[..] else {
            panic!("{again:?}")
        };
        assert_eq!(name.as_str(), "id");
        let id = first.body.get("id").or_else(|| first.body.pointer("/user/login"));
        assert_eq!(*made, id.unwrap_or(&json!("kim")), "{path}");
    }
}

#[tokio::test]
async fn s97_a_call_that_is_sent_twice_makes_once_and_tells_its_secret_once() {
    let api = Api::new().await;
    let admin = api.sign_in("acme/admin").await;
    replay(&api, &admin).await;
    let keys = api.get(&admin, "/users/kim/api-keys").await;
    assert_eq!(keys.body["apiKeys"].as_array().unwrap().len(), 3, "one was there, one made, one replaced it");
    // Another call with the same value, another caller, and no value at all are other calls.
    let other = api.sign_in("beta/admin").await;
    let body = || Some(json!({ "login": "lee" }).to_string());
    let made = api.ask_with(&other, "POST", "/users", body(), &[("idempotency-key", "a")]).await;
    assert_eq!(made.status, 201, "{made:?}");
    let told = api.ask_with(&admin, "POST", "/users", body(), &[]).await;
    assert_eq!((told.status, told.kind()), (409, "UserExists"));
}
