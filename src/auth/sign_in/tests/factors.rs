//! The second step: codes, recovery codes, security keys, and how often they may be wrong.

use super::super::super::testing::people::Browser;
use super::super::super::testing::people::ORIGIN;
use super::*;

fn code(code: Secret<String>) -> PresentedFactor {
    PresentedFactor::Code(code)
}

fn refusal<T: fmt::Debug>(result: Result<T, FactorRefusal>) -> String {
    match result.unwrap_err() {
        FactorRefusal::Wrong => "wrong".into(),
        FactorRefusal::Wait { .. } => "wait".into(),
        FactorRefusal::Disabled => "disabled".into(),
        FactorRefusal::NotOffered => "not offered".into(),
        FactorRefusal::Over => "over".into(),
        FactorRefusal::Control(error) => format!("{error:?}"),
    }
}

/// Tries wrong factors in half sign-ins that are begun anew as need be; what each answered.
async fn try_wrong(people: &People, times: usize, wrong: impl Fn() -> PresentedFactor) -> Vec<String> {
    let mut told = Vec::new();
    let mut half = people.sign_in().await;
    while told.len() < times {
        let answer = refusal(people.access.verify(&half, wrong()).await);
        if answer == "over" || told.len() % 5 == 4 {
            half = people.sign_in().await;
        }
        told.push(answer);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_of_fifty_equal_codes_at_once_one_is_taken() {
    let people = Arc::new(People::new().await);
    let first = people.set_up_app().await;
    people.pass(30);
    let mut halves = Vec::new();
    for _ in 0..10 {
        halves.push(people.sign_in().await);
    }
    let shown = people.code(&first.app);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let taken = at_once(50, || {
        let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (people, half, shown) = (Arc::clone(&people), halves[place % 10].clone(), shown.clone());
        async move { people.access.verify(&half, code(shown)).await.is_ok() }
    });
    assert_eq!(taken.await, 1);
    assert_eq!(people.count(EventKind::SignedIn).await, 2, "the one before MFA, and this one");
}

#[tokio::test]
async fn s29_s95_the_code_that_set_the_app_up_and_a_code_of_before_are_used() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let of_set_up = people.code(&first.app);
    let half = people.sign_in().await;
    assert_eq!(refusal(people.access.verify(&half, code(of_set_up)).await), "wrong");
    people.pass(60);
    let before = people.code(&first.app);
    people.pass(30);
    people.access.verify(&half, code(people.code(&first.app))).await.unwrap();
    let half = people.sign_in().await;
    assert_eq!(refusal(people.access.verify(&half, code(before)).await), "wrong", "a later step was taken");
}

#[tokio::test]
async fn s30_a_code_is_taken_one_step_away_and_not_two() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    // To the begin of a step.
    people.world.clock.set(NOW.plus_seconds(600));
    let early = people.code(&first.app);
    people.pass(60);
    let half = people.sign_in().await;
    assert_eq!(refusal(people.access.verify(&half, code(early)).await), "wrong", "two steps old");
    people.pass(60);
    let late = people.code(&first.app);
    people.pass(-60);
    assert_eq!(refusal(people.access.verify(&half, code(late)).await), "wrong", "two steps early");
    let shown = people.code(&first.app);
    people.pass(59);
    people.access.verify(&half, code(shown)).await.unwrap();
}

#[tokio::test]
async fn s31_s95_a_half_sign_in_has_five_tries_and_a_factor_ten_in_ten_minutes() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let half = people.sign_in().await;
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(refusal(people.access.verify(&half, code(people.wrong_code(&first.app))).await));
    }
    assert_eq!(told, ["wrong", "wrong", "wrong", "wrong", "over"]);
    people.pass(30);
    let right = people.access.verify(&half, code(people.code(&first.app))).await;
    assert_eq!(refusal(right), "over", "even a right one");
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    let half = people.live(&token).await;
    for _ in 0..5 {
        people.access.verify(&half, code(people.wrong_code(&first.app))).await.unwrap_err();
    }
    assert!(!people.is_live(&token).await);
    let half = people.sign_in().await;
    let waits = people.access.verify(&half, code(people.code(&first.app))).await.unwrap_err();
    assert!(matches!(waits, FactorRefusal::Wait { seconds } if (500..=600).contains(&seconds)), "{waits:?}");
    // The others go on.
    let (_, used) =
        people.access.verify(&half, PresentedFactor::RecoveryCode(first.codes[0].clone())).await.unwrap();
    assert_eq!(used, UsedFactor::RecoveryCode { left: 9 });
    let half = people.sign_in().await;
    assert_eq!(
        refusal(people.access.verify(&half, code(people.code(&first.app))).await),
        "wait",
        "not reset"
    );
    people.pass(600);
    let half = people.sign_in().await;
    people.access.verify(&half, code(people.code(&first.app))).await.unwrap();
    assert_eq!(people.count(EventKind::SecondFactorFailed).await, 10);
}

