//! Signing in and out with a password.

use http::StatusCode;

use crate::auth::testing::PASSWORD;
use crate::console::test_browser::TestConsole;

const SESSION: &str = "__Host-latchkey-session";
const DEVICE: &str = "__Host-latchkey-device";

#[tokio::test]
async fn a_password_alone_signs_in_with_advice_and_leads_to_the_page_asked_for() {
    let console = TestConsole::new().await;
    let mut browser = console.browser();
    let asked = browser.get("/profile/sessions").await;
    assert_eq!(asked.location(), Some("/sign-in?next=%2Fprofile%2Fsessions"));
    let form = browser.visit("/profile/sessions").await;
    assert!(form.body.contains(r#"name="next" value="/profile/sessions""#), "{form:?}");
    let fields = [("user", "acme/alex"), ("password", PASSWORD), ("next", "/profile/sessions")];
    let answer = browser.submit("/sign-in", &fields).await;
    assert!(browser.cookies.contains_key(SESSION) && browser.cookies.contains_key(DEVICE));
    assert!(answer.body.contains(r#"href="/profile/sessions">Not now</a>"#), "{answer:?}");
    let again = browser.get("/sign-in?next=%2Fprofile").await;
    assert_eq!(again.location(), Some("/profile"), "whoever is signed in need not do it again");
}

#[tokio::test]
async fn s38_s93_whatever_is_not_let_in_is_answered_alike() {
    let console = TestConsole::new().await;
    let mut answers = Vec::new();
    for (user, password) in [
        ("alex", "wrong, but long enough"),
        ("nobody", PASSWORD),
        ("not a name <b>", PASSWORD),
        ("", ""),
        ("alex", ""),
    ] {
        let mut browser = console.browser_at(&format!("192.0.2.{}", answers.len() + 10));
        browser.get("/sign-in").await;
        let fields = [("account", "acme"), ("user", user), ("password", password)];
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(browser.cookies.is_empty() && !answer.body.contains("wrong, but"), "{answer:?}");
        answers.push(answer.part("role=\"alert\"", "</div>").to_owned());
        assert!(answer.body.contains(r#"name="account" value="acme""#), "{answer:?}");
    }
    console.world.change_user(|user| user.active = false).await;
    let mut browser = console.browser();
    let fields = [("account", "acme"), ("user", "alex"), ("password", PASSWORD)];
    let answer = browser.post("/sign-in", &fields).await;
    answers.push(answer.part("role=\"alert\"", "</div>").to_owned());
    assert!(answers[0].contains("Account, user name or password is not correct."), "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn too_many_failures_are_told_with_the_time_to_wait() {
    let console = TestConsole::new().await;
    let mut browser = console.browser();
    let fields = [("account", "acme"), ("user", "alex"), ("password", "wrong, but long enough")];
    let mut last = browser.post("/sign-in", &fields).await;
    for _ in 0..50 {
        if last.status != StatusCode::UNPROCESSABLE_ENTITY {
            break;
        }
        last = browser.post("/sign-in", &fields).await;
    }
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(last.headers.contains_key("retry-after"), "{last:?}");
    assert!(last.body.contains("Too many attempts. Try again in "), "{last:?}");
}

#[tokio::test]
async fn s84_signing_out_ends_the_session_on_the_server() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let page = browser.visit("/signed-in").await;
    assert_eq!(page.status, StatusCode::OK);
    let kept = browser.cookies.clone();
    let answer = browser.post("/sign-out", &[]).await;
    assert_eq!(answer.headers.get("clear-site-data").unwrap(), "\"cache\", \"storage\"");
    assert!(!browser.cookies.contains_key(SESSION), "{answer:?}");
    let page = browser.visit(answer.location().unwrap()).await;
    assert!(page.body.contains("You are signed out."), "{page:?}");
    browser.cookies = kept;
    let answer = browser.get("/profile").await;
    assert_eq!(answer.location(), Some("/sign-in?next=%2Fprofile"), "the old cookie opens nothing");
}

#[tokio::test]
async fn s85_a_form_without_its_proof_changes_nothing() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    browser.csrf = String::from("guessed");
    let answer = browser.post("/sign-out", &[]).await;
    assert_eq!(answer.status.as_u16(), 419, "{answer:?}");
    assert_eq!(browser.visit("/signed-in").await.status, StatusCode::OK, "still signed in");
}

#[tokio::test]
async fn who_keeps_no_cookies_is_told_so() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    browser.cookies.clear();
    let page = browser.visit("/signed-in?begun=yes&next=%2Fprofile").await;
    assert!(page.body.contains("The console needs cookies."), "{page:?}");
    assert!(page.body.contains(r#"name="next" value="/profile""#), "{page:?}");
}

#[tokio::test]
async fn s84_an_idle_session_ends_and_the_page_says_why() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    console.pass(1_800);
    let page = browser.visit("/profile").await;
    assert!(page.body.contains("You were signed out after 30 minutes without activity."), "{page:?}");
}

#[tokio::test]
async fn security_events_are_told_at_the_next_sign_in_until_they_are_acknowledged() {
    let console = TestConsole::new().await;
    let alex = "acme/alex".parse().unwrap();
    let password = crate::model::Secret::new(PASSWORD.to_owned());
    console.plane.set_password(&alex, password).await.unwrap();
    console.world.reload().await;
    let mut browser = console.signed_in("acme/alex").await;
    let mut shown = String::new();
    for _ in 0..2 {
        let page = browser.visit("/signed-in?next=%2Fprofile").await;
        assert!(page.body.contains("The password was changed."), "{page:?}");
        let (_, rest) = page.body.split_once("name=\"shown\" value=\"").unwrap();
        shown = rest.split_once('"').unwrap().0.to_owned();
    }
    let page = browser.submit("/signed-in", &[("next", "/profile"), ("shown", "0")]).await;
    assert!(page.body.contains("The password was changed."), "{page:?}");
    let page = browser.submit("/signed-in", &[("next", "/profile"), ("shown", &shown)]).await;
    assert!(page.body.contains("Protect your sign-in with MFA"), "{page:?}");
}
