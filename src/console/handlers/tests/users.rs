//! An account's users: who sees which, who may do what, and what follows at the doors.

use http::StatusCode;

use crate::auth::UserRecord;
use crate::auth::testing::{NOW, PASSWORD};
use crate::auth::testing::{NewMethod, SeenAddress};
use crate::auth::{Decision, UserToMake};
use crate::console::test_browser::{Answer, Browser, TestConsole};
use crate::model::{AccessPoint, ClientIp, MethodKind, Permission, Recognised, Service, UserName};

const OK: StatusCode = StatusCode::OK;
const NO: StatusCode = StatusCode::FORBIDDEN;
const NOT_THERE: StatusCode = StatusCode::NOT_FOUND;
const ON: StatusCode = StatusCode::SEE_OTHER;

pub(super) fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

/// A user of the store.
pub(super) async fn stored(console: &TestConsole, user: &str) -> UserRecord {
    console.plane.user(&name(user)).await.unwrap()
}

/// A console with `acme/kim`, who holds one permission, beside `alex` and `admin`.
pub(super) async fn with_kim(permission: Permission) -> TestConsole {
    let console = TestConsole::new().await;
    let permissions = [permission].into_iter().collect();
    console.make_user(UserToMake { permissions, ..UserToMake::new(name("acme/kim")) }).await;
    console
}

/// The value of a hidden field.
pub(super) fn hidden(answer: &Answer, field: &str) -> String {
    answer.part(&format!("name=\"{field}\" value=\""), "\"").to_owned()
}

/// Every page about `alex`, and what comes before it.
const PAGES: [&str; 9] = [
    "/account/users",
    "/account/users/new",
    "/account/users/alex",
    "/account/users/alex/edit",
    "/account/users/alex/deactivate",
    "/account/users/alex/delete",
    "/account/users/alex/allow-password",
    "/account/users/alex/mfa",
    "/account/users/alex/mfa/reset",
];

#[tokio::test]
async fn s91_pages_of_users_open_to_whom_the_table_says() {
    let rows = [
        (Permission::ManageApiKey, [NO, NO, NO, NO, NO, NO, NO, NO, NO]),
        (Permission::ViewAudit, [NO, NO, NO, NO, NO, NO, NO, NO, NO]),
        (Permission::ManageUser, [OK, OK, OK, OK, OK, NO, NO, NO, NO]),
        (Permission::ManageIpWhitelist, [OK, NO, OK, OK, NO, NO, NO, NO, NO]),
    ];
    for (permission, expected) in rows {
        let console = with_kim(permission).await;
        let mut kim = console.signed_in("acme/kim").await;
        for (path, status) in PAGES.into_iter().zip(expected) {
            let answer = kim.get(path).await;
            assert_eq!(answer.status, status, "{permission:?} {path}: {answer:?}");
        }
        assert_eq!(kim.get("/account/users/kim").await.status, OK, "everybody sees the own page");
        assert_eq!(kim.get("/account/users/kim/edit").await.status, OK, "and edits the own data");
        for below in ["deactivate", "delete", "allow-password", "mfa", "mfa/reset"] {
            assert_eq!(kim.get(&format!("/account/users/kim/{below}")).await.status, NO, "{below}");
        }
    }
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    for path in PAGES {
        assert_eq!(admin.get(path).await.status, OK, "{path}");
    }
    let own = admin.get("/account/users/admin/mfa/reset").await;
    assert_eq!(own.status, NO, "nobody resets the own MFA: {own:?}");
}

/// Every form about `user`, with fields that would change something.
fn forms(user: &str) -> Vec<(String, Vec<(&'static str, &'static str)>)> {
    let below = |path: &str| format!("/account/users/{user}/{path}");
    vec![
        (below("edit"), vec![("parts", "profile"), ("full_name", "Changed"), ("language", "en")]),
        (below("edit"), vec![("parts", "access"), ("access", "console")]),
        (below("edit"), vec![("parts", "rights"), ("administrator", "yes")]),
        (below("edit"), vec![("parts", "mfa"), ("require_mfa", "yes")]),
        (below("edit"), vec![("parts", "allow_list"), ("allow_list", "192.0.2.0/24")]),
        (below("deactivate"), vec![]),
        (below("reactivate"), vec![]),
        (below("delete"), vec![]),
        (below("allow-password"), vec![]),
        (below("link"), vec![("form_token", "one")]),
        (below("mfa"), vec![("require_mfa", "yes")]),
        (below("mfa/reset"), vec![("form_token", "two")]),
    ]
}

