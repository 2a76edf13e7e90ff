//! How long sessions live, what ends them, and what makes them fresh.

use super::*;

#[tokio::test]
async fn s84_a_session_ends_after_thirty_minutes_without_use_and_after_twelve_hours() {
    let people = People::new().await;
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    people.pass(1_799);
    assert!(people.is_live(&token).await);
    people.pass(1_799);
    assert!(people.is_live(&token).await, "its use was noted");
    people.pass(1_800);
    assert!(matches!(people.look(&token).await, SessionLook::Over));

    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    for _ in 0..24 {
        people.pass(1_799);
        assert!(people.is_live(&token).await);
    }
    people.pass(24);
    assert!(matches!(people.look(&token).await, SessionLook::Over), "43,200 seconds after it began");
}

#[tokio::test]
async fn s83_s84_a_clock_that_was_set_back_ends_sessions() {
    let people = People::new().await;
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    people.pass(-60);
    assert!(people.is_live(&token).await, "clocks tremble");
    people.pass(-1);
    assert!(matches!(people.look(&token).await, SessionLook::Over));
    people.pass(-3_600 * 24 * 3_650);
    assert!(matches!(people.look(&token).await, SessionLook::Over));
}

#[tokio::test]
async fn s84_deactivation_a_new_password_and_signing_out_end_sessions_at_once() {
    let people = People::new().await;
    let operator = people.operator();
    let name = People::name();
    let sign_in = async || people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    let (one, other) = (sign_in().await, sign_in().await);
    assert_ne!(one, other, "each sign-in has a token of its own");
    people.access.sign_out(&people.live(&one).await).await.unwrap();
    assert!(!people.is_live(&one).await && people.is_live(&other).await);
    assert_eq!(people.count(EventKind::SignedOut).await, 1);

    operator.set_activation(&name, Activation::Deactivated).await.unwrap();
    assert!(!people.is_live(&other).await);
    operator.set_activation(&name, Activation::Active).await.unwrap();
    assert!(!people.is_live(&other).await, "nothing comes back with it");

    let (mine, other) = (sign_in().await, sign_in().await);
    let session = people.live(&mine).await;
    let token = people.access.change_own_password(&session, secret("another long password")).await.unwrap();
    assert!(people.is_live(&token).await, "the own session goes on");
    assert!(!people.is_live(&mine).await, "under another token");
    assert!(!people.is_live(&other).await);
    operator.set_password(&name, secret(PASSWORD)).await.unwrap();
    assert!(!people.is_live(&token).await);
}

#[tokio::test]
async fn s84_lists_and_closed_entrances_count_at_each_request() {
    let people = People::new().await;
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    people.world.change_user(|user| user.allow_list = "198.51.100.0/24".parse().unwrap()).await;
    assert!(!people.is_live(&token).await);
    people.world.change_user(|user| user.allow_list = AllowList::default()).await;
    assert!(people.is_live(&token).await);
    people.world.change_user(|user| user.access_points = "api".parse().unwrap()).await;
    assert!(!people.is_live(&token).await);
}

#[tokio::test]
async fn sign_out_everywhere_else_leaves_this_session_and_is_told() {
    let people = People::new().await;
    let (mine, one, other) = (people.sign_in().await, people.sign_in().await, people.sign_in().await);
    assert_eq!(people.access.sessions_of(&mine.user).await.unwrap().len(), 3);
    assert_eq!(people.access.plane_in(&mine).end_other_sessions(&mine).await.unwrap(), 2);
    assert!(people.stands(&mine).await && !people.stands(&one).await && !people.stands(&other).await);
    assert_eq!(people.count(EventKind::SessionsEnded).await, 1);
}

#[tokio::test]
async fn s35_s96_after_ten_minutes_who_it_is_must_be_confirmed_which_changes_the_token() {
    let people = People::new().await;
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    people.pass(600);
    people.access.show_recovery_codes(&people.live(&token).await).await.unwrap();
    people.pass(1);
    let session = people.live(&token).await;
    let stale = |result: Result<(), String>| assert!(result.unwrap_err().contains("confirm that it is you"));
    let text = |error: &dyn fmt::Display| error.to_string();
    stale(people.access.show_recovery_codes(&session).await.map(drop).map_err(|error| text(&error)));
    stale(people.access.begin_app(&session).await.map(drop).map_err(|error| text(&error)));
    stale(people.access.begin_key(&session).await.map(drop).map_err(|error| text(&error)));
    let password = secret("another long password");
    let changed = people.access.change_own_password(&session, password.clone()).await;
    stale(changed.map(drop).map_err(|error| text(&error)));

    let wrong = people.access.confirm(&session, secret("a wrong password"), None).await;
    assert!(matches!(wrong, Err(ConfirmFault::Password(SignInFault::Wrong))));
    let fresh = people.access.confirm(&session, secret(PASSWORD), None).await.unwrap();
    assert!(!people.is_live(&token).await);
    let session = people.live(&fresh).await;
    assert_eq!(session.record.created_at, NOW, "it lives no longer than before");
    people.access.show_recovery_codes(&session).await.unwrap();
    let told = people.trail().await;
    for event in ["sign_in.confirmed", "sign_in.failed"] {
        assert!(told.iter().any(|entry| entry.event == event && entry.subject == "acme/alex"), "{event}");
    }
    people.access.change_own_password(&session, password).await.unwrap();
}

