//! The pages of API keys through the router: who gets to them, what they show, and what is in force after them.

use std::num::NonZeroU32;

use http::StatusCode;

use super::super::testing::{Desk, Seat};
use crate::auth::{Decision, KeyToMake, PasswordEnd};
use crate::model::{KeyId, Permission, Service};

const OWN: &str = "/profile/api-keys";
const OF_ALEX: &str = "/account/users/alex/api-keys";

async fn key_of(desk: &Desk, user: &str, scope: &str) -> (KeyId, String) {
    let order = KeyToMake::new(user.parse().unwrap(), "Billing server", scope.parse().unwrap());
    let mut made = desk.operator().create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
    desk.world.authenticator.applied(made.revision).await;
    let key = made.keys.remove(0);
    (key.id, key.text.expose().to_owned())
}

async fn make(desk: &Desk, seat: &Seat, base: &str) -> String {
    let token = desk.get(seat, base).await.hidden("form_token");
    let made = desk
        .post(
            seat,
            base,
            &[("form_token", &token), ("description", "Shop"), ("access", "api"), ("understood", "yes")],
        )
        .await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    made.key()
}

#[tokio::test]
async fn r10_r14_s97_a_key_is_in_the_answer_to_its_making_and_nowhere_else() {
    let desk = Desk::new().await;
    desk.permit(&[Permission::ManageApiKey]).await;
    let alex = desk.sign_in("acme/alex").await;
    let empty = desk.get(&alex, OWN).await;
    assert!(
        empty.says("No API keys yet") && empty.says("password authentication to the API stops"),
        "{empty:?}"
    );
    let token = empty.hidden("form_token");
    let form = [
        ("form_token", token.as_str()),
        ("description", "Billing server"),
        ("access", "api"),
        ("access", "isproxy"),
        ("expires", "90"),
        ("understood", "yes"),
    ];
    let made = desk.post(&alex, OWN, &form).await;
    assert_eq!(made.status, StatusCode::OK);
    assert!(made.says("Save your new key now") && made.says("https://api.example/v2"), "{made:?}");
    assert!(made.headers.contains_key("set-cookie"), "so that Back does not bring it from memory");
    let key = made.key();
    assert_eq!(made.body.matches(&key).count(), 1);
    for service in [Service::Api, Service::IsProxy] {
        assert!(desk.opens(&key, service).await, "in force when it is shown");
    }
    assert!(!desk.password_opens().await, "R8");

    let again = desk.post(&alex, OWN, &form).await;
    assert_eq!(again.status, StatusCode::OK);
    assert!(again.says("This key was already shown") && !again.says("data-secret"), "{again:?}");

    let next = made.body.split("?made=").nth(1).unwrap().split('"').next().unwrap();
    let list = desk.get(&alex, &format!("{OWN}?made={next}")).await;
    assert!(list.says(&format!("…{}", &key[key.len() - 4..])) && list.says("Just created"), "{list:?}");
    assert!(!list.says(&key[..key.len() - 4]) && !list.says("understood"), "{list:?}");
    assert_eq!(list.body.matches("/delete\"").count(), 1, "one key was made: {list:?}");
}

