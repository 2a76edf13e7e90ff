//! Every operation, called by everybody (SECURITY S91, S25).

use serde_json::{Value, json};

use super::fixture::{Api, As, new_key};

/// The callers of the matrix, in the order of its columns: the user itself, a user with `MANAGE_USER`, an administrator,
/// another account's administrator, and a `manage` key of the administrator.
pub struct Callers([As; 5]);

impl Callers {
    pub async fn of(api: &Api) -> Self {
        let (_, key) = api.add_key("acme/admin", "manage").await;
        Self([
            api.sign_in("acme/kim").await,
            api.sign_in("acme/clerk").await,
            api.sign_in("acme/admin").await,
            api.sign_in("beta/admin").await,
            As::Key(key),
        ])
    }

    pub const fn admin(&self) -> &As {
        &self.0[2]
    }

    pub const fn key(&self) -> &As {
        &self.0[4]
    }
}

type Row = (&'static str, &'static str, Option<Value>, [u16; 5]);

/// `{user}` is the caller itself in the first column, and a user without rights in the others; `{key}` a key of that one.
fn rows() -> Vec<Row> {
    let user = |more: &Value| {
        let mut new = json!({ "login": "{new}" });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(new)
    };
    let manage = json!({ "description": "m", "scope": ["manage"], "allowList": ["192.0.2.0/24"] });
    let list = || Some(json!({ "networks": ["192.0.2.0/24"] }));
    let quota = || Some(json!({ "day": 1000, "month": null }));
    let overlap = Some(json!({ "overlapSeconds": 60 }));
    vec![
        ("GET", "/me", None, [200, 200, 200, 200, 200]),
        ("GET", "/users", None, [403, 200, 200, 200, 200]),
        ("POST", "/users", user(&json!({})), [403, 201, 201, 201, 201]),
        ("POST", "/users", user(&json!({ "link": true })), [403, 201, 201, 201, 403]),
        ("POST", "/users", user(&json!({ "mfaRequired": true })), [403, 201, 201, 201, 403]),
        ("POST", "/users", user(&json!({ "permissions": ["VIEW_AUDIT"] })), [403, 403, 201, 201, 403]),
        ("POST", "/users", user(&json!({ "administrator": true })), [403, 403, 201, 201, 403]),
        ("GET", "/users/{user}", None, [200, 200, 200, 404, 200]),
        ("PATCH", "/users/{user}", Some(json!({ "fullName": "Kim" })), [204, 204, 204, 404, 204]),
        ("PATCH", "/users/{user}", Some(json!({ "administrator": true })), [403, 403, 204, 404, 403]),
        ("PATCH", "/users/{user}", Some(json!({ "permissions": ["VIEW_AUDIT"] })), [403, 403, 204, 404, 403]),
        ("PATCH", "/users/{user}", Some(json!({ "accessPoints": ["api"] })), [403, 204, 204, 404, 204]),
        ("PATCH", "/users/{user}", Some(json!({ "mfaRequired": true })), [403, 403, 204, 404, 403]),
        ("POST", "/users/{user}/deactivate", None, [403, 204, 204, 404, 204]),
        ("POST", "/users/{user}/reactivate", None, [403, 204, 204, 404, 204]),
        ("POST", "/users/{keyless}/allow-password", None, [403, 403, 204, 404, 403]),
        ("POST", "/users/{user}/link", None, [403, 403, 201, 404, 403]),
        ("POST", "/users/{user}/reset-mfa", None, [403, 403, 201, 404, 403]),
        ("GET", "/users/{user}/access", None, [200, 200, 200, 404, 200]),
        ("GET", "/users/{user}/usage", None, [200, 200, 200, 404, 200]),
        ("GET", "/users/{user}/api-keys", None, [403, 403, 200, 404, 200]),
        ("POST", "/users/{user}/api-keys", Some(new_key()), [403, 403, 201, 404, 201]),
        ("POST", "/users/{user}/api-keys", Some(manage), [403, 403, 201, 404, 403]),
        ("GET", "/api-keys/{key}", None, [403, 403, 200, 404, 200]),
        ("GET", "/api-keys/{key}/usage", None, [403, 403, 200, 404, 200]),
        ("POST", "/api-keys/{key}/replace", overlap, [403, 403, 201, 404, 201]),
        ("POST", "/api-keys/{key}/disable", None, [403, 403, 204, 404, 204]),
        ("POST", "/api-keys/{key}/enable", None, [403, 403, 204, 404, 204]),
        ("GET", "/api-keys/{key}/allow-list", None, [403, 403, 200, 404, 200]),
        ("PUT", "/api-keys/{key}/allow-list", list(), [403, 403, 204, 404, 204]),
        ("PUT", "/api-keys/{key}/allow-list", Some(json!({ "networks": [] })), [403, 403, 204, 404, 403]),
        ("DELETE", "/api-keys/{key}", None, [403, 403, 204, 404, 204]),
        ("GET", "/users/{user}/allow-list", None, [200, 200, 200, 404, 200]),
        ("PUT", "/users/{user}/allow-list", list(), [403, 403, 204, 404, 204]),
        ("GET", "/account/allow-list", None, [403, 200, 200, 200, 200]),
        ("PUT", "/account/allow-list", list(), [403, 403, 204, 204, 204]),
        ("GET", "/users/{user}/quota", None, [200, 200, 200, 404, 200]),
        ("PUT", "/users/{user}/quota", quota(), [403, 403, 204, 404, 204]),
        ("GET", "/api-keys/{key}/quota", None, [403, 403, 200, 404, 200]),
        ("PUT", "/api-keys/{key}/quota", quota(), [403, 403, 204, 404, 204]),
        ("PUT", "/api-keys/{key}/quota", Some(json!({})), [403, 403, 204, 404, 204]),
        ("GET", "/account/quota", None, [200, 200, 200, 200, 200]),
        ("GET", "/quotas", None, [403, 403, 200, 200, 200]),
        ("GET", "/usage", None, [403, 200, 200, 200, 200]),
        ("GET", "/activity", None, [403, 403, 200, 200, 200]),
        ("DELETE", "/users/{user}", None, [403, 403, 204, 404, 204]),
    ]
}

