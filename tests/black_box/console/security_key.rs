//! The story of the security key.

use super::{account, give_code, give_password, go_on, is_in, set_key_up, sign_in, sign_out};
use crate::harness::{PASSWORD, SecurityKey, Visitor};

const CODES: &str = "/profile/mfa/recovery-codes";
const KEY: &str = "/profile/mfa/key";
const VERIFY: &str = "/sign-in/verify/key";

/// The second step with the key.
fn confirm(visitor: &mut Visitor<'_>, key: &mut SecurityKey) {
    let page = visitor.open(VERIFY);
    let credential = key.confirm(&page);
    let page = visitor.submit(&page, VERIFY, &[("credential", &credential)]);
    go_on(visitor, page);
}

/// The page that registers the first key, behind the recovery codes.
fn begin(visitor: &mut Visitor<'_>) -> crate::harness::Page {
    let page = visitor.open("/profile/mfa/recovery-codes?then=key").expect("Save your recovery codes");
    visitor.submit(&page, CODES, &[("saved", "yes")]).expect("Set up security key")
}

#[test]
fn r44_r45_recovery_codes_come_first_then_the_name_then_the_key() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    // There is no way around them.
    alex.open(KEY).expect("Save your recovery codes");
    let page = begin(&mut alex).expect("Name of the key");
    assert!(page.html().contains("data-button=\"Register security key\""), "{}", page.html());
    // A key that was not made for this question is none.
    for credential in ["", "{}", "not JSON"] {
        let again = alex.submit(&page, KEY, &[("name", "Blue key"), ("credential", credential)]);
        assert_eq!(again.status(), 422, "{credential}: {}", again.text());
    }
    alex.open("/profile/mfa").expect("MFA is off");
}

#[test]
fn r46_r48_a_key_that_was_registered_is_on_at_once_and_signs_in() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (mut key, codes) = set_key_up(&gateway, &mut alex, "Blue key");
    assert_eq!(codes.len(), 10);
    alex.open("/profile/mfa").expect("MFA is on – 1 security key, 10 recovery codes left").expect("Blue key");
    sign_out(&mut alex);
    let page = give_password(&mut alex, "acme/alex", PASSWORD);
    page.expect("Confirm it is you");
    assert!(!is_in(&mut alex));
    confirm(&mut alex, &mut key);
    assert!(is_in(&mut alex));
}

#[test]
fn r47_keys_are_limited_by_neither_transport_nor_attachment() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let asked = begin(&mut alex).options();
    let selection = &asked["publicKey"]["authenticatorSelection"];
    assert!(selection["authenticatorAttachment"].is_null(), "{asked}");
    assert_eq!(asked["publicKey"]["rp"]["id"], "localhost");
    assert_ne!(selection["residentKey"], "required", "{asked}");
    assert_ne!(selection["userVerification"], "required", "{asked}");
}

#[test]
fn r49_after_its_loss_a_recovery_code_signs_in() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (_, codes) = set_key_up(&gateway, &mut alex, "Lost key");
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    give_code(&mut alex, "/sign-in/verify/recovery", &codes[0]);
    assert!(is_in(&mut alex));
}

#[test]
fn r50_the_registration_is_complete_once_the_server_has_it_whatever_the_client_shows() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let page = begin(&mut alex);
    let credential = SecurityKey::new(&gateway).register(&page);
    // The answer is not looked at: a dialog of the client may still be open.
    let answered = alex.submit_only(&page, KEY, &[("name", "Blue key"), ("credential", &credential)]);
    assert!(answered.status() < 400, "{}", answered.text());
    give_password(&mut Visitor::new(&gateway), "acme/alex", PASSWORD).expect("Confirm it is you");
}

#[test]
fn s33_s34_an_answer_of_a_key_is_good_for_its_own_question_and_once() {
    let gateway = account(&[]);
    let mut alex = sign_in(&gateway, "acme/alex");
    let (mut key, _) = set_key_up(&gateway, &mut alex, "Blue key");
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", PASSWORD);
    let page = alex.open(VERIFY);
    let credential = key.confirm(&page);
    // Another question has been asked since.
    let newer = alex.open(VERIFY);
    let refused = alex.submit(&newer, VERIFY, &[("credential", &credential)]);
    assert_eq!(refused.status(), 422, "{}", refused.text());
    assert!(!is_in(&mut alex));
    // A right answer twice: the second time in another session.
    let page = alex.open(VERIFY);
    let credential = key.confirm(&page);
    let page = alex.submit(&page, VERIFY, &[("credential", &credential)]);
    go_on(&mut alex, page);
    assert!(is_in(&mut alex));
    let mut other = Visitor::new(&gateway);
    give_password(&mut other, "acme/alex", PASSWORD);
    let page = other.open(VERIFY);
    other.submit(&page, VERIFY, &[("credential", &credential)]);
    assert!(!is_in(&mut other));
    // A key of somebody else.
    let mut foreign = SecurityKey::new(&gateway);
    let mut admin = sign_in(&gateway, "acme/admin");
    let page = begin(&mut admin);
    let credential = foreign.register(&page);
    admin.submit(&page, KEY, &[("name", "Red key"), ("credential", &credential)]).expect("MFA is on");
    sign_out(&mut admin);
    give_password(&mut admin, "acme/admin", PASSWORD);
    let credential = foreign.confirm(&admin.open(VERIFY));
    let page = other.open(VERIFY);
    other.submit(&page, VERIFY, &[("credential", &credential)]);
    assert!(!is_in(&mut other));
}