#[tokio::test]
async fn s31_a_hundred_wrong_in_a_row_disable_a_factor_and_not_the_other() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    for round in 0..10 {
        let told = try_wrong(&people, 10, || code(people.wrong_code(&first.app))).await;
        assert!(told.iter().all(|answer| answer == "wrong" || answer == "over"), "{round}: {told:?}");
        people.pass(601);
    }
    let half = people.sign_in().await;
    assert_eq!(refusal(people.access.verify(&half, code(people.code(&first.app))).await), "disabled");
    assert_eq!(people.count(EventKind::SecondFactorDisabled).await, 1);
    // A recovery code goes on, and does not bring the app back.
    people.access.verify(&half, PresentedFactor::RecoveryCode(first.codes[3].clone())).await.unwrap();
    people.pass(3_600);
    let half = people.sign_in().await;
    assert_eq!(refusal(people.access.verify(&half, code(people.code(&first.app))).await), "disabled");
}

#[tokio::test]
async fn s31_a_right_code_begins_its_own_count_anew() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    for _ in 0..3 {
        people.pass(30);
        let half = people.sign_in().await;
        for _ in 0..4 {
            people.access.verify(&half, code(people.wrong_code(&first.app))).await.unwrap_err();
        }
        people.access.verify(&half, code(people.code(&first.app))).await.unwrap();
    }
    let methods = people.world.store.mfa_methods_of(people.world.user).await.unwrap();
    assert_eq!((methods[0].failures.in_a_row, methods[0].failures.burst), (0, 0));
    assert_eq!(methods[0].last_used_at, Some(people.world.clock.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_of_fifty_equal_recovery_codes_at_once_one_is_taken() {
    let people = Arc::new(People::new().await);
    let first = people.set_up_app().await;
    let mut halves = Vec::new();
    for _ in 0..10 {
        halves.push(people.sign_in().await);
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let taken = at_once(50, || {
        let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (people, half, typed) = (Arc::clone(&people), halves[place % 10].clone(), first.codes[0].clone());
        async move { people.access.verify(&half, PresentedFactor::RecoveryCode(typed)).await.is_ok() }
    });
    assert_eq!(taken.await, 1);
    let set = people.world.store.recovery_set_of(people.world.user).await.unwrap().unwrap();
    assert_eq!(set.hashes.len(), 9);
    assert_eq!(people.count(EventKind::RecoveryCodeUsed).await, 1);
}

#[tokio::test]
async fn s32_r33_a_recovery_code_works_once_however_it_is_typed_and_wrong_ones_are_counted_before_they_are_hashed()
 {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let half = people.sign_in().await;
    let typed = first.codes[0].expose().to_uppercase().replace('-', " ");
    let (_, used) = people.access.verify(&half, PresentedFactor::RecoveryCode(secret(&typed))).await.unwrap();
    assert_eq!(used, UsedFactor::RecoveryCode { left: 9 });
    let again = || PresentedFactor::RecoveryCode(first.codes[0].clone());
    let told = try_wrong(&people, 5, again).await;
    assert_eq!(told[..4], ["wrong"; 4]);
    let unreadable = || PresentedFactor::RecoveryCode(secret("not a code"));
    try_wrong(&people, 5, unreadable).await;
    let half = people.sign_in().await;
    let right = PresentedFactor::RecoveryCode(first.codes[1].clone());
    assert_eq!(refusal(people.access.verify(&half, right).await), "wait");
    let (_, set) = (0, people.world.store.recovery_set_of(people.world.user).await.unwrap().unwrap());
    assert_eq!((set.hashes.len(), set.failures.burst), (9, 10));
    people.pass(30);
    people.access.verify(&half, code(people.code(&first.app))).await.unwrap();
}

#[tokio::test]
async fn s34_a_security_key_proves_itself_by_a_challenge_of_this_session_once_and_in_time() {
    let people = People::new().await;
    let mut browser = Browser::at(ORIGIN);
    people.set_up_key(&mut browser).await;
    let (one, other) = (people.sign_in().await, people.sign_in().await);
    let verify = async |half: &ConsoleSession, factor| people.access.verify(half, factor).await;
    let challenge = people.access.challenge_security_key(&one).await.unwrap();
    let answer = browser.prove(&challenge);
    let PresentedFactor::SecurityKey(text) = &answer else { panic!() };
    let again = || PresentedFactor::SecurityKey(text.clone());
    assert_eq!(refusal(verify(&other, again()).await), "not offered", "no challenge was sent to it");
    people.access.challenge_security_key(&other).await.unwrap();
    assert_eq!(refusal(verify(&other, again()).await), "wrong", "another one's challenge");
    let (_, used) = verify(&one, again()).await.unwrap();
    assert_eq!(used, UsedFactor::Method(crate::model::MethodKind::SecurityKey));

    let half = people.sign_in().await;
    let answer = browser.prove(&people.access.challenge_security_key(&half).await.unwrap());
    let wrong = PresentedFactor::SecurityKey(secret("{}"));
    assert_eq!(refusal(verify(&half, wrong).await), "wrong");
    assert_eq!(refusal(verify(&half, answer).await), "not offered", "the challenge is used up");

    // Too late: within a session that confirms, so that the half sign-in's own end is not what refuses.
    let half = people.sign_in().await;
    let answer = browser.prove(&people.access.challenge_security_key(&half).await.unwrap());
    let full = people.live(&verify(&half, answer).await.unwrap().0.token).await;
    let answer = browser.prove(&people.access.challenge_security_key(&full).await.unwrap());
    people.pass(300);
    let late = people.access.confirm(&full, secret(PASSWORD), Some(answer)).await;
    assert!(matches!(late, Err(ConfirmFault::Factor(FactorRefusal::NotOffered))), "{late:?}");
    let answer = browser.prove(&people.access.challenge_security_key(&full).await.unwrap());
    people.pass(299);
    people.access.confirm(&full, secret(PASSWORD), Some(answer)).await.unwrap();
}

#[tokio::test]
async fn s34_another_origin_another_key_and_a_counter_that_did_not_grow_are_refused_and_told() {
    let people = People::new().await;
    let mut browser = Browser::at(ORIGIN);
    people.set_up_key(&mut browser).await;
    // Within the relying party, so that an authenticator takes part, and not the console's.
    let half = people.sign_in().await;
    let challenge = people.access.challenge_security_key(&half).await.unwrap();
    let mut elsewhere = browser.moved_to("https://evil.console.example");
    let answer = elsewhere.prove(&challenge);
    assert_eq!(refusal(people.access.verify(&half, answer).await), "wrong");
    let mut browser = elsewhere.moved_to(ORIGIN);

    let (one, other) = (people.sign_in().await, people.sign_in().await);
    let lower = browser.prove(&people.access.challenge_security_key(&one).await.unwrap());
    let higher = browser.prove(&people.access.challenge_security_key(&other).await.unwrap());
    people.access.verify(&other, higher).await.unwrap();
    assert_eq!(refusal(people.access.verify(&one, lower).await), "wrong");
    let told = people.trail().await.pop().unwrap();
    assert_eq!(told.event, "mfa.failed");
    assert!(told.details.contains("its counter went back"), "{}", told.details);
}

#[tokio::test]
async fn s95_a_half_sign_in_lives_five_minutes_and_is_judged_again_at_its_last_step() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().token;
    let half = people.live(&token).await;
    people.pass(299);
    assert!(people.is_live(&token).await);
    people.pass(1);
    assert!(matches!(people.look(&token).await, SessionLook::Over));
    let late = people.access.verify(&half, code(people.code(&first.app))).await;
    assert_eq!(refusal(late), "over", "whoever had looked before as well");

    let operator = people.operator();
    let name = People::name();
    let half = people.sign_in().await;
    operator.set_activation(&name, Activation::Deactivated).await.unwrap();
    operator.set_activation(&name, Activation::Active).await.unwrap();
    assert_eq!(refusal(people.access.verify(&half, code(people.code(&first.app))).await), "over", "state");

    let half = people.sign_in().await;
    let elsewhere = ConsoleSession { client_ip: visitor("198.51.100.1").client_ip, ..half.clone() };
    people.world.change_user(|user| user.allow_list = "192.0.2.0/24".parse().unwrap()).await;
    assert_eq!(
        refusal(people.access.verify(&elsewhere, code(people.code(&first.app))).await),
        "over",
        "address"
    );

    let half = people.sign_in().await;
    operator.set_password(&name, secret("another long password")).await.unwrap();
    assert_eq!(refusal(people.access.verify(&half, code(people.code(&first.app))).await), "over", "password");
}

#[tokio::test]
async fn r40_who_has_no_such_method_is_told_so_and_loses_no_try() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let half = people.sign_in().await;
    assert_eq!(refusal(people.access.challenge_security_key(&half).await), "not offered");
    for _ in 0..6 {
        let answer = PresentedFactor::SecurityKey(secret("{}"));
        assert_eq!(refusal(people.access.verify(&half, answer).await), "not offered");
    }
    people.pass(30);
    people.access.verify(&half, code(people.code(&first.app))).await.unwrap();
}
