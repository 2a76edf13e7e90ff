//! Stories of the console in a real browser: Chromium, which Node.js drives, with a virtual security key.
//!
//! A story is a script of `tests/browser/`; it sees what a person at the screen sees. Here stands what it begins with.
//! What needs no browser is in `console`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Secrets, TestGateway, from_base32, run_within};

/// How long a story may take: pages are looked at four times each, on a machine that does other things too.
const A_STORY: Duration = Duration::from_mins(5);

/// Where the packages of `tests/browser/package.json` are.
fn packages() -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-node");
    let folder = std::env::var_os("LATCHKEY_TEST_NODE").map_or(default, PathBuf::from);
    assert!(
        folder.join("node_modules").exists(),
        "{} is not there: run `tests/all` once, which makes it with the packages of tests/browser/package.json",
        folder.display()
    );
    folder
}

/// Tells the story `name` of this gateway, and what of it the story needs to know besides.
#[track_caller]
fn tell(gateway: &TestGateway, name: &str, more: &Value) {
    let mut story = json!({
        "console": gateway.console_url(),
        "api": format!("http://{}", gateway.address("api")),
        "isproxy": gateway.address("isproxy").to_string(),
        "binary": env!("CARGO_BIN_EXE_latchkey"),
        "config": gateway.config_file(),
        "password": PASSWORD,
    });
    let members = more.as_object().expect("an object");
    story.as_object_mut().unwrap().extend(members.clone());
    run_story(name, &story, gateway.secrets());
    // What it got to know may stand in nothing that can be asked for afterwards; the files are searched in the end.
    gateway.ask_ops("/metrics");
    gateway.cli(&["audit", "list", "--json"]).expect_success();
}

/// Runs the story `name`, which is told `story`, and notes the secrets that its windows saw.
#[track_caller]
fn run_story(name: &str, story: &Value, secrets: &Secrets) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(name);
    let mut command = Command::new("node");
    command.arg(script).env("LATCHKEY_TEST_NODE", packages()).env("LATCHKEY_STORY", story.to_string());
    let output = run_within(A_STORY, &mut command, b"");
    assert_eq!(output.code, Some(0), "{name}:\n{}\n{}", output.stdout, output.stderr);
    for line in output.stdout.lines() {
        let seen: [String; 2] = serde_json::from_str(line).unwrap();
        match seen.each_ref().map(String::as_str) {
            ["codes", code] => secrets.note_recovery_code(code),
            ["key", typed] => secrets.note_app_secret(typed, &from_base32(&typed.replace(' ', ""))),
            [kind, text] => secrets.note(kind, text),
        }
    }
}

#[test]
fn s39_the_browsers_cache_of_pages_is_on_in_these_tests() {
    tell(&TestGateway::start(), "back_forward_cache.mjs", &json!({}));
}

/// A gateway with the customer `acme`, its administrator and `acme/alex`, made with these arguments.
fn account(alex: &[&str]) -> TestGateway {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user_with("acme/alex", alex);
    gateway
}

#[test]
fn r25_r26_r44_r45_r46_r48_a_forced_user_sets_a_security_key_up_and_signs_in_with_it() {
    tell(&account(&["--force-mfa"]), "forced_set_up.mjs", &json!({ "user": "acme/alex" }));
}

#[test]
fn r33_r34_r35_r37_r38_r40_an_authenticator_app_is_scanned_confirmed_and_signs_in() {
    tell(&account(&[]), "authenticator_app.mjs", &json!({ "user": "acme/alex" }));
}

#[test]
fn r10_r14_r15_a_new_key_is_shown_once_whatever_the_browser_does() {
    let gateway = account(&["--permission", "MANAGE_API_KEY"]);
    tell(&gateway, "create_key.mjs", &json!({ "user": "acme/alex", "path": "/profile/api-keys" }));
}

#[test]
fn r18_r19_r20_r21_a_key_is_deleted_on_a_page_of_its_own_while_a_client_uses_it() {
    let gateway = account(&[]);
    let scopes = ["--scope", "api,isproxy", "--description", "Billing server"];
    let doomed =
        gateway.cli(&[&["key", "create", "acme/alex", "--yes", "--json"][..], &scopes].concat()).json();
    let other = gateway.create_key("acme/alex");
    let more = json!({ "user": "acme/admin", "path": "/account/users/alex/api-keys",
                       "doomed": doomed["key"], "other": other.text });
    tell(&gateway, "delete_key.mjs", &more);
}

#[test]
fn r2_r3_r4_the_permission_for_own_keys_is_given_and_taken_for_the_next_page() {
    tell(&account(&[]), "permission.mjs", &json!({ "user": "acme/alex" }));
}

#[test]
fn r60_a_deactivated_user_is_out_everywhere_at_once_and_back_after_the_reactivation() {
    let gateway = account(&[]);
    let key = gateway.create_key("acme/alex");
    tell(&gateway, "deactivate.mjs", &json!({ "user": "acme/alex", "key": key.text }));
}

#[test]
fn r46_r47_what_is_said_when_a_security_key_is_not_used_and_further_keys_are_registered() {
    tell(&account(&[]), "security_key_messages.mjs", &json!({ "user": "acme/alex" }));
}

#[test]
fn the_console_works_without_script_but_for_security_keys() {
    let gateway = account(&["--permission", "MANAGE_API_KEY"]);
    tell(&gateway, "without_script.mjs", &json!({ "user": "acme/alex", "path": "/profile/api-keys" }));
}

#[test]
fn everything_can_be_done_by_keyboard_and_the_focus_is_seen() {
    let gateway = account(&["--permission", "MANAGE_API_KEY"]);
    tell(&gateway, "keyboard.mjs", &json!({ "user": "acme/alex", "path": "/profile/api-keys" }));
}

#[test]
fn no_page_has_a_fault_that_axe_finds_in_light_or_dark_wide_or_small() {
    let gateway = account(&["--name", "Alex <script>alert(1)</script> \u{1f511} אלכס"]);
    let longest = "a".repeat(60);
    let name = "Wolfeschlegelsteinhausenbergerdorff ".repeat(2);
    gateway.create_user_with(&format!("acme/{longest}"), &["--name", name.trim(), "--force-mfa"]);
    gateway.create_user("acme/gone");
    gateway.cli(&["user", "deactivate", "acme/gone"]).expect_success();
    let key = gateway.create_key_with("acme/alex", &["--scope", "api,isproxy", "--expires", "90d"]);
    for holder in ["customer:acme", &format!("user:acme/{longest}"), &format!("key:{}", key.id)] {
        gateway.cli(&["quota", "set", holder, "--month", "1"]).expect_success();
    }
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let more = json!({ "key": key.id, "longest": longest });
    tell(&gateway, "every_page.mjs", &more);
}

#[test]
fn from_a_fresh_demo_to_the_own_key_and_mfa_are_at_most_twelve_pages() {
    let folder = tempfile::TempDir::new().unwrap();
    let demo = folder.path().join("demo");
    let secrets = Secrets::default();
    let story = json!({ "binary": env!("CARGO_BIN_EXE_latchkey"), "folder": demo });
    run_story("from_demo_to_own_key.mjs", &story, &secrets);
    secrets.search_files(&demo);
}
