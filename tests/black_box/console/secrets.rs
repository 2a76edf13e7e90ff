//! What nobody finds afterwards, whatever was done. Every other story is searched in the same way (`harness::secrets`).

use super::{create_key, give_code, give_password, go_on, set_app_up, sign_in, sign_out};
use crate::harness::{PASSWORD, Request, TestGateway, Visitor, basic};

const ALEX: &str = "/account/users/alex";
/// Pages that tell what there is and what was done, for an administrator.
const PAGES: [&str; 13] = [
    "/account/users",
    ALEX,
    "/account/users/alex/edit",
    "/account/users/alex/api-keys",
    "/account/users/alex/mfa",
    "/account/activity",
    "/account/activity.csv",
    "/account/usage",
    "/account/quotas",
    "/profile",
    "/profile/sessions",
    "/api/v1/users",
    "/api/v1/activity",
];

#[test]
fn s40_no_secret_of_a_whole_story_stands_in_log_store_metrics_audit_trail_or_page() {
    let gateway = TestGateway::verbose();
    gateway.create_customer("acme");
    gateway.cli(&["user", "create", "acme/alex", "--permission", "MANAGE_API_KEY"]).expect_success();
    let told = gateway.cli(&["user", "link", "acme/alex"]).expect_success();
    let link = told.split_whitespace().find(|word| word.contains("/welcome/")).expect("a link");
    gateway.secrets().note("one-time link", link);

    // Alex chooses a password, sets an app up, makes a key, and comes back with a recovery code.
    let chosen = "a sentence that only Alex knows";
    let mut alex = Visitor::new(&gateway);
    let path = &link[link.find("/welcome/").unwrap()..];
    let page = alex.open(path);
    alex.submit(&page, path, &[("password", chosen)]);
    let page = give_password(&mut alex, "acme/alex", chosen);
    go_on(&mut alex, page);
    let (mut app, codes) = set_app_up(&mut alex);
    let key = create_key(&mut alex, "/profile/api-keys", "Shop", &["api", "isproxy"]);
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", chosen);
    give_code(&mut alex, "/sign-in/verify/recovery", &codes[0]);
    sign_out(&mut alex);
    give_password(&mut alex, "acme/alex", chosen);
    give_code(&mut alex, "/sign-in/verify", &app.next_code());

    // Right and wrong credentials at every door, and an API session.
    let wrong = format!("{key}x");
    for authorization in [
        format!("ApiKey {key}"),
        format!("ApiKey {wrong}"),
        format!("Session {key}"),
        basic("acme/alex", chosen),
        basic("acme/admin", PASSWORD),
    ] {
        gateway.api_get("/v2/domains", &authorization);
        gateway.connect_tls().exchange(&Request::get("/").authorization(&authorization));
        gateway.connect("api-refuse").exchange(&Request::get("/").authorization(&authorization));
    }
    for line in [
        format!("LOGIN {key}"),
        format!("LOGIN {wrong}"),
        format!("LOGIN acme/alex {chosen}"),
        format!("IS {key} example.com"),
    ] {
        gateway.isproxy_login(&line);
        gateway.connect("isproxy-refuse").ask(&line);
    }
    let opening = Request::new("POST", "/v2/session").authorization(&basic("acme/admin", PASSWORD));
    let session = gateway.connect("api").exchange(&opening).json()["key"].as_str().unwrap().to_owned();
    gateway.secrets().note("session token", &session);
    assert_eq!(gateway.api_get("/", &format!("Session {session}")).status, 200);
    gateway.secrets().note("password in base64", basic("acme/alex", chosen).trim_start_matches("Basic "));

    // Nothing that is asked for afterwards holds any of it; the harness looks at each answer, and at the files in the end.
    let mut admin = sign_in(&gateway, "acme/admin");
    for path in PAGES {
        assert_eq!(admin.open(path).status(), 200, "{path}");
    }
    gateway.ask_ops("/metrics");
    for arguments in [
        &["audit", "list", "--json"][..],
        &["audit", "list"],
        &["user", "show", "acme/alex", "--json"],
        &["key", "list", "acme/alex", "--json"],
    ] {
        gateway.cli(arguments).expect_success();
    }
    let (_, log, _) = gateway.stop();
    assert!(log.lines().count() > 20, "{log}");
}
