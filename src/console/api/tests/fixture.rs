//! A console with people in its store, and callers of every kind.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::super::BASE;
use crate::auth::testing::World;
use crate::auth::{
    Actor, ConsoleAccess, ControlPlane, CustomerToMake, FailureGroups, FirstPassword, KeyToMake, PasswordEnd,
    PasswordSignIn, SessionLook, SessionTerms, UserToMake, Visitor,
};
use crate::config::{Limits, Policy};
use crate::console::cookies::ConsoleCookie;
use crate::console::test_console::{URL, public_url};
use crate::console::{ConsoleClient, ConsoleParts, ConsoleState, Transport, router};
use crate::model::{ClientIp, KeyId, MfaRequirement, Permission, Secret, UserName};
use crate::telemetry::{Metrics, RequestIds};

/// Where callers come from unless they say otherwise.
pub const ADDRESS: &str = "192.0.2.7";
const PASSWORD: &str = "correct horse battery";

/// How a call is made.
#[derive(Clone, Debug)]
pub enum As {
    Nobody,
    /// With the token of a session, and its CSRF token where something changes.
    Session(Secret<String>),
    Key(String),
}

/// A console, and what was seen of it.
pub struct Api {
    pub world: World,
    pub state: ConsoleState,
    router: Router,
    pub document: Value,
    ids: Mutex<RequestIds>,
    /// Operations, by path and method, with the statuses that they have answered.
    pub seen: Mutex<BTreeSet<(String, String)>>,
}

/// An answer of JSON, or without a body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: http::HeaderMap,
}

impl Answer {
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }
}

impl Api {
    /// `acme` with its administrator `admin`, `clerk` (`MANAGE_USER`) and `kim`, and `beta` with `admin`.
    pub async fn new() -> Self {
        let limits = Limits { failed_credentials_per_address: 5, ..Limits::default() };
        let mut world = World::new(limits.clone()).await;
        world.keep_sessions().await;
        let plane = ControlPlane {
            store: world.store.clone(),
            key_ring: Arc::clone(&world.key_ring),
            clock: world.clock.clone(),
            policy: Policy::default(),
            actor: Actor::Operator("tester".into()),
            once: None,
            hashing: crate::auth::HashingLane::default(),
        };
        let access = ConsoleAccess::new(
            plane.clone(),
            Arc::clone(&world.authenticator),
            None,
            SessionTerms { idle_seconds: 1_800, absolute_seconds: 43_200 },
            FailureGroups::default(),
        );
        let state = ConsoleState::new(ConsoleParts {
            access,
            metrics: Arc::new(Metrics::default()),
            public_url: public_url(URL),
            limits: Arc::new(limits),
            doors: crate::console::DoorAddresses::default(),
        });
        let beta = CustomerToMake {
            mfa: Some(MfaRequirement::Optional),
            admin_password: FirstPassword::Chosen(Secret::new(PASSWORD.into())),
            ..CustomerToMake::new("beta".parse().unwrap())
        };
        plane.create_customer(beta).await.unwrap();
        for (login, administrator, permissions) in
            [("admin", true, vec![]), ("clerk", false, vec![Permission::ManageUser]), ("kim", false, vec![])]
        {
            let user = UserToMake {
                administrator,
                permissions: permissions.into_iter().collect(),
                password: FirstPassword::Chosen(Secret::new(PASSWORD.into())),
                ..UserToMake::new(format!("acme/{login}").parse().unwrap())
            };
            plane.create_user(user).await.unwrap();
        }
        let document = serde_json::to_value(super::super::document(&state)).unwrap();
        let ids = Mutex::new(RequestIds::new(7));
        let router = router(state.clone());
        Self { world, state, router, document, ids, seen: Mutex::default() }
    }

    /// The operator's use cases.
    pub fn operator(&self) -> ControlPlane {
        self.state.access().plane_for(Actor::Operator("tester".into()))
    }

    pub async fn sign_in(&self, name: &str) -> As {
        let visitor = Visitor { client_ip: ip(ADDRESS), browser: String::new() };
        let password = Secret::new(PASSWORD.to_owned());
        let presented = PasswordSignIn { name, password, link: None, device: None };
        As::Session(self.state.access().sign_in(&visitor, presented).await.unwrap().token)
    }

