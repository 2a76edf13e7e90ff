//! One's own data, password, sessions, and what one-time links open.

use http::StatusCode;

use crate::auth::testing::PASSWORD;
use crate::auth::{FirstPassword, UserToMake};
use crate::console::test_browser::TestConsole;
use crate::model::Secret;

#[tokio::test]
async fn r57_the_profile_shows_the_own_data_and_leads_to_mfa() {
    let console = TestConsole::new().await;
    let mut browser = console.signed_in("acme/alex").await;
    let page = browser.visit("/").await;
    for part in
        [r#"href="/profile/mfa">Manage</a>"#, "acme/alex", "MFA is off", "You are signed in here only."]
    {
        assert!(page.body.contains(part), "{part}: {page:?}");
    }
    assert!(!page.body.contains("/profile/api-keys"), "alex may not manage keys: {page:?}");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_opens_the_next_ones() {
    let console = TestConsole::new().await;
    let mut other = console.signed_in("acme/alex").await;
    let mut browser = console.signed_in("acme/alex").await;
    browser.get("/profile/password").await;
    let answer = browser.post("/profile/password", &[("password", "short")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("at least 15 characters"), "{answer:?}");
    let new = "another password of alex";
    let page = browser.submit("/profile/password", &[("password", new)]).await;
    assert!(page.body.contains("Your password was changed."), "{page:?}");
    assert_eq!(other.get("/profile").await.location(), Some("/sign-in?next=%2Fprofile"));
    let mut again = console.browser();
    for (password, status) in [(PASSWORD, StatusCode::UNPROCESSABLE_ENTITY), (new, StatusCode::SEE_OTHER)] {
        let fields = [("account", "acme"), ("user", "alex"), ("password", password)];
        assert_eq!(again.post("/sign-in", &fields).await.status, status, "{password}");
    }
}

#[tokio::test]
async fn other_sessions_are_shown_and_ended() {
    let console = TestConsole::new().await;
    let mut other = console.signed_in("acme/alex").await;
    let mut browser = console.signed_in("acme/alex").await;
    let page = browser.get("/profile/sessions").await;
    assert_eq!(page.body.matches("Firefox on Linux").count(), 2, "{page:?}");
    let page = browser.submit("/profile/sessions", &[]).await;
    assert!(page.body.contains("You are signed out everywhere else."), "{page:?}");
    assert_eq!(page.body.matches("Firefox on Linux").count(), 1, "{page:?}");
    assert_eq!(other.get("/profile").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/profile").await.status, StatusCode::OK);
}

#[tokio::test]
async fn s102_a_link_lets_its_user_choose_a_password_once() {
    let console = TestConsole::new().await;
    let bob = UserToMake { password: FirstPassword::Link, ..UserToMake::new("acme/bob".parse().unwrap()) };
    let link = console.plane.create_user(bob).await.unwrap().link.unwrap();
    console.world.reload().await;
    let path = format!("/welcome/{}", link.expose());
    let mut browser = console.browser();
    for _ in 0..2 {
        let page = browser.get(&path).await;
        assert!(page.body.contains("Welcome to Latchkey") && page.body.contains("acme/bob"), "{page:?}");
        assert!(!page.body.contains(link.expose()), "{page:?}");
    }
    let answer = browser.post(&path, &[("password", "bob")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = browser.submit(&path, &[("password", "a first password of his")]).await;
    assert!(
        page.body.contains("Your password was saved.") && page.body.contains(r#"value="bob""#),
        "{page:?}"
    );
    assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND, "a link works once");
    let fields = [("account", "acme"), ("user", "bob"), ("password", "a first password of his")];
    assert_eq!(browser.post("/sign-in", &fields).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn s102_after_a_reset_the_link_and_the_password_together_lead_to_the_set_up() {
    let console = TestConsole::new().await;
    let link = console.plane.reset_mfa(&"acme/alex".parse().unwrap()).await.unwrap().token;
    console.world.reload().await;
    let mut browser = console.browser();
    let fields = [("account", "acme"), ("user", "alex"), ("password", PASSWORD)];
    let answer = browser.post("/sign-in", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "the password alone is not enough");
    let path = format!("/welcome/{}", link.expose());
    browser.get(&path).await;
    let answer = browser.post(&path, &[("password", "not the password")]).await;
    assert!(answer.body.contains("The password is not correct."), "{answer:?}");
    let page = browser.submit(&path, &[("password", PASSWORD)]).await;
    assert!(page.body.contains("Your administrator requires MFA."), "{page:?}");
    assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND, "a link works once");
}

#[tokio::test]
async fn a_password_that_an_administrator_chose_is_replaced_before_anything_else() {
    let console = TestConsole::new().await;
    let alex = "acme/alex".parse().unwrap();
    let mut admin = console.signed_in("acme/admin").await;
    admin.visit("/signed-in").await;
    let session = console.session_of(&admin).await;
    let chosen = "chosen by somebody else";
    let plane = console.state.access().plane_in(&session);
    plane.set_password(&alex, Secret::new(chosen.to_owned())).await.unwrap();
    console.world.reload().await;
    let mut browser = console.browser();
    let fields = [("account", "acme"), ("user", "alex"), ("password", chosen)];
    let page = browser.submit("/sign-in", &fields).await;
    assert!(page.body.contains("Somebody else chose your present password."), "{page:?}");
    assert_eq!(browser.get("/profile/mfa").await.location(), Some("/profile/password"));
    console.pass(700);
    let stale = browser.get("/profile/password").await;
    assert_eq!(stale.location(), Some("/confirm?next=%2Fprofile%2Fpassword"));
    browser.get("/confirm?next=%2Fprofile%2Fpassword").await;
    let fields = [("password", chosen), ("next", "/profile/password")];
    browser.submit("/confirm", &fields).await;
    let page = browser.submit("/profile/password", &[("password", "a password of her own")]).await;
    assert!(page.body.contains("Your password was changed."), "{page:?}");
}
