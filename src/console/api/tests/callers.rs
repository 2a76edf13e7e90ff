//! Sessions and keys at the management API, and what each leaves behind.

use axum::body::Body;
use http::Request;
use serde_json::json;

use super::fixture::{ADDRESS, Api, As, new_key};
use crate::auth::UserChanges;
use crate::auth::testing::NOW;
use crate::console::api::BASE;
use crate::model::MfaRequirement;

fn users() -> http::request::Builder {
    Request::post(format!("{BASE}/users")).header("content-type", "application/json")
}

fn body(login: &str) -> Body {
    Body::from(json!({ "login": login }).to_string())
}

#[tokio::test]
async fn s85_a_session_changes_nothing_without_its_csrf_token() {
    let api = Api::new().await;
    let admin = api.sign_in("acme/admin").await;
    let As::Session(token) = &admin else { panic!() };
    let me = api.get(&admin, "/me").await;
    assert_eq!((&me.body["account"], &me.body["user"]["login"]), (&"acme".into(), &"admin".into()));
    let right = me.body["csrfToken"].as_str().unwrap();
    let other = api.get(&api.sign_in("acme/admin").await, "/me").await.body["csrfToken"].clone();
    let attempt = |proof: Option<&str>| {
        let mut request = users().header("sec-fetch-site", "same-origin").header("cookie", api.cookie(token));
        if let Some(proof) = proof {
            request = request.header("x-csrf-token", proof);
        }
        request.body(body("newcomer")).unwrap()
    };
    for wrong in [None, Some(""), Some("x"), other.as_str()] {
        let told = api.send(attempt(wrong), ADDRESS).await;
        assert_eq!((told.status, told.kind()), (403, "csrf_token_invalid"), "{wrong:?}");
    }
    assert_eq!(api.send(attempt(Some(right)), ADDRESS).await.status, 201);
}

#[tokio::test]
async fn s92_a_cookie_beside_a_credential_counts_for_nothing() {
    let api = Api::new().await;
    let As::Session(token) = api.sign_in("acme/admin").await else { panic!() };
    for credential in ["", "ApiKey", "ApiKey wrong", "Basic eDp5", "ApiKey a b"] {
        let request = Request::get(format!("{BASE}/me")).header("cookie", api.cookie(&token));
        let request = request.header("authorization", credential).body(Body::empty()).unwrap();
        let told = api.send(request, "198.51.100.1").await;
        assert_eq!((told.status, told.kind()), (401, "AuthenticationError"), "{credential}");
        assert_eq!(told.headers["www-authenticate"], "ApiKey realm=\"latchkey\"");
    }
    let told = api.get(&As::Nobody, "/me").await;
    assert_eq!(told.body["message"], "The credential is missing, not valid, or not accepted.");
}

#[tokio::test]
async fn s96_an_old_sign_in_looks_and_is_told_to_confirm_before_it_changes() {
    let api = Api::new().await;
    let admin = api.sign_in("acme/admin").await;
    api.world.clock.set(NOW.plus_seconds(601));
    assert_eq!(api.get(&admin, "/users").await.status, 200);
    let told = api.ask(&admin, "POST", "/users", Some(&json!({ "login": "newcomer" }))).await;
    assert_eq!((told.status, told.kind()), (403, "authentication_stale"));
    api.world.clock.set(NOW.plus_seconds(601 + 1_800));
    assert_eq!(api.get(&admin, "/users").await.status, 401);
}

#[tokio::test]
async fn r25_who_must_set_mfa_up_or_replace_a_password_does_that_first() {
    let api = Api::new().await;
    let admin = api.sign_in("acme/admin").await;
    let (_, key) = api.add_key("acme/admin", "manage").await;
    let name = "acme/admin".parse().unwrap();
    let required = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
    let revision = api.operator().update_user(&name, &required).await.unwrap();
    api.world.authenticator.applied(revision).await;
    let told = api.get(&admin, "/me").await;
    assert_eq!((told.status, told.kind()), (403, "mfa_setup_required"));
    let told = api.get(&As::Key(key), "/me").await;
    assert_eq!((told.status, told.kind()), (403, "AuthorizationError"));
}

