//! One-time links, as whoever follows them sees them.

use super::super::sign_in::{PasswordSignIn, PresentedFactor, SessionStep, SignInFault, SignedIn};
use super::super::testing::PASSWORD;
use super::super::testing::people::{People, secret, visitor};
use super::super::{Activation, Decision, FirstPassword, Forbidden, UserChanges, UserToMake};
use super::*;
use crate::model::{MfaState, Service, SignInStage};

const NEW: &str = "a password of my own";

async fn link(people: &People) -> Secret<String> {
    people.operator().issue_link(&People::name()).await.unwrap().token
}

async fn is_good(people: &People, token: &Secret<String>) -> bool {
    people.access.follow_link(token.expose()).await.unwrap().is_some()
}

async fn choose(
    people: &People,
    token: &Secret<String>,
    password: &str,
) -> Result<Option<UserName>, ControlError> {
    let from = visitor("192.0.2.7").client_ip;
    people.access.choose_password_by_link(token.expose(), secret(password), from).await
}

async fn sign_in_by(people: &People, token: Option<&str>) -> Result<SignedIn, SignInFault> {
    let presented =
        PasswordSignIn { name: "acme/alex", password: secret(PASSWORD), link: token, device: None };
    people.access.sign_in(&visitor("192.0.2.7"), presented).await
}

fn is_wrong<T: std::fmt::Debug>(result: &Result<T, SignInFault>) {
    assert!(matches!(result, Err(SignInFault::Wrong)), "{result:?}");
}

#[tokio::test]
async fn s102_looking_at_a_link_uses_nothing_up_and_choosing_a_password_does() {
    let people = People::new().await;
    let session = people.sign_in().await;
    let token = link(&people).await;
    for _ in 0..3 {
        let followed = people.access.follow_link(token.expose()).await.unwrap().unwrap();
        assert_eq!((followed.user.name, followed.purpose), (People::name(), LinkPurpose::Password));
    }
    let weak = choose(&people, &token, "password").await;
    assert!(matches!(weak, Err(ControlError::Password(_))));
    assert!(is_good(&people, &token).await, "a password that is not allowed uses nothing up");
    assert_eq!(choose(&people, &token, NEW).await.unwrap(), Some(People::name()));
    assert_eq!(choose(&people, &token, "yet another password").await.unwrap(), None);
    assert!(!is_good(&people, &token).await && !people.stands(&session).await);
    is_wrong(&people.try_sign_in("acme/alex", PASSWORD).await);
    people.try_sign_in("acme/alex", NEW).await.unwrap();
    let told = people.trail().await;
    for event in ["link.issued", "link.used", "password.changed"] {
        assert!(told.iter().any(|entry| entry.event == event && entry.subject == "acme/alex"), "{event}");
    }
    assert!(told.iter().all(|entry| !format!("{entry:?}").contains(token.expose().as_str())));
}

#[tokio::test]
async fn s102_a_link_dies_with_a_newer_one_with_time_deactivation_and_a_new_password() {
    let people = People::new().await;
    let (operator, name) = (people.operator(), People::name());
    let one = link(&people).await;
    let other = link(&people).await;
    assert_ne!(one, other);
    assert!(!is_good(&people, &one).await && is_good(&people, &other).await);

    operator.set_activation(&name, Activation::Deactivated).await.unwrap();
    assert!(!is_good(&people, &other).await);
    operator.set_activation(&name, Activation::Active).await.unwrap();
    assert!(!is_good(&people, &other).await, "it does not come back");

    let token = link(&people).await;
    operator.set_password(&name, secret("set by the operator")).await.unwrap();
    assert!(!is_good(&people, &token).await);
    operator.set_password(&name, secret(PASSWORD)).await.unwrap();

    let token = link(&people).await;
    let session = people.sign_in().await;
    people.access.change_own_password(&session, secret(NEW)).await.unwrap();
    assert!(!is_good(&people, &token).await);

    let token = link(&people).await;
    people.pass(86_399);
    assert!(is_good(&people, &token).await);
    people.pass(1);
    assert!(!is_good(&people, &token).await);
    assert_eq!(choose(&people, &token, NEW).await.unwrap(), None);
}

