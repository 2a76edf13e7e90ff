//! What the tests of handlers share: a console with people in it, asked through its router, guards included.

use axum::Router;
use axum::body::Body;
use http::header::{COOKIE, HOST, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::super::cookies::ConsoleCookie;
use super::super::test_console::{URL, console_of, public_url};
use super::super::{ConsoleClient, ConsoleState, DoorAddresses, Transport, router};
use crate::auth::testing::{NOW, PASSWORD, World};
use crate::auth::{
    Actor, ControlPlane, CustomerToMake, Decision, FirstPassword, PasswordSignIn, SessionLook, UserToMake,
    Visitor,
};
use crate::config::Limits;
use crate::model::{ClientIp, MfaRequirement, Permission, Secret, Service, Timestamp};

/// From where everybody comes.
pub(super) const FROM: &str = "203.0.113.5";

/// A console with `acme/admin`, who administers, and `acme/alex`, who may nothing; and `beta/admin`.
pub(super) struct Desk {
    pub(super) world: World,
    pub(super) state: ConsoleState,
    router: Router,
}

/// Somebody who is signed in.
pub(super) struct Seat {
    cookie: String,
    csrf: String,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Desk {
    pub(super) async fn new() -> Self {
        let mut world = World::new(Limits::default()).await;
        world.keep_sessions().await;
        let doors = DoorAddresses {
            api: Some(String::from("https://api.example/")),
            isproxy: Some(String::from("is.example:2001")),
        };
        let state = console_of(&world, public_url(URL), Limits::default(), doors);
        let desk = Self { router: router(state.clone()), state, world };
        let mut beta = CustomerToMake::new("beta".parse().unwrap());
        beta.mfa = Some(MfaRequirement::Optional);
        beta.admin_password = FirstPassword::Chosen(password());
        desk.operator().create_customer(beta).await.unwrap();
        desk.make("acme/admin", |user| user.administrator = true).await;
        desk
    }

    /// The operator's use cases.
    pub(super) fn operator(&self) -> ControlPlane {
        self.state.access().plane_for(Actor::Operator(String::from("tester")))
    }

    pub(super) async fn make(&self, name: &str, edit: impl FnOnce(&mut UserToMake)) {
        let mut order = UserToMake::new(name.parse().unwrap());
        order.password = FirstPassword::Chosen(password());
        edit(&mut order);
        let made = self.operator().create_user(order).await.unwrap();
        self.world.authenticator.applied(made.revision).await;
    }

    /// Gives `acme/alex` permissions.
    pub(super) async fn permit(&self, permissions: &[Permission]) {
        self.world.change_user(|user| user.permissions = permissions.iter().copied().collect()).await;
    }

    pub(super) async fn sign_in(&self, name: &str) -> Seat {
        let visitor = Visitor { client_ip: from(), browser: String::from("test") };
        let presented = PasswordSignIn { name, password: password(), link: None, device: None };
        let access = self.state.access();
        let signed_in = access.sign_in(&visitor, presented).await.unwrap();
        let SessionLook::Live(session) = access.session(signed_in.token.expose(), from()).await.unwrap()
        else {
            panic!("no session");
        };
        let name = self.state.cookies().name(ConsoleCookie::Session);
        let cookie = format!("{name}={}", signed_in.token.expose());
        Seat { cookie, csrf: access.form_proof(&session).expose().clone() }
    }

    /// Does this key open that door?
    pub(super) async fn opens(&self, key: &str, service: Service) -> bool {
        matches!(self.world.key(key, service).await, Decision::Allow(_))
    }

    /// Does the password of `acme/alex` open the API?
    pub(super) async fn password_opens(&self) -> bool {
        matches!(self.world.password(PASSWORD, Service::Api).await, Decision::Allow(_))
    }

    /// Lets time go by.
    pub(super) fn wait(&self, seconds: i64) {
        self.world.clock.set(self.now().plus_seconds(seconds));
    }

    pub(super) fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    pub(super) async fn get(&self, seat: &Seat, path: &str) -> Answer {
        self.ask(Method::GET, seat, path, String::new()).await
    }

    /// Sends a form of a page of this session.
    pub(super) async fn post(&self, seat: &Seat, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &seat.csrf).extend_pairs(fields);
        self.ask(Method::POST, seat, path, form.finish()).await
    }

    async fn ask(&self, method: Method, seat: &Seat, path: &str, body: String) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "console.example")
            .header(COOKIE, &seat.cookie)
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .extension(ConsoleClient { client_ip: from(), transport: Transport::Tls })
            .body(Body::from(body))
            .unwrap();
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

impl Answer {
    /// Where it leads on to.
    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |to| to.to_str().unwrap())
    }

    /// The value of the first hidden field of this name.
    pub(super) fn hidden(&self, name: &str) -> String {
        let before = format!("name=\"{name}\" value=\"");
        let rest = self.body.split(&before).nth(1).unwrap_or_else(|| panic!("no {name}: {}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }

    /// The key that the page shows.
    pub(super) fn key(&self) -> String {
        let block = self.body.split("data-secret").nth(1).unwrap_or_else(|| panic!("no key: {}", self.body));
        block.split_once('>').unwrap().1.split('<').next().unwrap().to_owned()
    }

    pub(super) fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

fn password() -> Secret<String> {
    Secret::new(PASSWORD.to_owned())
}

fn from() -> ClientIp {
    ClientIp::new(FROM.parse().unwrap())
}

#[tokio::test]
async fn the_desk_stands_at_the_time_of_the_tests() {
    let desk = Desk::new().await;
    assert_eq!(desk.now(), NOW);
}
