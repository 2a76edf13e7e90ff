//! `deploy/forward-auth` and `docs/forward-auth.md` agree with what the package reads and answers. That nginx, Caddy and
//! Envoy do with these files what they should is told by the black-box tests; Traefik's file is only read here.

use std::path::Path;

use latchkey::config::{self, IdentityHeaders, ListenerProtocol, PlaintextCredentials};
use serde_json::{Value, json};

use crate::{read, yaml};

const TRAEFIK: &str = "deploy/forward-auth/traefik.yaml";
const SAMPLES: [&str; 3] =
    ["deploy/forward-auth/nginx.conf", "deploy/forward-auth/Caddyfile", "deploy/forward-auth/envoy.yaml"];

/// The default names, as they are.
fn identity_headers() -> Vec<String> {
    IdentityHeaders::default().names().map(ToString::to_string).collect()
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_lowercase()).collect()
}

#[test]
fn the_page_shows_a_sound_listener_and_names_every_sample() {
    let page = read("docs/forward-auth.md");
    let shown = page.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
    let parsed = config::parse(shown, Path::new("latchkey.yaml"), Path::new("."), &|_| None).unwrap();
    let [listener] = &parsed.listeners[..] else { panic!("not one listener") };
    let ListenerProtocol::ForwardAuth(asked) = &listener.protocol else { panic!("not asked by proxies") };
    assert_eq!(asked.plaintext_credentials, PlaintextCredentials::Allow);
    assert!(asked.client_address.trusted_proxies.contains([127, 0, 0, 1].into()));
    for sample in SAMPLES.into_iter().chain([TRAEFIK]) {
        assert!(page.contains(&format!("[{sample}](../{sample})")), "{sample}");
        // Envoy writes address and port apart.
        let port = listener.address.port().to_string();
        assert!(read(sample).contains(&port), "{sample}");
    }
}

#[test]
fn every_sample_keeps_a_clients_trace_away() {
    for sample in SAMPLES.into_iter().chain([TRAEFIK]) {
        let text = read(sample).to_lowercase();
        // nginx does so on both ways.
        let times = if sample.ends_with("nginx.conf") { 2 } else { 1 };
        for name in ["traceparent", "tracestate"] {
            assert_eq!(text.matches(name).count(), times, "{sample}: {name}");
        }
    }
}

#[test]
fn traefik_forgets_claims_asks_and_forgets_the_credential_in_this_order() {
    let sample = yaml::documents(&read(TRAEFIK)).remove(0);
    let http = &sample["http"];
    let order = &http["routers"]["site"]["middlewares"];
    assert_eq!(order, &json!(["forget-claims", "latchkey", "forget-credential"]));
    let asking = &http["middlewares"]["latchkey"]["forwardAuth"];
    assert_eq!(
        (&asking["trustForwardHeader"], &asking["address"]),
        (&json!(false), &json!("http://127.0.0.1:8445/"))
    );
    assert_eq!(words(&asking["authRequestHeaders"]), ["authorization"]);
    let told = words(&asking["authResponseHeaders"]);
    let removed =
        http["middlewares"]["forget-claims"]["headers"]["customRequestHeaders"].as_object().unwrap();
    for name in identity_headers() {
        assert!(told.contains(&name), "{name}");
        // Each mark of the name as `-` or `_`, but for the name itself.
        let other_spellings = (1_u32 << name.matches('-').count()) - 1;
        let read_alike = removed.iter().filter(|(other, value)| {
            assert_eq!(**value, json!(""), "{other}");
            other.to_lowercase().replace('_', "-") == name
        });
        assert_eq!(read_alike.count(), usize::try_from(other_spellings).unwrap(), "{name}");
    }
    for name in ["Traceparent", "Tracestate"] {
        assert_eq!(removed[name], json!(""), "{name}");
    }
    let credential = &http["middlewares"]["forget-credential"]["headers"]["customRequestHeaders"];
    assert_eq!(credential, &json!({ "Authorization": "" }));
}
