//! Any bytes as a request to the console: what it reads of them itself is what was sent, leads nowhere else, and lets
//! nothing in that a browser would be made to send by another site.
//!
//! A head of HTTP/1.1; behind its empty line, what is typed into a form of networks.

use std::path::Path;
use std::sync::OnceLock;

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use latchkey::config::{ListenerProtocol, PublicUrl};
use latchkey::console::cookies::{ConsoleCookie, Cookies};
use latchkey::console::{
    Verdict, as_lines, is_meant, judge_origin, loggable, own_path, presented_key, read_networks,
};
use latchkey::gateway::http::{Authorization, parse_authorization};

const PUBLIC_URL: &str = "https://console.example:8444";
const CONFIGURATION: &str = r#"
listeners:
  - { name: console, protocol: console, address: "127.0.0.1:0", public_url: "https://console.example:8444" }
"#;

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let Some((head, typed)) = read_head(input) else { return };
    check_cookies(&head.headers);
    check_host(&head);
    check_origin(&head);
    check_key(&head.headers);
    check_path(head.uri.path());
    for (name, value) in url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()) {
        check_way(&name);
        check_way(&value);
    }
    check_networks(&String::from_utf8_lossy(typed));
}

fn public_url() -> &'static PublicUrl {
    static URL: OnceLock<PublicUrl> = OnceLock::new();
    URL.get_or_init(|| {
        let read = latchkey::config::parse(CONFIGURATION, Path::new("f.yaml"), Path::new(""), &|_| None);
        let mut config = read.unwrap_or_else(|faults| panic!("{faults}"));
        match config.listeners.remove(0).protocol {
            ListenerProtocol::Console(console) => console.public_url,
            other => panic!("{other:?}"),
        }
    })
}

/// A cookie's value is what its only pair says, and such as we give out.
fn check_cookies(headers: &HeaderMap) {
    let cookies = Cookies::of(public_url());
    for cookie in [ConsoleCookie::Session, ConsoleCookie::Device] {
        let Some(value) = cookies.value(headers, cookie) else { continue };
        let value = value.expose();
        assert!((1..=128).contains(&value.len()));
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        let begins = format!("{}=", cookies.name(cookie));
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let all: Vec<&str> = fields.flat_map(|field| field.split(';').map(str::trim)).collect();
        let ours: Vec<&str> = all.into_iter().filter_map(|pair| pair.strip_prefix(&begins)).collect();
        assert_eq!(ours, [value]);
    }
}

/// Only who names our host means us, once.
fn check_host(head: &Parts) {
    if !is_meant(&Request::from_parts(head.clone(), ()), public_url()) {
        return;
    }
    let named: Vec<_> = head.headers.get_all(HOST).iter().collect();
    assert!(named.len() <= 1);
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let named = authority.or_else(|| named.first()?.to_str().ok()).expect("a host");
    let own = PUBLIC_URL.strip_prefix("https://").expect("a scheme");
    assert!(named.eq_ignore_ascii_case(own) || named.eq_ignore_ascii_case(&format!("{own}:443")), "{named}");
}

/// A change that is let through says that it is ours and nothing else, or brings a credential by itself.
fn check_origin(head: &Parts) {
    let verdict = judge_origin(head, public_url());
    let is_management = head.uri.path() == "/api/v1" || head.uri.path().starts_with("/api/v1/");
    let presents = is_management && head.headers.contains_key(AUTHORIZATION);
    assert_eq!(verdict == Verdict::PresentsCredential, presents);
    let changes = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if verdict != Verdict::Admitted || !changes {
        return;
    }
    let values =
        |name: &HeaderName| -> Vec<HeaderValue> { head.headers.get_all(name).iter().cloned().collect() };
    let (sites, origins) = (values(&HeaderName::from_static("sec-fetch-site")), values(&ORIGIN));
    assert!(sites.len() <= 1 && origins.len() <= 1 && sites.len() + origins.len() > 0);
    assert!(sites.iter().all(|site| site == "same-origin"));
    assert!(origins.iter().all(|origin| origin == PUBLIC_URL || (origin == "null" && !sites.is_empty())));
}

/// The console takes a key for one that the doors take for one.
fn check_key(headers: &HeaderMap) {
    let read = match parse_authorization(headers) {
        Some(Authorization::ApiKey(key)) => Some(key.0),
        _ => None,
    };
    assert_eq!(presented_key(headers).map(|key| key.0), read);
}

/// Nothing that could be a credential is written down.
fn check_path(path: &str) {
    let written = loggable(path);
    assert_eq!(written.split('/').count(), path.split('/').count());
    let mut is_link = false;
    for segment in written.split('/') {
        assert!(segment.len() <= 40 && (!is_link || segment.is_empty() || segment == "***"), "{written}");
        is_link |= segment.eq_ignore_ascii_case("welcome");
    }
    assert_eq!(loggable(&written), written);
}

/// Wherever a browser is led on to is of this console.
fn check_way(next: &str) {
    let own = own_path(next);
    assert!(own == next || own == "/");
    let base = url::Url::parse(PUBLIC_URL).expect("a URL");
    let led = base.join(own).expect("a path");
    assert_eq!(led.origin(), base.origin(), "{next:?} leads elsewhere");
}

/// What is read of typed networks is shown again as the same.
fn check_networks(typed: &str) {
    let read = read_networks(typed);
    let lines = typed.lines().count();
    assert!(read.faults.iter().all(|fault| (1..=lines).contains(&fault.line)));
    assert!(read.faults.iter().all(|fault| fault.message.chars().count() <= 100));
    let shown = as_lines(&read.list);
    let again = read_networks(&shown);
    assert!(again.faults.is_empty() && again.rounded.is_empty(), "{shown}");
    assert_eq!(again.list, read.list);
}

fn read_head(bytes: &[u8]) -> Option<(Parts, &[u8])> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut read = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(end) = read.parse(bytes).ok()? else { return None };
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = read.method?.parse().ok()?;
    head.uri = read.path?.parse().ok()?;
    head.version = Version::HTTP_11;
    for field in read.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some((head, &bytes[end..]))
}
