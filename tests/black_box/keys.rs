//! The life of an API key, from outside: made, used, narrowed, deleted, and never shown twice.

use std::fs;

use crate::harness::{PASSWORD, TestGateway, by_length};

/// A list of keys, as the command line tells it.
fn listed_ids(gateway: &TestGateway, user: &str) -> Vec<String> {
    let listed = gateway.cli(&["key", "list", user, "--json"]).json();
    let keys = listed.as_array().expect("a list");
    keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn r1_a_key_authenticates_at_both_doors_without_a_password() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    // A user that has no password at all.
    gateway.cli(&["user", "create", "acme/alex"]).expect_success();
    let key = gateway.create_key("acme/alex");

    let answer = gateway.api_get("/v2/domains/example.com/check", &key.authorization());
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"ok\":true}"));
    let request = gateway.api_upstream.only_request();
    assert_eq!(request.line(), "GET /v2/domains/example.com/check HTTP/1.1");
    assert_eq!(request.field("x-auth-customer").as_deref(), Some("acme"));
    assert_eq!(request.field("x-auth-user").as_deref(), Some("alex"));
    assert_eq!(request.field("x-auth-key-id").as_deref(), Some(key.id.as_str()));
    assert_eq!(request.field("x-auth-method").as_deref(), Some("api-key"));
    assert_eq!(request.field("authorization"), None);

    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(session.ask("IS taken.example"), "taken.example not available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS example.com", "IS taken.example"]);
}

#[test]
fn r5_several_keys_of_a_user_work_at_once_and_each_is_deleted_alone() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let keys = [(); 3].map(|()| gateway.create_key("acme/admin"));
    for key in &keys {
        assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
        assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    }
    gateway.delete_key(&keys[1]);
    for (key, status, login) in [
        (&keys[0], 200, "100 Login ok"),
        (&keys[1], 401, "400 Login failed"),
        (&keys[2], 200, "100 Login ok"),
    ] {
        assert_eq!(gateway.api_get("/", &key.authorization()).status, status);
        assert_eq!(gateway.isproxy_login(&key.login()), login);
    }
    assert_eq!(gateway.api_upstream.requests().len(), 5);
}

#[test]
fn r8_a_first_key_ends_that_users_password_at_the_api_and_nobody_elses() {
    let gateway = TestGateway::start();
    let admin = gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    for user in [&admin, &alex] {
        assert_eq!(gateway.api_get("/", &user.authorization()).status, 200);
    }
    let request = gateway.api_upstream.last_request();
    assert_eq!(request.field("x-auth-user").as_deref(), Some("alex"));
    assert_eq!(request.field("x-auth-method").as_deref(), Some("password"));
    assert_eq!(request.field("x-auth-key-id"), None);
    assert_eq!(request.field("authorization"), None);

    // Even a key that opens the other door only.
    gateway.create_key_of("acme/alex", "isproxy");
    gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.api_get("/", &admin.authorization()).status, 200);
    // The article's letter: at IsProxy the password goes on.
    assert_eq!(gateway.isproxy_login(&alex.login()), "100 Login ok");
    assert_eq!(gateway.api_upstream.requests().len(), 3);
}

#[test]
fn r8_a_setting_lets_the_first_key_end_the_password_at_isproxy_too() {
    let gateway = TestGateway::configured(|config| {
        config["policy"] = serde_json::json!({ "key_ends_password_at": ["api", "isproxy"] });
    });
    let admin = gateway.create_customer("acme");
    assert_eq!(gateway.isproxy_login(&admin.login()), "100 Login ok");
    gateway.create_key_of("acme/admin", "api");
    assert_eq!(gateway.isproxy_login(&admin.login()), "400 Login failed");
}

#[test]
fn r10_a_keys_text_is_nowhere_but_in_the_answer_to_its_making() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    // A refused one is no less a secret.
    let narrow = gateway.create_key_of("acme/admin", "isproxy");
    assert_eq!(gateway.api_get("/", &narrow.authorization()).status, 403);
    let wrong = format!("{}x", key.text);
    assert_eq!(gateway.api_get("/", &format!("ApiKey {wrong}")).status, 401);

    for key in [&key, &narrow] {
        for arguments in [
            vec!["key", "list"],
            vec!["key", "list", "acme/admin", "--json"],
            vec!["key", "show", &key.id],
            vec!["key", "show", &key.id, "--json"],
            vec!["user", "show", "acme/admin", "--json"],
            vec!["user", "access", "acme/admin"],
            vec!["customer", "show", "acme", "--json"],
        ] {
            let output = gateway.cli(&arguments);
            assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
            assert!(!output.stdout.contains(&key.text), "{arguments:?} shows the key");
            assert!(!output.stderr.contains(&key.text), "{arguments:?} shows the key");
        }
    }
    let metrics = gateway.ask_ops("/metrics").text();
    gateway.access_log(4);
    let (_, log, left) = gateway.stop();
    let mut texts =
        vec![("the log".to_owned(), log.into_bytes()), ("/metrics".to_owned(), metrics.into_bytes())];
    let mut folders = vec![left.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    assert!(texts.iter().any(|(name, bytes)| name.ends_with("latchkey.db") && bytes.len() > 4096));
    for secret in [&key.text, &narrow.text, &wrong, PASSWORD] {
        // Without the prefix too, in case somebody strips it.
        let core = secret.as_bytes().get(4..30).unwrap_or(secret.as_bytes());
        for (name, bytes) in &texts {
            assert!(!bytes.windows(core.len()).any(|window| window == core), "{name} holds a secret");
        }
    }
}

