//! Setting second factors up and away, as a browser, an app and a security key see it.

use super::super::sign_in::{PresentedFactor, SessionStep};
use super::super::testing::people::{Browser, FirstApp, ORIGIN, People, public_url, secret};
use super::super::testing::{NOW, PASSWORD};
use super::super::{
    Activation, EventKind, FactorRefusal, Forbidden, PasswordFault, SecurityKeys, SecurityKeysError,
    UserChanges,
};
use super::*;
use crate::config::UserVerification;
use crate::model::{MethodId, MethodKind, MfaRequirement, MfaState, Service};
use crate::store::StoreFact;

/// What a set-up that must not succeed answers.
fn fault<T: std::fmt::Debug>(result: Result<T, EnrolmentFault>) -> String {
    match result.unwrap_err() {
        EnrolmentFault::Control(error) => error.to_string(),
        fault => format!("{fault:?}"),
    }
}

fn texts(codes: &ShownCodes) -> Vec<&str> {
    codes.codes.iter().map(|code| code.expose().as_str()).collect()
}

async fn methods(people: &People) -> Vec<crate::model::MethodRecord> {
    people.world.store.mfa_methods_of(people.world.user).await.unwrap()
}

async fn save_codes(people: &People, session: &ConsoleSession) {
    people.access.show_recovery_codes(session).await.unwrap();
    people.access.confirm_codes_saved(session).await.unwrap();
}

#[tokio::test]
async fn r33_r35_ten_codes_are_shown_first_and_stay_the_same_until_a_method_is_proved() {
    let people = People::new().await;
    let session = people.sign_in().await;
    assert_eq!(fault(people.access.begin_app(&session).await), "CodesFirst");
    assert_eq!(fault(people.access.begin_key(&session).await), "CodesFirst");
    assert_eq!(fault(people.access.confirm_codes_saved(&session).await), "Expired", "none were shown");
    let shown = people.access.show_recovery_codes(&session).await.unwrap();
    assert_eq!(shown.codes.len(), 10);
    assert_eq!(fault(people.access.begin_app(&session).await), "CodesFirst", "they were not saved");
    let again = people.access.show_recovery_codes(&session).await.unwrap();
    assert_eq!(texts(&shown), texts(&again));
    people.access.confirm_codes_saved(&session).await.unwrap();
    assert!(people.world.store.recovery_set_of(people.world.user).await.unwrap().is_none(), "none count yet");
    let other = people.sign_in().await;
    let others = people.access.show_recovery_codes(&other).await.unwrap();
    assert_ne!(texts(&shown), texts(&others), "each session has its own");

    let app = people.begin_app(&session).await;
    let added = people.access.finish_app(&session, "", &people.code(&app)).await.unwrap();
    let session = people.live(&added.token).await;
    assert_eq!(fault(people.access.show_recovery_codes(&session).await), "UnknownMethod", "never again");
    assert_eq!(fault(people.access.confirm_codes_saved(&session).await), "UnknownMethod");
    assert!(!people.stands(&other).await, "other sessions end");
    let half = people.sign_in().await;
    let code = PresentedFactor::RecoveryCode(shown.codes[9].clone());
    people.access.verify(&half, code).await.unwrap();
}