#[tokio::test]
async fn s102_what_is_no_link_opens_nothing() {
    let people = People::new().await;
    let token = link(&people).await;
    let (head, _) = token.expose().split_at(token.expose().len() - 1);
    for text in ["", "x", head, &format!("{}x", token.expose()), &token.expose().to_lowercase()] {
        assert!(people.access.follow_link(text).await.unwrap().is_none(), "{text}");
    }
    let random = draw_token().unwrap();
    assert!(!is_good(&people, &random).await);
    let made = people.operator().issue_link(&People::name()).await.unwrap();
    assert!(!format!("{made:?}").contains(made.token.expose().as_str()));
    let followed = people.access.follow_link(made.token.expose()).await.unwrap();
    assert!(!format!("{followed:?}").contains("argon2id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s102_of_many_uses_of_a_link_at_once_one_counts() {
    let people = std::sync::Arc::new(People::new().await);
    let token = link(&people).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (people, token) = (people.clone(), token.clone());
            tokio::spawn(async move {
                matches!(choose(&people, &token, &format!("{NEW} {number}")).await, Ok(Some(_)))
            })
        })
        .collect();
    let mut used = 0;
    for task in tasks {
        used += usize::from(task.await.unwrap());
    }
    assert_eq!(used, 1);
    assert_eq!(people.count(EventKind::LinkUsed).await, 1);
}

#[tokio::test]
async fn s102_a_link_gets_nobody_past_a_list_an_entrance_that_is_closed_or_mfa() {
    let people = People::new().await;
    let token = link(&people).await;
    let refused = async |why: &str| {
        let answer = choose(&people, &token, NEW).await;
        assert!(matches!(answer, Err(ControlError::Forbidden(Forbidden::Asker(_)))), "{why}: {answer:?}");
    };
    people.world.change_user(|user| user.allow_list = "198.51.100.0/24".parse().unwrap()).await;
    refused("list").await;
    people.world.change_user(|user| user.allow_list = crate::model::AllowList::default()).await;
    people.world.change_user(|user| user.access_points = "api".parse().unwrap()).await;
    refused("entrance").await;
    people.world.change_user(|user| user.access_points = crate::model::AccessPoints::ALL).await;
    assert!(is_good(&people, &token).await);

    let first = people.set_up_app().await;
    choose(&people, &token, NEW).await.unwrap().unwrap();
    let signed_in = people.try_sign_in("acme/alex", NEW).await.unwrap();
    assert_eq!(signed_in.stage, SignInStage::Half, "the second factor is asked as before");
    people.pass(30);
    let half = people.live(&signed_in.token).await;
    people.access.verify(&half, PresentedFactor::Code(people.code(&first.app))).await.unwrap();
}

#[tokio::test]
async fn s102_a_link_acts_for_its_user_alone_and_chooses_a_password_and_nothing_else() {
    let people = People::new().await;
    let user = people.user().await;
    let client_ip = visitor("192.0.2.7").client_ip;
    let actor = UserActor { id: user.id, name: user.name.clone(), means: Means::Link, client_ip };
    let plane = people.operator().acting_as(Actor::User(actor));
    assert!(matches!(plane.user(&user.name).await, Err(ControlError::Forbidden(Forbidden::NotByLink))));
    assert!(plane.issue_link(&user.name).await.is_err() && plane.reset_mfa(&user.name).await.is_err());
}

#[tokio::test]
async fn a_new_users_first_link_leads_to_a_first_password() {
    let people = People::new().await;
    let name: UserName = "acme/newcomer".parse().unwrap();
    let order = UserToMake { password: FirstPassword::Link, ..UserToMake::new(name.clone()) };
    let token = people.operator().create_user(order).await.unwrap().link.unwrap();
    is_wrong(&people.try_sign_in("acme/newcomer", PASSWORD).await);
    assert_eq!(choose(&people, &token, NEW).await.unwrap(), Some(name));
    let token = people.try_sign_in("acme/newcomer", NEW).await.unwrap().token;
    assert_eq!(people.live(&token).await.step, SessionStep::Open);
}