#[test]
fn r13_s24_a_key_opens_the_doors_of_its_scope_only() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    for (scope, status, login) in [
        ("api", 200, "400 Login failed"),
        ("isproxy", 403, "100 Login ok"),
        ("api,isproxy", 200, "100 Login ok"),
    ] {
        let key = gateway.create_key_of("acme/admin", scope);
        let (requests, lines) =
            (gateway.api_upstream.bytes_received(), gateway.isproxy_upstream.lines().len());
        let answer = gateway.api_get("/v2/domains", &key.authorization());
        assert_eq!(answer.status, status, "{scope}");
        if status == 403 {
            answer.assert_refusal(403, "AuthorizationError");
            assert_eq!(gateway.api_upstream.bytes_received(), requests, "{scope} reached the API's upstream");
        }
        let mut session = gateway.connect("isproxy");
        assert_eq!(session.ask(&key.login()), login, "{scope}");
        let asked = session.ask("IS example.com");
        if login == "100 Login ok" {
            assert_eq!(asked, "example.com available", "{scope}");
        } else {
            assert_eq!(asked, "400 not authenticated", "{scope}");
            assert_eq!(gateway.isproxy_upstream.lines().len(), lines, "{scope} reached the IsProxy upstream");
        }
    }
}

#[test]
fn r16_a_new_key_is_in_its_users_list_at_once() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    assert!(listed_ids(&gateway, "acme/admin").is_empty());
    let first = gateway.create_key("acme/admin");
    assert_eq!(listed_ids(&gateway, "acme/admin"), [first.id.as_str()]);
    let second = gateway.create_key("acme/admin");
    let mut both = [first.id, second.id];
    both.sort();
    let mut listed = listed_ids(&gateway, "acme/admin");
    listed.sort();
    assert_eq!(listed, both);
    assert!(listed_ids(&gateway, "acme/alex").is_empty());
    assert_eq!(gateway.api_get("/", &second.text.replace("lk1_", "ApiKey lk1_")).status, 200);
}

#[test]
fn r20_a_deleted_key_is_dead_at_both_doors_and_its_open_session_ends() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let (doomed, other) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    // Warm: a kept-alive connection and an open session each.
    let mut api = gateway.connect("api");
    let request = crate::harness::Request::get("/warm").authorization(&doomed.authorization());
    assert_eq!(api.exchange(&request).status, 200);
    let mut session = gateway.isproxy_session(&doomed.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let mut untouched = gateway.isproxy_session(&other.login());
    assert_eq!(untouched.ask("IS example.net"), "example.net available");
    let before = (gateway.api_upstream.requests().len(), gateway.isproxy_upstream.lines().len());

    gateway.delete_key(&doomed);
    api.exchange(&request).assert_refusal(401, "AuthenticationError");
    gateway.api_get("/", &doomed.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&doomed.login()), "400 Login failed");
    session.expect_closed();
    assert_eq!((gateway.api_upstream.requests().len(), gateway.isproxy_upstream.lines().len()), before);

    assert_eq!(gateway.api_get("/", &other.authorization()).status, 200);
    assert_eq!(untouched.ask("IS example.org"), "example.org available");
}

#[test]
fn r20_a_disabled_key_is_refused_until_it_is_enabled() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut session = gateway.isproxy_session(&key.login());
    gateway.cli(&["key", "disable", &key.id]).expect_success();
    gateway.api_get("/", &key.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed");
    session.expect_closed();
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    gateway.cli(&["key", "enable", &key.id]).expect_success();
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
}

#[test]
fn a_rotated_key_works_at_once_and_the_old_one_until_the_overlap_ends() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let old = gateway.create_key_with("acme/admin", &["--scope", "api,isproxy", "--expires", "90d"]);
    let mut session = gateway.isproxy_session(&old.login());

    // With an overlap both work, and nothing that is open is cut.
    let rotated = gateway.cli(&["key", "rotate", &old.id, "--json"]).json();
    let new = format!("ApiKey {}", rotated["key"].as_str().unwrap());
    assert_eq!(gateway.api_get("/", &new).status, 200);
    assert_eq!(gateway.api_upstream.last_request().field("x-auth-key-id").as_deref(), rotated["id"].as_str());
    assert_eq!(gateway.api_get("/", &old.authorization()).status, 200);
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(rotated["scope"], "api,isproxy");
    assert_eq!(rotated["replaces"]["id"], old.id);
    let left = gateway.cli(&["key", "show", &old.id, "--json"]).json();
    assert_eq!(left["expires_at"], rotated["replaces"]["expires_at"]);

    // Without one the old key is dead when the command returns, and its session ends.
    let output = gateway.cli(&["key", "rotate", &old.id, "--overlap", "0s"]);
    assert!(output.stderr.contains(&old.id) && output.stderr.contains("1 open session"), "{output:?}");
    let newest = output.expect_success();
    let newest = newest.strip_suffix('\n').unwrap();
    assert_eq!((newest.len(), newest.starts_with("lk1_")), (44, true), "{newest:?}");
    gateway.api_get("/", &old.authorization()).assert_refusal(401, "AuthenticationError");
    session.expect_closed();
    assert_eq!(gateway.api_get("/", &format!("ApiKey {newest}")).status, 200);
    assert_eq!(gateway.api_get("/", &new).status, 200);
}

