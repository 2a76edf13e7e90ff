//! The story of MFA in general: what it asks for, and of whom.

use super::{account, give_code, give_password, go_on, is_in, set_app_up, set_key_up, sign_in, sign_out};
use crate::harness::{PASSWORD, TestGateway, Visitor, basic};

#[test]
fn r22_a_password_alone_and_a_factor_alone_open_nothing() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (mut app, codes) = set_app_up(&mut alex);
    sign_out(&mut alex);

    let page = give_password(&mut alex, "acme/alex", PASSWORD).expect("Confirm it is you");
    assert!(page.path.starts_with("/sign-in/verify"), "{}", page.path);
    for path in ["/", "/connect", "/profile", "/profile/mfa", "/account/users", "/account/users/alex"] {
        assert_eq!(alex.get(path).location().as_deref(), Some("/sign-in/verify"), "{path}");
    }
    // Without the password there is nothing that a code could be given to.
    let mut stranger = Visitor::new(&gateway);
    let code = app.next_code();
    for (action, code) in [("/sign-in/verify", &code), ("/sign-in/verify/recovery", &codes[0])] {
        let refused = stranger.post(action, &[("code", code)]);
        assert!(refused.location().is_some_and(|path| path.starts_with("/sign-in")), "{refused:?}");
        assert!(!is_in(&mut stranger));
    }
    // With a wrong password neither.
    give_password(&mut stranger, "acme/alex", "not the password of alex")
        .expect_refusal(422, "Account, user name or password is not correct.");
    stranger.post("/sign-in/verify", &[("code", &code)]);
    assert!(!is_in(&mut stranger));
    // Both open it, and neither code was used up.
    give_code(&mut alex, "/sign-in/verify", &code);
    assert!(is_in(&mut alex));
}

#[test]
fn r23_either_method_is_enough_and_both_may_be_active() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (mut app, _) = set_app_up(&mut alex);
    let (mut key, no_codes) = set_key_up(&gateway, &mut alex, "Blue key");
    assert!(no_codes.is_empty());
    alex.open("/profile/mfa").expect("MFA is on – 1 app, 1 security key, 10 recovery codes left");
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    give_code(&mut alex, "/sign-in/verify?with=app", &app.next_code());
    assert!(is_in(&mut alex));
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    let page = alex.open("/sign-in/verify/key");
    let credential = key.confirm(&page);
    let page = alex.submit(&page, "/sign-in/verify/key", &[("credential", &credential)]);
    go_on(&mut alex, page);
    assert!(is_in(&mut alex));
}

#[test]
fn r24_r25_all_users_of_a_new_customer_must_set_mfa_up() {
    let gateway = TestGateway::start();
    for (handle, created, required) in
        [("newest", None, true), ("newer", Some("2020-05-01"), true), ("older", Some("2020-04-30"), false)]
    {
        let mut arguments = vec!["customer", "create", handle, "--password-file", "-"];
        arguments.extend(created.iter().flat_map(|day| ["--created-on", day]));
        gateway.cli_with_input(&arguments, PASSWORD).expect_success();
        gateway.create_user(&format!("{handle}/alex"));
        for user in ["admin", "alex"] {
            let mut visitor = Visitor::new(&gateway);
            let page = give_password(&mut visitor, &format!("{handle}/{user}"), PASSWORD);
            assert_eq!(page.path == "/profile/mfa", required, "{handle}/{user} is at {}", page.path);
            assert_eq!(is_in(&mut visitor), !required, "{handle}/{user}");
        }
    }
}

