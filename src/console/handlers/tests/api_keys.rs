//! The pages of API keys through the router: who gets to them, what they show, and what is in force after them.

use std::num::NonZeroU32;

use http::StatusCode;

use crate::auth::testing::PASSWORD;
use crate::auth::{CustomerToMake, Decision, FirstPassword, KeyToMake, PasswordEnd};
use crate::console::test_browser::{Answer, Browser, TestConsole};
use crate::model::{KeyId, MfaRequirement, Permission, Secret, Service};

const OWN: &str = "/profile/api-keys";
const OF_ALEX: &str = "/account/users/alex/api-keys";

pub(super) async fn key_of(console: &TestConsole, user: &str, scope: &str) -> (KeyId, String) {
    let order = KeyToMake::new(user.parse().unwrap(), "Billing server", scope.parse().unwrap());
    let mut made = console.plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
    console.world.authenticator.applied(made.revision).await;
    let key = made.keys.remove(0);
    (key.id, key.text.expose().to_owned())
}

/// Gives `acme/alex` permissions.
pub(super) async fn permit(console: &TestConsole, permissions: &[Permission]) {
    console.world.change_user(|user| user.permissions = permissions.iter().copied().collect()).await;
}

/// Makes the customer `beta`, of which nobody of `acme` is to learn.
pub(super) async fn add_beta(console: &TestConsole) {
    let beta = CustomerToMake {
        mfa: Some(MfaRequirement::Optional),
        admin_password: FirstPassword::Chosen(Secret::new(PASSWORD.into())),
        ..CustomerToMake::new("beta".parse().unwrap())
    };
    console.plane.create_customer(beta).await.unwrap();
}

async fn opens(console: &TestConsole, key: &str, service: Service) -> bool {
    matches!(console.world.key(key, service).await, Decision::Allow(_))
}

async fn password_opens(console: &TestConsole) -> bool {
    matches!(console.world.password(PASSWORD, Service::Api).await, Decision::Allow(_))
}

/// The key that the page shows.
fn key_in(answer: &Answer) -> String {
    answer.part("data-secret", "</code>").split_once('>').unwrap().1.to_owned()
}

async fn make(browser: &mut Browser, base: &str) -> String {
    let token = browser.get(base).await.form_token();
    let made = browser
        .post(
            base,
            &[("form_token", &token), ("description", "Shop"), ("access", "api"), ("understood", "yes")],
        )
        .await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    key_in(&made)
}

#[tokio::test]
async fn r10_r14_s97_a_key_is_in_the_answer_to_its_making_and_nowhere_else() {
    let console = TestConsole::new().await;
    permit(&console, &[Permission::ManageApiKey]).await;
    let mut alex = console.signed_in("acme/alex").await;
    let empty = alex.get(OWN).await;
    assert!(
        empty.says("No API keys yet") && empty.says("password authentication to the API stops"),
        "{empty:?}"
    );
    let token = empty.form_token();
    let form = [
        ("form_token", token.as_str()),
        ("description", "Billing server"),
        ("access", "api"),
        ("access", "isproxy"),
        ("expires", "90"),
        ("understood", "yes"),
    ];
    let made = alex.post(OWN, &form).await;
    assert_eq!(made.status, StatusCode::OK);
    assert!(made.says("Save your new key now") && made.says("https://api.example/v2"), "{made:?}");
    assert!(made.headers.contains_key("set-cookie"), "so that Back does not bring it from memory");
    let key = key_in(&made);
    assert_eq!(made.body.matches(&key).count(), 1);
    for service in [Service::Api, Service::IsProxy] {
        assert!(opens(&console, &key, service).await, "in force when it is shown");
    }
    assert!(!password_opens(&console).await, "R8");

    let again = alex.post(OWN, &form).await;
    assert_eq!(again.status, StatusCode::OK);
    assert!(again.says("This key was already shown") && !again.says("data-secret"), "{again:?}");

    let next = made.body.split("?made=").nth(1).unwrap().split('"').next().unwrap();
    let list = alex.get(&format!("{OWN}?made={next}")).await;
    assert!(list.says(&format!("…{}", &key[key.len() - 4..])) && list.says("Just created"), "{list:?}");
    assert!(!list.says(&key[..key.len() - 4]) && !list.says("understood"), "{list:?}");
    assert_eq!(list.body.matches("/delete\"").count(), 1, "one key was made: {list:?}");
}