#[test]
fn a_key_that_is_refused_already_is_not_rotated() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let (disabled, expired) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    gateway.cli(&["key", "disable", &disabled.id]).expect_success();
    gateway.cli(&["key", "rotate", &expired.id, "--overlap", "0s"]).expect_success();
    for (key, why) in [(&disabled, "disabled"), (&expired, "expired")] {
        let output = gateway.cli(&["key", "rotate", &key.id]);
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
        assert!(output.stderr.contains(why), "{output:?}");
    }
    assert_eq!(listed_ids(&gateway, "acme/admin").len(), 3);
    gateway.cli(&["key", "rotate", &disabled.id, "--overlap", "tomorrow"]).expect_failure(2);
}

#[test]
fn r21_a_deleted_key_leaves_the_list_and_the_password_stays_off() {
    let gateway = TestGateway::start();
    let admin = gateway.create_customer("acme");
    assert_eq!(gateway.api_get("/", &admin.authorization()).status, 200);
    let key = gateway.create_key("acme/admin");
    gateway.delete_key(&key);
    assert!(listed_ids(&gateway, "acme/admin").is_empty());
    gateway.api_get("/", &admin.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.api_upstream.requests().len(), 1);

    // Until an operator allows it again; the next key ends it again.
    gateway.cli(&["user", "allow-password", "acme/admin", "--yes"]).expect_success();
    assert_eq!(gateway.api_get("/", &admin.authorization()).status, 200);
    gateway.create_key("acme/admin");
    gateway.api_get("/", &admin.authorization()).assert_refusal(401, "AuthenticationError");
    let refused = gateway.cli(&["user", "allow-password", "acme/admin", "--yes"]);
    assert!(refused.expect_failure(1).contains("key"), "a key is left");
}

#[test]
fn s39_keys_have_the_fixed_form_and_none_is_drawn_twice() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let file = gateway.path("keys.txt");
    let count = by_length(500, 10_000);
    let wanted = count.to_string();
    let output = file.to_str().unwrap();
    let arguments = [
        &["key", "create", "acme/admin", "--description", "many", "--scope", "api", "--yes"][..],
        &["--count", &wanted, "--output", output],
    ]
    .concat();
    gateway.cli(&arguments).expect_success();
    let text = fs::read_to_string(&file).unwrap();
    let mut keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("lk1_")))
        .collect();
    assert_eq!(keys.len(), count);
    for key in &keys {
        assert_eq!(key.len(), 44, "{key}");
        assert!(
            key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
            "{key}"
        );
    }
    let (first, last) = (keys[0].to_owned(), keys[count - 1].to_owned());
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
    for key in [first, last] {
        assert_eq!(gateway.api_get("/", &format!("ApiKey {key}")).status, 200);
    }
}

#[test]
fn a_key_is_alone_on_stdout_and_works_from_another_address_only_where_its_list_says() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let output = gateway.cli(&[
        "key",
        "create",
        "acme/admin",
        "--description",
        "listed",
        "--scope",
        "api,isproxy",
        "--allow",
        "127.0.0.2/32",
        "--yes",
    ]);
    let stdout = output.expect_success();
    let text = stdout.strip_suffix('\n').unwrap();
    assert_eq!((text.len(), text.starts_with("lk1_")), (44, true), "{stdout:?}");
    let authorization = format!("ApiKey {text}");
    gateway.api_get("/", &authorization).assert_refusal(403, "AuthorizationError");
    assert_eq!(gateway.isproxy_login(&format!("LOGIN {text}")), "400 Login failed");
    assert_eq!(gateway.api_get_from("127.0.0.2", "/", &authorization).status, 200);
    assert_eq!(gateway.connect_from("127.0.0.2", "isproxy").ask(&format!("LOGIN {text}")), "100 Login ok");
}

#[test]
fn a_key_of_somebody_elses_choosing_can_be_imported() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = "Zm9yZWlnbitrZXkrb2YrYW5vdGhlcitzeXN0ZW0rMTI=";
    fs::write(gateway.path("import.txt"), format!("{key} acme/admin\n")).unwrap();
    let file = gateway.path("import.txt");
    gateway.cli(&["key", "import", "--scope", "api", "--yes", file.to_str().unwrap()]).expect_success();
    assert_eq!(gateway.api_get("/", &format!("ApiKey {key}")).status, 200);
    assert_eq!(gateway.isproxy_login(&format!("LOGIN {key}")), "400 Login failed");
}
