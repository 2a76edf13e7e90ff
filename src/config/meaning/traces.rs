//! `traces:` and `access_log:` what they mean.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue};
use url::Url;

use super::Review;
use super::security_events::{PRIVATE_ADDRESS, is_private_address};
use super::upstreams::{RESERVED_HEADERS, header_value};
use crate::config::faults::KeyPath;
use crate::config::raw::{RawAccessLog, RawTraces, Required};
use crate::config::{AccessLogFile, SetHeaders, Traces};
use crate::model::{SampleRatio, Secret};

/// Where a collector takes traces unless it says otherwise (OTLP 1.x, "OTLP/HTTP Request").
const USUAL_PATH: &str = "/v1/traces";
/// The longest name of the program, in characters.
const SERVICE_NAME_MAX_CHARACTERS: usize = 100;

/// Where spans go; `None` where it is unsound, which has been told.
pub(super) fn traces(raw: RawTraces, review: &mut Review<'_>) -> Option<Traces> {
    let path = KeyPath::default().key("traces");
    let otlp = raw.otlp.0.map(Secret::new).and_then(|text| {
        let url = collector(text.expose());
        if url.is_none() {
            let help =
                "for example https://otlp.example or http://127.0.0.1:4318; no user, password or fragment";
            review.refuse(&path.key("otlp"), PRIVATE_ADDRESS, Some(help));
        }
        url
    });
    let name = raw.service_name;
    let is_named = (1..=SERVICE_NAME_MAX_CHARACTERS).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.chars().any(char::is_control);
    if !is_named {
        let message = format!(
            "must be 1 to {SERVICE_NAME_MAX_CHARACTERS} characters, none of them a control character"
        );
        review.refuse(&path.key("service_name"), message, None);
    }
    let ca = raw.ca.map_or(Some(None), |file| {
        let help = "a PEM file of certificates";
        review.existing_file(&path.key("ca"), Required(Some(file)), help).map(Some)
    });
    let headers = headers(raw.headers, &path.key("headers"), review);
    let sample_ratio = ratio(raw.sample_ratio, &path.key("sample_ratio"), review);
    Some(Traces {
        otlp: Secret::new(String::from(otlp?)),
        service_name: Some(name).filter(|_| is_named)?,
        sample_ratio: sample_ratio?,
        trust_incoming: raw.trust_incoming,
        headers,
        ca: ca?,
    })
}

/// The access log; `None` where it is unsound, which has been told.
pub(super) fn access_log(raw: RawAccessLog, review: &mut Review<'_>) -> Option<AccessLogFile> {
    let path = KeyPath::default().key("access_log");
    let file = review.path(&path.key("path"), raw.path);
    let allowed = ratio(raw.sample.allowed, &path.key("sample").key("allowed"), review);
    Some(AccessLogFile { path: file?, allowed: allowed? })
}

fn ratio(raw: f64, path: &KeyPath, review: &mut Review<'_>) -> Option<SampleRatio> {
    let ratio = SampleRatio::new(raw);
    if ratio.is_none() {
        review.refuse(path, "must be from 0 to 1", None);
    }
    ratio
}

/// The whole URL of a collector. Receivers put tokens into paths and queries, and spans tell of customers and clients: so
/// it is private like a webhook's, with `headers` and without.
fn collector(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok().filter(is_private_address)?;
    if matches!(url.path(), "" | "/") {
        url.set_path(USUAL_PATH);
    }
    Some(url)
}