async fn statuses(browser: &mut Browser, user: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (path, fields) in forms(user) {
        statuses.push(browser.post(&path, &fields).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn s91_forms_are_refused_by_the_server_and_change_nothing() {
    for (permission, allowed) in [
        (Permission::ManageApiKey, &[][..]),
        (Permission::ViewAudit, &[]),
        (Permission::ManageUser, &[]),
        (Permission::ManageIpWhitelist, &[]),
    ] {
        let console = with_kim(permission).await;
        let mut kim = console.signed_in("acme/kim").await;
        kim.get("/account/users/kim").await;
        let before = format!("{:?}", stored(&console, "acme/admin").await);
        let told = statuses(&mut kim, "admin").await;
        assert!(told.iter().enumerate().all(|(at, told)| *told == 403 || allowed.contains(&at)), "{told:?}");
        assert_eq!(format!("{:?}", stored(&console, "acme/admin").await), before);
        let own = statuses(&mut kim, "kim").await;
        // Only the own profile, which says that it was changed meanwhile since it shows no version.
        assert_eq!(own[0], 409, "{own:?}");
        assert!(own[1..].iter().all(|told| *told == 403), "{own:?}");
        let made = kim
            .post(
                "/account/users/new",
                &[("login", "eve"), ("parts", "profile"), ("parts", "rights"), ("administrator", "yes")],
            )
            .await;
        assert_eq!(made.status, NO, "{made:?}");
        assert!(console.plane.user(&name("acme/eve")).await.is_err());
    }
}

#[tokio::test]
async fn s25_users_of_others_and_users_that_are_not_there_are_answered_alike() {
    let console = TestConsole::new().await;
    let beta = crate::auth::CustomerToMake {
        mfa: Some(crate::model::MfaRequirement::Optional),
        ..crate::auth::CustomerToMake::new("beta".parse().unwrap())
    };
    console.plane.create_customer(beta).await.unwrap();
    let only_there = UserToMake { administrator: true, ..UserToMake::new(name("beta/boss")) };
    console.make_user(only_there).await;
    let mut boss = console.signed_in("beta/boss").await;
    boss.get("/account/users").await;
    let before = format!("{:?}", stored(&console, "acme/alex").await);
    for user in ["alex", "nobody", "acme%2Falex", "..%2Facme%2Falex", "%00", "a%20b"] {
        for path in &PAGES[2..] {
            let path = path.replace("alex", user);
            assert_eq!(boss.get(&path).await.status, NOT_THERE, "{path}");
        }
        assert!(statuses(&mut boss, user).await.iter().all(|told| *told == 404), "{user}");
    }
    assert_eq!(format!("{:?}", stored(&console, "acme/alex").await), before);
    let list = boss.get("/account/users?search=a").await;
    assert!(!list.body.contains("alex") && list.body.contains("/account/users/admin"), "{list:?}");
}

#[tokio::test]
async fn users_are_searched_filtered_and_paged_on_the_server() {
    let console = TestConsole::new().await;
    for number in 0..55 {
        let user = UserToMake {
            full_name: "<b>Team</b>".into(),
            ..UserToMake::new(name(&format!("acme/u{number:02}")))
        };
        console.plane.create_user(user).await.unwrap();
    }
    let mut admin = console.signed_in("acme/admin").await;
    let first = admin.get("/account/users").await;
    assert!(first.body.contains("1–50 of 57 users") && first.body.contains("57 users sign in"), "{first:?}");
    assert!(first.body.contains("Activate authenticator app"), "R32: {first:?}");
    assert!(first.body.contains("&#60;b&#62;Team") && !first.body.contains("<b>Team"), "{first:?}");
    let second = admin.get("/account/users?page=2").await;
    assert!(second.body.contains("51–57 of 57 users"), "{second:?}");
    assert!(second.body.contains("/account/users/u54") && !second.body.contains("/account/users/u01"));
    assert!(admin.get("/account/users?page=x").await.body.contains("1–50 of 57"));
    let found = admin.get("/account/users?search=U5&page=9").await;
    assert!(found.body.contains("5 users") && found.body.contains("value=\"U5\""), "{found:?}");
    let none = admin.get("/account/users?search=%3Cscript%3E").await;
    assert!(none.body.contains("No user matches “<bdi>&#60;script&#62;"), "{none:?}");
    let inactive = admin.get("/account/users?filter=inactive").await;
    assert!(inactive.body.contains("No user is listed under “Inactive”."), "{inactive:?}");
}

#[tokio::test]
async fn the_page_of_a_user_says_what_keeps_whom_out_and_leads_there() {
    let console = TestConsole::new().await;
    let order = crate::auth::KeyToMake::new(name("acme/alex"), "CI", "api".parse().unwrap());
    let count = std::num::NonZeroU32::MIN;
    console.plane.create_keys(&order, count, crate::auth::PasswordEnd::Accepted).await.unwrap();
    let mut admin = console.signed_in("acme/admin").await;
    let page = admin.get("/account/users/alex").await;
    for text in [
        "<a href=\"/account/users/alex/api-keys\">an API key exists</a>",
        "<a href=\"/account/users/alex/api-keys\">no key has IsProxy access</a>",
        "<strong>Yes</strong> – 1 key",
        "href=\"/account/users/alex/mfa\">Manage</a>",
        "href=\"/account/activity?user=alex\"",
        "From every address: no IP whitelist.",
    ] {
        assert!(page.body.contains(text), "{text}: {page:?}");
    }
    let page = admin.visit("/account/users/alex/allow-password").await;
    assert!(page.body.contains("alex still has 1 API key."), "{page:?}");
    let mut alex = console.signed_in("acme/alex").await;
    let page = alex.get("/account/users/alex").await;
    assert!(page.body.contains("/profile/mfa/app") && page.body.contains("an API key exists"), "{page:?}");
    for absent in ["/api-keys\"", "deactivate", "/delete", "/account/activity", "\"/account/users\""] {
        assert!(!page.body.contains(absent), "{absent}: {page:?}");
    }
}

#[tokio::test]
async fn s23_mfa_that_is_forced_counts_at_the_doors_from_the_next_request_on() {
    let console = TestConsole::new().await;
    let alex = stored(&console, "acme/alex").await;
    let address = ClientIp::new("198.51.100.9".parse().unwrap());
    let whose = Recognised::Password(alex.id);
    let seen = SeenAddress { whose, entrance: AccessPoint::Api, address, at: NOW };
    console.world.store.note_addresses(&[seen]).await.unwrap();
    let Decision::Allow(permit) = console.world.password(PASSWORD, Service::IsProxy).await else {
        panic!("not let in");
    };
    let open = console.world.authenticator.open_session(&permit);
    let mut admin = console.signed_in("acme/admin").await;
    let page = admin.get("/account/users/alex/mfa").await;
    assert!(page.body.contains("The password was last used at the API"), "{page:?}");
    assert!(page.body.contains("198.51.100.9"), "{page:?}");
    assert!(page.body.contains("1 session or connection is open now."), "{page:?}");
    let page = admin.submit("/account/users/alex/mfa", &[("require_mfa", "yes")]).await;
    assert!(
        page.body.contains("Password access to the API and IsProxy is off. 1 session or connection ended."),
        "{page:?}"
    );
    assert!(page.body.contains("Required, not set up"), "{page:?}");
    assert!(open.is_ended());
    for door in [Service::Api, Service::IsProxy] {
        assert!(matches!(console.world.password(PASSWORD, door).await, Decision::Deny(_)), "{door}");
    }
    let mut alex = console.signed_in("acme/alex").await;
    assert_eq!(alex.get("/account/users/alex").await.location(), Some("/profile/mfa"));
    admin.get("/account/users/alex/mfa").await;
    let page = admin.submit("/account/users/alex/mfa", &[("require_mfa", "no")]).await;
    assert!(page.body.contains("MFA is optional for alex now."), "{page:?}");
    assert!(matches!(console.world.password(PASSWORD, Service::Api).await, Decision::Allow(_)));
}

#[tokio::test]
async fn r60_a_deactivation_ends_sessions_and_keys_and_a_reactivation_brings_the_keys_back() {
    let console = TestConsole::new().await;
    let (key, _) = console.world.add_key("api").await;
    let Decision::Allow(permit) = console.world.key(&key, Service::Api).await else { panic!("not let in") };
    let open = console.world.authenticator.open_session(&permit);
    let mut alex = console.signed_in("acme/alex").await;
    let mut admin = console.signed_in("acme/admin").await;
    let question = admin.get("/account/users/alex/deactivate").await;
    assert!(question.body.contains("2 sessions and connections"), "{question:?}");
    let page = admin.submit("/account/users/alex/deactivate", &[]).await;
    assert!(page.body.contains("alex was deactivated. 2 sessions and connections ended."), "{page:?}");
    assert!(
        page.body.contains("<a href=\"/account/users/alex/reactivate\">the user is deactivated</a>"),
        "{page:?}"
    );
    assert!(open.is_ended());
    assert!(matches!(console.world.key(&key, Service::Api).await, Decision::Deny(_)));
    let gone = alex.get("/account/users/alex").await;
    assert!(gone.location().is_some_and(|to| to.starts_with("/sign-in")), "{gone:?}");
    let page = admin.submit("/account/users/alex/reactivate", &[]).await;
    assert!(page.body.contains("alex was reactivated."), "{page:?}");
    assert!(matches!(console.world.key(&key, Service::Api).await, Decision::Allow(_)));
    let page = admin.submit("/account/users/alex/delete", &[]).await;
    assert!(page.body.contains("alex was deleted with 1 API key."), "{page:?}");
    assert!(matches!(console.world.key(&key, Service::Api).await, Decision::Deny(_)));
    assert_eq!(admin.get("/account/users/alex").await.status, NOT_THERE);
    let last = admin.post("/account/users/admin/delete", &[]).await;
    assert_eq!(last.status, StatusCode::CONFLICT, "{last:?}");
}

#[tokio::test]
async fn s102_a_link_is_shown_once_and_never_again() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let token = hidden(&admin.get("/account/users/alex").await, "form_token");
    let shown = admin.post("/account/users/alex/link", &[("form_token", &token)]).await;
    let link = shown.part("data-secret", "</code>").split_once('>').unwrap().1.to_owned();
    let (_, link_token) = link.split_once("https://console.example/welcome/").unwrap();
    let followed = console.state.access().follow_link(link_token).await.unwrap().unwrap();
    assert_eq!(followed.user.name, name("acme/alex"));
    let again = admin.post("/account/users/alex/link", &[("form_token", &token)]).await;
    assert!(
        again.body.contains("This link was already shown") && !again.body.contains("/welcome/"),
        "{again:?}"
    );
    assert!(console.state.access().follow_link(link_token).await.unwrap().is_some(), "the first one stays");
    assert_eq!(admin.get("/account/users/alex/link").await.location(), Some("/account/users/alex"));
}

#[tokio::test]
async fn a_reset_of_mfa_ends_methods_and_sessions_and_shows_its_link_once() {
    let console = TestConsole::new().await;
    let mut alex = console.signed_in("acme/alex").await;
    let mut change = console.world.store.mutate().await.unwrap();
    let user = change.user(&name("acme/alex")).await.unwrap().unwrap().id;
    let method = NewMethod {
        user,
        kind: MethodKind::App,
        name: "Phone",
        secret: b"sealed",
        credential_id: None,
        last_step: None,
        created_at: NOW,
    };
    change.insert_mfa_method(&method).await.unwrap();
    change.commit().await.unwrap();
    let mut admin = console.signed_in("acme/admin").await;
    let page = admin.get("/account/users/alex/mfa").await;
    assert!(
        page.body.contains("Phone") && page.body.contains("1 app") && page.body.contains("0 left"),
        "{page:?}"
    );
    let question = admin.get("/account/users/alex/mfa/reset").await;
    assert!(question.body.contains("1 method and all recovery codes"), "{question:?}");
    let token = hidden(&question, "form_token");
    let fields = [("form_token", token.as_str())];
    let shown = admin.post("/account/users/alex/mfa/reset", &fields).await;
    assert!(shown.body.contains("MFA was reset.") && shown.body.contains("/welcome/"), "{shown:?}");
    let again = admin.post("/account/users/alex/mfa/reset", &fields).await;
    assert!(again.body.contains("already shown") && !again.body.contains("/welcome/"), "{again:?}");
    let user = stored(&console, "acme/alex").await;
    assert!(user.link_required && !user.mfa_active);
    assert!(alex.get("/profile").await.location().is_some_and(|to| to.starts_with("/sign-in")));
    let page = admin.get("/account/users/alex").await;
    let fields = [("form_token", hidden(&page, "form_token"))];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let shown = admin.post("/account/users/alex/link", &fields).await;
    assert!(shown.body.contains("The next sign-in takes this link"), "{shown:?}");
}

#[tokio::test]
async fn s96_after_ten_minutes_a_form_asks_first_who_it_is() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    console.pass(601);
    for path in ["/account/users", "/account/users/alex"] {
        assert_eq!(admin.get(path).await.status, OK, "{path}");
    }
    for path in PAGES.into_iter().filter(|path| !matches!(*path, "/account/users" | "/account/users/alex")) {
        let to = format!("/confirm?next={}", path.replace('/', "%2F"));
        assert_eq!(admin.get(path).await.location(), Some(to.as_str()), "{path}");
    }
    for (path, fields) in forms("alex") {
        let answer = admin.post(&path, &fields).await;
        assert_eq!(answer.status, ON, "{path}");
        assert!(answer.location().is_some_and(|to| to.starts_with("/confirm?next=")), "{path}");
    }
    assert!(stored(&console, "acme/alex").await.active);
}

#[tokio::test]
async fn what_was_typed_outlives_the_question_who_it_is_but_for_passwords() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let token = hidden(&admin.get("/account/users/new").await, "form_token");
    console.pass(601);
    let fields = [
        ("form_token", token.as_str()),
        ("parts", "profile"),
        ("parts", "access"),
        ("login", "kim"),
        ("full_name", "Kim <b>"),
        ("language", "en"),
        ("access", "api"),
        ("access", "console"),
        ("password_by", "link"),
        ("password", "a horse on the roof of it"),
    ];
    let asked = admin.post("/account/users/new", &fields).await;
    assert_eq!(asked.location(), Some("/confirm?next=%2Faccount%2Fusers%2Fnew"), "{asked:?}");
    admin.get("/confirm?next=%2Faccount%2Fusers%2Fnew").await;
    let page = admin.submit("/confirm", &[("password", PASSWORD), ("next", "/account/users/new")]).await;
    assert!(page.body.contains("Send what you typed?") && !page.body.contains("horse"), "{page:?}");
    let form = page.body.split("action=\"/account/users/new\"").nth(1).unwrap();
    let kept: Vec<_> = form
        .split("type=\"hidden\" name=\"")
        .skip(1)
        .filter_map(|input| input.split_once("\" value=\""))
        .map(|(name, rest)| {
            (name, rest.split('"').next().unwrap().replace("&#60;", "<").replace("&#62;", ">"))
        })
        .filter(|(name, _)| *name != "csrf")
        .collect();
    let kept: Vec<_> = kept.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(kept, fields[..9], "{page:?}");
    let made = admin.post("/account/users/new", &kept).await;
    assert!(made.body.contains("/welcome/"), "{made:?}");
    let kim = stored(&console, "acme/kim").await;
    assert_eq!(kim.full_name, "Kim <b>");
    assert!(kim.access_points.holds(AccessPoint::Api) && !kim.access_points.holds(AccessPoint::IsProxy));
    // A form that says nothing but that it was sent is asked for again on its own page.
    console.pass(601);
    let asked = admin.post("/account/users/kim/deactivate", &[]).await;
    assert_eq!(asked.location(), Some("/confirm?next=%2Faccount%2Fusers%2Fkim%2Fdeactivate"));
    admin.get("/confirm").await;
    let next = [("password", PASSWORD), ("next", "/account/users/kim/deactivate")];
    let page = admin.submit("/confirm", &next).await;
    assert!(page.body.contains("Deactivate kim?"), "{page:?}");
}
