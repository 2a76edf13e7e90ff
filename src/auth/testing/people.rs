//! A person at a browser, for tests of the console's use cases: `acme/alex`, an authenticator app, a security key.

use totp_rs::Totp;
use url::Url;
use webauthn_authenticator_rs::WebauthnAuthenticator;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;

use super::super::*;
use super::{PASSWORD, World};
use crate::config::{Limits, PublicUrl, UserVerification};
use crate::model::{ClientIp, Secret, UserName};
use crate::store::{AuditEntry, AuditFilter, UserRecord};

/// Where the console is.
pub const ORIGIN: &str = "https://console.example";

/// The console of a [`World`], and who stands before it.
pub struct People {
    pub world: World,
    pub access: ConsoleAccess,
    pub failures: FailureGroups,
}

/// What was set up with a first app.
pub struct FirstApp {
    pub session: ConsoleSession,
    pub app: Totp,
    pub codes: Vec<Secret<String>>,
}

pub fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

pub fn visitor(address: &str) -> Visitor {
    Visitor { client_ip: ClientIp::new(address.parse().unwrap()), browser: "Firefox on Linux".into() }
}

/// A console's address, read as the configuration reads it.
pub fn public_url(url: &str) -> PublicUrl {
    let text = format!(
        "listeners:\n  - {{ name: console, protocol: console, address: \"127.0.0.1:0\", public_url: \"{url}\" }}\n"
    );
    let path = std::path::Path::new("f.yaml");
    let parsed = crate::config::parse(&text, path, std::path::Path::new(""), &|_| None);
    parsed.unwrap_or_else(|faults| panic!("{faults}")).public_url().unwrap().clone()
}

/// A security key, as a browser at `origin` asks it.
pub struct Browser {
    origin: Url,
    key: SoftPasskey,
}

impl Browser {
    pub fn at(origin: &str) -> Self {
        // It says that it has verified its person.
        Self { origin: Url::parse(origin).unwrap(), key: SoftPasskey::new(true) }
    }

    /// The same security key, at another origin.
    pub fn moved_to(self, origin: &str) -> Self {
        Self { origin: Url::parse(origin).unwrap(), ..self }
    }

    pub fn register(&mut self, options: &str) -> Secret<String> {
        let options = serde_json::from_str(options).unwrap();
        let answer = self.key.do_registration(self.origin.clone(), options).unwrap();
        Secret::new(serde_json::to_string(&answer).unwrap())
    }

    pub fn prove(&mut self, options: &str) -> PresentedFactor {
        let options = serde_json::from_str(options).unwrap();
        let answer = self.key.do_authentication(self.origin.clone(), options).unwrap();
        PresentedFactor::SecurityKey(Secret::new(serde_json::to_string(&answer).unwrap()))
    }
}