#[tokio::test]
async fn r8_a_first_key_takes_the_tick_and_a_second_one_does_not() {
    let desk = Desk::new().await;
    let admin = desk.sign_in("acme/admin").await;
    let token = desk.get(&admin, OF_ALEX).await.hidden("form_token");
    let form = [("form_token", token.as_str()), ("description", "Shop"), ("access", "api")];
    let asked = desk.post(&admin, OF_ALEX, &form).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(asked.says("Tick the box") && asked.says("value=\"Shop\""), "{asked:?}");
    assert!(desk.password_opens().await);
    make(&desk, &admin, OF_ALEX).await;
    let token = desk.get(&admin, OF_ALEX).await.hidden("form_token");
    let form = [("form_token", token.as_str()), ("description", "Second"), ("access", "isproxy")];
    assert_eq!(desk.post(&admin, OF_ALEX, &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn r12_a_faulty_form_keeps_what_was_typed_and_makes_nothing() {
    let desk = Desk::new().await;
    let admin = desk.sign_in("acme/admin").await;
    let token = desk.get(&admin, OF_ALEX).await.hidden("form_token");
    let form = [
        ("form_token", token.as_str()),
        ("description", "Shop <b>"),
        ("expires", "date"),
        ("expires_date", "2020-01-01"),
        ("allow_list", "192.0.2.0/24\n192.0.2.300"),
        ("understood", "yes"),
    ];
    let answer = desk.post(&admin, OF_ALEX, &form).await;
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
    assert!(desk.operator().list_keys(Some(&"acme/alex".parse().unwrap())).await.unwrap().is_empty());
}

#[tokio::test]
async fn s97_only_administrators_are_offered_manage_keys_which_need_a_list() {
    let desk = Desk::new().await;
    desk.permit(&[Permission::ManageApiKey]).await;
    let (admin, alex) = (desk.sign_in("acme/admin").await, desk.sign_in("acme/alex").await);
    assert!(!desk.get(&alex, OWN).await.says("value=\"manage\""));
    let token = desk.get(&alex, OWN).await.hidden("form_token");
    let form = |token| {
        [
            ("form_token", token),
            ("description", "Ops"),
            ("access", "manage"),
            ("allow_list", "192.0.2.7"),
            ("understood", "yes"),
        ]
    };
    assert_eq!(desk.post(&alex, OWN, &form(&token)).await.status, StatusCode::FORBIDDEN);
    let page = desk.get(&admin, OWN).await;
    assert!(page.says("value=\"manage\""), "{page:?}");
    let token = page.hidden("form_token");
    let mut without = form(&token);
    without[3].1 = "";
    let refused = desk.post(&admin, OWN, &without).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.says("Enter at least one address"), "{refused:?}");
    assert_eq!(desk.post(&admin, OWN, &form(&token)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn r3_s26_without_the_permission_every_address_of_own_keys_is_refused_with_its_name() {
    let desk = Desk::new().await;
    let (key, _) = key_of(&desk, "acme/alex", "api").await;
    let alex = desk.sign_in("acme/alex").await;
    for path in own_addresses(key) {
        let looked = desk.get(&alex, &path).await;
        assert_eq!(looked.status, StatusCode::FORBIDDEN, "{path}");
        assert!(looked.says("MANAGE_API_KEY"), "{looked:?}");
        let form = [
            ("form_token", "x"),
            ("description", "a"),
            ("access", "api"),
            ("understood", "yes"),
            ("old_ends", "now"),
        ];
        let sent = desk.post(&alex, &path, &form).await;
        assert_eq!(sent.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(desk.operator().list_keys(Some(&"acme/alex".parse().unwrap())).await.unwrap().len(), 1);
}

fn own_addresses(key: KeyId) -> Vec<String> {
    vec![OWN.to_owned(), format!("{OWN}/{key}/delete"), format!("{OWN}/{key}/replace")]
}

#[tokio::test]
async fn r7_others_keys_are_administrators_matter() {
    let desk = Desk::new().await;
    let (key, text) = key_of(&desk, "acme/admin", "api").await;
    desk.permit(&[Permission::ManageApiKey, Permission::ManageUser]).await;
    let alex = desk.sign_in("acme/alex").await;
    let base = "/account/users/admin/api-keys";
    for path in [base.to_owned(), format!("{base}/{key}/delete"), format!("{base}/{key}/replace")] {
        let looked = desk.get(&alex, &path).await;
        assert_eq!(looked.status, StatusCode::FORBIDDEN, "{path}");
        assert!(looked.says("administrator"), "{looked:?}");
        assert_eq!(desk.post(&alex, &path, &[]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(desk.opens(&text, Service::Api).await);
}

#[tokio::test]
async fn s25_foreign_and_unknown_ids_are_not_there_alike() {
    let desk = Desk::new().await;
    let (own, _) = key_of(&desk, "acme/admin", "api").await;
    let (foreign, text) = key_of(&desk, "beta/admin", "api").await;
    let admin = desk.sign_in("acme/admin").await;
    let mut paths =
        vec!["/account/users/nobody/api-keys".to_owned(), "/account/users/A%20B/api-keys".to_owned()];
    for id in [foreign.to_string(), own.to_string(), KeyId::from_random(7).to_string(), "x".to_owned()] {
        // The own key is not one of alex.
        paths.extend([format!("{OF_ALEX}/{id}/delete"), format!("{OF_ALEX}/{id}/replace")]);
    }
    paths.push(format!("{OWN}/{foreign}/delete"));
    for path in paths {
        assert_eq!(desk.get(&admin, &path).await.status, StatusCode::NOT_FOUND, "{path}");
        let sent = desk.post(&admin, &path, &[("old_ends", "now"), ("form_token", "x")]).await;
        assert_eq!(sent.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(desk.opens(&text, Service::Api).await);
}

#[tokio::test]
async fn r19_looking_changes_nothing_r20_a_deletion_is_in_force_when_the_answer_comes() {
    let desk = Desk::new().await;
    desk.permit(&[Permission::ManageApiKey]).await;
    let (key, text) = key_of(&desk, "acme/alex", "api,isproxy").await;
    let alex = desk.sign_in("acme/alex").await;
    let Decision::Allow(permit) = desk.world.key(&text, Service::IsProxy).await else { panic!() };
    let session = desk.world.authenticator.open_session(&permit);
    let path = format!("{OWN}/{key}/delete");
    let asked = desk.get(&alex, &path).await;
    assert!(asked.says("Delete “Billing server”?") && asked.says("1 connection or session"), "{asked:?}");
    assert!(asked.says(&format!("<a class=\"button\" href=\"{OWN}\">Cancel</a>")), "{asked:?}");
    assert!(desk.opens(&text, Service::Api).await, "nothing was changed");

    let deleted = desk.post(&alex, &path, &[]).await;
    assert_eq!((deleted.status, deleted.location()), (StatusCode::SEE_OTHER, OWN));
    assert!(!desk.opens(&text, Service::Api).await);
    session.ended().await;
    let list = desk.get(&alex, OWN).await;
    for told in [
        "API key “Billing server” was deleted. 1 open connection or session was ended.",
        "Password authentication to the API stays off for this user.",
        "No API keys yet",
    ] {
        assert!(list.says(told), "{told}: {list:?}");
    }
    assert_eq!(desk.post(&alex, &path, &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_replacement_is_shown_once_and_the_old_key_ends_as_chosen() {
    let desk = Desk::new().await;
    let (key, old) = key_of(&desk, "acme/alex", "api").await;
    let admin = desk.sign_in("acme/admin").await;
    let path = format!("{OF_ALEX}/{key}/replace");
    let token = desk.get(&admin, &path).await.hidden("form_token");
    let faulty = desk.post(&admin, &path, &[("form_token", &token), ("old_ends", "never")]).await;
    assert_eq!(faulty.status, StatusCode::UNPROCESSABLE_ENTITY);
    let form = [("form_token", token.as_str()), ("old_ends", "now")];
    let made = desk.post(&admin, &path, &form).await;
    assert!(made.says("Save your new key now") && made.says("The old key"), "{made:?}");
    assert!(desk.opens(&made.key(), Service::Api).await);
    assert!(!desk.opens(&old, Service::Api).await);
    let again = desk.post(&admin, &path, &form).await;
    assert!(again.says("This key was already shown") && !again.says("data-secret"), "{again:?}");
    let over = desk.get(&admin, &path).await;
    assert_eq!(over.status, StatusCode::CONFLICT);
    assert!(over.says("has expired"), "{over:?}");
}

#[tokio::test]
async fn s96_an_old_session_confirms_first_and_changes_nothing() {
    let desk = Desk::new().await;
    let (key, text) = key_of(&desk, "acme/alex", "api").await;
    let admin = desk.sign_in("acme/admin").await;
    desk.wait(700);
    let path = format!("{OF_ALEX}/{key}/delete");
    let asked = desk.post(&admin, &path, &[]).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER);
    assert!(asked.location().starts_with("/confirm?next="), "{asked:?}");
    assert!(desk.opens(&text, Service::Api).await);
}
