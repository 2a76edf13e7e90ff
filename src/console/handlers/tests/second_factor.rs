//! MFA from its set-up to the sign-in with it.

use http::StatusCode;
use totp_rs::{Builder, Secret as Seed, Totp};
use url::Url;
use webauthn_authenticator_rs::WebauthnAuthenticator;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;

use crate::auth::testing::PASSWORD;
use crate::auth::{UserChanges, UserToMake};
use crate::console::test_browser::{Answer, Browser, TestConsole};
use crate::console::test_console::URL;
use crate::model::MfaRequirement;

/// Somebody's app, set up with the seed that the page shows.
fn app_of(page: &Answer) -> Totp {
    let seed = page.part("secret=", "&");
    Builder::new().with_secret(Seed::try_from_base32(seed).unwrap()).build_noncompliant()
}

fn code(console: &TestConsole, app: &Totp) -> String {
    let now = u64::try_from(console.state.clock().now().unix_seconds()).unwrap();
    app.generate(now).to_string()
}

fn codes_of(page: &Answer) -> Vec<String> {
    let list = page.part("id=\"codes\"", "</ol>");
    list.split("<li>").skip(1).map(|code| code.split_once('<').unwrap().0.to_owned()).collect()
}

/// Sets a first app up; answers it and the recovery codes.
async fn set_app_up(console: &TestConsole, browser: &mut Browser) -> (Totp, Vec<String>) {
    let codes = codes_of(&browser.visit("/profile/mfa/recovery-codes?then=app").await);
    assert_eq!(codes.len(), 10);
    let saved = [("then", "app"), ("saved", "yes")];
    let page = browser.submit("/profile/mfa/recovery-codes", &saved).await;
    let app = app_of(&page);
    let page = browser.submit("/profile/mfa/app", &[("code", &code(console, &app))]).await;
    assert!(page.body.contains("Authenticator app is on."), "{page:?}");
    (app, codes)
}

/// Shows the password in a new browser.
async fn half_signed_in(console: &TestConsole) -> Browser {
    let browser = console.signed_in("acme/alex").await;
    assert!(!browser.cookies.contains_key("__Host-latchkey-device"), "not signed in fully");
    browser
}

#[tokio::test]
async fn r33_r40_s29_an_app_is_set_up_and_each_of_its_codes_signs_in_once() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let before = browser.cookies.clone();
    let (app, _) = set_app_up(&console, &mut browser).await;
    assert_ne!(browser.cookies, before, "the session has a new token");
    console.pass(60);
    let mut first = half_signed_in(&console).await;
    let mut second = half_signed_in(&console).await;
    let page = first.visit("/profile").await;
    assert!(page.body.contains("Open your authenticator app"), "{page:?}");
    second.visit("/sign-in/verify").await;
    let right = code(&console, &app);
    let answer = first.post("/sign-in/verify", &[("code", &right), ("next", "/profile")]).await;
    assert_eq!(answer.location(), Some("/signed-in?next=%2Fprofile&begun=yes"));
    let page = first.visit("/profile").await;
    assert!(page.body.contains("MFA is on – 1 app, 10 recovery codes left"), "{page:?}");
    let answer = second.post("/sign-in/verify", &[("code", &right)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "a code counts once");
    assert!(answer.body.contains("The code is not correct or no longer valid."), "{answer:?}");
    let answer = second.post("/sign-in/verify", &[("code", "000000")]).await;
    assert!(answer.body.contains("Codes depend on the time."), "two failures: {answer:?}");
}

