//! The pages of IP whitelists through the router.

use http::StatusCode;

use super::api_keys::permit;
use crate::auth::Holder;
use crate::console::test_browser::TestConsole;
use crate::model::Permission;

const OF_ALEX: &str = "/account/users/alex/ip-whitelist";
const OF_ADMIN: &str = "/account/users/admin/ip-whitelist";

async fn list_of(console: &TestConsole, owner: &str) -> String {
    let owner: Holder = owner.parse().unwrap();
    console.plane.allow_list(&owner).await.unwrap().to_string()
}

#[tokio::test]
async fn s89_faults_are_told_by_line_and_nothing_is_saved() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    admin.get(OF_ALEX).await;
    let typed = "192.0.2.0/24\n192.0.2.300";
    let answer = admin.post(OF_ALEX, &[("allow_list", typed), ("do", "save")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.says("Line 2: 192.0.2.300 is not an IP address."), "{answer:?}");
    assert!(answer.says("192.0.2.0/24\n192.0.2.300</textarea>"), "{answer:?}");
    assert_eq!(list_of(&console, "user:acme/alex").await, "");
}

#[tokio::test]
async fn a_list_is_saved_as_networks_and_what_is_said_of_it_is_said() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    admin.get(OF_ALEX).await;
    let added = admin.post(OF_ALEX, &[("allow_list", "198.51.100.7/24"), ("do", "add")]).await;
    assert!(added.says("198.51.100.7/24\n192.0.2.7</textarea>"), "{added:?}");
    assert_eq!(list_of(&console, "user:acme/alex").await, "", "it is not saved yet");
    let typed = "198.51.100.7/24\n192.0.2.7\n0.0.0.0/0";
    let saved = admin.submit(OF_ALEX, &[("allow_list", typed), ("do", "save")]).await;
    assert!(saved.says("198.51.100.7/24 was saved as 198.51.100.0/24."), "{saved:?}");
    assert!(saved.says("0.0.0.0/0: This allows every address."), "{saved:?}");
    assert!(saved.says("IP whitelist of the account"), "{saved:?}");
    assert_eq!(list_of(&console, "user:acme/alex").await, "198.51.100.0/24,192.0.2.7/32,0.0.0.0/0");
}

#[tokio::test]
async fn r61_who_would_be_shut_out_is_asked_first() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    admin.get(OF_ADMIN).await;
    let typed = ("allow_list", "198.51.100.0/24");
    let asked = admin.post(OF_ADMIN, &[typed, ("do", "save")]).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.says("You will not be able to sign in from 192.0.2.7."), "{asked:?}");
    assert_eq!(list_of(&console, "user:acme/admin").await, "");
    let edited = admin.post(OF_ADMIN, &[typed, ("do", "edit")]).await;
    assert!(edited.says("198.51.100.0/24</textarea>"), "{edited:?}");
    let saved = admin.post(OF_ADMIN, &[typed, ("do", "save"), ("confirmed", "yes")]).await;
    assert_eq!(saved.location(), Some(OF_ADMIN));
    let out = admin.get(OF_ADMIN).await;
    assert!(out.location().unwrap().starts_with("/sign-in"), "{out:?}");
}

#[tokio::test]
async fn the_accounts_list_is_administrators_matter() {
    let console = TestConsole::new().await;
    permit(&console, &[Permission::ManageIpWhitelist]).await;
    let path = "/account/ip-whitelist";
    let mut alex = console.signed_in("acme/alex").await;
    assert_eq!(alex.get(path).await.status, StatusCode::FORBIDDEN);
    assert_eq!(alex.post(path, &[("allow_list", "192.0.2.7")]).await.status, StatusCode::FORBIDDEN);
    let mut admin = console.signed_in("acme/admin").await;
    admin.get(path).await;
    let saved = admin.submit(path, &[("allow_list", "192.0.2.0/24"), ("do", "save")]).await;
    assert!(saved.says("IP whitelist of the account acme was saved."), "{saved:?}");
    assert_eq!(list_of(&console, "customer:acme").await, "192.0.2.0/24");
}

#[tokio::test]
async fn s91_lists_of_administrators_and_ones_own_are_not_for_manage_ip_whitelist() {
    let console = TestConsole::new().await;
    let mut alex = console.signed_in("acme/alex").await;
    assert!(alex.get(OF_ALEX).await.says("MANAGE_IP_WHITELIST"));
    permit(&console, &[Permission::ManageIpWhitelist]).await;
    for path in [OF_ADMIN, OF_ALEX] {
        assert_eq!(alex.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
        let sent = alex.post(path, &[("allow_list", "192.0.2.7"), ("confirmed", "yes")]).await;
        assert_eq!(sent.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(alex.get("/account/users/nobody/ip-whitelist").await.status, StatusCode::NOT_FOUND);
    assert_eq!(list_of(&console, "user:acme/alex").await, "");
}
