//! Any text as a name or a number that people write, a line each: what is taken prints as what was written, or as something
//! that reads back as the same, within its bounds.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use latchkey::auth::{AuditHead, EventKind, Holder};
use latchkey::model::{
    AccessPoints, AllowList, ClientIp, CustomerHandle, KeyId, Login, Permission, Service, ServiceScope,
    TimeSpan, Timestamp, UserName,
};
use latchkey::telemetry::RequestId;

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for line in text.split('\n') {
        check_names(line);
        check_sets(line);
        check_moments(line);
        check_networks(line);
    }
    check_networks(text);
}

/// What `text` is read as; a refusal can be shown to people as it is.
fn read<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display>,
{
    match text.parse() {
        Ok(read) => Some(read),
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            None
        }
    }
}

/// The same, where what is printed is to read back as the same.
fn read_back<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + Debug + PartialEq,
{
    let value: T = read(text)?;
    let printed = value.to_string();
    assert_eq!(read::<T>(&printed).as_ref(), Some(&value), "{text:?} prints as {printed:?}");
    assert_eq!(read::<T>(&printed).expect("the same").to_string(), printed);
    Some(value)
}

/// The same, where it is to print as it was written.
fn read_exactly<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + Debug + PartialEq,
{
    let value: T = read_back(text)?;
    assert_eq!(value.to_string(), text);
    Some(value)
}

fn check_names(text: &str) {
    let is_plain = |extra: &[u8]| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte) || extra.contains(&byte))
    };
    if read_exactly::<CustomerHandle>(text).is_some() {
        assert!((1..=64).contains(&text.len()) && is_plain(b""));
    }
    if read_exactly::<Login>(text).is_some() {
        assert!((1..=64).contains(&text.len()) && is_plain(b"@+"));
        // It stands in addresses of the console, where these mean something else.
        let base = url::Url::parse("https://console.example/account/users/").expect("a URL");
        let led = base.join(&format!("./{text}")).expect("an address");
        assert!(led.path() == format!("/account/users/{text}") && text != "new", "{led}");
    }
    if let Some(name) = read_exactly::<UserName>(text) {
        assert_eq!(text.split_once('/'), Some((name.customer.as_str(), name.login.as_str())));
    }
    if let Some(id) = read_exactly::<KeyId>(text) {
        assert_eq!(KeyId::from_stored(id.to_stored()), id);
        assert_eq!(id.to_ascii(), text.as_bytes());
    }
    if let Some(id) = read_back::<RequestId>(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    read_exactly::<Holder>(text);
    if let Some(kind) = read::<EventKind>(text) {
        assert_eq!(kind.as_str(), text);
    }
    if let Some(head) = read_back::<AuditHead>(text) {
        assert!(head.sequence() >= 0);
    }
}

fn check_sets(text: &str) {
    read_exactly::<Service>(text);
    if let Some(scope) = read_back::<ServiceScope>(text) {
        assert_eq!(ServiceScope::from_stored(scope.to_stored()), Some(scope));
        assert!(scope.holds(Service::Api) || scope.holds(Service::IsProxy) || scope.manages());
    }
    if let Some(points) = read_back::<AccessPoints>(text) {
        assert_eq!(AccessPoints::from_stored(points.to_stored()), points);
    }
    if let Some(permission) = read::<Permission>(text) {
        assert!(permission.as_str().eq_ignore_ascii_case(text));
    }
}

fn check_moments(text: &str) {
    read_back::<Timestamp>(text);
    if let Some(span) = read::<TimeSpan>(text) {
        let (number, unit) = text.split_at(text.len() - 1);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            other => panic!("{other} is no unit"),
        };
        assert_eq!(number.parse::<u64>().expect("a number") * seconds, u64::from(span.seconds()));
    }
}

fn check_networks(text: &str) {
    let Some(list) = read_back::<AllowList>(text) else { return };
    for network in list.networks() {
        assert_eq!(network.trunc(), *network, "bits behind the prefix");
        for address in [network.network(), network.broadcast()] {
            let client = ClientIp::new(address);
            // Within a network of IPv6, a mapped address is of IPv4 nevertheless.
            let is_of_it = client.address() == address;
            assert!(!is_of_it || list.admits(client), "{network} does not admit {address}");
        }
    }
    let is_nothing = text.split([',', ' ', '\t', '\n', '\r']).all(str::is_empty);
    assert_eq!(list.is_empty(), is_nothing);
}