#[tokio::test]
async fn r8_a_first_key_takes_the_tick_and_a_second_one_does_not() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let token = admin.get(OF_ALEX).await.form_token();
    let form = [("form_token", token.as_str()), ("description", "Shop"), ("access", "api")];
    let asked = admin.post(OF_ALEX, &form).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(asked.says("Tick the box") && asked.says("value=\"Shop\""), "{asked:?}");
    assert!(password_opens(&console).await);
    make(&mut admin, OF_ALEX).await;
    let token = admin.get(OF_ALEX).await.form_token();
    let form = [("form_token", token.as_str()), ("description", "Second"), ("access", "isproxy")];
    assert_eq!(admin.post(OF_ALEX, &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn r12_a_faulty_form_keeps_what_was_typed_and_makes_nothing() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let token = admin.get(OF_ALEX).await.form_token();
    let form = [
        ("form_token", token.as_str()),
        ("description", "Shop <b>"),
        ("expires", "date"),
        ("expires_date", "2020-01-01"),
        ("allow_list", "192.0.2.0/24\n192.0.2.300"),
        ("understood", "yes"),
    ];
    let answer = admin.post(OF_ALEX, &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in [
        "Shop &#60;b&#62;",
        "Choose API, IsProxy or both.",
        "The date is in the past.",
        "value=\"2020-01-01\"",
        "Line 2: 192.0.2.300 is not an IP address.",
        "192.0.2.0/24\n192.0.2.300</textarea>",
        "<title>Error: ",
    ] {
        assert!(answer.says(text), "{text}: {answer:?}");
    }
    assert!(console.plane.list_keys(Some(&"acme/alex".parse().unwrap())).await.unwrap().is_empty());
}

#[tokio::test]
async fn s97_only_administrators_are_offered_manage_keys_which_need_a_list() {
    let console = TestConsole::new().await;
    permit(&console, &[Permission::ManageApiKey]).await;
    let (mut admin, mut alex) = (console.signed_in("acme/admin").await, console.signed_in("acme/alex").await);
    assert!(!alex.get(OWN).await.says("value=\"manage\""));
    let token = alex.get(OWN).await.form_token();
    let form = |token| {
        [
            ("form_token", token),
            ("description", "Ops"),
            ("access", "manage"),
            ("allow_list", "192.0.2.7"),
            ("understood", "yes"),
        ]
    };
    assert_eq!(alex.post(OWN, &form(&token)).await.status, StatusCode::FORBIDDEN);
    let page = admin.get(OWN).await;
    assert!(page.says("value=\"manage\""), "{page:?}");
    let token = page.form_token();
    let mut without = form(&token);
    without[3].1 = "";
    let refused = admin.post(OWN, &without).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.says("Enter at least one address"), "{refused:?}");
    assert_eq!(admin.post(OWN, &form(&token)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn r3_s26_without_the_permission_every_address_of_own_keys_is_refused_with_its_name() {
    let console = TestConsole::new().await;
    let (key, _) = key_of(&console, "acme/alex", "api").await;
    let mut alex = console.signed_in("acme/alex").await;
    for path in own_addresses(key) {
        let looked = alex.get(&path).await;
        assert_eq!(looked.status, StatusCode::FORBIDDEN, "{path}");
        assert!(looked.says("MANAGE_API_KEY"), "{looked:?}");
        let form = [
            ("form_token", "x"),
            ("description", "a"),
            ("access", "api"),
            ("understood", "yes"),
            ("old_ends", "now"),
        ];
        let sent = alex.post(&path, &form).await;
        assert_eq!(sent.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(console.plane.list_keys(Some(&"acme/alex".parse().unwrap())).await.unwrap().len(), 1);
}

fn own_addresses(key: KeyId) -> Vec<String> {
    vec![OWN.to_owned(), format!("{OWN}/{key}/delete"), format!("{OWN}/{key}/replace")]
}

#[tokio::test]
async fn r7_others_keys_are_administrators_matter() {
    let console = TestConsole::new().await;
    let (key, text) = key_of(&console, "acme/admin", "api").await;
    permit(&console, &[Permission::ManageApiKey, Permission::ManageUser]).await;
    let mut alex = console.signed_in("acme/alex").await;
    let base = "/account/users/admin/api-keys";
    for path in [base.to_owned(), format!("{base}/{key}/delete"), format!("{base}/{key}/replace")] {
        let looked = alex.get(&path).await;
        assert_eq!(looked.status, StatusCode::FORBIDDEN, "{path}");
        assert!(looked.says("administrator"), "{looked:?}");
        assert_eq!(alex.post(&path, &[]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(opens(&console, &text, Service::Api).await);
}

#[tokio::test]
async fn s25_foreign_and_unknown_ids_are_not_there_alike() {
    let console = TestConsole::new().await;
    add_beta(&console).await;
    let (own, _) = key_of(&console, "acme/admin", "api").await;
    let (foreign, text) = key_of(&console, "beta/admin", "api").await;
    let mut admin = console.signed_in("acme/admin").await;
    let mut paths =
        vec!["/account/users/nobody/api-keys".to_owned(), "/account/users/A%20B/api-keys".to_owned()];
    for id in [foreign.to_string(), own.to_string(), KeyId::from_random(7).to_string(), "x".to_owned()] {
        // The own key is not one of alex.
        paths.extend([format!("{OF_ALEX}/{id}/delete"), format!("{OF_ALEX}/{id}/replace")]);
    }
    paths.push(format!("{OWN}/{foreign}/delete"));
    for path in paths {
        assert_eq!(admin.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        let sent = admin.post(&path, &[("old_ends", "now"), ("form_token", "x")]).await;
        assert_eq!(sent.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(opens(&console, &text, Service::Api).await);
}

#[tokio::test]
async fn r19_looking_changes_nothing_r20_a_deletion_is_in_force_when_the_answer_comes() {
    let console = TestConsole::new().await;
    permit(&console, &[Permission::ManageApiKey]).await;
    let (key, text) = key_of(&console, "acme/alex", "api,isproxy").await;
    let mut alex = console.signed_in("acme/alex").await;
    let Decision::Allow(permit) = console.world.key(&text, Service::IsProxy).await else { panic!() };
    let session = console.world.authenticator.open_session(&permit);
    let path = format!("{OWN}/{key}/delete");
    let asked = alex.get(&path).await;
    assert!(asked.says("Delete “Billing server”?") && asked.says("1 connection or session"), "{asked:?}");
    assert!(asked.says(&format!("<a class=\"button\" href=\"{OWN}\">Cancel</a>")), "{asked:?}");
    assert!(opens(&console, &text, Service::Api).await, "nothing was changed");

    let deleted = alex.post(&path, &[]).await;
    assert_eq!((deleted.status, deleted.location()), (StatusCode::SEE_OTHER, Some(OWN)));
    assert!(!opens(&console, &text, Service::Api).await);
    session.ended().await;
    let list = alex.get(OWN).await;
    for told in [
        "API key “Billing server” was deleted. 1 open connection or session was ended.",
        "Password authentication to the API stays off for this user.",
        "No API keys yet",
    ] {
        assert!(list.says(told), "{told}: {list:?}");
    }
    assert_eq!(alex.post(&path, &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_replacement_is_shown_once_and_the_old_key_ends_as_chosen() {
    let console = TestConsole::new().await;
    let (key, old) = key_of(&console, "acme/alex", "api").await;
    let mut admin = console.signed_in("acme/admin").await;
    let path = format!("{OF_ALEX}/{key}/replace");
    let token = admin.get(&path).await.form_token();
    let faulty = admin.post(&path, &[("form_token", &token), ("old_ends", "never")]).await;
    assert_eq!(faulty.status, StatusCode::UNPROCESSABLE_ENTITY);
    let form = [("form_token", token.as_str()), ("old_ends", "now")];
    let made = admin.post(&path, &form).await;
    assert!(made.says("Save your new key now") && made.says("The old key"), "{made:?}");
    assert!(opens(&console, &key_in(&made), Service::Api).await);
    assert!(!opens(&console, &old, Service::Api).await);
    let again = admin.post(&path, &form).await;
    assert!(again.says("This key was already shown") && !again.says("data-secret"), "{again:?}");
    let over = admin.get(&path).await;
    assert_eq!(over.status, StatusCode::CONFLICT);
    assert!(over.says("has expired"), "{over:?}");
}

#[tokio::test]
async fn s96_an_old_session_confirms_first_and_changes_nothing() {
    let console = TestConsole::new().await;
    let (key, text) = key_of(&console, "acme/alex", "api").await;
    let mut admin = console.signed_in("acme/admin").await;
    console.pass(700);
    let path = format!("{OF_ALEX}/{key}/delete");
    admin.get(&path).await;
    let asked = admin.post(&path, &[]).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER);
    assert!(asked.location().unwrap().starts_with("/confirm?next="), "{asked:?}");
    assert!(opens(&console, &text, Service::Api).await);
}