fn headers(raw: BTreeMap<String, Required<String>>, path: &KeyPath, review: &mut Review<'_>) -> SetHeaders {
    let ours = [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT];
    let mut set: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (key, text) in raw {
        let path = path.key(&key);
        let text = text.0.map(Secret::new);
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            review.refuse(&path, "this is no name of a header", None);
            continue;
        };
        let is_reserved = RESERVED_HEADERS.contains(&name.as_str()) && name != AUTHORIZATION;
        if is_reserved || ours.contains(&name) {
            review.refuse(&path, "this header steers the exchange itself, or is set by Latchkey", None);
        } else if set.iter().any(|(other, _)| *other == name) {
            review.refuse(&path, "another key names this header already", None);
        } else if let Some(value) = text.and_then(|text| header_value(&name, text, &path, review)) {
            set.push((name, value));
        }
    }
    SetHeaders(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrustIncoming;
    use crate::config::testing::{BASE, TestFolder};

    fn parsed(setting: &str) -> Traces {
        let parsed = TestFolder::new().parse(&format!("traces: {setting}\n{BASE}"));
        parsed.unwrap_or_else(|faults| panic!("{faults}")).traces.unwrap()
    }

    #[test]
    fn a_collector_is_named_by_its_address_and_all_else_has_a_default() {
        let found = parsed("{ otlp: \"http://127.0.0.1:4318\" }");
        assert_eq!(found.otlp.expose(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(
            (found.service_name.as_str(), found.sample_ratio.to_string()),
            ("latchkey", "0.01".into())
        );
        assert_eq!((found.trust_incoming, found.ca), (TrustIncoming::Never, None));
        assert!(found.headers.0.is_empty());
        assert_eq!(TestFolder::new().parse(BASE).unwrap().traces, None);
    }

    #[test]
    fn all_of_it_can_be_chosen_and_secrets_are_not_shown() {
        let found = parsed(
            "{ otlp: \"https://otlp.example/hunter2/v1/traces\", service_name: edge, sample_ratio: 1, \
             trust_incoming: trusted_proxies, headers: { Authorization: \"Api-Token ${SECRET}\" }, ca: certs/dev.crt }",
        );
        assert_eq!(found.otlp.expose(), "https://otlp.example/hunter2/v1/traces");
        assert_eq!((found.service_name.as_str(), found.sample_ratio), ("edge", SampleRatio::ALL));
        assert_eq!(found.trust_incoming, TrustIncoming::TrustedProxies);
        assert_eq!(found.headers.0[0].1, "Api-Token hunter2");
        assert!(found.ca.as_ref().unwrap().ends_with("certs/dev.crt"));
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        for near in ["http://[::1]:4318", "http://localhost:4318", "http://127.0.0.1:4318/"] {
            parsed(&format!("{{ otlp: \"{near}\", headers: {{ x-key: a }} }}"));
        }
        assert_eq!(
            parsed("{ otlp: \"https://collector\", sample_ratio: 1e-3 }").sample_ratio.to_string(),
            "0.001"
        );
    }

    #[test]
    fn what_cannot_be_posted_to_or_would_give_a_secret_away_is_refused() {
        let not_private = "traces.otlp: must be an https URL, or an http one to this machine";
        for (setting, expected) in [
            ("{}", "traces: missing key `otlp`"),
            ("{ otlp: \"127.0.0.1:4318\" }", not_private),
            ("{ otlp: \"grpc://a.example\" }", not_private),
            ("{ otlp: \"https://u:hunter2@a.example\" }", not_private),
            ("{ otlp: \"https://a.example#hunter2\" }", not_private),
            ("{ otlp: \"http://a.example\", headers: { x: hunter2 } }", not_private),
            ("{ otlp: \"http://a.example/hunter2/v1/traces\" }", not_private),
            ("{ otlp: \"http://a.example/v1/traces?api-key=hunter2\" }", not_private),
            ("{ otlp: \"http://10.0.0.7:4318\" }", not_private),
            ("{ otlp: \"http://localhost.example:4318\" }", not_private),
            ("{ otlp: \"https://a\", sample_ratio: 1.5 }", "traces.sample_ratio: must be from 0 to 1"),
            ("{ otlp: \"https://a\", sample_ratio: -1 }", "traces.sample_ratio: must be from 0 to 1"),
            (
                "{ otlp: \"https://a\", sample_ratio: some }",
                "traces.sample_ratio: must be a number, not text",
            ),
            (
                "{ otlp: \"https://a\", sample_ratio: 00.1 }",
                "traces.sample_ratio: must be a number, not a number of another form",
            ),
            (
                "{ otlp: \"https://a\", service_name: \" \" }",
                "traces.service_name: must be 1 to 100 characters",
            ),
            ("{ otlp: \"https://a\", ca: none.pem }", "traces.ca: file not found: none.pem"),
            (
                "{ otlp: \"https://a\", trust_incoming: always }",
                "traces.trust_incoming: unknown value `always`",
            ),
            ("{ otlp: \"https://a\", headers: { host: b } }", "traces.headers.host: this header steers"),
            (
                "{ otlp: \"https://a\", headers: { content-type: b } }",
                "traces.headers.content-type: this header steers",
            ),
            ("{ otlp: \"https://a\", headers: { a: \"\" } }", "traces.headers.a: is empty"),
        ] {
            let told = TestFolder::new().faults(&format!("traces: {setting}\n{BASE}"));
            assert!(told.contains(expected) && told.ends_with("\n1 error"), "{setting}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_share_of_the_access_log_is_from_none_to_all() {
        let folder = TestFolder::new();
        for (sample, expected) in [("", "1"), (", sample: {}", "1"), (", sample: { allowed: 0.05 }", "0.05")]
        {
            let text = format!("access_log: {{ path: log{sample} }}\n{BASE}");
            let log = folder.parse(&text).unwrap().access_log.unwrap();
            assert_eq!(log.allowed.to_string(), expected);
        }
        let told = folder.faults(&format!("access_log: {{ path: log, sample: {{ allowed: 2 }} }}\n{BASE}"));
        assert_eq!(told, "f.yaml:1:45  error  access_log.sample.allowed: must be from 0 to 1\n1 error");
    }
}
