//! The story of customers that were there before MFA was.

use super::{give_password, is_in, set_app_up, sign_in};
use crate::harness::{PASSWORD, TestGateway, Visitor, basic};

/// A gateway with a customer that was there before MFA was required, and its `admin` and `alex`.
fn older() -> TestGateway {
    let gateway = TestGateway::start();
    let arguments = ["customer", "create", "older", "--created-on", "2015-01-01", "--password-file", "-"];
    gateway.cli_with_input(&arguments, PASSWORD).expect_success();
    gateway.create_user("older/alex");
    gateway
}

#[test]
fn r51_r54_r56_who_is_not_forced_is_advised_at_each_sign_in_and_may_go_on() {
    let gateway = older();
    let mut alex = Visitor::new(&gateway);
    for _ in 0..2 {
        let page = give_password(&mut alex, "older/alex", PASSWORD).expect("Protect your sign-in with MFA");
        let page = page.expect("Set up MFA").expect("Not now");
        assert!(!page.text().contains("requires MFA"), "{}", page.text());
        assert!(is_in(&mut alex));
        alex.open("/profile/mfa").expect("We recommend MFA");
        super::sign_out(&mut alex);
    }
    assert_eq!(gateway.api_get("/", &basic("older/alex", PASSWORD)).status, 200);
    // With MFA on there is nothing to be advised.
    let mut alex = sign_in(&gateway, "older/alex");
    set_app_up(&mut alex);
    assert!(!alex.open("/").text().contains("Protect your sign-in"));
}

#[test]
fn r51_r55_the_operator_forces_all_customers_at_once() {
    let gateway = older();
    let mut alex = sign_in(&gateway, "older/alex");
    gateway.cli(&["customer", "update", "--all", "--mfa", "required"]).expect_success();
    assert!(!is_in(&mut alex));
    for user in ["older/admin", "older/alex"] {
        let mut visitor = Visitor::new(&gateway);
        give_password(&mut visitor, user, PASSWORD).expect("requires MFA");
        assert!(!is_in(&mut visitor), "{user}");
        set_app_up(&mut visitor);
        assert!(is_in(&mut visitor), "{user}");
    }
}

#[test]
fn r52_r61_an_ip_whitelist_stands_beside_the_password_at_the_console_too() {
    let gateway = older();
    gateway.cli(&["allow", "add", "user:older/alex", "127.0.0.7"]).expect_success();
    let mut outside = Visitor::new(&gateway);
    let refused = give_password(&mut outside, "older/alex", PASSWORD);
    // The same words as for a wrong password.
    let refused = refused.expect_refusal(422, "Account, user name or password is not correct.");
    let wrong = give_password(&mut outside, "older/alex", "not the password of alex");
    assert_eq!((refused.status(), refused.text()), (wrong.status(), wrong.text()));
    let mut inside = Visitor::from(&gateway, "127.0.0.7");
    give_password(&mut inside, "older/alex", PASSWORD).expect("Protect your sign-in with MFA");
    assert!(is_in(&mut inside));
    // A session that is carried elsewhere is worth nothing there.
    outside.cookies.clone_from(&inside.cookies);
    assert!(!is_in(&mut outside));
}

#[test]
fn r53_r27_r28_mfa_of_an_existing_customers_user_ends_passwords_and_keys_work() {
    let gateway = older();
    let mut alex = sign_in(&gateway, "older/alex");
    set_app_up(&mut alex);
    gateway.api_get("/", &basic("older/alex", PASSWORD)).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&format!("LOGIN older/alex {PASSWORD}")), "400 Login failed");
    let key = gateway.create_key("older/alex");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
}

#[test]
fn r54_r55_who_is_forced_reads_that_the_administrator_requires_it() {
    let gateway = older();
    gateway.cli(&["user", "update", "older/alex", "--force-mfa"]).expect_success();
    let mut alex = Visitor::new(&gateway);
    give_password(&mut alex, "older/alex", PASSWORD).expect("Your administrator requires MFA.");
    assert_eq!(alex.get("/profile").location().as_deref(), Some("/profile/mfa"));
    set_app_up(&mut alex);
    assert!(is_in(&mut alex));
}

#[test]
fn r57_manage_opens_mfa_from_the_users_page_and_from_the_own_profile() {
    let gateway = older();
    let mut admin = sign_in(&gateway, "older/admin");
    for (path, href) in [
        ("/account/users/alex", "/account/users/alex/mfa"),
        ("/account/users/admin", "/profile/mfa"),
        ("/profile", "/profile/mfa"),
    ] {
        let html = admin.open(path).html();
        assert!(html.contains(&format!("href=\"{href}\">Manage</a>")), "{path}: {html}");
        assert_eq!(admin.open(href).status(), 200, "{href}");
    }
}
