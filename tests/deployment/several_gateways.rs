//! `deploy/compose` and `deploy/kubernetes` agree with what the package reads, and within themselves.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use latchkey::config::{
    self, ClientAddressRules, Config, Listener, ListenerProtocol, MasterKeySource, ProxyProtocol,
};
use serde_json::{Value, json};

use crate::{read, yaml};

fn document(name: &str) -> Value {
    yaml::documents(&read(name)).remove(0)
}

fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    let found = value.pointer(pointer);
    assert!(found.is_some(), "nothing is at {pointer}");
    found.unwrap()
}

fn word<'v>(value: &'v Value, pointer: &str) -> &'v str {
    at(value, pointer).as_str().unwrap()
}

/// The configuration `text`, as a gateway reads it that has the files named in it, and is told its `address`.
fn load(text: &str, address: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tls/server.crt", "tls/server.key", "secrets/database_password"] {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "placeholder").unwrap();
    }
    // Where Compose mounts secrets, a test writes nothing.
    let text = text.replace("/run/secrets/", "secrets/");
    let environment = |name: &str| (name == "LATCHKEY_ADDRESS").then(|| address.to_owned());
    config::parse(&text, Path::new("latchkey.yaml"), folder.path(), &environment).unwrap()
}

/// The store is a database, whose password stands in a file like the master key.
fn require_secrets_in_files(text: &str, config: &Config) {
    let written = yaml::documents(text).remove(0);
    let url = word(&written, "/store/url");
    let password = url.strip_prefix("postgres://latchkey:").unwrap().split_once('@').unwrap().0;
    assert!(password.starts_with("${file:") && password.ends_with('}'), "{url}");
    assert!(matches!(config.master_key, MasterKeySource::File(_)));
}

/// Whose word about clients a door or console takes; TLS ends there.
fn client_address(listener: &Listener) -> Option<&ClientAddressRules> {
    let (tls, rules) = match &listener.protocol {
        ListenerProtocol::Http(door) => (&door.tls, &door.client_address),
        ListenerProtocol::IsProxy(door) => (&door.tls, &door.client_address),
        ListenerProtocol::Console(console) => (&console.tls, &console.client_address),
        ListenerProtocol::ForwardAuth(asked) => (&asked.tls, &asked.client_address),
        ListenerProtocol::Ops => return None,
    };
    assert!(tls.is_some(), "{}", listener.name);
    Some(rules)
}

fn ops(config: &Config) -> &Listener {
    config.listeners.iter().find(|listener| listener.protocol == ListenerProtocol::Ops).unwrap()
}

#[test]
fn gateways_of_compose_share_a_store_behind_a_balancer_that_names_the_client() {
    let compose = document("deploy/compose/docker-compose.yml");
    let text = read("deploy/compose/gateway/latchkey.yaml");
    let balancer = read("deploy/compose/haproxy.cfg");
    assert!(balancer.contains("http-check send meth GET uri /readyz\n"));
    let proxy: IpAddr = word(&compose, "/services/balancer/networks/gateways/ipv4_address").parse().unwrap();
    let mut stores = Vec::new();
    for gateway in ["gateway-1", "gateway-2"] {
        let service = at(&compose, &format!("/services/{gateway}"));
        assert_eq!(at(service, "/healthcheck/test"), &json!(["CMD", "latchkey", "healthcheck"]));
        assert_eq!(word(service, "/volumes/0"), "./gateway:/etc/latchkey:ro");
        let address = word(service, "/environment/LATCHKEY_ADDRESS");
        assert_eq!(word(service, "/networks/gateways/ipv4_address"), address);
        let config = load(&text, address);
        require_secrets_in_files(&text, &config);
        let seconds: u32 = word(service, "/stop_grace_period").strip_suffix('s').unwrap().parse().unwrap();
        assert!(seconds > config.limits.drain_seconds);
        // Every connection comes from the balancer's address.
        assert_eq!(config.limits.connections_per_address, 0);
        assert_eq!(config.limits.console_connections_per_address, 0);
        let asked = ops(&config).address.port();
        for listener in &config.listeners {
            assert_eq!(listener.address.ip().to_string(), address);
            let Some(rules) = client_address(listener) else { continue };
            assert_eq!(rules.proxy_protocol, ProxyProtocol::Accept, "{}", listener.name);
            assert!(rules.trusted_proxies.contains(proxy), "{}", listener.name);
            let server = format!("server {gateway} {} send-proxy-v2 check port {asked}", listener.address);
            assert!(balancer.lines().any(|line| line.trim() == server), "{server}");
        }
        stores.push(config.store);
    }
    assert_eq!(stores.first(), stores.last());
}