#[tokio::test]
async fn a_manage_key_is_judged_like_at_the_doors() {
    let api = Api::new().await;
    let (id, text) = api.add_key("acme/admin", "manage").await;
    let (_, door) = api.add_key("acme/admin", "api").await;
    let manage = As::Key(text.clone());
    let me = api.get(&manage, "/me").await;
    assert_eq!((&me.body["keyId"], &me.body["csrfToken"]), (&id.to_string().into(), &json!(null)));
    assert_eq!(api.get(&As::Key(door), "/me").await.status, 403, "another scope");
    let request = Request::get(format!("{BASE}/me")).header("authorization", format!("apikey {text}"));
    let told = api.send(request.body(Body::empty()).unwrap(), "198.51.100.1").await;
    assert_eq!((told.status, told.kind()), (403, "AuthorizationError"), "from elsewhere");
    let told = api.ask(&manage, "POST", &format!("/api-keys/{id}/disable"), None).await;
    assert_eq!(told.status, 403, "itself least of all");
    let revision = api.operator().disable_key(id).await.unwrap();
    api.world.authenticator.applied(revision).await;
    let told = api.get(&manage, "/me").await;
    assert_eq!((told.status, told.kind()), (401, "AuthenticationError"));
}

#[tokio::test]
async fn what_a_key_did_is_told_with_its_name_and_its_uses_are_noted() {
    let api = Api::new().await;
    let (id, text) = api.add_key("acme/admin", "manage").await;
    let (manage, admin) = (As::Key(text), api.sign_in("acme/admin").await);
    let made = api.ask(&manage, "POST", "/users", Some(&json!({ "login": "lee" }))).await;
    assert_eq!((made.status, &made.body["user"]["name"]), (201, &"acme/lee".into()));
    let rows = api.get(&admin, "/activity?limit=1&user=lee&event=user.created").await;
    let row = &rows.body["rows"][0];
    assert_eq!(row["actor"], format!("acme/admin by {id}"));
    assert_eq!((&row["entrance"], &row["clientIp"]), (&"management".into(), &ADDRESS.into()));
    let usage = api.get(&admin, &format!("/api-keys/{id}/usage")).await;
    assert_eq!(usage.body["addresses"][0]["entrance"], "console");
    assert_eq!(usage.body["addresses"][0]["address"], ADDRESS);
}

#[tokio::test]
async fn users_and_activity_are_told_in_pages_that_together_are_everything_once() {
    let api = Api::new().await;
    let admin = api.sign_in("acme/admin").await;
    for login in ["u1", "u2", "u3"] {
        api.add_user(login).await;
    }
    let (mut logins, mut next) = (Vec::new(), String::new());
    loop {
        let page = api.get(&admin, &format!("/users?limit=2{next}")).await;
        assert_eq!(page.body["total"], 7);
        let users = page.body["users"].as_array().unwrap();
        logins.extend(users.iter().map(|user| user["login"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.body["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(logins, ["admin", "alex", "clerk", "kim", "u1", "u2", "u3"]);
    let found = api.get(&admin, "/users?search=LER").await;
    assert_eq!((&found.body["total"], &found.body["users"][0]["login"]), (&1.into(), &"clerk".into()));
    let (mut sequences, mut next) = (Vec::new(), String::new());
    loop {
        let page = api.get(&admin, &format!("/activity?limit=3{next}")).await;
        let rows = page.body["rows"].as_array().unwrap();
        sequences.extend(rows.iter().map(|row| row["sequence"].as_i64().unwrap()));
        let Some(cursor) = page.body["next"].as_i64() else { break };
        next = format!("&cursor={cursor}");
    }
    assert!(sequences.len() > 5 && sequences.is_sorted_by(|one, other| one > other), "{sequences:?}");
}

#[tokio::test]
async fn r10_a_key_is_told_once_and_works_at_once() {
    let api = Api::new().await;
    let admin = api.sign_in("acme/admin").await;
    let made = api.ask(&admin, "POST", "/users/kim/api-keys", Some(&new_key())).await;
    let (id, text) = (made.body["id"].as_str().unwrap(), made.body["key"].as_str().unwrap());
    assert!(matches!(api.world.key(text, crate::model::Service::Api).await, crate::auth::Decision::Allow(_)));
    for path in [format!("/api-keys/{id}"), "/users/kim/api-keys".into(), "/activity".into()] {
        assert!(!api.get(&admin, &path).await.body.to_string().contains(text), "{path}");
    }
    let shown = api.get(&admin, &format!("/api-keys/{id}")).await;
    assert_eq!((&shown.body["user"], &shown.body["state"]), (&"kim".into(), &"active".into()));
    assert_eq!(api.ask(&admin, "DELETE", &format!("/api-keys/{id}"), None).await.status, 204);
    assert!(matches!(api.world.key(text, crate::model::Service::Api).await, crate::auth::Decision::Deny(_)));
}
