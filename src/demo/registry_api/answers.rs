//! What the sample registry answers: paths to routes, routes to JSON. Pure.
//!
//! The members are those that published clients of a registry's API read, so that they can be pointed at a demo.

use http::Method;
use http::request::Parts;
use serde_json::{Value, json};

/// Domains that the sample customer has.
const DOMAINS: u64 = 120;
const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 250;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Hello,
    Check { domain: &'a str },
    Domains,
    Register { domain: &'a str },
    Credit,
    Echo,
    Stream,
    Socket,
    Unknown,
}

impl<'a> Route<'a> {
    /// The route of a request; HEAD is taken for GET, and the echo takes every method.
    pub(super) fn parse(method: &Method, path: &'a str) -> Self {
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::Unknown };
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let mut segments = rest.split('/');
        let parts = (segments.next(), segments.next(), segments.next(), segments.next());
        match parts {
            (Some("echo"), None, ..) => Self::Echo,
            (Some("hello"), None, ..) if reads => Self::Hello,
            (Some("stream"), None, ..) if reads => Self::Stream,
            (Some("socket"), None, ..) if reads => Self::Socket,
            (Some("domains"), None | Some(""), None, _) if reads => Self::Domains,
            (Some("domains"), Some(domain), Some("check"), None) if reads && !domain.is_empty() => {
                Self::Check { domain }
            }
            (Some("domains"), Some(domain), None, _) if *method == Method::POST && !domain.is_empty() => {
                Self::Register { domain }
            }
            (Some("customers"), Some(handle), Some("credit"), None) if reads && !handle.is_empty() => {
                Self::Credit
            }
            _ => Self::Unknown,
        }
    }
}

pub(super) fn hello() -> Value {
    json!({ "message": "hello" })
}

/// Names that start with `taken` are not available.
pub(super) fn check(domain: &str) -> Value {
    let taken = domain.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("taken"));
    json!({ "available": !taken })
}

/// A page of the sample domains, by the query's `limit` (1 to 250, else 50) and `offset`; or what is wrong with them.
pub(super) fn domains(query: Option<&str>) -> Result<Value, String> {
    let number = |name: &str, default: u64| -> Result<u64, String> {
        let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        match pairs.find(|(key, _)| *key == name) {
            Some((_, text)) => text.parse().map_err(|_| format!("{name} must be a whole number")),
            None => Ok(default),
        }
    };
    let limit = number("limit", DEFAULT_LIMIT)?;
    let offset = number("offset", 0)?;
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(format!("limit must be 1 to {MAX_LIMIT}"));
    }
    let page = offset.min(DOMAINS)..offset.saturating_add(limit).min(DOMAINS);
    let entities: Vec<Value> = page.map(|number| domain(&format!("sample-{number:03}.example"))).collect();
    Ok(json!({
        "entities": entities,
        "pagination": { "limit": limit, "offset": offset, "total": DOMAINS },
    }))
}

/// A domain as the registry shows it. `domainName` is the published name of the member, `name` the one that a client
/// reads.
pub(super) fn domain(name: &str) -> Value {
    json!({
        "domainName": name,
        "name": name,
        "brandName": "default",
        "status": ["OK"],
        "authCode": "sample-only",
        "registrant": contact(),
        "nameservers": [{ "hostname": "ns1.example" }, { "hostname": "ns2.example" }],
        "createdDate": "2026-01-01T00:00:00+00:00",
        "expiryDate": "2027-01-01T00:00:00+00:00",
        "premium": false,
        "zonePublished": false,
    })
}

fn contact() -> Value {
    json!({
        "handle": "sample",
        "brandName": "default",
        "name": "Sample Person",
        "email": "person@example.com",
        "phone": "+1.5550100",
        "address": { "addressLine": "1 Example Street", "city": "Exampleville", "country": "NL" },
        "createdDate": "2026-01-01T00:00:00+00:00",
    })
}

/// Every customer has the same credit, in cents.
pub(super) fn credit() -> Value {
    json!({ "accounts": [{ "currency": "EUR", "balance": 100_000, "reservation": 0, "locked": false }] })
}

/// The request as it arrived. Headers are a list, so that one sent twice is seen twice; names are in lower case.
pub(super) fn echo(head: &Parts, body_bytes: u64) -> Value {
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body_bytes": body_bytes,
    })
}

/// The form of every refusal (PROTOCOL section 2, "error body").
pub(super) fn error(kind: &str, message: &str) -> Value {
    json!({ "type": kind, "message": message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_routes() {
        for (method, path, route) in [
            ("GET", "/v2/hello", Route::Hello),
            ("HEAD", "/v2/hello", Route::Hello),
            ("POST", "/v2/hello", Route::Unknown),
            ("GET", "/v2/domains", Route::Domains),
            ("GET", "/v2/domains/", Route::Domains),
            ("GET", "/v2/domains//", Route::Unknown),
            ("GET", "/v2/domains/a.com/check", Route::Check { domain: "a.com" }),
            ("GET", "/v2/domains//check", Route::Unknown),
            ("GET", "/v2/domains/a.com/check/", Route::Unknown),
            ("GET", "/v2/domains/a.com", Route::Unknown),
            ("POST", "/v2/domains/a.com", Route::Register { domain: "a.com" }),
            ("POST", "/v2/domains/", Route::Unknown),
            ("GET", "/v2/customers/acme/credit", Route::Credit),
            ("GET", "/v2/customers//credit", Route::Unknown),
            ("PURGE", "/v2/echo", Route::Echo),
            ("GET", "/v2/echo/", Route::Unknown),
            ("GET", "/v2/stream", Route::Stream),
            ("GET", "/v2/socket", Route::Socket),
            ("GET", "/v1/hello", Route::Unknown),
            ("OPTIONS", "*", Route::Unknown),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Route::parse(&method, path), route, "{method} {path}");
        }
    }

    #[test]
    fn pages_end_where_the_domains_end() {
        let page = |query| {
            let page = domains(query).unwrap();
            let names = page["entities"].as_array().unwrap();
            (names.len(), names.first().map(|domain| domain["name"].to_string()))
        };
        assert_eq!(page(None), (50, Some("\"sample-000.example\"".to_owned())));
        assert_eq!(page(Some("offset=100")), (20, Some("\"sample-100.example\"".to_owned())));
        assert_eq!(page(Some("offset=18446744073709551615&limit=250")), (0, None));
        for query in ["limit=0", "limit=251", "limit=-1", "offset=x", "limit="] {
            assert!(domains(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn only_the_start_of_a_name_makes_it_taken() {
        for (name, available) in
            [("taken.com", false), ("TAKEN1", false), ("untaken.com", true), ("take", true)]
        {
            assert_eq!(check(name)["available"], available, "{name}");
        }
        assert_eq!(check("tak\u{e9}n")["available"], true);
    }
}
