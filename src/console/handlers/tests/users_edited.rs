//! Making users and changing them: what is kept, what is refused, and what comes back to whoever typed it.

use http::StatusCode;

use super::users::{hidden, name, stored, with_kim};
use crate::auth::{UserChanges, UserToMake};
use crate::console::test_browser::TestConsole;
use crate::model::{MfaRequirement, Permission};

#[tokio::test]
async fn r58_a_new_user_comes_with_a_link_that_is_shown_once() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let token = hidden(&admin.get("/account/users/new").await, "form_token");
    let fields = [
        ("form_token", token.as_str()),
        ("parts", "profile"),
        ("login", "sami"),
        ("full_name", " Sami Example "),
        ("email", "sami@acme.example"),
        ("language", "de"),
        ("parts", "rights"),
        ("permission", "VIEW_AUDIT"),
        ("permission", "MANAGE_API_KEY"),
        ("parts", "access"),
        ("access", "console"),
        ("access", "api"),
        ("parts", "mfa"),
        ("require_mfa", "yes"),
        ("parts", "allow_list"),
        ("allow_list", "192.0.2.0/24\r\n2001:db8::/32"),
        ("password_by", "link"),
        ("password", ""),
    ];
    let shown = admin.post("/account/users/new", &fields).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    assert!(
        shown.body.contains("The user was created.")
            && shown.body.contains("https://console.example/welcome/")
    );
    let sami = stored(&console, "acme/sami").await;
    assert_eq!((sami.full_name.as_str(), sami.language.as_str()), ("Sami Example", "de"));
    assert_eq!(sami.permissions.to_string(), "MANAGE_API_KEY,VIEW_AUDIT");
    assert_eq!(
        (sami.access_points.to_string().as_str(), sami.mfa),
        ("console,api", MfaRequirement::Required)
    );
    assert_eq!(sami.allow_list.to_string(), "192.0.2.0/24,2001:db8::/32");
    let again = admin.post("/account/users/new", &fields).await;
    assert!(
        again.body.contains("This link was already shown") && !again.body.contains("/welcome/"),
        "{again:?}"
    );
    let list = admin.get("/account/users").await;
    assert!(list.body.contains("Invited") && list.body.contains("2 permissions"), "{list:?}");
}

#[tokio::test]
async fn a_typed_password_and_a_user_without_the_console_get_no_link() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let token = hidden(&admin.get("/account/users/new").await, "form_token");
    let fields = [
        ("form_token", token.as_str()),
        ("parts", "profile"),
        ("login", "typed"),
        ("password_by", "typed"),
        ("password", "a horse on the roof of it"),
    ];
    let made = admin.post("/account/users/new", &fields).await;
    assert_eq!(made.location(), Some("/account/users/typed"), "{made:?}");
    assert!(stored(&console, "acme/typed").await.password_ends_at.is_some());
    let again = admin.submit("/account/users/new", &fields).await;
    assert!(again.body.contains("This form was sent before"), "{again:?}");
    let token = hidden(&admin.get("/account/users/new").await, "form_token");
    let fields = [
        ("form_token", token.as_str()),
        ("parts", "profile"),
        ("login", "robot"),
        ("parts", "access"),
        ("access", "api"),
        ("password_by", "link"),
    ];
    let made = admin.submit("/account/users/new", &fields).await;
    assert!(made.body.contains("robot was created. There is no password"), "{made:?}");
    assert!(made.body.contains("no password is set") && !made.body.contains("New one-time link"), "{made:?}");
}

