//! Stories of the console without a browser: one file for each story of the article. What a browser adds is in `browser`.
//!
//! Here stands what people do in several of them.

mod api_keys;
mod authenticator_app;
mod existing_customers;
mod mfa_general;
mod secrets;
mod security_key;
mod users_article;

use crate::harness::{App, PASSWORD, Page, SecurityKey, TestGateway, Visitor};

/// A gateway with the customer `acme`, of which nothing is required, its administrator and `acme/alex`.
fn account(alex: &[&str]) -> TestGateway {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user_with("acme/alex", alex);
    gateway
}

/// The first step of a sign-in; answers the page that it leads to.
#[track_caller]
pub fn give_password(visitor: &mut Visitor<'_>, user: &str, password: &str) -> Page {
    let page = visitor.open("/sign-in");
    let (account, login) = user.split_once('/').unwrap();
    visitor.submit(&page, "/sign-in", &[("account", account), ("user", login), ("password", password)])
}

/// Reads what is told after a sign-in, and goes on.
#[track_caller]
fn go_on(visitor: &mut Visitor<'_>, mut page: Page) -> Page {
    if page.html().contains("action=\"/signed-in\"") {
        page = visitor.submit(&page, "/signed-in", &[]);
    }
    if page.path.starts_with("/signed-in") { visitor.open("/") } else { page }
}

/// Somebody who has signed in with the password alone, and read what is told then.
#[track_caller]
pub fn sign_in<'g>(gateway: &'g TestGateway, user: &str) -> Visitor<'g> {
    let mut visitor = Visitor::new(gateway);
    let page = give_password(&mut visitor, user, PASSWORD);
    let page = go_on(&mut visitor, page);
    assert_eq!(page.status(), 200, "{}: {}", page.path, page.text());
    assert!(!page.path.starts_with("/sign-in"), "{user} is not signed in: {}", page.text());
    visitor
}

/// The second step with a code of the app or a recovery code; answers the page that it leads to.
#[track_caller]
pub fn give_code(visitor: &mut Visitor<'_>, action: &str, code: &str) -> Page {
    let page = visitor.open(action);
    let action = action.split('?').next().unwrap();
    visitor.submit(&page, action, &[("code", code)])
}

/// Is this somebody who can use the console?
pub fn is_in(visitor: &mut Visitor<'_>) -> bool {
    let page = visitor.get("/profile");
    page.status() == 200
}

/// Ends the session.
#[track_caller]
fn sign_out(visitor: &mut Visitor<'_>) {
    let page = visitor.open("/profile/mfa");
    visitor.submit(&page, "/sign-out", &[]).expect("You are signed out");
}

/// Turns an authenticator app on; answers it, and the recovery codes where it was the first method.
#[track_caller]
pub fn set_app_up(visitor: &mut Visitor<'_>) -> (App, Vec<String>) {
    let mut page = visitor.open("/profile/mfa/app");
    let mut codes = Vec::new();
    if page.path.starts_with("/profile/mfa/recovery-codes") {
        codes = page.recovery_codes();
        page = visitor.submit(&page, "/profile/mfa/recovery-codes", &[("saved", "yes")]);
    }
    let mut app = App::typed_from(&page);
    let page = visitor.submit(&page, "/profile/mfa/app", &[("code", &app.next_code())]);
    page.expect("Authenticator app is on.");
    (app, codes)
}

/// Registers a security key; answers it, and the recovery codes where it was the first method.
#[track_caller]
fn set_key_up(gateway: &TestGateway, visitor: &mut Visitor<'_>, name: &str) -> (SecurityKey, Vec<String>) {
    let mut page = visitor.open("/profile/mfa/key");
    let mut codes = Vec::new();
    if page.path.starts_with("/profile/mfa/recovery-codes") {
        codes = page.recovery_codes();
        page = visitor.submit(&page, "/profile/mfa/recovery-codes", &[("saved", "yes")]);
    }
    let mut key = SecurityKey::new(gateway);
    let credential = key.register(&page);
    let page = visitor.submit(&page, "/profile/mfa/key", &[("name", name), ("credential", &credential)]);
    page.expect(&format!("Security key “ {name} ” is on."));
    (key, codes)
}

/// Creates a key on the page `list`; answers its text.
#[track_caller]
pub fn create_key(visitor: &mut Visitor<'_>, list: &str, description: &str, scopes: &[&str]) -> String {
    let page = visitor.open(list);
    let mut fields = vec![("description", description), ("expires", "never"), ("understood", "yes")];
    fields.extend(scopes.iter().map(|scope| ("access", *scope)));
    visitor.submit(&page, list, &fields).expect("Save your new key now").secret()
}

/// The address of the page that deletes the only key with this description.
#[track_caller]
pub fn deletion_of(visitor: &mut Visitor<'_>, list: &str, description: &str) -> String {
    let html = visitor.open(list).html();
    let row = html.split("<tr").find(|row| row.contains(description)).expect("a key with this description");
    let links = row.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    links.map(str::to_owned).find(|link| link.ends_with("/delete")).expect("a link that deletes it")
}