#[tokio::test]
async fn s28_s95_a_half_sign_in_opens_nothing_and_ends_after_five_tries() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    set_app_up(&console, &mut browser).await;
    let mut half = half_signed_in(&console).await;
    for path in ["/", "/profile", "/profile/mfa", "/profile/password", "/confirm", "/signed-in"] {
        assert_eq!(half.get(path).await.location(), Some("/sign-in/verify"), "{path}");
    }
    half.visit("/sign-in/verify").await;
    for _ in 0..4 {
        let answer = half.post("/sign-in/verify", &[("code", "000000")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let page = half.submit("/sign-in/verify", &[("code", "000000"), ("next", "/profile")]).await;
    assert!(page.body.contains("The sign-in took too long, or was tried too often."), "{page:?}");
    assert!(page.body.contains(r#"name="next" value="/profile""#), "{page:?}");
    let mut slow = half_signed_in(&console).await;
    console.pass(300);
    let page = slow.visit("/sign-in/verify?next=%2Fprofile").await;
    assert!(page.body.contains("The sign-in took too long, or was tried too often."), "{page:?}");
}

#[tokio::test]
async fn r41_s32_a_recovery_code_signs_in_once_and_the_next_page_says_how_many_are_left() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let (_, codes) = set_app_up(&console, &mut browser).await;
    let mut half = half_signed_in(&console).await;
    let page = half.visit("/sign-in/verify").await;
    assert!(page.body.contains(r#"href="/sign-in/verify/recovery""#), "{page:?}");
    half.visit("/sign-in/verify/recovery").await;
    let typed = codes[0].to_uppercase().replace('-', " ");
    let page = half.submit("/sign-in/verify/recovery", &[("code", &typed)]).await;
    assert!(page.body.contains("You used a recovery code. 9 are left."), "{page:?}");
    assert!(page.body.contains("A recovery code was used to sign in."), "{page:?}");
    let mut again = half_signed_in(&console).await;
    again.visit("/sign-in/verify/recovery").await;
    let answer = again.post("/sign-in/verify/recovery", &[("code", &codes[0])]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "a code works once");
    assert!(!answer.body.contains(&codes[0]), "{answer:?}");
}

#[tokio::test]
async fn r25_s27_forced_mfa_opens_every_address_of_its_set_up_and_no_other() {
    let console = TestConsole::new().await;
    console.make_user(UserToMake::new("acme/bob".parse().unwrap())).await;
    let force = UserChanges { mfa: Some(MfaRequirement::Required), ..UserChanges::default() };
    console.plane.update_user(&"acme/bob".parse().unwrap(), &force).await.unwrap();
    console.world.reload().await;
    let mut browser = console.signed_in("acme/bob").await;
    for path in [
        "/",
        "/signed-in",
        "/connect",
        "/account/users",
        "/account/users/new",
        "/account/users/bob",
        "/account/users/bob/edit",
        "/account/users/bob/api-keys",
        "/account/activity",
        "/account/usage",
        "/account/quotas",
        "/profile",
        "/profile/password",
        "/profile/sessions",
        "/profile/quotas",
        "/profile/api-keys",
        "/nowhere",
    ] {
        assert_eq!(browser.get(path).await.location(), Some("/profile/mfa"), "{path}");
    }
    let page = browser.visit("/").await;
    assert!(page.body.contains("Your administrator requires MFA."), "{page:?}");
    let answer = browser.post("/profile/sessions", &[]).await;
    assert_eq!(answer.location(), Some("/profile/mfa"), "a form elsewhere has no effect");
    set_app_up(&console, &mut browser).await;
    assert_eq!(browser.visit("/profile").await.status, StatusCode::OK, "the menu works right after");
}

#[tokio::test]
async fn the_first_method_takes_codes_that_were_saved_and_they_stay_the_same_until_then() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let first_step = "/profile/mfa/recovery-codes?then=app";
    assert_eq!(browser.get("/profile/mfa/app").await.location(), Some(first_step));
    let codes = codes_of(&browser.get(first_step).await);
    let answer = browser.post("/profile/mfa/recovery-codes", &[("then", "app")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(codes_of(&answer), codes, "reload shows the same codes");
    assert_eq!(browser.get("/profile/mfa/app").await.location(), Some(first_step), "not saved yet");
    browser.get(first_step).await;
    browser.post("/profile/mfa/recovery-codes", &[("then", "app"), ("saved", "yes")]).await;
    let page = browser.get("/profile/mfa/app").await;
    let seed = page.part("secret=", "&").to_owned();
    let answer = browser.post("/profile/mfa/app", &[("code", "000000")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.part("secret=", "&"), seed, "a wrong code does not draw a new seed");
    console.pass(600);
    let stale = code(&console, &app_of(&page));
    let page = browser.submit("/profile/mfa/app", &[("code", &stale)]).await;
    assert!(page.body.contains("Save your recovery codes") || page.body.contains("has expired"), "{page:?}");
}

#[tokio::test]
async fn s86_secret_pages_are_not_stored_and_every_page_sends_the_session_cookie_anew() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    browser.get("/profile/mfa/recovery-codes?then=app").await;
    browser.post("/profile/mfa/recovery-codes", &[("then", "app"), ("saved", "yes")]).await;
    for path in ["/profile/mfa/recovery-codes?then=app", "/profile/mfa/app", "/profile/mfa", "/nowhere"] {
        // Looking at the codes again means that they are to be saved again.
        let answer = browser.get(path).await;
        assert_eq!(answer.headers.get("cache-control").unwrap(), "no-store", "{path}");
        let cookie = answer.headers.get("set-cookie").unwrap().to_str().unwrap();
        assert!(cookie.starts_with("__Host-latchkey-session="), "{path}: {cookie}");
    }
}

#[tokio::test]
async fn methods_are_renamed_and_removed_and_codes_replaced() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let (_, old) = set_app_up(&console, &mut browser).await;
    let page = browser.visit("/profile/mfa").await;
    let path = format!("/profile/mfa/app/{}", page.part("href=\"/profile/mfa/app/", "/rename"));
    browser.get(&format!("{path}/rename")).await;
    let long = "x".repeat(61);
    let answer = browser.post(&format!("{path}/rename"), &[("name", &long)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains(&long), "{answer:?}");
    let page = browser.submit(&format!("{path}/rename"), &[("name", "Phone <b>")]).await;
    assert!(page.body.contains("Phone &#60;b&#62;"), "{page:?}");
    browser.get("/profile/mfa/recovery-codes/replace").await;
    let new = codes_of(&browser.post("/profile/mfa/recovery-codes/replace", &[]).await);
    assert!(new.len() == 10 && new.iter().all(|code| !old.contains(code)));
    let page = browser.get(&format!("{path}/remove")).await;
    assert!(page.body.contains("MFA will be off. Your recovery codes stop working."), "{page:?}");
    let answer = browser.post(&format!("{path}/remove"), &[("password", "too short")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "S42: a password that stands alone");
    let fields = [("password", "a longer password of alex")];
    let page = browser.submit(&format!("{path}/remove"), &fields).await;
    assert!(page.body.contains("MFA is off") && page.body.contains("was removed."), "{page:?}");
    assert_eq!(browser.get(&format!("{path}/remove")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn s96_a_change_asks_who_it_is_after_ten_minutes() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let (app, _) = set_app_up(&console, &mut browser).await;
    console.pass(700);
    let confirm = "/confirm?next=%2Fprofile%2Fmfa%2Frecovery-codes%2Freplace";
    assert_eq!(browser.get("/profile/mfa/recovery-codes/replace").await.location(), Some(confirm));
    let page = browser.get(confirm).await;
    assert!(page.body.contains(r#"name="with" value="app""#), "{page:?}");
    let next = ("next", "/profile/mfa/recovery-codes/replace");
    let right = code(&console, &app);
    let wrong = [("password", "not the password"), ("with", "app"), ("code", right.as_str()), next];
    let answer = browser.post("/confirm", &wrong).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("The password is not correct."), "{answer:?}");
    let wrong = [("password", PASSWORD), ("with", "app"), ("code", "000000"), next];
    let answer = browser.post("/confirm", &wrong).await;
    assert!(answer.body.contains("The code is not correct or no longer valid."), "{answer:?}");
    let fields = [("password", PASSWORD), ("with", "app"), ("code", right.as_str()), next];
    let page = browser.submit("/confirm", &fields).await;
    assert!(page.body.contains("Replace your recovery codes?"), "{page:?}");
}

/// What the page's script is to ask the security key for.
fn options(page: &Answer) -> String {
    page.part("data-options=\"", "\"").replace("&#34;", "\"").replace("&#38;", "&")
}

fn register(key: &mut SoftPasskey, page: &Answer) -> String {
    let options = serde_json::from_str(&options(page)).unwrap();
    let answer = key.do_registration(Url::parse(URL).unwrap(), options).unwrap();
    serde_json::to_string(&answer).unwrap()
}

fn prove(key: &mut SoftPasskey, page: &Answer) -> String {
    let options = serde_json::from_str(&options(page)).unwrap();
    let answer = key.do_authentication(Url::parse(URL).unwrap(), options).unwrap();
    serde_json::to_string(&answer).unwrap()
}

#[tokio::test]
async fn r45_s33_s34_a_security_key_is_registered_once_and_signs_in() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let mut key = SoftPasskey::new(true);
    browser.visit("/profile/mfa/recovery-codes?then=key").await;
    let saved = [("then", "key"), ("saved", "yes")];
    let page = browser.submit("/profile/mfa/recovery-codes", &saved).await;
    let answer = browser.post("/profile/mfa/key", &[("name", "Blue key"), ("credential", "{}")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("could not be used") && answer.body.contains(r#"value="Blue key""#));
    let late = register(&mut key, &page);
    let fields = [("name", "Blue key"), ("credential", late.as_str())];
    let page = browser.post("/profile/mfa/key", &fields).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "its challenge is used up: {page:?}");
    let made = register(&mut key, &page);
    let fields = [("name", "Blue key"), ("credential", made.as_str())];
    let page = browser.submit("/profile/mfa/key", &fields).await;
    assert!(page.body.contains("Security key “<bdi>Blue key</bdi>” is on."), "{page:?}");
    let mut half = half_signed_in(&console).await;
    let page = half.visit("/profile").await;
    assert!(page.body.contains("Have the security key"), "{page:?}");
    let proof = prove(&mut key, &page);
    let wrong = half.post("/sign-in/verify/key", &[("credential", "{}")]).await;
    assert!(wrong.body.contains("The security key could not be used. Try again."), "{wrong:?}");
    let stale = half.post("/sign-in/verify/key", &[("credential", &proof)]).await;
    assert_eq!(stale.status, StatusCode::UNPROCESSABLE_ENTITY, "its challenge is used up");
    let proof = prove(&mut key, &stale);
    half.post("/sign-in/verify/key", &[("credential", &proof)]).await;
    let page = half.visit("/profile").await;
    assert!(page.body.contains("MFA is on – 1 security key, 10 recovery codes left"), "{page:?}");
}

#[tokio::test]
async fn security_keys_are_not_offered_at_an_address() {
    let console = TestConsole::at("https://192.0.2.1").await;
    let mut browser = console.signed_in("acme/alex").await;
    browser.visit("/profile/mfa/recovery-codes?then=key").await;
    let saved = [("then", "key"), ("saved", "yes")];
    let page = browser.submit("/profile/mfa/recovery-codes", &saved).await;
    assert!(page.body.contains("This address cannot be used with security keys."), "{page:?}");
}
