//! The story of the authenticator app.

use super::{account, give_code, give_password, go_on, is_in, set_app_up, set_key_up, sign_in, sign_out};
use crate::harness::{App, PASSWORD};

const CODES: &str = "/profile/mfa/recovery-codes";
const APP: &str = "/profile/mfa/app";
const RECOVERY: &str = "/sign-in/verify/recovery";

#[test]
fn r32_r43_the_users_page_has_the_buttons_that_set_mfa_up() {
    let gateway = account(&[]);
    let mut admin = sign_in(&gateway, "acme/admin");
    let page = admin.open("/account/users");
    for button in ["Activate authenticator app", "Set up security key"] {
        let html = page.html();
        let link = html.split("<a ").find(|link| link.contains(button)).expect("a link with these words");
        assert!(link.contains("class=\"button primary\""), "{link}");
        let href = link.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        admin.open(href).expect("Save your recovery codes");
    }
}

#[test]
fn r33_r36_recovery_codes_come_before_the_pairing_and_are_shown_with_advice() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    // There is no way around them.
    let page = alex.open(APP).expect("Save your recovery codes");
    let page = page.expect("Keep them as safe as your password");
    let codes = page.recovery_codes();
    assert_eq!(codes.len(), 10);
    for code in &codes {
        let groups: Vec<_> = code.split('-').map(str::len).collect();
        assert_eq!(groups, [4, 4, 4, 4], "{code}");
    }
    for (button, says) in [("data-download=", "Download"), ("data-copy=", "Copy")] {
        assert!(page.html().contains(button) && page.text().contains(says), "{}", page.html());
    }
    assert_eq!(page.answer.field("cache-control"), Some("no-store"));
    // Reloaded, they are the same; the tick is needed to go on.
    let page = alex.open("/profile/mfa/recovery-codes?then=app");
    assert_eq!(page.recovery_codes(), codes);
    let again = alex.submit(&page, CODES, &[]);
    assert_eq!(again.status(), 422, "{}", again.text());
    let page = alex.submit(&again, CODES, &[("saved", "yes")]).expect("Set up authenticator app");
    let mut app = App::typed_from(&page);
    alex.submit(&page, APP, &[("code", &app.next_code())]).expect("Authenticator app is on.");
    // Never again, once they are live.
    for path in ["/profile/mfa", APP, "/profile/mfa/recovery-codes?then=app", CODES, "/profile"] {
        let html = alex.open(path).html();
        assert!(codes.iter().all(|code| !html.contains(code.as_str())), "{path} shows a code");
    }
    let (_, log, left) = gateway.stop();
    let store = std::fs::read(left.path("data/latchkey.db")).unwrap();
    for code in &codes {
        for written in [code.clone(), code.replace('-', "")] {
            assert!(!log.contains(&written), "the log holds a code");
            assert!(!store.windows(written.len()).any(|part| part == written.as_bytes()), "the store does");
        }
    }
}

#[test]
fn r33_codes_of_a_set_up_that_was_left_are_worth_nothing() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let left = alex.open("/profile/mfa/recovery-codes?then=app").recovery_codes();
    sign_out(&mut alex);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (_, codes) = set_app_up(&mut alex);
    assert!(codes.iter().all(|code| !left.contains(code)));
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    give_code(&mut alex, RECOVERY, &left[0]);
    assert!(!is_in(&mut alex));
    give_code(&mut alex, RECOVERY, &codes[0]);
    assert!(is_in(&mut alex));
}

#[test]
fn r34_r41_each_recovery_code_signs_in_once_in_place_of_the_app() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (_, codes) = set_app_up(&mut alex);
    for (code, left) in [(codes[3].clone(), "9"), (codes[7].to_uppercase().replace('-', ""), "8")] {
        sign_out(&mut alex);
        give_password(&mut alex, "acme/alex", PASSWORD);
        let page = give_code(&mut alex, RECOVERY, &code);
        page.expect(&format!("You used a recovery code. {left} are left."));
        assert!(is_in(&mut alex));
    }
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    for used in [&codes[3], &codes[7]] {
        give_code(&mut alex, RECOVERY, used).expect_refusal(422, "not correct or was used already");
        assert!(!is_in(&mut alex));
    }
}

