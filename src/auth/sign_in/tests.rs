//! Signing in and what a session is good for, as a browser and a clock see it.

mod factors;
mod sessions;

use std::future::Future;
use std::sync::Arc;

use super::super::testing::people::{People, secret, visitor};
use super::super::testing::{NOW, PASSWORD, World};
use super::super::{
    Activation, Attempt, ConfirmFault, Credential, Decision, Forbidden, PresentedFactor, UserChanges,
};
use super::*;
use crate::config::Limits;
use crate::model::{AllowList, MfaRequirement, Service};
use crate::store::LinkDemand;

/// What a sign-in that must not succeed answers.
fn fault<T: fmt::Debug>(result: Result<T, SignInFault>) -> String {
    match result.unwrap_err() {
        SignInFault::Wrong => "wrong".into(),
        SignInFault::Wait { .. } => "wait".into(),
        other => format!("{other:?}"),
    }
}

/// Runs `work` so often at once; answers how often it came to something.
async fn at_once<F: Future<Output = bool> + Send + 'static>(times: usize, work: impl Fn() -> F) -> usize {
    let tasks: Vec<_> = (0..times).map(|_| tokio::spawn(work())).collect();
    let mut right = 0;
    for task in tasks {
        right += usize::from(task.await.unwrap());
    }
    right
}

