//! Activity, usage and how to connect, through the router.

use std::num::NonZeroU32;

use http::StatusCode;

use super::api_keys::{add_beta, key_of, permit};
use crate::auth::{KeyToMake, PasswordEnd};
use crate::console::test_browser::TestConsole;
use crate::model::Permission;

const ACTIVITY: &str = "/account/activity";

/// Makes so many keys of `acme/alex`, with an event each.
async fn make_keys(console: &TestConsole, count: u32) {
    let order = KeyToMake::new("acme/alex".parse().unwrap(), "Billing server", "api".parse().unwrap());
    let count = NonZeroU32::new(count).unwrap();
    console.plane.create_keys(&order, count, PasswordEnd::Accepted).await.unwrap();
}

#[tokio::test]
async fn activity_is_told_in_sentences_filtered_and_in_parts() {
    let console = TestConsole::new().await;
    make_keys(&console, 55).await;
    let mut admin = console.signed_in("acme/admin").await;
    let newest = admin.get(ACTIVITY).await;
    assert!(
        newest.says("signed in") && newest.says("created API key “Billing server” for alex"),
        "{newest:?}"
    );
    assert!(!newest.says("rel=\"prev\""), "{newest:?}");
    let next = newest.part("<a href=\"/account/activity?before=", "\"").to_owned();
    let older = admin.get(&format!("{ACTIVITY}?before={next}")).await;
    assert!(
        older.says("<a href=\"/account/activity\" rel=\"prev\">") && !older.says("rel=\"next\""),
        "{older:?}"
    );
    let sign_ins = admin.get(&format!("{ACTIVITY}?kind=sign-ins&user=admin")).await;
    assert!(sign_ins.says("signed in") && !sign_ins.says("created API key"), "{sign_ins:?}");
    assert!(sign_ins.says("/account/activity.csv?user=admin&#38;kind=sign-ins"), "{sign_ins:?}");
    for nothing in ["user=no%20body", "until=2020-01-01", "user=nobody"] {
        let answer = admin.get(&format!("{ACTIVITY}?{nothing}")).await;
        assert!(answer.says("Nothing matches these filters."), "{nothing}: {answer:?}");
    }
    let faulty = admin.get(&format!("{ACTIVITY}?from=yesterday")).await;
    assert_eq!(faulty.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        faulty.says("Enter a date such as 2027-01-31.") && faulty.says("value=\"yesterday\""),
        "{faulty:?}"
    );
}

#[tokio::test]
async fn the_csv_holds_everything_and_no_formula() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    let base = "/account/users/alex/api-keys";
    let token = admin.get(base).await.form_token();
    let formula = "=HYPERLINK(\"http://evil.example\")";
    let form =
        [("form_token", token.as_str()), ("description", formula), ("access", "api"), ("understood", "yes")];
    let made = admin.post(base, &form).await;
    assert_eq!(made.status, StatusCode::OK);
    // More than one reading of the trail takes.
    make_keys(&console, 505).await;
    let csv = admin.get("/account/activity.csv?kind=keys").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(csv.headers["content-disposition"], "attachment; filename=\"activity-acme-2027-01-15.csv\"");
    assert!(csv.body.starts_with("sequence,time,actor,"), "{}", csv.body);
    let lines: Vec<_> = csv.body.lines().filter(|line| line.contains("key.created")).collect();
    assert_eq!(lines.len(), 506);
    assert!(csv.says("HYPERLINK"), "it is told as text");
    let begins_formula = |field: &str| field.trim_start_matches('"').starts_with(['=', '+', '-', '@']);
    assert!(!csv.body.lines().flat_map(|line| line.split(',')).any(begins_formula), "{}", csv.body);
    let empty = admin.get("/account/activity.csv?user=no%20body").await;
    assert_eq!(empty.body.lines().count(), 1);
    assert_eq!(admin.get("/account/activity.csv?from=x").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn r3_activity_and_usage_take_their_permissions() {
    let console = TestConsole::new().await;
    let mut alex = console.signed_in("acme/alex").await;
    for path in [ACTIVITY, "/account/activity.csv"] {
        let answer = alex.get(path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.says("VIEW_AUDIT"), "{answer:?}");
    }
    assert_eq!(alex.get("/account/usage").await.status, StatusCode::FORBIDDEN);
    permit(&console, &[Permission::ViewAudit, Permission::ManageUser]).await;
    for path in [ACTIVITY, "/account/activity.csv", "/account/usage", "/account/usage?period=month"] {
        assert_eq!(alex.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn s25_another_customers_activity_and_keys_are_not_told() {
    let console = TestConsole::new().await;
    add_beta(&console).await;
    let (key, _) = key_of(&console, "beta/admin", "api").await;
    let mut admin = console.signed_in("acme/admin").await;
    for path in [ACTIVITY, "/account/activity.csv"] {
        assert!(!admin.get(path).await.says("beta"), "{path}");
    }
    for base in ["/profile/api-keys", "/account/users/alex/api-keys"] {
        assert_eq!(admin.get(&format!("{base}/{key}/usage")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn usage_of_a_key_is_charted_by_door() {
    let console = TestConsole::new().await;
    let (key, _) = key_of(&console, "acme/alex", "api").await;
    let mut admin = console.signed_in("acme/admin").await;
    for period in ["day", "month"] {
        let path = format!("/account/users/alex/api-keys/{key}/usage?period={period}");
        let answer = admin.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.says("Usage of “Billing server”") && answer.says("IsProxy questions"), "{answer:?}");
        assert!(answer.says(&format!("href=\"{path}\" aria-current=\"true\"")), "{answer:?}");
    }
}

#[tokio::test]
async fn how_to_connect_names_the_doors_and_no_key() {
    let console = TestConsole::new().await;
    let mut alex = console.signed_in("acme/alex").await;
    let page = alex.get("/connect").await;
    assert!(page.says("https://api.example/v2") && page.says("is.example:2001"), "{page:?}");
    assert!(page.says("$API_KEY") && !page.says("/profile/api-keys"), "{page:?}");
    permit(&console, &[Permission::ManageApiKey]).await;
    assert!(alex.get("/connect").await.says("/profile/api-keys"));
}