#[test]
fn r35_a_further_method_shows_no_recovery_codes_and_leaves_them_as_they_are() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (_, codes) = set_key_up(&gateway, &mut alex, "Blue key");
    assert_eq!(codes.len(), 10);
    let (_, none) = set_app_up(&mut alex);
    assert!(none.is_empty(), "recovery codes are shown for a second method");
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    give_code(&mut alex, RECOVERY, &codes[9]);
    assert!(is_in(&mut alex));
}

#[test]
fn r37_r38_the_secret_is_a_qr_code_a_link_and_text_to_be_typed() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let page = alex.open("/profile/mfa/recovery-codes?then=app");
    let page = alex.submit(&page, CODES, &[("saved", "yes")]).expect("Unable to scan?");
    let page = page.expect("time based, 6 digits, 30 seconds");
    assert!(page.html().contains("<svg") && page.html().contains("role=\"img\""), "{}", page.html());
    let link = format!("otpauth:{}", page.attribute("href=\"otpauth:"));
    let link = url::Url::parse(&link).unwrap();
    assert_eq!((link.scheme(), link.host_str()), ("otpauth", Some("totp")));
    let query: std::collections::BTreeMap<_, _> = link.query_pairs().into_owned().collect();
    for (name, value) in [("issuer", "Latchkey"), ("algorithm", "SHA1"), ("digits", "6"), ("period", "30")] {
        assert_eq!(query.get(name).map_or(value, String::as_str), value, "{link}");
    }
    let html = page.html();
    let typed =
        html.split("id=\"key\"").nth(1).unwrap().split('>').nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(typed.replace(' ', ""), query["secret"]);
    assert!(query["secret"].len() >= 32, "160 bits at least");
}

#[test]
fn r40_s30_the_app_is_on_after_a_right_code_and_not_before() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let page = alex.open("/profile/mfa/recovery-codes?then=app");
    let page = alex.submit(&page, CODES, &[("saved", "yes")]);
    let mut app = App::typed_from(&page);
    for wrong in ["", "12345", "000000", &app.code_in(-300), &app.code_in(300)] {
        let page = alex.open(APP);
        let again = alex.submit(&page, APP, &[("code", wrong)]);
        assert_eq!(again.status(), 422, "{wrong}: {}", again.text());
        alex.open("/profile/mfa").expect("MFA is off");
    }
    let mut other = sign_in(&gateway, "acme/alex");
    assert!(is_in(&mut other));
    let code = app.next_code();
    let page = alex.open(APP);
    alex.submit(&page, APP, &[("code", &format!("{} {}", &code[..3], &code[3..]))])
        .expect("Authenticator app is on.");
    assert!(is_in(&mut alex) && !is_in(&mut other), "other sessions are signed out");

    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    give_code(&mut alex, "/sign-in/verify", &code).expect_text("not correct or no longer valid");
    assert!(!is_in(&mut alex), "a code is good once");
    give_code(&mut alex, "/sign-in/verify", &app.next_code());
    assert!(is_in(&mut alex));
}

#[test]
fn r42_with_all_codes_used_there_is_no_access_until_mfa_is_reset() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (_, codes) = set_app_up(&mut alex);
    for code in &codes {
        sign_out(&mut alex);
        give_password(&mut alex, "acme/alex", PASSWORD);
        give_code(&mut alex, RECOVERY, code);
        assert!(is_in(&mut alex), "{code}");
    }
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    let page = give_code(&mut alex, RECOVERY, &codes[0]);
    assert!(!is_in(&mut alex));
    page.expect_text("An administrator of your account can reset your MFA.");

    let told = gateway.cli(&["user", "reset-mfa", "acme/alex", "--yes"]).expect_success();
    let link = told.split_whitespace().find(|word| word.contains("/welcome/")).expect("a link");
    let path = &link[link.find("/welcome/").unwrap()..];
    // The password alone is not enough after a reset: whoever has it may be the reason for it.
    let mut thief = crate::harness::Visitor::new(&gateway);
    give_password(&mut thief, "acme/alex", PASSWORD);
    assert!(!thief.open("/profile/mfa").path.starts_with("/profile/mfa"), "the password alone is let in");
    let mut alex = crate::harness::Visitor::new(&gateway);
    let page = alex.open(path).expect("Sign in to set up MFA again");
    let page = alex.submit(&page, path, &[("password", PASSWORD)]);
    let page = go_on(&mut alex, page);
    assert_eq!(page.path, "/profile/mfa", "{}", page.text());
    let (_, new) = set_app_up(&mut alex);
    assert_eq!(new.len(), 10);
    assert!(is_in(&mut alex));
}
