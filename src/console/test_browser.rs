//! What the tests of pages share: the console with its real routes and guards over a store of its own, and browsers that
//! keep cookies and send forms as the last page had them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::cookies::ConsoleCookie;
use super::test_console::{URL, public_url};
use super::{ConsoleClient, ConsoleParts, ConsoleState, DoorAddresses, Transport, router};
use crate::auth::testing::{PASSWORD, World};
use crate::auth::{
    Actor, ConsoleAccess, ConsoleSession, ControlPlane, FailureGroups, FirstPassword, SessionLook,
    SessionTerms, UserToMake,
};
use crate::config::{Limits, Policy};
use crate::model::{ClientIp, Secret, UserName};
use crate::telemetry::{Metrics, RequestIds};

/// A console with users `acme/alex`, who holds nothing, and `acme/admin`, an administrator, both of [`PASSWORD`].
pub(super) struct TestConsole {
    pub(super) world: World,
    pub(super) state: ConsoleState,
    /// The operator's.
    pub(super) plane: ControlPlane,
    router: Router,
}

/// Somebody's browser. Its address and its cookies are its own.
pub(super) struct Browser {
    router: Router,
    host: String,
    address: ClientIp,
    pub(super) cookies: BTreeMap<String, String>,
    /// The proof in the forms of the page that is open.
    pub(super) csrf: String,
    ids: RequestIds,
}

/// What a browser gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl TestConsole {
    pub(super) async fn new() -> Self {
        Self::at(URL).await
    }

    /// A console that browsers call by `url`.
    pub(super) async fn at(url: &str) -> Self {
        let mut world = World::new(Limits::default()).await;
        world.keep_sessions().await;
        let plane = ControlPlane {
            store: world.store.clone(),
            key_ring: Arc::clone(&world.key_ring),
            clock: world.clock.clone(),
            policy: Policy::default(),
            actor: Actor::Operator(String::from("tester")),
            once: None,
            hashing: crate::auth::HashingLane::default(),
        };
        let public_url = public_url(url);
        let state = ConsoleState::new(ConsoleParts {
            access: ConsoleAccess::new(
                plane.clone(),
                Arc::clone(&world.authenticator),
                plane.security_keys(&public_url).await.unwrap(),
                SessionTerms { idle_seconds: 1_800, absolute_seconds: 43_200 },
                FailureGroups::default(),
            ),
            metrics: Arc::new(Metrics::default()),
            public_url,
            limits: Arc::new(Limits::default()),
            doors: DoorAddresses {
                api: Some(String::from("https://api.example/")),
                isproxy: Some(String::from("is.example:2001")),
            },
        });
        let console = Self { world, router: router(state.clone()), state, plane };
        let admin = UserToMake { administrator: true, ..UserToMake::new("acme/admin".parse().unwrap()) };
        console.make_user(admin).await;
        console
    }

    /// Makes a user of [`PASSWORD`].
    pub(super) async fn make_user(&self, user: UserToMake) {
        let password = FirstPassword::Chosen(Secret::new(PASSWORD.into()));
        self.plane.create_user(UserToMake { password, ..user }).await.unwrap();
        self.world.reload().await;
    }

    /// A browser at an address of its own.
    pub(super) fn browser(&self) -> Browser {
        self.browser_at("192.0.2.7")
    }

    pub(super) fn browser_at(&self, address: &str) -> Browser {
        Browser {
            router: self.router.clone(),
            host: self.state.public_url().origin().split_once("//").unwrap().1.to_owned(),
            address: ClientIp::new(address.parse().unwrap()),
            cookies: BTreeMap::new(),
            csrf: String::new(),
            ids: RequestIds::new(7),
        }
    }

    /// A browser in which `user` (`acme/alex`) has signed in, and is shown nothing more.
    pub(super) async fn signed_in(&self, user: &str) -> Browser {
        let name: UserName = user.parse().unwrap();
        let mut browser = self.browser();
        browser.get("/sign-in").await;
        let fields = [
            ("account", name.customer.to_string()),
            ("user", name.login.to_string()),
            ("password", PASSWORD.to_owned()),
        ];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        browser
    }

    /// The session that a browser holds.
    pub(super) async fn session_of(&self, browser: &Browser) -> ConsoleSession {
        let token = &browser.cookies[&self.state.cookies().name(ConsoleCookie::Session)];
        match self.state.access().session(token, browser.address).await.unwrap() {
            SessionLook::Live(session) => *session,
            other => panic!("{other:?}"),
        }
    }

    /// Lets so much time pass.
    pub(super) fn pass(&self, seconds: i64) {
        self.world.clock.set(self.world.clock.now().plus_seconds(seconds));
    }
}

impl Browser {
    /// Opens a page; a redirect is not followed.
    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, String::new()).await
    }

    /// Sends a form with these fields, and the proof of the page that is open.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &self.csrf).extend_pairs(fields);
        self.send(Method::POST, path, form.finish()).await
    }

    /// Opens a page, and goes where redirects lead.
    pub(super) async fn visit(&mut self, path: &str) -> Answer {
        let mut answer = self.get(path).await;
        for _ in 0..5 {
            let Some(to) = answer.location() else { return answer };
            let to = to.to_owned();
            answer = self.get(&to).await;
        }
        panic!("it leads on and on: {answer:?}");
    }

    /// Sends a form, and goes where redirects lead.
    pub(super) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.post(path, fields).await;
        match answer.location() {
            Some(to) => {
                let to = to.to_owned();
                self.visit(&to).await
            }
            None => answer,
        }
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> Answer {
        let mut request = Request::builder().method(&method).uri(path).header(HOST, self.host.as_str());
        request = request.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0");
        if method == Method::POST {
            request = request.header("sec-fetch-site", "same-origin");
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(ConsoleClient { client_ip: self.address, transport: Transport::Tls });
        request.extensions_mut().insert(self.ids.next_id());
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        self.keep_cookies(&head.headers);
        if let Some(proof) = between(&body, "name=\"csrf\" value=\"", "\"") {
            proof.clone_into(&mut self.csrf);
        }
        Answer { status: head.status, headers: head.headers, body }
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for field in headers.get_all(SET_COOKIE) {
            let field = field.to_str().unwrap();
            let (pair, attributes) = field.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Answer {
    /// Where it leads.
    pub(super) fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION).map(|to| to.to_str().unwrap())
    }

    /// Is this text in the page?
    pub(super) fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }

    /// What makes the page's form good for one thing.
    pub(super) fn form_token(&self) -> String {
        self.part("name=\"form_token\" value=\"", "\"").to_owned()
    }

    /// The part of the page between `before` and `after`.
    pub(super) fn part(&self, before: &str, after: &str) -> &str {
        between(&self.body, before, after).unwrap_or_else(|| panic!("no {before} in {self:?}"))
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}