/// Calls every operation as everybody.
pub async fn run(api: &Api, callers: &Callers) {
    for (number, (method, path, body, expected)) in rows().into_iter().enumerate() {
        for (column, (caller, expected)) in callers.0.iter().zip(expected).enumerate() {
            let fresh = format!("u{number}-{column}");
            let keyless = format!("k{number}-{column}");
            api.add_user(&fresh).await;
            api.add_user(&keyless).await;
            let (user, keyless) = if column == 0 { ("kim", "kim") } else { (&*fresh, &*keyless) };
            let (key, _) = api.add_key(&format!("acme/{user}"), "api").await;
            let path = path.replace("{user}", user).replace("{keyless}", keyless);
            let path = path.replace("{key}", &key.to_string());
            let body = body.as_ref().map(|body| body.to_string().replace("{new}", &format!("n{fresh}")));
            let answer = api.ask_with(caller, method, &path, body.clone(), &[]).await;
            assert_eq!(answer.status, expected, "{method} {path} {body:?} as {column}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn s91_every_operation_goes_by_the_rights_of_whoever_calls() {
    let api = Api::new().await;
    let callers = Callers::of(&api).await;
    run(&api, &callers).await;
}

#[tokio::test]
async fn s25_what_another_account_has_is_answered_like_what_does_not_exist() {
    let api = Api::new().await;
    let stranger = api.sign_in("beta/admin").await;
    let (key, _) = api.add_key("acme/kim", "api").await;
    for (method, path, body, _) in rows().into_iter().filter(|(_, path, ..)| path.contains('{')) {
        let ask = async |user: &str, key: &str| {
            let path = path.replace("{user}", user).replace("{keyless}", user).replace("{key}", key);
            let answer = api.ask(&stranger, method, &path, body.as_ref()).await;
            assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
            (answer.body["type"].clone(), answer.body["message"].clone())
        };
        let foreign = ask("kim", &key.to_string()).await;
        for (user, key) in [("nobody", "key_0000000000001"), ("not%20a%20name", "key_x"), ("%ff", "%ff")] {
            assert_eq!(ask(user, key).await, foreign, "{method} {path}");
        }
    }
}
