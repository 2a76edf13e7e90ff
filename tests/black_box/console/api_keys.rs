//! The story of API keys.

use super::{account, create_key, deletion_of, sign_in};
use crate::harness::{TestGateway, Visitor, basic};

const OWN: &str = "/profile/api-keys";
const OF_ALEX: &str = "/account/users/alex/api-keys";
const MAY_MANAGE: [&str; 2] = ["--permission", "MANAGE_API_KEY"];

/// The statuses of the API and the answer of `IsProxy` to a key.
fn doors(gateway: &TestGateway, key: &str) -> (u16, String) {
    let status = gateway.api_get("/", &format!("ApiKey {key}")).status;
    (status, gateway.isproxy_login(&format!("LOGIN {key}")))
}

#[test]
fn r2_r16_r17_a_user_with_the_permission_manages_the_own_keys_in_the_profile() {
    let gateway = account(&MAY_MANAGE);
    let mut alex = sign_in(&gateway, "acme/alex");
    assert!(alex.open("/profile").html().contains(&format!("href=\"{OWN}\"")));
    for description in ["Billing server", "Shop"] {
        let key = create_key(&mut alex, OWN, description, &["api", "isproxy"]);
        alex.open(OWN).expect(description).expect(&format!("…{}", &key[40..]));
        assert_eq!(doors(&gateway, &key), (200, "100 Login ok".to_owned()));
    }
    let delete = deletion_of(&mut alex, OWN, "Shop");
    let page = alex.open(&delete);
    alex.submit(&page, &delete, &[]).expect("API key “Shop” was deleted.");
}

#[test]
fn r3_without_the_permission_no_key_is_listed_made_or_deleted() {
    let gateway = account(&[]);
    let key = gateway.create_key("acme/alex");
    let mut alex = sign_in(&gateway, "acme/alex");
    assert!(!alex.open("/profile").html().contains(OWN));
    let told = "You need the permission MANAGE_API_KEY. An administrator of acme can give it to you.";
    let refused = alex.open(OWN).expect_refusal(403, told);
    let csrf = refused.attribute("name=\"csrf\" value=\"");
    let csrf = ("csrf", csrf.as_str());
    let new_key = [("description", "x"), ("access", "api"), ("expires", "never"), ("understood", "yes")];
    let fields = [&[csrf, ("form_token", "of nobody")][..], &new_key].concat();
    alex.post(OWN, &fields).expect_refusal(403, told);
    for action in ["delete", "replace"] {
        let path = format!("{OWN}/{}/{action}", key.id);
        alex.open(&path).expect_refusal(403, told);
        alex.post(&path, &[csrf, ("form_token", "of nobody"), ("old_ends", "now")]).expect_refusal(403, told);
    }
    assert_eq!(gateway.cli(&["key", "list", "acme/alex", "--json"]).json().as_array().unwrap().len(), 1);
    assert_eq!(doors(&gateway, &key.text).0, 200);
}

#[test]
fn r4_an_administrator_gives_and_takes_the_permission_for_the_next_action() {
    let gateway = account(&[]);
    let (mut admin, mut alex) = (sign_in(&gateway, "acme/admin"), sign_in(&gateway, "acme/alex"));
    let edit = "/account/users/alex/edit";
    let console = [("access", "console"), ("access", "api"), ("access", "isproxy"), ("language", "en")];
    assert_eq!(alex.open(OWN).status(), 403);
    let page = admin.open(edit);
    let given = [&console[..], &[("permission", "MANAGE_API_KEY")]].concat();
    assert_eq!(admin.submit(&page, edit, &given).status(), 200);
    alex.open(OWN).expect("No API keys yet");
    let page = admin.open(edit);
    assert_eq!(admin.submit(&page, edit, &console).status(), 200);
    assert_eq!(alex.open(OWN).status(), 403);
}

#[test]
fn r5_several_keys_of_a_user_are_made_used_and_deleted_each_alone() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let keys = ["One", "Two", "Three"].map(|name| create_key(&mut admin, OF_ALEX, name, &["api", "isproxy"]));
    for key in &keys {
        assert_eq!(doors(&gateway, key), (200, "100 Login ok".to_owned()));
    }
    let delete = deletion_of(&mut admin, OF_ALEX, "Two");
    let page = admin.open(&delete);
    admin.submit(&page, &delete, &[]);
    let status = keys.each_ref().map(|key| doors(&gateway, key).0);
    assert_eq!(status, [200, 401, 200]);
}