#[tokio::test]
async fn r40_a_seed_counts_once_a_code_has_proved_it_and_stays_the_same_till_then() {
    let people = People::new().await;
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    let first = people.access.begin_app(&session).await.unwrap();
    let again = people.access.begin_app(&session).await.unwrap();
    assert_eq!(first.seed, again.seed);
    assert!(first.qr_code.expose().starts_with("<svg "));
    assert!(first.otpauth_url.expose().starts_with("otpauth://totp/Latchkey:acme%2Falex?secret="));
    assert!(!format!("{first:?}").contains(first.seed.expose().as_str()));
    let app = people.begin_app(&session).await;
    let wrong = people.access.finish_app(&session, "", &people.wrong_code(&app)).await;
    assert_eq!(fault(wrong), "WrongCode");
    assert!(!people.user().await.mfa_active && methods(&people).await.is_empty());
    let added = people.access.finish_app(&session, " My phone ", &people.code(&app)).await.unwrap();
    assert!(added.is_first && added.name == "My phone");
    assert!(!format!("{added:?}").contains(added.token.expose().as_str()));
    assert!(people.user().await.mfa_active);
    let told = people.trail().await.pop().unwrap();
    assert_eq!((told.event.as_str(), told.subject.as_str()), ("mfa.added", "acme/alex"));
    // Two tabs: the second finds that it is done.
    let second = people.access.finish_app(&session, "", &people.code(&app)).await;
    assert_eq!(fault(second), "Expired");
    assert_eq!(methods(&people).await.len(), 1);
}

#[tokio::test]
async fn s23_mfa_ends_what_the_password_opened_at_the_doors_before_the_answer_is_given() {
    let people = People::new().await;
    assert!(matches!(people.world.password(PASSWORD, Service::Api).await, super::super::Decision::Allow(_)));
    people.set_up_app().await;
    for service in [Service::Api, Service::IsProxy] {
        let decision = people.world.password(PASSWORD, service).await;
        assert!(matches!(decision, super::super::Decision::Deny(_)), "{service:?}");
    }
}

#[tokio::test]
async fn a_set_up_lapses_after_ten_minutes_with_codes_and_seed() {
    let people = People::new().await;
    let session = people.sign_in().await;
    let shown = people.access.show_recovery_codes(&session).await.unwrap();
    people.access.confirm_codes_saved(&session).await.unwrap();
    people.pass(300);
    let app = people.begin_app(&session).await;
    people.pass(299);
    let session = people.live(&people.access.confirm(&session, secret(PASSWORD), None).await.unwrap()).await;
    assert_eq!(fault(people.access.begin_app(&session).await), "CodesFirst", "a new token begins anew");
    people.access.show_recovery_codes(&session).await.unwrap();
    people.access.confirm_codes_saved(&session).await.unwrap();
    let late = people.begin_app(&session).await;
    assert_ne!(app.secret().to_base32(), late.secret().to_base32());
    people.pass(600);
    assert_eq!(fault(people.access.finish_app(&session, "", &people.code(&late)).await), "CodesFirst");
    let anew = people.access.show_recovery_codes(&session).await.unwrap();
    assert_ne!(texts(&shown), texts(&anew));
    people.pass(-30);
    assert_eq!(
        fault(people.access.confirm_codes_saved(&session).await),
        "Expired",
        "a clock that was set back"
    );
}