impl People {
    pub async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::of(World::new(limits).await).await
    }

    pub async fn of(mut world: World) -> Self {
        world.keep_sessions().await;
        let failures = FailureGroups::default();
        let keys = SecurityKeys::new(&public_url(ORIGIN), None, UserVerification::Preferred).unwrap();
        let access = ConsoleAccess::new(
            world.plane().acting_as(Actor::Gateway),
            world.authenticator.clone(),
            keys,
            SessionTerms { idle_seconds: 1_800, absolute_seconds: 43_200 },
            failures.clone(),
        );
        Self { world, access, failures }
    }

    /// Counts failures against other limits from now on. Those of a name that are beyond it make it wait for long.
    pub fn allow_failures(&self, of_a_name: u32) {
        let limits = Limits { failed_passwords_per_user: of_a_name, ..Limits::default() };
        self.world.authenticator.reconfigure(&self.world.authenticator.policy(), &limits);
    }

    /// The command line's.
    pub fn operator(&self) -> ControlPlane {
        self.world.plane()
    }

    pub fn pass(&self, seconds: i64) {
        self.world.clock.set(self.world.clock.now().plus_seconds(seconds));
    }

    pub fn name() -> UserName {
        "acme/alex".parse().unwrap()
    }

    pub async fn user(&self) -> UserRecord {
        self.operator().user(&Self::name()).await.unwrap()
    }

    /// Makes `acme/NAME` with alex's password.
    pub async fn make_user(&self, login: &str) -> UserName {
        let name: UserName = format!("acme/{login}").parse().unwrap();
        let password = FirstPassword::Chosen(secret(PASSWORD));
        self.operator().create_user(UserToMake { password, ..UserToMake::new(name.clone()) }).await.unwrap();
        name
    }

    pub async fn try_sign_in(&self, name: &str, password: &str) -> Result<SignedIn, SignInFault> {
        let presented = PasswordSignIn { name, password: secret(password), link: None, device: None };
        self.access.sign_in(&visitor("192.0.2.7"), presented).await
    }

    /// Signs alex in as far as the password does; answers the session that the browser holds then.
    pub async fn sign_in(&self) -> ConsoleSession {
        self.live(&self.try_sign_in("acme/alex", PASSWORD).await.unwrap().token).await
    }

    pub async fn look(&self, token: &Secret<String>) -> SessionLook {
        self.access.session(token.expose(), visitor("192.0.2.7").client_ip).await.unwrap()
    }

    pub async fn live(&self, token: &Secret<String>) -> ConsoleSession {
        match self.look(token).await {
            SessionLook::Live(session) => *session,
            other => panic!("{other:?}"),
        }
    }

    /// Does the browser that holds `token` stand where it stood?
    pub async fn is_live(&self, token: &Secret<String>) -> bool {
        matches!(self.look(token).await, SessionLook::Live(_))
    }

    /// Is the session still in the store?
    pub async fn stands(&self, session: &ConsoleSession) -> bool {
        self.world.store.console_session(session.record.digest).await.unwrap().is_some()
    }

    /// Signs alex in and sets a first app up; its code of now is used then.
    pub async fn set_up_app(&self) -> FirstApp {
        let session = self.sign_in().await;
        let codes = self.access.show_recovery_codes(&session).await.unwrap().codes;
        self.access.confirm_codes_saved(&session).await.unwrap();
        let app = self.begin_app(&session).await;
        let added = self.access.finish_app(&session, "", &self.code(&app)).await.unwrap();
        assert!(added.is_first);
        FirstApp { session: self.live(&added.token).await, app, codes }
    }

    pub async fn begin_app(&self, session: &ConsoleSession) -> Totp {
        let set_up = self.access.begin_app(session).await.unwrap();
        Totp::from_url(set_up.otpauth_url.expose()).unwrap()
    }

    /// Sets alex's first security key up.
    pub async fn set_up_key(&self, browser: &mut Browser) -> ConsoleSession {
        let session = self.sign_in().await;
        self.access.show_recovery_codes(&session).await.unwrap();
        self.access.confirm_codes_saved(&session).await.unwrap();
        let options = self.access.begin_key(&session).await.unwrap();
        let added = self.access.finish_key(&session, "Blue key", &browser.register(&options)).await.unwrap();
        self.live(&added.token).await
    }

    /// What the app shows now.
    pub fn code(&self, app: &Totp) -> Secret<String> {
        let now = u64::try_from(self.world.clock.now().unix_seconds()).unwrap();
        Secret::new(app.generate(now).to_string())
    }

    /// A code that the app does not show, now or next to now.
    pub fn wrong_code(&self, app: &Totp) -> Secret<String> {
        let now = u64::try_from(self.world.clock.now().unix_seconds()).unwrap();
        let near = [now - 30, now, now + 30].map(|at| app.generate(at).to_string());
        let wrong = ["000000", "111111", "222222", "333333"].into_iter();
        secret(wrong.into_iter().find(|code| !near.contains(&(*code).to_owned())).unwrap())
    }

    /// The whole audit trail, failures that wait included, oldest first.
    pub async fn trail(&self) -> Vec<AuditEntry> {
        self.failures.write(&self.operator().acting_as(Actor::Gateway)).await.unwrap();
        let rows = self.world.store.oldest_audit_rows(&AuditFilter::default(), 10_000).await.unwrap();
        rows.into_iter().map(|row| row.entry).collect()
    }

    /// How many events of `kind` the trail tells of.
    pub async fn count(&self, kind: EventKind) -> usize {
        self.trail().await.iter().filter(|entry| entry.event == kind.as_str()).count()
    }
}
