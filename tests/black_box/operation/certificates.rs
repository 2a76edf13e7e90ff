//! Which certificate a listener shows, and what becomes of one that is changed or no longer good.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};

use crate::harness::{Authority, Installation, TestGateway, Validity, Wire, wait_for};

/// The places of listeners in the usual configuration.
const API_TLS: usize = 1;
const ISPROXY: usize = 3;

/// Names of the certificates beside the usual one, which is for `localhost`, and their files.
const NAMES: [(&str, &str); 2] = [("a.example", "a"), ("*.any.example", "any")];

fn show_all(config: &mut Value) {
    for listener in [API_TLS, ISPROXY] {
        config["listeners"][listener]["tls"] = json!({ "certificates": [
            { "certificate": "server.crt", "private_key": "server.key" },
            { "certificate": "a.crt", "private_key": "a.key" },
            { "certificate": "any.crt", "private_key": "any.key" },
        ] });
    }
}

fn certify(installation: &Installation, (name, file): (&str, &str), validity: Validity) {
    Authority::shared().certify(name, validity).write_to(installation.folder(), file);
}

fn gateway() -> TestGateway {
    let installation = Installation::configured(show_all);
    for named in NAMES {
        certify(&installation, named, Validity::Now);
    }
    installation.serve()
}

fn client() -> Arc<ClientConfig> {
    Authority::shared().client(&[])
}

/// A connection to the API by TLS as `name`, which the certificate must be for.
fn connect(gateway: &TestGateway, name: &str, client: &Arc<ClientConfig>) -> io::Result<Wire> {
    gateway.connect("api-tls").try_into_tls_as(name, Arc::clone(client))
}

fn shown(wire: &Wire) -> CertificateDer<'static> {
    wire.tls().unwrap().peer_certificates().unwrap()[0].clone()
}

fn of_file(gateway: &TestGateway, file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(gateway.path(file)).unwrap()
}

#[test]
fn each_client_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let mut gateway = gateway();
    for (name, file) in [
        ("localhost", "server.crt"),
        ("a.example", "a.crt"),
        ("b.any.example", "any.crt"),
        ("127.0.0.1", "server.crt"),
    ] {
        let wire = connect(&gateway, name, &client()).unwrap();
        assert_eq!(shown(&wire), of_file(&gateway, file), "{name}");
        let mut session = gateway.connect("isproxy");
        assert_eq!(session.ask("STARTTLS"), "100 OK");
        let session = session.try_into_tls_as(name, client()).unwrap();
        assert_eq!(shown(&session), of_file(&gateway, file), "{name} behind STARTTLS");
    }
    // The first is shown to who asks for another name; this client does not take it.
    let error = connect(&gateway, "a.test", &client()).err().unwrap().to_string();
    assert!(error.contains("not valid for name"), "{error}");
    gateway.reload(|config| config["listeners"][API_TLS]["tls"]["unknown_names"] = json!("refuse"));
    let error = connect(&gateway, "a.test", &client()).err().unwrap().to_string();
    assert!(error.contains("AccessDenied"), "{error}");
    assert!(connect(&gateway, "127.0.0.1", &client()).is_err(), "no name at all");
    assert!(connect(&gateway, "b.any.example", &client()).is_ok());
}

#[test]
fn one_of_several_certificates_is_changed_and_sessions_of_the_others_go_on() {
    let gateway = gateway();
    let client = client();
    let kind = |name: &str| {
        let mut wire = connect(&gateway, name, &client).unwrap();
        // An answer, with which the tickets come.
        wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        wire.read_until(b"\r\n\r\n");
        wire.tls().unwrap().handshake_kind().unwrap()
    };
    assert_eq!(kind("b.any.example"), HandshakeKind::Full);
    assert_eq!(kind("b.any.example"), HandshakeKind::Resumed);
    assert_eq!(
        kind("c.any.example"),
        HandshakeKind::Full,
        "a session of another name, though of the same certificate"
    );
    let before = gateway.reloads("applied");
    certify(&gateway, NAMES[0], Validity::Now);
    gateway.wait_for_reload("applied", before);
    wait_for("the new certificate", || {
        let wire = connect(&gateway, "a.example", &self::client()).ok()?;
        (shown(&wire) == of_file(&gateway, "a.crt")).then_some(())
    });
    assert_eq!(kind("b.any.example"), HandshakeKind::Resumed);
}

#[test]
fn an_expired_certificate_is_a_warning_and_shows_its_end() {
    let installation = Installation::configured(show_all);
    certify(&installation, NAMES[0], Validity::Over);
    certify(&installation, NAMES[1], Validity::Now);
    let checked = installation.cli(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let warning = "a.crt has expired, on 2020-01-01T00:00:00Z";
    for listener in ["api-tls", "isproxy"] {
        let found = checked.stderr.lines().find(|line| line.contains(&format!("listener `{listener}`")));
        assert!(
            found.is_some_and(|line| line.starts_with("warning: ") && line.ends_with(warning)),
            "{checked:?}"
        );
    }
    let gateway = installation.serve();
    gateway.process().wait_for_log("the warning", |lines| {
        lines.iter().any(|line| line.contains("WARN") && line.contains(warning)).then_some(())
    });
    let series = "latchkey_certificate_expires_timestamp_seconds{listener=\"api-tls\"}";
    assert_eq!(gateway.metric(series), Some(1_577_836_800));
}

#[test]
fn check_names_each_of_several_certificates_that_cannot_be_used() {
    let installation = Installation::configured(show_all);
    certify(&installation, ("localhost", "a"), Validity::Now);
    certify(&installation, NAMES[1], Validity::Now);
    let told = installation.cli(&["check"]);
    assert_eq!(told.code, Some(2), "{told:?}");
    let fault = "listeners[1].tls.certificates[1].certificate: the name localhost of the certificate ";
    assert!(told.stdout.contains(fault), "{told:?}");
    fs::copy(installation.path("any.key"), installation.path("a.key")).unwrap();
    let told = installation.cli(&["check"]);
    let fault = "listeners[1].tls.certificates[1].private_key: the private key ";
    assert!(
        told.stdout.contains(fault) && told.stdout.contains("does not belong to the certificate"),
        "{told:?}"
    );
}