#[tokio::test]
async fn s95_what_was_begun_before_the_methods_changed_cannot_finish_after_it() {
    let people = People::new().await;
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    let app = people.begin_app(&session).await;
    let mut browser = Browser::at(ORIGIN);
    let answer = browser.register(&people.access.begin_key(&session).await.unwrap());
    // Somebody else takes all away; the row of the session stays for the look of it.
    let mut change = people.world.store.mutate().await.unwrap();
    change.delete_mfa_methods_of(people.world.user).await.unwrap();
    change.commit().await.unwrap();
    assert!(people.stands(&session).await);
    assert_eq!(fault(people.access.finish_app(&session, "", &people.code(&app)).await), "CodesFirst");
    assert_eq!(fault(people.access.finish_key(&session, "", &answer).await), "CodesFirst");
    save_codes(&people, &session).await;
    assert_eq!(fault(people.access.finish_app(&session, "", &people.code(&app)).await), "Expired");
    assert_eq!(fault(people.access.finish_key(&session, "", &answer).await), "Expired");
    assert!(!people.user().await.mfa_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn s43_of_many_set_ups_finished_at_once_one_is_and_few_are_hashed() {
    let people = std::sync::Arc::new(People::new().await);
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    let app = people.begin_app(&session).await;
    let code = people.code(&app);
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (people, session, code) = (people.clone(), session.clone(), code.clone());
            tokio::spawn(async move { people.access.finish_app(&session, "", &code).await.map(drop) })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => done += 1,
            Err(EnrolmentFault::Expired | EnrolmentFault::Control(ControlError::HashingBusy)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((done, methods(&people).await.len()), (1, 1));
}

#[tokio::test]
async fn s33_a_registration_answers_one_challenge_of_one_session_once_and_within_five_minutes() {
    let people = People::new().await;
    let (one, other) = (people.sign_in().await, people.sign_in().await);
    save_codes(&people, &one).await;
    save_codes(&people, &other).await;
    let mut browser = Browser::at(ORIGIN);
    let finish = async |session: &ConsoleSession, answer: &Secret<String>| {
        people.access.finish_key(session, "Blue key", answer).await
    };
    let challenge = people.access.begin_key(&one).await.unwrap();
    let answer = browser.register(&challenge);
    assert_eq!(fault(finish(&other, &answer).await), "Expired", "no challenge was sent to it");
    people.access.begin_key(&other).await.unwrap();
    assert_eq!(fault(finish(&other, &answer).await), "NoProof", "another one's challenge");
    assert_eq!(fault(finish(&one, &secret("no JSON")).await), "NoProof");
    assert_eq!(fault(finish(&one, &answer).await), "Expired", "the challenge is used up");

    let answer = browser.register(&people.access.begin_key(&one).await.unwrap());
    people.pass(300);
    assert_eq!(fault(finish(&one, &answer).await), "Expired");
    let answer = browser.register(&people.access.begin_key(&one).await.unwrap());
    people.pass(299);
    let added = finish(&one, &answer).await.unwrap();
    assert!(added.is_first && added.name == "Blue key");
    let kept = methods(&people).await;
    assert_eq!((kept[0].kind, kept[0].name.as_str()), (MethodKind::SecurityKey, "Blue key"));
}

#[tokio::test]
async fn s33_an_answer_from_another_origin_proves_nothing() {
    let people = People::new().await;
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    let options = people.access.begin_key(&session).await.unwrap();
    let answer = Browser::at("https://evil.console.example").register(&options);
    assert_eq!(fault(people.access.finish_key(&session, "", &answer).await), "NoProof");
    assert!(!people.user().await.mfa_active);
}

#[tokio::test]
async fn s33_challenges_are_random_and_offer_no_hint_that_narrows_what_can_be_used() {
    let people = People::new().await;
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap()["publicKey"].clone();
    let one = read(people.access.begin_key(&session).await.unwrap());
    let other = read(people.access.begin_key(&session).await.unwrap());
    assert_ne!(one["challenge"], other["challenge"]);
    assert!(one["challenge"].as_str().unwrap().len() >= 22, "16 bytes at least");
    assert_eq!(one["rp"]["id"], "console.example");
    assert_eq!(one["user"]["id"], other["user"]["id"], "the same person");
    assert!(
        one["hints"].is_null() && one["authenticatorSelection"]["authenticatorAttachment"].is_null(),
        "{one}"
    );
    assert_eq!(one["timeout"], 300_000);
}

#[tokio::test]
async fn s33_a_security_key_is_registered_once_whoever_holds_it() {
    let people = People::new().await;
    let mut browser = Browser::at(ORIGIN);
    let session = people.set_up_key(&mut browser).await;
    let excluded: serde_json::Value =
        serde_json::from_str(&people.access.begin_key(&session).await.unwrap()).unwrap();
    assert_eq!(excluded["publicKey"]["excludeCredentials"].as_array().unwrap().len(), 1);
    // Another user's: alex gets the credential that bo is about to register.
    let credential = methods(&people).await[0].clone();
    people.make_user("bo").await;
    let bo = people.try_sign_in("acme/bo", PASSWORD).await.unwrap().token;
    let bo = people.live(&bo).await;
    save_codes(&people, &bo).await;
    let answer = browser.register(&people.access.begin_key(&bo).await.unwrap());
    let id: serde_json::Value = serde_json::from_str(answer.expose()).unwrap();
    let raw = id["rawId"].as_str().unwrap();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, raw).unwrap();
    let mut change = people.world.store.mutate().await.unwrap();
    let taken = NewMethod {
        user: people.world.user,
        kind: MethodKind::SecurityKey,
        name: "the same",
        secret: &credential.secret,
        credential_id: Some(&raw),
        last_step: None,
        created_at: NOW,
    };
    change.insert_mfa_method(&taken).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(fault(people.access.finish_key(&bo, "", &answer).await), "Registered");
    let bo_id = people.operator().user(&"acme/bo".parse().unwrap()).await.unwrap();
    assert!(!bo_id.mfa_active && people.world.store.recovery_set_of(bo_id.id).await.unwrap().is_none());
}

#[tokio::test]
async fn s101_what_keys_are_registered_for_is_fixed_by_the_first_and_other_addresses_are_refused_by_name() {
    let people = People::new().await;
    let plane = people.operator();
    let mut browser = Browser::at(ORIGIN);
    let session = people.set_up_key(&mut browser).await;
    assert_eq!(people.world.store.fact(StoreFact::RelyingParty).await.unwrap().unwrap(), "console.example");
    for within in [ORIGIN, "https://console.example:8443", "https://new.console.example"] {
        let keys = plane.security_keys(&public_url(within)).await.unwrap().unwrap();
        assert_eq!(keys.rp_id(), "console.example", "{within}");
    }
    for outside in
        ["https://example", "https://other.example", "https://evilconsole.example", "https://192.0.2.1"]
    {
        let refused = plane.security_keys(&public_url(outside)).await.unwrap_err();
        assert!(
            matches!(&refused, SecurityKeysError::OtherRelyingParty { holders, .. } if *holders == ["acme/alex"])
        );
        assert!(refused.to_string().ends_with("would stop working for acme/alex"), "{refused}");
    }
    // A gateway that was started for another name before the first key was there.
    let elsewhere =
        SecurityKeys::new(&public_url("https://other.example"), None, UserVerification::Preferred);
    let access = ConsoleAccess { security_keys: elsewhere.unwrap().map(Into::into), ..people.access.clone() };
    let answer = Browser::at("https://other.example").register(&access.begin_key(&session).await.unwrap());
    assert_eq!(fault(access.finish_key(&session, "", &answer).await), "NotOffered");

    // Once nobody has any, the address may change.
    let id = methods(&people).await[0].id;
    people.access.remove_own_method(&session, id, Some(secret("another long password"))).await.unwrap();
    let keys = plane.security_keys(&public_url("https://other.example")).await.unwrap().unwrap();
    assert_eq!(keys.rp_id(), "other.example");
    let signed_in = people.try_sign_in("acme/alex", "another long password").await.unwrap();
    let session = people.live(&signed_in.token).await;
    let access = ConsoleAccess { security_keys: Some(keys.into()), ..people.access.clone() };
    save_codes(&people, &session).await;
    let answer = Browser::at("https://other.example").register(&access.begin_key(&session).await.unwrap());
    access.finish_key(&session, "", &answer).await.unwrap();
    assert_eq!(people.world.store.fact(StoreFact::RelyingParty).await.unwrap().unwrap(), "other.example");
    assert!(plane.security_keys(&public_url("https://192.0.2.1")).await.is_err());
}

#[tokio::test]
async fn r42_further_methods_need_no_codes_and_can_each_be_used_renamed_and_removed() {
    let people = People::new().await;
    let FirstApp { session, app, .. } = people.set_up_app().await;
    let mut browser = Browser::at(ORIGIN);
    let options = people.access.begin_key(&session).await.unwrap();
    let added = people.access.finish_key(&session, "", &browser.register(&options)).await.unwrap();
    assert!(!added.is_first && added.name == "Security key");
    let session = people.live(&added.token).await;
    let second = people.begin_app(&session).await;
    let added = people.access.finish_app(&session, "Tablet", &people.code(&second)).await.unwrap();
    let session = people.live(&added.token).await;
    let plane = people.access.plane_in(&session);
    let name = People::name();
    let overview = plane.mfa_overview(&name).await.unwrap();
    assert_eq!((overview.state, overview.requirement), (MfaState::On, MfaRequirement::Optional));
    assert_eq!((overview.count(MethodKind::App), overview.count(MethodKind::SecurityKey)), (2, 1));
    assert_eq!(overview.recovery_codes_left, 10, "the codes stay");
    people.pass(30);
    for app in [&app, &second] {
        let half = people.sign_in().await;
        people.access.verify(&half, PresentedFactor::Code(people.code(app))).await.unwrap();
    }
    let id = overview.methods[2].id;
    plane.rename_own_method(&name, id, "Old tablet").await.unwrap();
    for refused in ["two\nlines", &"x".repeat(61)] {
        assert!(fault(plane.rename_own_method(&name, id, refused).await).contains("60 characters"));
    }
    assert_eq!(fault(plane.rename_own_method(&name, MethodId(999), "x").await), "UnknownMethod");
    let token = people.access.remove_own_method(&session, id, None).await.unwrap();
    let session = people.live(&token).await;
    assert_eq!(fault(people.access.remove_own_method(&session, id, None).await), "UnknownMethod");
    let half = people.sign_in().await;
    people.pass(30);
    let gone = people.access.verify(&half, PresentedFactor::Code(people.code(&second))).await;
    assert!(matches!(gone, Err(FactorRefusal::Wrong)));
    for event in [EventKind::MfaMethodRenamed, EventKind::MfaMethodRemoved] {
        assert_eq!(people.count(event).await, 1, "{event:?}");
    }
}

#[tokio::test]
async fn s25_nobody_renames_or_removes_a_method_of_somebody_else() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let id = methods(&people).await[0].id;
    people.make_user("bo").await;
    let bo = people.try_sign_in("acme/bo", PASSWORD).await.unwrap().token;
    let bo = people.live(&bo).await;
    let password = Some(secret("another long password"));
    assert_eq!(fault(people.access.remove_own_method(&bo, id, password).await), "UnknownMethod");
    let plane = people.access.plane_in(&bo);
    let renamed = plane.rename_own_method(&"acme/bo".parse().unwrap(), id, "mine").await;
    assert_eq!(fault(renamed), "UnknownMethod");
    let renamed = plane.rename_own_method(&People::name(), id, "mine").await;
    assert!(matches!(renamed, Err(EnrolmentFault::Control(ControlError::Forbidden(Forbidden::OnlyOneself)))));
    assert!(people.stands(&first.session).await);
    // A method that is moved to another user's row does not open there.
    let mut change = people.world.store.mutate().await.unwrap();
    let secret_of_alex = methods(&people).await[0].secret.clone();
    let new = NewMethod {
        user: bo.user.id,
        kind: MethodKind::App,
        name: "moved",
        secret: &secret_of_alex,
        credential_id: None,
        last_step: None,
        created_at: NOW,
    };
    change.insert_mfa_method(&new).await.unwrap();
    change.commit().await.unwrap();
    people.pass(30);
    let half = people.live(&people.try_sign_in("acme/bo", PASSWORD).await.unwrap().token).await;
    let moved = people.access.verify(&half, PresentedFactor::Code(people.code(&first.app))).await;
    assert!(matches!(moved, Err(FactorRefusal::Control(ControlError::Seal(_)))), "{moved:?}");
}

#[tokio::test]
async fn s36_the_last_method_of_a_user_under_force_stays() {
    let people = People::new().await;
    let FirstApp { session, .. } = people.set_up_app().await;
    let force = |mfa| UserChanges { mfa: Some(mfa), ..UserChanges::default() };
    let operator = people.operator();
    operator.update_user(&People::name(), &force(MfaRequirement::Required)).await.unwrap();
    let id = methods(&people).await[0].id;
    let long = || Some(secret("another long password"));
    assert_eq!(fault(people.access.remove_own_method(&session, id, long()).await), "LastOfRequired");
    assert_eq!(fault(people.access.remove_own_method(&session, id, None).await), "LastOfRequired");
    operator.update_user(&People::name(), &force(MfaRequirement::Optional)).await.unwrap();
    operator.set_customer_mfa(&"acme".parse().unwrap(), MfaRequirement::Required).await.unwrap();
    assert_eq!(fault(people.access.remove_own_method(&session, id, long()).await), "LastOfRequired");
    assert!(people.user().await.mfa_active && people.stands(&session).await);
}

#[tokio::test]
async fn s42_without_mfa_a_password_of_fifteen_characters_is_asked_for() {
    let people = People::new().await;
    let FirstApp { session, codes, .. } = people.set_up_app().await;
    let token = people.access.change_own_password(&session, secret("8 is fine")).await.unwrap();
    let session = people.live(&token).await;
    let id = methods(&people).await[0].id;
    assert_eq!(fault(people.access.remove_own_method(&session, id, None).await), "PasswordMissing");
    let short = people.access.remove_own_method(&session, id, Some(secret("8 is fine"))).await;
    assert!(matches!(
        short,
        Err(EnrolmentFault::Control(ControlError::Password(PasswordFault::TooShortAlone)))
    ));
    let token =
        people.access.remove_own_method(&session, id, Some(secret("another long password"))).await.unwrap();
    let session = people.live(&token).await;
    assert_eq!(session.step, SessionStep::Open);
    assert!(!session.user.mfa_active);
    assert!(people.world.store.recovery_set_of(session.user.id).await.unwrap().is_none());
    assert!(people.try_sign_in("acme/alex", "8 is fine").await.is_err());
    people.try_sign_in("acme/alex", "another long password").await.unwrap();
    let told = people.trail().await;
    assert!(
        told.iter().any(|entry| entry.event == "mfa.removed")
            && told.iter().any(|entry| entry.event == "password.changed")
    );
    // Old codes are good for nothing when MFA is on again.
    save_codes(&people, &session).await;
    let app = people.begin_app(&session).await;
    people.access.finish_app(&session, "", &people.code(&app)).await.unwrap();
    let half =
        people.live(&people.try_sign_in("acme/alex", "another long password").await.unwrap().token).await;
    let old = people.access.verify(&half, PresentedFactor::RecoveryCode(codes[0].clone())).await;
    assert!(matches!(old, Err(FactorRefusal::Wrong)));
}

#[tokio::test]
async fn s42_a_short_password_that_was_begun_beside_mfa_is_not_set_once_mfa_has_gone() {
    let people = People::new().await;
    let FirstApp { session, .. } = people.set_up_app().await;
    // Whoever looked before the method was removed elsewhere.
    let mut change = people.world.store.mutate().await.unwrap();
    change.delete_mfa_methods_of(people.world.user).await.unwrap();
    change.commit().await.unwrap();
    let changed = people.access.change_own_password(&session, secret("8 is fine")).await;
    assert!(matches!(changed, Err(ControlError::Password(PasswordFault::TooShortAlone))), "{changed:?}");
    people.try_sign_in("acme/alex", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn s36_r41_new_codes_end_the_old_ones_and_other_sessions() {
    let people = People::new().await;
    let FirstApp { session, codes, app } = people.set_up_app().await;
    people.pass(30);
    let half = people.sign_in().await;
    let (other, _) = people.access.verify(&half, PresentedFactor::Code(people.code(&app))).await.unwrap();
    let shown = people.access.replace_recovery_codes(&session).await.unwrap();
    assert_eq!(shown.codes.len(), 10);
    assert!(!format!("{shown:?}").contains(shown.codes[0].expose().as_str()));
    assert!(people.stands(&session).await && !people.is_live(&other.token).await);
    let half = people.sign_in().await;
    let old = people.access.verify(&half, PresentedFactor::RecoveryCode(codes[0].clone())).await;
    assert!(matches!(old, Err(FactorRefusal::Wrong)));
    people.access.verify(&half, PresentedFactor::RecoveryCode(shown.codes[0].clone())).await.unwrap();
    let set = people.world.store.recovery_set_of(people.world.user).await.unwrap().unwrap();
    assert!(set.hashes.iter().all(|hash| hash.as_stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$")));
    assert_eq!(people.count(EventKind::RecoveryCodesReplaced).await, 1);
    people.pass(601);
    assert!(fault(people.access.replace_recovery_codes(&session).await).contains("confirm that it is you"));
}

#[tokio::test]
async fn without_mfa_there_are_no_codes_to_replace() {
    let people = People::new().await;
    let session = people.sign_in().await;
    assert_eq!(fault(people.access.replace_recovery_codes(&session).await), "UnknownMethod");
}

#[tokio::test]
async fn nobody_has_more_than_twenty_methods() {
    let people = People::new().await;
    let FirstApp { session, .. } = people.set_up_app().await;
    let mut change = people.world.store.mutate().await.unwrap();
    for _ in 0..19 {
        let new = NewMethod {
            user: people.world.user,
            kind: MethodKind::App,
            name: "one more",
            secret: b"sealed",
            credential_id: None,
            last_step: None,
            created_at: NOW,
        };
        change.insert_mfa_method(&new).await.unwrap();
    }
    change.commit().await.unwrap();
    assert_eq!(fault(people.access.begin_app(&session).await), "TooMany");
    assert_eq!(fault(people.access.begin_key(&session).await), "TooMany");
}

#[tokio::test]
async fn whoever_is_deactivated_in_the_middle_of_a_set_up_does_not_finish_it() {
    let people = People::new().await;
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    let app = people.begin_app(&session).await;
    people.operator().set_activation(&People::name(), Activation::Deactivated).await.unwrap();
    let finished = people.access.finish_app(&session, "", &people.code(&app)).await;
    assert!(matches!(finished, Err(EnrolmentFault::Control(ControlError::Forbidden(Forbidden::Asker(_))))));
    assert!(methods(&people).await.is_empty());
}

#[tokio::test]
async fn at_an_address_without_a_name_security_keys_are_not_offered() {
    let people = People::new().await;
    let keys =
        SecurityKeys::new(&public_url("https://192.0.2.1"), None, UserVerification::Preferred).unwrap();
    assert!(keys.is_none());
    let access = ConsoleAccess { security_keys: None, ..people.access.clone() };
    assert!(!access.offers_security_keys() && people.access.offers_security_keys());
    let session = people.sign_in().await;
    save_codes(&people, &session).await;
    assert_eq!(fault(access.begin_key(&session).await), "NotOffered");
}

#[tokio::test]
async fn s34_a_policy_that_wants_persons_verified_takes_no_key_that_does_not() {
    let people = People::new().await;
    let mut browser = Browser::at(ORIGIN);
    people.set_up_key(&mut browser).await;
    let keys = SecurityKeys::new(&public_url(ORIGIN), Some("console.example"), UserVerification::Required);
    let access = ConsoleAccess { security_keys: keys.unwrap().map(Into::into), ..people.access.clone() };
    let half = people.sign_in().await;
    let mut options: serde_json::Value =
        serde_json::from_str(&access.challenge_security_key(&half).await.unwrap()).unwrap();
    assert_eq!(options["publicKey"]["userVerification"], "required");
    // The browser looks away, and the key does not verify.
    options["publicKey"]["userVerification"] = "discouraged".into();
    let answer = browser.prove(&options.to_string());
    assert!(matches!(access.verify(&half, answer).await, Err(FactorRefusal::Wrong)));
    let told = people.trail().await.pop().unwrap();
    assert!(told.details.contains("its person was not verified"), "{}", told.details);
}