#[tokio::test]
async fn s96_with_mfa_on_confirming_takes_a_factor_too() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    people.pass(601);
    let confirm =
        async |password: &str, factor| people.access.confirm(&first.session, secret(password), factor).await;
    assert!(matches!(confirm(PASSWORD, None).await, Err(ConfirmFault::Factor(FactorRefusal::Wrong))));
    let wrong = PresentedFactor::Code(people.wrong_code(&first.app));
    assert!(matches!(confirm(PASSWORD, Some(wrong)).await, Err(ConfirmFault::Factor(FactorRefusal::Wrong))));
    let right = || Some(PresentedFactor::Code(people.code(&first.app)));
    let told = confirm("a wrong password", right()).await;
    assert!(matches!(told, Err(ConfirmFault::Password(SignInFault::Wrong))), "the code is not used for it");
    let token = confirm(PASSWORD, right()).await.unwrap();
    people.access.replace_recovery_codes(&people.live(&token).await).await.unwrap();
    assert_eq!(people.count(EventKind::SecondFactorFailed).await, 1);
}

#[tokio::test]
async fn s44_strangers_who_fail_at_the_sign_in_page_keep_nobody_from_confirming() {
    let people = People::new().await;
    let session = people.sign_in().await;
    for _ in 0..9 {
        people.try_sign_in("acme/alex", "a guess").await.unwrap_err();
    }
    people.allow_failures(1);
    assert_eq!(fault(people.try_sign_in("acme/alex", PASSWORD).await), "wait");
    let token = people.access.confirm(&session, secret(PASSWORD), None).await.unwrap();
    // It has tries of its own.
    let session = people.live(&token).await;
    people.allow_failures(10);
    for _ in 0..9 {
        people.access.confirm(&session, secret("a slip of the keyboard"), None).await.unwrap_err();
    }
    people.allow_failures(1);
    let waits = people.access.confirm(&session, secret(PASSWORD), None).await;
    assert!(matches!(waits, Err(ConfirmFault::Password(SignInFault::Wait { .. }))), "{waits:?}");
}

#[tokio::test]
async fn s20_a_session_that_was_ended_is_not_brought_back_by_whoever_looked_before() {
    let people = People::new().await;
    let (session, other) = (people.sign_in().await, people.sign_in().await);
    people.access.plane_in(&other).end_other_sessions(&other).await.unwrap();
    let confirmed = people.access.confirm(&session, secret(PASSWORD), None).await;
    assert!(matches!(
        confirmed,
        Err(ConfirmFault::Factor(FactorRefusal::Control(ControlError::Forbidden(_))))
    ));
    let changed = people.access.change_own_password(&session, secret("another long password")).await;
    assert!(matches!(changed, Err(ControlError::Forbidden(_))));
    assert!(people.access.show_recovery_codes(&session).await.is_err());
    assert_eq!(people.access.sessions_of(&other.user).await.unwrap().len(), 1);
    assert!(people.try_sign_in("acme/alex", PASSWORD).await.is_ok(), "the password is as it was");
}

#[tokio::test]
async fn s84_a_user_has_fifty_sessions_at_most() {
    let people = People::new().await;
    let first = people.sign_in().await;
    let mut change = people.world.store.mutate().await.unwrap();
    for number in 0..49 {
        let session = ConsoleSessionRecord {
            digest: TokenDigest([number; 32]),
            last_used_at: NOW.plus_seconds(1),
            ..first.record.clone()
        };
        change.insert_console_session(&session, SESSIONS_OF_A_USER).await.unwrap();
    }
    change.commit().await.unwrap();
    assert!(people.stands(&first).await);
    people.pass(2);
    people.sign_in().await;
    assert!(!people.stands(&first).await, "the one that was used longest ago");
}