#[test]
fn services_of_compose_are_confined_and_get_their_secrets_as_files() {
    let compose = document("deploy/compose/docker-compose.yml");
    for (name, service) in at(&compose, "/services").as_object().unwrap() {
        assert_eq!(at(service, "/read_only"), &Value::Bool(true), "{name}");
        assert_eq!(at(service, "/cap_drop"), &json!(["ALL"]), "{name}");
        assert_ne!(word(service, "/user"), "root", "{name}");
        let environment = service.pointer("/environment").and_then(Value::as_object);
        for (variable, _) in environment.into_iter().flatten() {
            assert!(!variable.contains("PASSWORD") || variable.ends_with("_FILE"), "{name}: {variable}");
        }
    }
    for (name, secret) in at(&compose, "/secrets").as_object().unwrap() {
        assert_eq!(word(secret, "/file"), format!("./secrets/{name}"));
    }
    assert!(read("deploy/compose/.gitignore").lines().any(|line| line == "/secrets/"));
}

/// What stands in `deploy/kubernetes`, the Secrets too, which `kustomization.yaml` leaves out.
fn kubernetes() -> Vec<Value> {
    let kustomization = document("deploy/kubernetes/kustomization.yaml");
    let listed = at(&kustomization, "/resources").as_array().unwrap().iter().filter_map(Value::as_str);
    let files = listed.chain(["secret.yaml"]);
    files.flat_map(|file| yaml::documents(&read(&format!("deploy/kubernetes/{file}")))).collect()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    let found: Vec<_> = objects.iter().filter(|object| word(object, "/kind") == kind).collect();
    assert!(!found.is_empty(), "{kind}");
    found
}

#[test]
fn gateways_in_kubernetes_are_several_and_asked_for_their_health_and_have_time_to_stop() {
    let objects = kubernetes();
    let text = word(of_kind(&objects, "ConfigMap").remove(0), "/data/latchkey.yaml");
    let config = load(text, "");
    require_secrets_in_files(text, &config);
    let deployment = of_kind(&objects, "Deployment").remove(0);
    assert!(at(deployment, "/spec/replicas").as_u64() >= Some(2));
    let pod = at(deployment, "/spec/template/spec");
    let container = at(pod, "/containers/0");
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let asked = at(container, &format!("/{probe}/httpGet"));
        assert_eq!(asked, &json!({"path": path, "port": ops(&config).name}), "{probe}");
    }
    let ports = at(container, "/ports").as_array().unwrap();
    for listener in &config.listeners {
        let port = json!({"name": listener.name, "containerPort": listener.address.port()});
        assert!(ports.contains(&port) && listener.address.ip().is_unspecified(), "{port}");
        // Where there is no balancer that tells them, clients' addresses are the peers'.
        let rules = client_address(listener);
        assert!(rules.is_none_or(|rules| rules.proxy_protocol == ProxyProtocol::Refuse), "{port}");
    }
    assert_eq!(word(of_kind(&objects, "Service").remove(0), "/spec/externalTrafficPolicy"), "Local");
    let wait: u64 = word(container, "/lifecycle/preStop/exec/command/1").parse().unwrap();
    let grace = at(pod, "/terminationGracePeriodSeconds").as_u64().unwrap();
    assert!(grace > wait + u64::from(config.limits.drain_seconds));
    assert_eq!(at(pod, "/securityContext/runAsNonRoot"), &Value::Bool(true));
    assert_eq!(at(container, "/securityContext/readOnlyRootFilesystem"), &Value::Bool(true));
    assert_eq!(at(container, "/securityContext/capabilities/drop"), &json!(["ALL"]));
}

#[test]
fn what_kubernetes_mounts_is_there_and_what_it_selects_are_the_gateways() {
    let objects = kubernetes();
    let deployment = of_kind(&objects, "Deployment").remove(0);
    let labels = at(deployment, "/spec/template/metadata/labels");
    for (kind, selector) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ] {
        for object in of_kind(&objects, kind) {
            assert_eq!(at(object, selector), labels, "{kind}");
        }
    }
    let secrets = of_kind(&objects, "Secret");
    for secret in &secrets {
        for (key, value) in at(secret, "/stringData").as_object().unwrap() {
            assert!(value.as_str().unwrap().starts_with("REPLACE-ME-"), "{key} looks like a secret");
        }
    }
    let mut mounted = Vec::new();
    let sources = at(deployment, "/spec/template/spec/volumes/0/projected/sources").as_array().unwrap();
    for source in sources.iter().filter_map(|source| source.get("secret")) {
        let is_named = |secret: &&&Value| at(secret, "/metadata/name") == at(source, "/name");
        let secret = secrets.iter().find(is_named).unwrap();
        for item in at(source, "/items").as_array().unwrap() {
            assert!(at(secret, "/stringData").get(word(item, "/key")).is_some(), "{item}");
            mounted.push(word(item, "/path"));
        }
    }
    for file in ["secrets/master_key", "secrets/database_password", "tls/server.crt", "tls/server.key"] {
        assert!(mounted.contains(&file), "{file}");
    }
}