    /// A key of `owner` with this scope, let in from 192.0.2.0/24.
    pub async fn add_key(&self, owner: &str, scope: &str) -> (KeyId, String) {
        let order = KeyToMake {
            allow_list: "192.0.2.0/24".parse().unwrap(),
            ..KeyToMake::new(owner.parse().unwrap(), "test", scope.parse().unwrap())
        };
        let made = self.operator().create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        self.world.authenticator.applied(made.revision).await;
        let [key] = &made.keys[..] else { panic!("{made:?}") };
        (key.id, key.text.expose().to_owned())
    }

    /// A user of `acme` without rights, password and keys.
    pub async fn add_user(&self, login: &str) -> UserName {
        let name: UserName = format!("acme/{login}").parse().unwrap();
        self.operator().create_user(UserToMake::new(name.clone())).await.unwrap();
        name
    }

    pub async fn get(&self, caller: &As, path: &str) -> Answer {
        self.ask(caller, "GET", path, None).await
    }

    /// Asks with `body` as JSON, and holds the answer against the document.
    pub async fn ask(&self, caller: &As, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.ask_with(caller, method, path, body.map(Value::to_string), &[]).await
    }

    pub async fn ask_with(
        &self,
        caller: &As,
        method: &str,
        path: &str,
        body: Option<String>,
        fields: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
        if body.is_some() && !fields.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        request = self.presenting(caller, request).await;
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.unwrap_or_default())).unwrap();
        let answer = self.send(request, ADDRESS).await;
        self.check(method, path, &answer);
        answer
    }

    async fn presenting(&self, caller: &As, request: http::request::Builder) -> http::request::Builder {
        match caller {
            As::Nobody => request.header("sec-fetch-site", "same-origin"),
            As::Key(key) => request.header("authorization", format!("ApiKey {key}")),
            As::Session(token) => {
                let request = request.header("sec-fetch-site", "same-origin");
                let request = request.header("cookie", self.cookie(token));
                let look = self.state.access().session(token.expose(), ip(ADDRESS)).await.unwrap();
                let SessionLook::Live(session) = look else { return request };
                let proof = self.state.access().form_proof(&session);
                request.header("x-csrf-token", proof.expose())
            }
        }
    }

    /// The session's cookie as a browser sends it.
    pub fn cookie(&self, token: &Secret<String>) -> String {
        format!("{}={}", self.state.cookies().name(ConsoleCookie::Session), token.expose())
    }

    /// Sends `request` as it is, from `address`.
    pub async fn send(&self, mut request: Request<Body>, address: &str) -> Answer {
        request.headers_mut().insert("host", "console.example".parse().unwrap());
        let client = ConsoleClient { client_ip: ip(address), transport: Transport::Tls };
        request.extensions_mut().insert(client);
        let id = self.ids.lock().unwrap().next_id();
        request.extensions_mut().insert(id);
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let is_json = head.headers.get("content-type").is_some_and(|kind| kind == "application/json");
        assert_eq!(is_json, !text.is_empty(), "{head:?} {text:?}");
        let body = if is_json { serde_json::from_slice(&text).unwrap() } else { Value::Null };
        assert_eq!(head.headers["cache-control"], "no-store");
        if head.status.is_client_error() || head.status.is_server_error() {
            let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, ["type", "message", "requestId"], "{body}");
            assert_eq!(body["requestId"], id.to_string());
            assert!(body["message"].as_str().is_some_and(|text| text.ends_with(['.', '?'])), "{body}");
        }
        assert_ne!(head.status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        Answer { status: head.status.as_u16(), body, headers: head.headers }
    }

    /// Is the answer one that the document has for the operation?
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap();
        let paths = self.document["paths"].as_object().unwrap();
        let (template, item) =
            paths.iter().find(|(template, _)| fits(template, path)).unwrap_or_else(|| panic!("{path}"));
        let responses = &item[method.to_lowercase()]["responses"];
        let described = &responses[answer.status.to_string()];
        assert!(described.is_object(), "{method} {template} has no {}: {answer:?}", answer.status);
        assert_eq!(
            described["content"].is_object(),
            !answer.body.is_null(),
            "{method} {template} {answer:?}"
        );
        let operation = format!("{method} {template}");
        self.seen.lock().unwrap().insert((operation, answer.status.to_string()));
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(wanted, named): (&&str, &&str)| wanted == named || wanted.starts_with('{');
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

pub fn ip(text: &str) -> ClientIp {
    ClientIp::new(text.parse().unwrap())
}

/// What a new door key of the tests is.
pub fn new_key() -> Value {
    json!({ "description": "CI", "scope": ["api"], "acceptPasswordEnd": true })
}