#[tokio::test]
async fn a_faulty_form_comes_back_with_everything_typed_but_the_password() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    admin.get("/account/users/new").await;
    let fields = |login: &'static str, password: &'static str, list: &'static str| {
        [
            ("form_token", "token"),
            ("parts", "profile"),
            ("login", login),
            ("full_name", "Sami <i>"),
            ("email", "sami"),
            ("language", "sv"),
            ("parts", "rights"),
            ("permission", "VIEW_AUDIT"),
            ("parts", "access"),
            ("access", "isproxy"),
            ("parts", "allow_list"),
            ("allow_list", list),
            ("password_by", "typed"),
            ("password", password),
        ]
    };
    let answer =
        admin.post("/account/users/new", &fields("Sami!", "hunter2", "192.0.2.1\n192.0.2.300")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in [
        "<title>Error: ",
        "value=\"Sami!\"",
        "value=\"Sami &#60;i&#62;\"",
        "value=\"sami\"",
        "<option value=\"sv\" selected>",
        "value=\"VIEW_AUDIT\" checked",
        "value=\"isproxy\" checked",
        "192.0.2.300</textarea>",
        "Line 2: 192.0.2.300 is not an IP address.",
        "href=\"#login\"",
        "href=\"#email\"",
        "name=\"form_token\" value=\"token\"",
        "value=\"typed\" checked",
    ] {
        assert!(answer.body.contains(text), "{text}: {answer:?}");
    }
    assert!(
        !answer.body.contains("hunter2") && !answer.body.contains("value=\"console\" checked"),
        "{answer:?}"
    );
    for (login, password, field) in [
        ("alex", "a horse on the roof of it", "login"),
        ("new", "a horse on the roof of it", "login"),
        ("", "a horse on the roof of it", "login"),
        ("sami", "", "password"),
        ("sami", "too short", "password"),
    ] {
        let mut fields = fields(login, password, "");
        fields[4].1 = "";
        let answer = admin.post("/account/users/new", &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{login} {password}: {answer:?}");
        assert!(answer.body.contains(&format!("href=\"#{field}\"")), "{login} {password}: {answer:?}");
    }
    assert!(console.plane.user(&name("acme/sami")).await.is_err());
}

#[tokio::test]
async fn s91_whoever_manages_users_makes_them_without_rights_and_gets_their_first_link() {
    let console = with_kim(Permission::ManageUser).await;
    let mut kim = console.signed_in("acme/kim").await;
    let form = kim.get("/account/users/new").await;
    for absent in ["name=\"administrator\"", "name=\"allow_list\"", "type=\"password\""] {
        assert!(!form.body.contains(absent), "{absent}: {form:?}");
    }
    let token = hidden(&form, "form_token");
    let fields = [
        ("form_token", token.as_str()),
        ("parts", "profile"),
        ("login", "sami"),
        ("parts", "mfa"),
        ("require_mfa", "yes"),
        ("password_by", "link"),
    ];
    let made = kim.post("/account/users/new", &fields).await;
    assert!(made.body.contains("/welcome/"), "{made:?}");
    let page = kim.get("/account/users/sami").await;
    assert!(page.body.contains("/sami/edit") && page.body.contains("/sami/deactivate"), "{page:?}");
    assert!(!page.body.contains("New one-time link") && !page.body.contains("/sami/delete"), "{page:?}");
}

#[tokio::test]
async fn only_the_parts_that_were_sent_are_changed() {
    let console = TestConsole::new().await;
    let changes = UserChanges {
        full_name: Some("Alex Doe".into()),
        permissions: Some([Permission::ViewAudit].into_iter().collect()),
        allow_list: Some("192.0.2.0/24".parse().unwrap()),
        ..UserChanges::default()
    };
    console.plane.update_user(&name("acme/alex"), &changes).await.unwrap();
    let mut admin = console.signed_in("acme/admin").await;
    let form = admin.get("/account/users/alex/edit").await;
    assert!(
        form.body.contains("value=\"Alex Doe\"") && form.body.contains("192.0.2.0/24</textarea>"),
        "{form:?}"
    );
    let version = hidden(&form, "version");
    let fields = [
        ("version", version.as_str()),
        ("parts", "access"),
        ("access", "api"),
        ("full_name", "Not sent"),
        ("parts", "allow_list"),
        ("allow_list", "198.51.100.7/24"),
    ];
    let saved = admin.submit("/account/users/alex/edit", &fields).await;
    assert!(saved.body.contains("198.51.100.7/24 was saved as 198.51.100.0/24."), "{saved:?}");
    let alex = stored(&console, "acme/alex").await;
    assert_eq!((alex.full_name.as_str(), alex.access_points.to_string().as_str()), ("Alex Doe", "api"));
    assert_eq!(
        (alex.permissions.to_string().as_str(), alex.allow_list.to_string().as_str()),
        ("VIEW_AUDIT", "198.51.100.0/24")
    );
    let late = admin.post("/account/users/alex/edit", &fields).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{late:?}");
    assert!(late.body.contains("Somebody changed this user meanwhile."), "{late:?}");
}

#[tokio::test]
async fn one_administrator_remains_and_what_was_typed_comes_back() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let version = hidden(&admin.get("/account/users/admin/edit").await, "version");
    let fields = [
        ("version", version.as_str()),
        ("parts", "profile"),
        ("full_name", "Robin Typed"),
        ("language", "en"),
        ("parts", "rights"),
        ("permission", "VIEW_AUDIT"),
    ];
    let answer = admin.post("/account/users/admin/edit", &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    assert!(
        answer.body.contains("href=\"#administrator\"") && answer.body.contains("value=\"Robin Typed\""),
        "{answer:?}"
    );
    assert!(stored(&console, "acme/admin").await.administrator);
    let shut_out = [("version", version.as_str()), ("parts", "allow_list"), ("allow_list", "203.0.113.0/24")];
    let answer = admin.post("/account/users/admin/edit", &shut_out).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
    assert!(answer.body.contains("You will not be able to sign in from 192.0.2.7."), "{answer:?}");
}

#[tokio::test]
async fn everybody_changes_the_own_name_and_nothing_else() {
    let console = TestConsole::new().await;
    let mut alex = console.signed_in("acme/alex").await;
    let form = alex.get("/account/users/alex/edit").await;
    assert_eq!(form.body.matches("name=\"parts\"").count(), 1, "{form:?}");
    let fields = [
        ("version", hidden(&form, "version")),
        ("parts", String::from("profile")),
        ("full_name", String::from("Alex")),
        ("email", String::from("alex@acme.example")),
        ("language", String::from("fr")),
    ];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let saved = alex.submit("/account/users/alex/edit", &fields).await;
    assert!(
        saved.body.contains("The changes were saved.") && saved.body.contains("<bdi>Alex</bdi>"),
        "{saved:?}"
    );
    let nothing = alex.post("/account/users/alex/edit", &[("version", "x")]).await;
    assert_eq!(nothing.status.as_u16(), 419, "{nothing:?}");
}

#[tokio::test]
async fn r24_what_the_customer_requires_is_said_and_not_asked() {
    let console = TestConsole::new().await;
    let order = UserToMake { administrator: true, ..UserToMake::new(name("acme/boss")) };
    console.make_user(order).await;
    let customer = "acme".parse().unwrap();
    let mut boss = console.signed_in("acme/boss").await;
    console.plane.set_customer_mfa(&customer, MfaRequirement::Required).await.unwrap();
    assert_eq!(boss.get("/account/users/new").await.location(), Some("/profile/mfa"));
    let mut change = console.world.store.mutate().await.unwrap();
    let mut user = change.user(&name("acme/boss")).await.unwrap().unwrap();
    user.mfa_active = true;
    change.update_user(&user).await.unwrap();
    change.commit().await.unwrap();
    for path in ["/account/users/new", "/account/users/alex/edit"] {
        let form = boss.get(path).await;
        assert!(form.body.contains("MFA is required of all users of this account."), "{form:?}");
        assert!(!form.body.contains("name=\"require_mfa\""), "{form:?}");
    }
    let refused = boss.post("/account/users/alex/mfa", &[("require_mfa", "no")]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
}