#[tokio::test]
async fn after_a_reset_of_mfa_the_next_sign_in_takes_the_link_and_the_password_once() {
    let people = People::new().await;
    let first = people.set_up_app().await;
    let made = people.operator().reset_mfa(&People::name()).await.unwrap();
    assert_eq!(made.purpose, LinkPurpose::SignIn);
    assert!(!people.stands(&first.session).await);
    let user = people.user().await;
    assert_eq!((mfa_state(&user), user.link_required), (MfaState::RequiredNotSetUp, true));
    assert!(people.world.store.recovery_set_of(user.id).await.unwrap().is_none());

    is_wrong(&sign_in_by(&people, None).await);
    is_wrong(&sign_in_by(&people, Some("x")).await);
    let chosen = choose(&people, &made.token, NEW).await.unwrap();
    assert_eq!(chosen, None, "it signs in, and sets no password");
    people.make_user("bo").await;
    let of_bo = people.operator().reset_mfa(&"acme/bo".parse().unwrap()).await.unwrap();
    is_wrong(&sign_in_by(&people, Some(of_bo.token.expose())).await);
    let wrong = PasswordSignIn {
        name: "acme/alex",
        password: secret("a wrong password"),
        link: Some(made.token.expose()),
        device: None,
    };
    is_wrong(&people.access.sign_in(&visitor("192.0.2.7"), wrong).await);

    let signed_in = sign_in_by(&people, Some(made.token.expose())).await.unwrap();
    let session = people.live(&signed_in.token).await;
    assert_eq!(session.step, SessionStep::SetUp);
    assert!(!people.user().await.link_required);
    let again = sign_in_by(&people, Some(made.token.expose())).await.unwrap();
    assert_eq!(again.stage, SignInStage::Full, "the password alone does from then on");
    assert_eq!(people.count(EventKind::LinkUsed).await, 1, "the link is used up");
    assert_eq!(people.count(EventKind::MfaReset).await, 2);
}

#[tokio::test]
async fn a_link_that_a_reset_asks_for_can_be_given_anew_and_a_password_link_does_not_do() {
    let people = People::new().await;
    let password_link = link(&people).await;
    let first = people.operator().reset_mfa(&People::name()).await.unwrap();
    assert!(!is_good(&people, &password_link).await);
    let second = people.operator().issue_link(&People::name()).await.unwrap();
    assert_eq!(second.purpose, LinkPurpose::SignIn);
    is_wrong(&sign_in_by(&people, Some(first.token.expose())).await);
    people.pass(86_400);
    is_wrong(&sign_in_by(&people, Some(second.token.expose())).await);
    let third = people.operator().issue_link(&People::name()).await.unwrap();
    sign_in_by(&people, Some(third.token.expose())).await.unwrap();
}

#[tokio::test]
async fn while_a_link_is_due_the_password_opens_no_door_even_if_mfa_is_made_optional_again() {
    let people = People::new().await;
    assert!(matches!(people.world.password(PASSWORD, Service::Api).await, Decision::Allow(_)));
    let made = people.operator().reset_mfa(&People::name()).await.unwrap();
    let relax = UserChanges { mfa: Some(MfaRequirement::Optional), ..UserChanges::default() };
    let revision = people.operator().update_user(&People::name(), &relax).await.unwrap();
    people.world.authenticator.applied(revision).await;
    for service in [Service::Api, Service::IsProxy] {
        assert!(matches!(people.world.password(PASSWORD, service).await, Decision::Deny(_)), "{service:?}");
    }
    people.world.reload().await;
    assert!(matches!(people.world.password(PASSWORD, Service::Api).await, Decision::Deny(_)), "loaded anew");
    let table = people.operator().access(&People::name()).await.unwrap();
    assert!(!table.api_password.admits() && table.console_password.note().contains("link"));
    let token = sign_in_by(&people, Some(made.token.expose())).await.unwrap().token;
    people.world.reload().await;
    assert!(people.is_live(&token).await);
    assert!(matches!(people.world.password(PASSWORD, Service::Api).await, Decision::Allow(_)));
}

#[tokio::test]
async fn nobody_resets_their_own_mfa_and_only_administrators_give_links() {
    let people = People::new().await;
    let admin = people.make_user("admin").await;
    let promote = UserChanges { administrator: Some(true), ..UserChanges::default() };
    people.operator().update_user(&admin, &promote).await.unwrap();
    let session = people.live(&people.try_sign_in("acme/admin", PASSWORD).await.unwrap().token).await;
    let plane = people.access.plane_in(&session);
    assert!(matches!(plane.reset_mfa(&admin).await, Err(ControlError::Forbidden(Forbidden::Yourself))));
    plane.reset_mfa(&People::name()).await.unwrap();
    plane.issue_link(&People::name()).await.unwrap();
    people.pass(601);
    let stale = plane.issue_link(&People::name()).await;
    assert!(matches!(stale, Err(ControlError::Forbidden(Forbidden::StaleAuthentication))));
    people.make_user("bo").await;
    let bo = people.live(&people.try_sign_in("acme/bo", PASSWORD).await.unwrap().token).await;
    let bo = people.access.plane_in(&bo);
    assert!(matches!(bo.issue_link(&admin).await, Err(ControlError::Forbidden(Forbidden::Administrator))));
    assert!(matches!(bo.reset_mfa(&admin).await, Err(ControlError::Forbidden(Forbidden::Administrator))));
}