#[test]
fn r25_s27_until_mfa_is_set_up_nothing_else_opens_or_changes() {
    let gateway = account(&["--force-mfa", "--administrator"]);
    let key = gateway.create_key("acme/alex");
    let mut alex = Visitor::new(&gateway);
    let page = give_password(&mut alex, "acme/alex", PASSWORD).expect(
        "Your administrator requires MFA. Set it up to use the console; the menu works again right after.",
    );
    assert_eq!(page.path, "/profile/mfa");
    let csrf = page.attribute("name=\"csrf\" value=\"");
    for path in [
        "/",
        "/account/users",
        "/account/users/new",
        "/account/users/alex",
        "/account/users/alex/edit",
        "/account/activity",
        "/account/usage",
        "/account/quotas",
        "/connect",
        "/profile",
        "/profile/password",
        "/profile/sessions",
        "/profile/api-keys",
        "/nowhere",
    ] {
        let page = alex.get(path);
        assert_eq!((page.status(), page.location().as_deref()), (303, Some("/profile/mfa")), "{path}");
    }
    let delete = format!("/account/users/alex/api-keys/{}/delete", key.id);
    let new_key = [("csrf", csrf.as_str()), ("description", "x"), ("access", "api"), ("understood", "yes")];
    for (path, fields) in [
        (delete.as_str(), &[("csrf", csrf.as_str())][..]),
        ("/profile/api-keys", &new_key),
        ("/account/users/admin/deactivate", &[("csrf", csrf.as_str())]),
        ("/profile/password", &[("csrf", csrf.as_str()), ("password", "a password of their own choice")]),
    ] {
        let page = alex.post(path, fields);
        assert_eq!((page.status(), page.location().as_deref()), (303, Some("/profile/mfa")), "{path}");
    }
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.cli(&["key", "list", "acme/alex", "--json"]).json().as_array().unwrap().len(), 1);
    sign_in(&gateway, "acme/admin");
}

#[test]
fn r26_r30_r31_after_the_set_up_the_menu_works_for_whomever_it_was_forced_on() {
    let gateway = account(&[]);
    for user in ["acme/admin", "acme/alex"] {
        gateway.cli(&["user", "update", user, "--force-mfa"]).expect_success();
        let mut visitor = Visitor::new(&gateway);
        let page = give_password(&mut visitor, user, PASSWORD);
        assert_eq!(page.path, "/profile/mfa", "{user}");
        let (_, codes) = set_app_up(&mut visitor);
        assert_eq!(codes.len(), 10, "{user}");
        for path in ["/connect", "/profile", "/profile/mfa"] {
            assert_eq!(visitor.get(path).status(), 200, "{user} {path}");
        }
    }
}

#[test]
fn r27_r28_turning_mfa_on_ends_the_password_at_both_doors_at_once_and_keys_work() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (password, login) = (basic("acme/alex", PASSWORD), format!("LOGIN acme/alex {PASSWORD}"));
    assert_eq!(gateway.api_get("/", &password).status, 200);
    let mut session = gateway.isproxy_session(&login);
    set_app_up(&mut alex);
    gateway.api_get("/", &password).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&login), "400 Login failed");
    session.expect_closed();
    let key = gateway.create_key("acme/alex");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    // Nobody else's.
    assert_eq!(gateway.api_get("/", &basic("acme/admin", PASSWORD)).status, 200);
}

#[test]
fn r29_a_new_account_has_exactly_one_user_which_is_admin() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let mut admin = sign_in(&gateway, "acme/admin");
    let html = admin.open("/account/users").html();
    let users: Vec<_> = html.split("class=\"row-link\" href=\"").skip(1).collect();
    assert_eq!(users.len(), 1, "{html}");
    assert!(users[0].starts_with("/account/users/admin\""), "{html}");
}

#[test]
fn r30_an_administrator_forces_mfa_on_another_user() {
    let gateway = account(&[]);
    let (mut admin, mut alex) = (sign_in(&gateway, "acme/admin"), sign_in(&gateway, "acme/alex"));
    let manage = "/account/users/alex/mfa";
    let page = admin.open(manage);
    assert_eq!(admin.submit(&page, manage, &[("require_mfa", "yes")]).status(), 200);
    // The open session too.
    let page = alex.get("/connect");
    assert!(page.location().is_some(), "{}", page.text());
    gateway.api_get("/", &basic("acme/alex", PASSWORD)).assert_refusal(401, "AuthenticationError");
    let page = give_password(&mut Visitor::new(&gateway), "acme/alex", PASSWORD);
    page.expect("Your administrator requires MFA.");
}
