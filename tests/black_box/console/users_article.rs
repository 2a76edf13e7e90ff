//! The story of users, which the article refers to.

use super::{account, give_password, is_in, sign_in};
use crate::harness::{PASSWORD, Visitor, basic};

const NEW: &str = "/account/users/new";
const ALEX: &str = "/account/users/alex";
const EVERYWHERE: [(&str, &str); 3] = [("access", "console"), ("access", "api"), ("access", "isproxy")];

#[test]
fn r58_a_user_is_added_with_everything_that_can_be_said() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let page = admin.open(NEW).expect("It cannot be changed later").expect("Require MFA");
    let fields = [
        &[
            ("login", "kim"),
            ("full_name", "Kim Example"),
            ("email", "kim@example.com"),
            ("language", "en"),
            ("permission", "MANAGE_API_KEY"),
            ("require_mfa", "yes"),
            ("allow_list", "127.0.0.0/8"),
            ("password_by", "link"),
        ],
        &EVERYWHERE[..2],
    ]
    .concat();
    let made = admin.submit(&page, NEW, &fields).expect("This is the only time the link is shown.");
    let link = made.secret();
    let shown = gateway.cli(&["user", "show", "acme/kim", "--json"]).json();
    let text = shown.to_string();
    for expected in ["Kim Example", "kim@example.com", "MANAGE_API_KEY", "127.0.0.0/8"] {
        assert!(text.contains(expected), "{expected}: {shown}");
    }
    // The same form again makes nobody else.
    assert!(!admin.submit(&page, NEW, &fields).html().contains("/welcome/"));

    let path = &link[link.find("/welcome/").expect("a one-time link")..];
    let mut kim = Visitor::new(&gateway);
    let page = kim.open(path).expect("Choose the password");
    kim.submit(&page, path, &[("password", "a sentence that only Kim knows")]);
    assert_ne!(Visitor::new(&gateway).open(path).status(), 200, "the link works twice");
    let mut kim = Visitor::new(&gateway);
    give_password(&mut kim, "acme/kim", "a sentence that only Kim knows").expect("requires MFA");
}

#[test]
fn r58_what_is_missing_or_taken_is_said_and_nothing_typed_is_lost() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    for login in ["", "alex", "Alex Müller"] {
        let page = admin.open(NEW);
        let fields =
            [("login", login), ("full_name", "Somebody"), ("language", "en"), ("password_by", "link")];
        let again = admin.submit(&page, NEW, &[&fields[..], &EVERYWHERE].concat());
        assert!([409, 422].contains(&again.status()), "{login:?}: {} {}", again.status(), again.text());
        assert!(again.html().contains("value=\"Somebody\""), "{login:?}: {}", again.html());
        assert!(again.html().contains("id=\"login-error\""), "{login:?}: {}", again.html());
    }
}

#[test]
fn r59_forcing_mfa_alone_ends_the_password_at_both_doors_at_once() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let edit = format!("{ALEX}/edit");
    assert_eq!(gateway.api_get("/", &basic("acme/alex", PASSWORD)).status, 200);
    let page = admin.open(&edit);
    let fields = [&[("language", "en"), ("require_mfa", "yes")][..], &EVERYWHERE].concat();
    assert_eq!(admin.submit(&page, &edit, &fields).status(), 200);
    gateway.api_get("/", &basic("acme/alex", PASSWORD)).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&format!("LOGIN acme/alex {PASSWORD}")), "400 Login failed");
    admin.open(ALEX).expect("MFA is required");
}

#[test]
fn r60_deactivation_ends_every_access_and_reactivation_restores_it() {
    let gateway = account(&[]);
    let (mut admin, mut alex) = (sign_in(&gateway, "acme/admin"), sign_in(&gateway, "acme/alex"));
    let key = gateway.create_key_of("acme/alex", "isproxy");
    let mut session = gateway.isproxy_session(&key.login());
    let deactivate = format!("{ALEX}/deactivate");
    let page = admin.open(&deactivate);
    assert!(is_in(&mut alex), "asking changes nothing");
    admin.submit(&page, &deactivate, &[]).expect("alex");
    assert!(!is_in(&mut alex));
    session.expect_closed();
    assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed");
    assert_eq!(gateway.isproxy_login(&format!("LOGIN acme/alex {PASSWORD}")), "400 Login failed");
    give_password(&mut alex, "acme/alex", PASSWORD)
        .expect_refusal(422, "Account, user name or password is not correct.");

    let reactivate = format!("{ALEX}/reactivate");
    let page = admin.open(&reactivate);
    admin.submit(&page, &reactivate, &[]).expect("alex");
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    assert!(!is_in(&mut alex), "a session that was ended comes back");
    assert!(is_in(&mut sign_in(&gateway, "acme/alex")));
}

#[test]
fn r60_the_last_administrator_cannot_be_deactivated() {
    let gateway = account(&["--permission", "MANAGE_USER"]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let csrf = admin.open("/profile").attribute("name=\"csrf\" value=\"");
    let path = "/account/users/admin/deactivate";
    let refused = admin.post(path, &[("csrf", &csrf)]);
    assert_eq!(refused.status(), 409, "{}", refused.text());
    // Nor by somebody who may manage users.
    let mut alex = sign_in(&gateway, "acme/alex");
    let csrf = alex.open("/profile").attribute("name=\"csrf\" value=\"");
    assert_eq!(alex.post(path, &[("csrf", &csrf)]).status(), 403);
    assert!(is_in(&mut admin));
}

#[test]
fn r61_a_whitelist_narrows_password_keys_and_console_at_once() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let key = gateway.create_key("acme/alex");
    let list = format!("{ALEX}/ip-whitelist");
    let page = admin.open(&list);
    let again = admin.submit(&page, &list, &[("allow_list", "192.0.2.300"), ("do", "save")]);
    again.expect_refusal(422, "Line 1: 192.0.2.300 is not an IP address.");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let page = admin.open(&list);
    let page = admin.submit(&page, &list, &[("allow_list", "127.0.0.7"), ("do", "save")]);
    if page.html().contains("I understand, save this list") {
        admin.submit(&page, &list, &[("confirmed", "yes")]);
    }
    gateway.api_get("/", &key.authorization()).assert_refusal(403, "AuthorizationError");
    assert_eq!(gateway.api_get_from("127.0.0.7", "/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed");
    give_password(&mut Visitor::new(&gateway), "acme/alex", PASSWORD)
        .expect_refusal(422, "Account, user name or password is not correct.");
}

#[test]
fn r62_a_user_without_an_access_point_is_refused_there_with_any_credential() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let key = gateway.create_key("acme/alex");
    let edit = format!("{ALEX}/edit");
    let page = admin.open(&edit);
    assert_eq!(admin.submit(&page, &edit, &[("language", "en"), ("access", "isproxy")]).status(), 200);
    gateway.api_get("/", &key.authorization()).assert_refusal(403, "AuthorizationError");
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    give_password(&mut Visitor::new(&gateway), "acme/alex", PASSWORD)
        .expect_refusal(422, "Account, user name or password is not correct.");
}