#[tokio::test]
async fn s38_s93_every_refusal_of_a_password_is_the_same_after_the_same_work() {
    let people = People::with(Limits { failed_passwords_per_user: 0, ..Limits::default() }).await;
    let operator = people.operator();
    for login in ["inactive", "off-list", "no-console", "link", "ended", "none"] {
        people.make_user(login).await;
    }
    let name = |login: &str| format!("acme/{login}").parse::<UserName>().unwrap();
    operator.set_activation(&name("inactive"), Activation::Deactivated).await.unwrap();
    let access = UserChanges { access_points: Some("api".parse().unwrap()), ..Default::default() };
    operator.update_user(&name("no-console"), &access).await.unwrap();
    let mut change = people.world.store.mutate().await.unwrap();
    let mut off_list = change.user(&name("off-list")).await.unwrap().unwrap();
    off_list.allow_list = "198.51.100.0/24".parse().unwrap();
    change.update_user(&off_list).await.unwrap();
    let link = change.user(&name("link")).await.unwrap().unwrap();
    change.require_link(link.id, LinkDemand::NextSignIn).await.unwrap();
    let ended = change.user(&name("ended")).await.unwrap().unwrap();
    change.set_password(ended.id, &ended.password_hash.unwrap(), Some(NOW)).await.unwrap();
    change.commit().await.unwrap();

    let cases = [
        ("acme/alex", "a wrong password of alex", "wrong_password"),
        ("acme/nobody", PASSWORD, "unknown_user"),
        ("no name at all", PASSWORD, "unknown_user"),
        ("", PASSWORD, "unknown_user"),
        ("acme/inactive", PASSWORD, "user_inactive"),
        ("acme/no-console", PASSWORD, "access_point_off"),
        ("acme/off-list", PASSWORD, "address_outside_user_list"),
        ("acme/link", PASSWORD, "link_missing"),
        ("acme/ended", PASSWORD, "password_ended"),
    ];
    for (place, (name, password, reason)) in cases.iter().enumerate() {
        assert_eq!(fault(people.try_sign_in(name, password).await), "wrong", "{name}");
        assert_eq!(people.world.authenticator.checked_console_passwords(), place + 1, "{name} {reason}");
        let told = people.trail().await.pop().unwrap();
        assert_eq!((told.event.as_str(), told.entrance.as_str()), ("sign_in.failed", "console"));
        assert!(told.details.contains(reason), "{name}: {}", told.details);
    }
    assert!(people.try_sign_in("acme/alex", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn s44_failures_at_the_sign_in_page_make_its_name_wait_whether_there_is_such_a_user_or_not() {
    let people = People::new().await;
    let names = ["acme/alex", "acme/nobody", "nonsense"];
    for name in names {
        for _ in 0..9 {
            assert_eq!(fault(people.try_sign_in(name, "a wrong password").await), "wrong", "{name}");
        }
    }
    people.allow_failures(1);
    for name in names {
        assert_eq!(fault(people.try_sign_in(name, PASSWORD).await), "wait", "{name}");
    }
    let told = people.trail().await;
    assert!(told.iter().any(|entry| entry.event == "throttle.engaged" && entry.subject == "acme/alex"));
}

#[tokio::test]
async fn a_users_own_browser_is_not_locked_out_by_strangers() {
    let people = People::new().await;
    let device = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().device.unwrap();
    let device = device.expose().as_str();
    let with = async |device: &str, password: &str| {
        let name = "acme/alex";
        let presented = PasswordSignIn { name, password: secret(password), link: None, device: Some(device) };
        people.access.sign_in(&visitor("192.0.2.9"), presented).await
    };
    for _ in 0..9 {
        assert_eq!(fault(people.try_sign_in("acme/alex", "a stranger's guess").await), "wrong");
    }
    people.allow_failures(1);
    assert_eq!(fault(people.try_sign_in("acme/alex", PASSWORD).await), "wait");
    with(device, PASSWORD).await.unwrap();
    let (expiry, proof) = device.split_once('-').unwrap();
    let later = format!("{}-{proof}", expiry.parse::<i64>().unwrap() + 1);
    for forged in [later.as_str(), "", "-", &format!("{expiry}-"), &format!("x-{proof}")] {
        assert_eq!(fault(with(forged, PASSWORD).await), "wait", "{forged}");
    }
    // Its own failures are counted, however it spells itself.
    people.allow_failures(10);
    for spelled in ["", "0", "00", "000", "+", "+0", "+00", "+000", "+0000"] {
        assert_eq!(fault(with(&format!("{spelled}{device}"), "a wrong password").await), "wrong");
    }
    people.allow_failures(1);
    assert_eq!(fault(with(&format!("00000{device}"), PASSWORD).await), "wait");
}

#[tokio::test]
async fn a_browser_is_its_users_own_for_thirty_days_and_until_the_password_changes() {
    let people = People::new().await;
    people.make_user("bo").await;
    let user = people.user().await;
    let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap().device.unwrap();
    let own = |user: &UserRecord| people.access.own_device(user, token.expose()).is_some();
    assert!(own(&user));
    assert!(!own(&people.operator().user(&"acme/bo".parse().unwrap()).await.unwrap()));
    people.operator().set_password(&People::name(), secret("another long password")).await.unwrap();
    assert!(!own(&people.user().await));
    people.pass(30 * 86_400 - 1);
    assert!(own(&user));
    people.pass(1);
    assert!(!own(&user));
}

#[tokio::test]
async fn s94_a_flood_of_passwords_at_the_doors_does_not_keep_people_out_of_the_console() {
    let limits = Limits { password_queue: 2, ..Limits::default() };
    let people = People::of(World::without_password_threads(limits).await).await;
    let authenticator = &people.world.authenticator;
    let attempt = |number: usize| {
        let authenticator = Arc::clone(authenticator);
        tokio::spawn(async move {
            let password = secret(&format!("guess {number}"));
            let user = format!("acme/user-{number}");
            let credential = Credential::Password { user: &user, password };
            let client_ip = visitor("198.51.100.4").client_ip;
            authenticator.authenticate(Attempt { credential, service: Service::Api, client_ip }).await
        })
    };
    let flood: Vec<_> = (0..20).map(attempt).collect();
    let mut busy = 0;
    while busy < 18 {
        tokio::task::yield_now().await;
        busy = flood.iter().filter(|task| task.is_finished()).count();
    }
    let denied = people.world.password(PASSWORD, Service::Api).await;
    assert!(matches!(denied, Decision::Deny(denial) if denial.refusal == Refusal::Busy), "{denied:?}");
    let signed_in = people.try_sign_in("acme/alex", PASSWORD).await.unwrap();
    assert_eq!(signed_in.stage, SignInStage::Full);
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn r22_with_mfa_on_the_password_alone_gets_as_far_as_the_second_step() {
    let people = People::new().await;
    people.set_up_app().await;
    let signed_in = people.try_sign_in("acme/alex", PASSWORD).await.unwrap();
    assert_eq!(signed_in.stage, SignInStage::Half);
    assert!(signed_in.device.is_none(), "not yet the browser of anybody");
    assert_eq!(people.live(&signed_in.token).await.step, SessionStep::SecondFactor);
    let told = people.trail().await;
    let done = told.iter().filter(|entry| entry.event == "sign_in.done").count();
    assert_eq!(done, 1, "that one was before MFA was on");
}

#[tokio::test]
async fn s28_a_half_sign_in_does_nothing_but_its_second_step_and_ends_with_it() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let half = people.sign_in().await;
    let plane = people.access.plane_in(&half);
    let refused = |result: Result<(), ControlError>| {
        assert!(matches!(result, Err(ControlError::Forbidden(Forbidden::SecondFactor))), "{result:?}");
    };
    let name = People::name();
    refused(plane.user(&name).await.map(drop));
    refused(plane.access(&name).await.map(drop));
    refused(plane.mfa_overview(&name).await.map(drop));
    refused(plane.end_other_sessions(&half).await.map(drop));
    refused(
        plane.update_user(&name, &UserChanges::default()).await.map(drop).and(
            plane
                .update_user(&name, &UserChanges { email: Some("a@b.example".into()), ..Default::default() })
                .await
                .map(drop),
        ),
    );
    refused(people.access.change_own_password(&half, secret("another long password")).await.map(drop));
    let set_up = people.access.begin_app(&half).await.map(drop);
    assert!(set_up.unwrap_err().to_string().contains("second factor"));
    assert!(people.access.replace_recovery_codes(&half).await.is_err());
    assert!(people.access.show_recovery_codes(&half).await.is_err());
    let confirmed = people.access.confirm(&half, secret(PASSWORD), None).await;
    assert!(matches!(confirmed, Err(ConfirmFault::Factor(FactorRefusal::Over))));

    people.pass(30);
    let code = PresentedFactor::Code(people.code(&first.app));
    let (signed_in, used) = people.access.verify(&half, code).await.unwrap();
    assert_eq!(used, UsedFactor::Method(crate::model::MethodKind::App));
    assert!(!people.stands(&half).await, "its token is another one now (S84)");
    let full = people.live(&signed_in.token).await;
    assert_eq!((full.step, full.record.tries), (SessionStep::Open, 0));
    assert!(signed_in.device.is_some());
    let told = people.trail().await.pop().unwrap();
    assert_eq!((told.event.as_str(), told.actor.as_str()), ("sign_in.done", "acme/alex"));
    assert!(told.details.contains("authenticator app"));
    people.access.plane_in(&full).user(&name).await.unwrap();
    people.pass(30);
    let again = people.access.verify(&full, PresentedFactor::Code(people.code(&first.app))).await;
    assert!(matches!(again, Err(FactorRefusal::Over)), "there is no second step left");
}

#[tokio::test]
async fn s84_no_number_of_half_sign_ins_ends_a_session() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let mut change = people.world.store.mutate().await.unwrap();
    for number in 0..60 {
        let half = ConsoleSessionRecord {
            digest: TokenDigest([number; 32]),
            stage: SignInStage::Half,
            last_used_at: NOW.plus_seconds(1),
            ..first.session.record.clone()
        };
        change.insert_console_session(&half, SESSIONS_OF_A_USER).await.unwrap();
    }
    change.commit().await.unwrap();
    assert!(people.stands(&first.session).await);
    people.sign_in().await;
    assert!(people.stands(&first.session).await);
}

#[tokio::test]
async fn a_forced_user_gets_to_the_set_up_page_and_no_further_until_it_is_set_up() {
    let people = People::new().await;
    let force = |mfa| UserChanges { mfa: Some(mfa), ..UserChanges::default() };
    let operator = people.operator();
    operator.update_user(&People::name(), &force(MfaRequirement::Required)).await.unwrap();
    let session = people.sign_in().await;
    assert_eq!(session.step, SessionStep::SetUp);
    let refused = people.access.plane_in(&session).access(&People::name()).await;
    assert!(matches!(refused, Err(ControlError::Forbidden(Forbidden::MfaSetUp))), "r25");
    let first = people.set_up_app().await;
    assert_eq!(first.session.step, SessionStep::Open);
    // Stopped, MFA stays on; forced again, it goes on as it is.
    for mfa in [MfaRequirement::Optional, MfaRequirement::Required] {
        operator.update_user(&People::name(), &force(mfa)).await.unwrap();
        assert!(people.user().await.mfa_active);
        let token = people.try_sign_in("acme/alex", PASSWORD).await.unwrap();
        assert_eq!(token.stage, SignInStage::Half);
        assert!(people.stands(&first.session).await);
        assert_eq!(
            people.access.plane_in(&first.session).mfa_overview(&People::name()).await.unwrap().methods.len(),
            1
        );
    }
}

#[tokio::test]
async fn s40_what_is_typed_and_what_browsers_hold_is_never_printed() {
    let people = People::new().await;
    let typed = PasswordSignIn {
        name: "typed-by-mistake",
        password: secret("the-password"),
        link: Some("the-link"),
        device: Some("the-device"),
    };
    assert_eq!(format!("{typed:?}"), "PasswordSignIn(…)");
    let console = ConsolePassword {
        client_ip: visitor("192.0.2.7").client_ip,
        counted_as: "the-device",
        password: secret("the-password"),
        hash: None,
        admitted: true,
    };
    assert_eq!(format!("{console:?}"), "ConsolePassword(…)");
    for factor in [PresentedFactor::Code, PresentedFactor::RecoveryCode, PresentedFactor::SecurityKey] {
        assert!(!format!("{:?}", factor(secret("the-code"))).contains("the-code"));
    }
    let signed_in = people.try_sign_in("acme/alex", PASSWORD).await.unwrap();
    let session = people.live(&signed_in.token).await;
    let printed = format!("{signed_in:?} {session:?} {:?} {:?}", people.access, people.user().await);
    assert!(!printed.contains(signed_in.token.expose()));
    assert!(!printed.contains(signed_in.device.unwrap().expose()));
    assert!(!printed.contains("argon2id") && !printed.contains(PASSWORD));
    assert!(!printed.contains(people.access.form_proof(&session).expose()));
    for entry in people.trail().await {
        assert!(!format!("{entry:?}").contains(signed_in.token.expose()));
    }
}

#[tokio::test]
async fn s85_a_form_is_of_one_session() {
    let people = People::new().await;
    let (one, other) = (people.sign_in().await, people.sign_in().await);
    let proof = people.access.form_proof(&one);
    assert!(people.access.is_form_of(&one, proof.expose()));
    assert!(!people.access.is_form_of(&other, proof.expose()) && !people.access.is_form_of(&one, ""));
}