#[tokio::test]
async fn a_password_that_somebody_else_chose_opens_no_door_and_is_replaced_within_a_day() {
    let people = People::new().await;
    let name = People::name();
    let admin = people.make_user("admin").await;
    let promote = UserChanges { administrator: Some(true), ..Default::default() };
    people.operator().update_user(&admin, &promote).await.unwrap();
    let admin = people.try_sign_in("acme/admin", PASSWORD).await.unwrap().token;
    let admin = people.access.plane_in(&people.live(&admin).await);
    let chosen = "chosen by somebody else";
    let revision = admin.set_password(&name, secret(chosen)).await.unwrap();
    people.world.authenticator.applied(revision).await;
    for service in [Service::Api, Service::IsProxy] {
        assert!(matches!(people.world.password(chosen, service).await, Decision::Deny(_)), "{service:?}");
    }
    let token = people.try_sign_in("acme/alex", chosen).await.unwrap().token;
    let session = people.live(&token).await;
    assert_eq!(session.step, SessionStep::NewPassword);
    let plane = people.access.plane_in(&session);
    let told = plane.user(&name).await;
    assert!(matches!(told, Err(ControlError::Forbidden(Forbidden::NewPassword))), "{told:?}");
    let same = people.access.change_own_password(&session, secret(chosen)).await;
    assert_eq!(
        same.unwrap_err().to_string(),
        "this is the password that somebody else chose for you; choose one of your own"
    );
    let own = "a password of my own";
    let token = people.access.change_own_password(&session, secret(own)).await.unwrap();
    assert_eq!(people.live(&token).await.step, SessionStep::Open);
    assert!(matches!(people.world.password(own, Service::Api).await, Decision::Allow(_)));

    admin.set_password(&name, secret(chosen)).await.unwrap();
    let token = people.try_sign_in("acme/alex", chosen).await.unwrap().token;
    people.pass(1_799);
    assert!(people.is_live(&token).await);
    people.pass(86_400 - 1_799);
    assert!(!people.is_live(&token).await);
    assert_eq!(fault(people.try_sign_in("acme/alex", chosen).await), "wrong");
}

#[tokio::test]
async fn a_password_that_the_operator_chose_lasts() {
    let people = People::new().await;
    let revision =
        people.operator().set_password(&People::name(), secret("chosen by the operator")).await.unwrap();
    people.world.authenticator.applied(revision).await;
    let let_in = people.world.password("chosen by the operator", Service::Api).await;
    assert!(matches!(let_in, Decision::Allow(_)));
}

#[tokio::test]
async fn a_user_who_is_deleted_leaves_nothing_of_the_console_behind() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    people.access.begin_app(&first.session).await.unwrap();
    let half = people.sign_in().await;
    let link = people.operator().issue_link(&People::name()).await.unwrap();
    let (store, user) = (&people.world.store, people.world.user);
    assert!(!store.notices_of(user).await.unwrap().is_empty());
    let key = people.world.add_key("api").await.0;
    let deleted = people.operator().delete_user(&People::name()).await.unwrap();
    people.world.authenticator.applied(deleted.revision).await;
    assert_eq!(deleted.keys, 1);
    for session in [&first.session, &half] {
        assert!(!people.stands(session).await);
        let mut change = store.mutate().await.unwrap();
        assert!(change.ceremony(session.record.digest, "set up app").await.unwrap().is_none());
    }
    assert!(store.mfa_methods_of(user).await.unwrap().is_empty());
    assert!(store.recovery_set_of(user).await.unwrap().is_none());
    assert!(store.notices_of(user).await.unwrap().is_empty());
    assert!(people.access.follow_link(link.token.expose()).await.unwrap().is_none());
    assert!(matches!(people.world.key(&key, Service::Api).await, Decision::Deny(_)));
    let over = people.access.verify(&half, PresentedFactor::Code(people.code(&first.app))).await;
    assert!(matches!(over, Err(FactorRefusal::Over)));
    people.access.sign_out(&first.session).await.unwrap();
    // The name may be given again, and is somebody else.
    people.make_user("alex").await;
    let signed_in = people.try_sign_in("acme/alex", PASSWORD).await.unwrap();
    assert_eq!(signed_in.stage, SignInStage::Full);
}

#[tokio::test]
async fn notices_are_kept_until_they_were_shown_and_name_the_event_and_the_address() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let notices = people.access.notices(&first.session).await.unwrap();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].text, "An authenticator app or a security key was added.");
    assert_eq!(notices[0].client_ip, "192.0.2.7");
    // What happens while they are read is told the next time.
    people.pass(60);
    people.access.replace_recovery_codes(&first.session).await.unwrap();
    people.access.forget_notices(&first.session, notices[0].at).await.unwrap();
    let left = people.access.notices(&first.session).await.unwrap();
    assert_eq!(
        left.iter().map(|notice| notice.text).collect::<Vec<_>>(),
        ["The recovery codes were replaced."]
    );
    people.access.forget_notices(&first.session, left[0].at).await.unwrap();
    assert!(people.access.notices(&first.session).await.unwrap().is_empty());
}