#[test]
fn r6_the_keys_of_a_user_are_found_by_account_details_users_and_the_user() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let start = admin.open("/");
    let follow = |admin: &mut Visitor<'_>, page: &crate::harness::Page, href: &str, text: &str| {
        assert!(page.html().contains(&format!("href=\"{href}\"")), "{}: {}", page.path, page.html());
        assert!(page.html().contains(text), "{}: {}", page.path, page.html());
        admin.open(href)
    };
    let users = follow(&mut admin, &start, "/account/users", "Account details");
    let user = follow(&mut admin, &users, "/account/users/alex", "alex");
    follow(&mut admin, &user, OF_ALEX, "API keys").expect("No API keys yet");
}

#[test]
fn r7_keys_of_others_are_an_administrators_and_nobody_elses() {
    let gateway = account(&["--permission", "MANAGE_API_KEY", "--permission", "MANAGE_USER"]);
    gateway.create_user("acme/kim");
    let key = gateway.create_key("acme/kim");
    let list = "/account/users/kim/api-keys";
    let mut alex = sign_in(&gateway, "acme/alex");
    assert!(!alex.open("/account/users/kim").html().contains(list));
    let refused = alex.open(list);
    assert_eq!(refused.status(), 403, "{}", refused.text());
    let csrf = refused.attribute("name=\"csrf\" value=\"");
    let csrf = ("csrf", csrf.as_str());
    let new_key = [("description", "x"), ("access", "api"), ("expires", "never"), ("understood", "yes")];
    let fields = [&[csrf, ("form_token", "of nobody")][..], &new_key].concat();
    assert_eq!(alex.post(list, &fields).status(), 403);
    assert_eq!(alex.post(&format!("{list}/{}/delete", key.id), &[csrf]).status(), 403);
    // Another account's are nobody's: as if they were not there.
    gateway.create_customer("other");
    let mut stranger = sign_in(&gateway, "other/admin");
    for path in [list.to_owned(), format!("{list}/{}/delete", key.id), "/account/users/kim".to_owned()] {
        stranger.open(&path).expect_refusal(404, "This page does not exist.");
    }
    assert_eq!(doors(&gateway, &key.text).0, 200);
}

#[test]
fn r8_r12_the_first_key_ends_the_password_at_the_api_after_a_tick_that_says_so() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let password = basic("acme/alex", crate::harness::PASSWORD);
    assert_eq!(gateway.api_get("/", &password).status, 200);
    let page = admin.open(OF_ALEX);
    let page = page.expect("Applications that still use the password lose access to the API at once.");
    let without_tick = [("description", "First"), ("access", "api"), ("expires", "never")];
    let again = admin.submit(&page, OF_ALEX, &without_tick);
    assert_eq!(again.status(), 422, "{}", again.text());
    assert_eq!(gateway.api_get("/", &password).status, 200);
    create_key(&mut admin, OF_ALEX, "First", &["api"]);
    assert_eq!(gateway.api_get("/", &password).status, 401);
    let admins_own = basic("acme/admin", crate::harness::PASSWORD);
    assert_eq!(gateway.api_get("/", &admins_own).status, 200);
    // Nothing is changed by further ones, so nothing is warned of.
    assert!(!admin.open(OF_ALEX).text().contains("password authentication to the API stops"));
}

#[test]
fn r9_the_overview_shows_the_keys_or_that_there_are_none() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    admin.open(OF_ALEX).expect("No API keys yet");
    let arguments =
        ["key", "create", "acme/alex", "--description", "Billing server", "--scope", "api", "--yes"];
    gateway.cli(&arguments).expect_success();
    admin.open(OF_ALEX).expect("Billing server").expect("Never");
    // Not the keys of anybody else.
    gateway.create_user("acme/kim");
    admin.open("/account/users/kim/api-keys").expect("No API keys yet");
}

#[test]
fn r10_r15_a_keys_text_is_in_the_answer_to_its_making_and_in_no_other() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let page = admin.open(OF_ALEX);
    let fields = [("description", "Only"), ("access", "api"), ("expires", "never"), ("understood", "yes")];
    let made = admin.submit(&page, OF_ALEX, &fields).expect("Save your new key now");
    let key = made.secret();
    assert_eq!(made.answer.field("cache-control"), Some("no-store"));
    assert_eq!(made.html().matches(&key).count(), 1, "samples show the variable, not the key");
    // The same form again, as a reload or a double click sends it.
    admin.submit(&page, OF_ALEX, &fields).expect_text("This key was already shown");
    let listed = gateway.cli(&["key", "list", "acme/alex", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let core = &key[4..30];
    for path in [
        OF_ALEX.to_owned(),
        format!("{OF_ALEX}/{id}/delete"),
        format!("{OF_ALEX}/{id}/replace"),
        "/account/users".to_owned(),
        "/account/users/alex".to_owned(),
        "/account/activity".to_owned(),
        "/account/activity?format=csv".to_owned(),
        "/connect".to_owned(),
    ] {
        let page = admin.open(&path);
        assert_eq!(page.status(), 200, "{path}");
        assert!(!page.html().contains(core), "{path} shows the key");
        assert!(!format!("{:?}", page.answer.fields).contains(core), "{path} shows the key");
    }
}

#[test]
fn r11_a_lost_key_is_replaced_and_never_shown() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let lost = create_key(&mut admin, OF_ALEX, "Lost", &["api"]);
    let replace = deletion_of(&mut admin, OF_ALEX, "Lost").replace("/delete", "/replace");
    let page = admin.open(&replace);
    assert!(!page.html().contains(&lost[4..30]));
    let made = admin.submit(&page, &replace, &[("old_ends", "now")]);
    let new = made.expect("Save your new key now").secret();
    assert_eq!((doors(&gateway, &lost).0, doors(&gateway, &new).0), (401, 200));
}

