//! Certificates from an authority: issued at the first start, renewed before their end, shown while the authority is away.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::harness::{Authority, Installation, Pebble, TestGateway, Wire, free_port, wait_for};

/// The places of listeners in the usual configuration.
const API_TLS: usize = 1;
const ISPROXY: usize = 3;

const NAMES: [&str; 2] = ["api.example.test", "www.example.test"];

/// Lets the authority of `section` issue what the API by TLS, at `tls_port`, and IsProxy show.
fn order(config: &mut Value, section: Value, tls_port: u16) {
    config["acme"] = section;
    config["listeners"][API_TLS]["address"] = json!(format!("127.0.0.1:{tls_port}"));
    for listener in [API_TLS, ISPROXY] {
        config["listeners"][listener]["tls"] = json!({ "acme_hosts": NAMES });
    }
}

/// The certificate that the API shows to `name`, once a client takes it.
fn shown(gateway: &TestGateway, name: &str, client: &Arc<ClientConfig>) -> Option<CertificateDer<'static>> {
    let wire = gateway.connect("api-tls").try_into_tls_as(name, Arc::clone(client)).ok()?;
    Some(leaf(&wire))
}

fn leaf(wire: &Wire) -> CertificateDer<'static> {
    wire.tls().unwrap().peer_certificates().unwrap()[0].clone()
}

fn kept_files(installation: &Installation) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(installation.path("acme")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_certificate_is_issued_by_a_handshake_and_renewed_before_its_end() {
    let tls_port = free_port();
    let pebble = Pebble::start(15, tls_port, 1);
    let gateway = TestGateway::configured(|config| order(config, pebble.section(), tls_port));
    let client = pebble.client();
    let first = wait_for("the first certificate", || shown(&gateway, NAMES[0], &client));
    assert_eq!(shown(&gateway, NAMES[1], &client).as_ref(), Some(&first));
    let mut session = gateway.connect("isproxy");
    assert_eq!(session.ask("STARTTLS"), "100 OK");
    let session = session.try_into_tls_as(NAMES[0], Arc::clone(&client)).unwrap();
    assert_eq!(leaf(&session), first, "the same one behind STARTTLS");
    let end = |listener: &str| {
        gateway.metric(&format!("latchkey_certificate_expires_timestamp_seconds{{listener=\"{listener}\"}}"))
    };
    let first_end = end("api-tls").unwrap();
    assert_eq!(end("isproxy"), Some(first_end));

    // An authority's question is answered while it is expected; at other times nobody is.
    let mut asking = ClientConfig::clone(&client);
    asking.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let unexpected = gateway.connect("api-tls").try_into_tls_as("other.example.test", Arc::new(asking));
    assert!(unexpected.err().unwrap().to_string().contains("AccessDenied"));

    // From now on the new process renews, and it alone, although the session keeps the old one for a while.
    gateway.process().swap();
    wait_for("the new process to answer for itself", || {
        (gateway.metric("latchkey_binary_swaps_total{outcome=\"taken_over\"}") == Some(1)).then_some(())
    });

    // Each of these handshakes succeeds, so that no certificate was shown beyond its end.
    let reloads = gateway.reloads("applied");
    let second = wait_for("the renewal", || {
        let present = shown(&gateway, NAMES[0], &client).expect("a client takes what is shown");
        (present != first).then_some(present)
    });
    assert_ne!(second, first);
    assert!(end("api-tls").unwrap() > first_end);
    assert_eq!(gateway.reloads("applied"), reloads, "nothing else was touched");

    // It is told once it is written.
    let told = "obtained a certificate for api.example.test, www.example.test";
    let count = || gateway.cli(&["audit", "list"]).expect_success().matches(told).count();
    let count = wait_for("what is told of the renewal", || Some(count()).filter(|count| *count > 1));
    assert_eq!(count, 2);
    drop(session);
    let files = kept_files(&gateway);
    assert_eq!(files.len(), 2, "an account and a certificate: {files:?}");
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600, "{}", file.display());
    }
    let key = fs::read_to_string(kept_files(&gateway).last().unwrap()).unwrap();
    let key: Vec<&str> = key.lines().skip(1).take_while(|line| !line.starts_with("-----")).collect();
    assert!(!key.is_empty() && key.iter().all(|line| !gateway.process().log().contains(line)));
}

#[test]
fn a_certificate_is_issued_by_a_request_and_shown_while_the_authority_is_away() {
    let (tls_port, http_port) = (free_port(), free_port());
    let mut pebble = Pebble::start(3_600, 1, http_port);
    let mut section = pebble.section();
    section["challenge"] = json!("http-01");
    section["http_01_address"] = json!(format!("127.0.0.1:{http_port}"));
    let mut gateway = TestGateway::configured(|config| order(config, section, tls_port));
    let client = pebble.client();
    let issued = wait_for("the certificate", || shown(&gateway, NAMES[0], &client));
    wait_for("the closed address", || TcpStream::connect(("127.0.0.1", http_port)).is_err().then_some(()));

    pebble.stop();
    // Nobody issues one for another name: the one of before is shown on, and is the right one again for the same names.
    for hosts in [[NAMES[0], "new.example.test"], [NAMES[1], NAMES[0]]] {
        gateway.reload(|config| config["listeners"][API_TLS]["tls"]["acme_hosts"] = json!(hosts));
        assert_eq!(shown(&gateway, NAMES[0], &client).as_ref(), Some(&issued), "{hosts:?}");
    }
    let (status, _, installation) = gateway.stop();
    assert!(status.success());
    let gateway = installation.serve();
    assert_eq!(shown(&gateway, NAMES[0], &client), Some(issued), "from the cache, at once");
}

#[test]
fn a_gateway_starts_without_its_authority_and_refuses_handshakes_until_it_has_a_certificate() {
    let section = json!({
        "directory": format!("https://localhost:{}/dir", free_port()),
        "terms_accepted": true,
        "ca": "ca.crt",
    });
    let installation = Installation::configured(|config| order(config, section, free_port()));
    assert_eq!(installation.cli(&["check"]).code, Some(0));
    let gateway = installation.serve();
    let error = gateway.connect("api-tls").try_into_tls(Authority::shared().client(&[])).err().unwrap();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    assert_eq!(gateway.connect("isproxy").ask("STARTTLS"), "100 OK", "what does not need it goes on");
    gateway.process().wait_for_log("why there is none", |lines| {
        let is_told = |line: &String| {
            line.contains("ERROR")
                && line.contains("no certificate was issued")
                && line.contains("the authority cannot be reached")
        };
        lines.iter().any(is_told).then_some(())
    });
    let audit = gateway.cli(&["audit", "list"]).expect_success();
    assert!(audit.contains("could not obtain a certificate for api.example.test"), "{audit}");
    let series = "latchkey_certificate_expires_timestamp_seconds{listener=\"api-tls\"}";
    assert_eq!(gateway.metric(series), Some(0));
}