#[test]
fn r12_a_key_needs_a_description_and_a_door() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    for (fields, told) in [
        (&[("description", ""), ("access", "api")][..], "Describe"),
        (&[("description", "  "), ("access", "api")], "Describe"),
        (&[("description", "Shop")], "Choose API, IsProxy or both"),
        (&[("description", "Shop"), ("access", "everything")], "Choose API, IsProxy or both"),
    ] {
        let page = admin.open(OF_ALEX);
        let all = [fields, &[("expires", "never"), ("understood", "yes")]].concat();
        let again = admin.submit(&page, OF_ALEX, &all);
        assert_eq!(again.status(), 422, "{fields:?}: {}", again.text());
        assert!(again.html().contains("<title>Error: "), "{fields:?}");
        if told == "Describe" {
            assert!(again.html().contains("id=\"description-error\""), "{fields:?}: {}", again.text());
        } else {
            again.expect_text(told);
        }
    }
    admin.open(OF_ALEX).expect("No API keys yet");
}

#[test]
fn r13_a_key_made_in_the_console_opens_the_ticked_doors_only() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    for (scopes, status, login) in [
        (&["api"][..], 200, "400 Login failed"),
        (&["isproxy"], 403, "100 Login ok"),
        (&["api", "isproxy"], 200, "100 Login ok"),
    ] {
        let key = create_key(&mut admin, OF_ALEX, &scopes.join(" and "), scopes);
        assert_eq!(doors(&gateway, &key), (status, login.to_owned()), "{scopes:?}");
    }
}

#[test]
fn r14_the_new_key_is_on_a_page_of_its_own_that_tells_to_save_it() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let page = admin.open(OF_ALEX);
    let fields = [("description", "Shop"), ("access", "api"), ("expires", "never"), ("understood", "yes")];
    let made = admin.submit(&page, OF_ALEX, &fields).expect("Save your new key now").expect(
        "This is the only time the key is shown. When you close this page you cannot see it again. If it is lost, create a new one.",
    );
    let key = made.secret();
    assert_eq!((key.len(), key.starts_with("lk1_")), (44, true));
    assert!(!made.html().contains("<table"), "nothing else is on it");
}

#[test]
fn r18_r19_r20_r21_a_key_is_deleted_after_the_words_of_the_button_and_not_by_cancel() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let doomed = create_key(&mut admin, OF_ALEX, "Billing server", &["api", "isproxy"]);
    let mut session = gateway.isproxy_session(&format!("LOGIN {doomed}"));
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let delete = deletion_of(&mut admin, OF_ALEX, "Billing server");
    let asked = admin.open(&delete).expect("Delete “Billing server”?");
    let asked = asked
        .expect("Any application that still uses this key loses access at once. This cannot be undone.")
        .expect("I understand, delete this API key");
    // Looking, and going back as Cancel does, change nothing.
    assert!(asked.html().contains(&format!("href=\"{OF_ALEX}\">Cancel")), "{}", asked.html());
    admin.open(OF_ALEX).expect("Billing server");
    assert_eq!(doors(&gateway, &doomed).0, 200);

    let after = admin.submit(&asked, &delete, &[]).expect("API key “Billing server” was deleted.");
    after.expect("No API keys yet").expect("Password authentication to the API stays off for this user.");
    assert_eq!(doors(&gateway, &doomed), (401, "400 Login failed".to_owned()));
    session.expect_closed();
    assert_eq!(gateway.api_get("/", &basic("acme/alex", crate::harness::PASSWORD)).status, 401);

    // An administrator allows the password again, and that is on record.
    let allow = "/account/users/alex/allow-password";
    let page = admin.open(allow);
    assert_eq!(admin.submit(&page, allow, &[]).status(), 200);
    assert_eq!(gateway.api_get("/", &basic("acme/alex", crate::harness::PASSWORD)).status, 200);
    admin.open("/account/activity").expect("let the password of alex open the API again");
}
