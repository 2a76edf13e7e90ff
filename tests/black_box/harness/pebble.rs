//! Pebble, an authority that issues certificates by ACME to tests, and names that all lead to this machine.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Authority, Request, Running, Wire, wait_for};

/// A running authority. Whom it asks, and how, is known to nobody but to it: it looks at the ports that it was given.
pub struct Pebble {
    _folder: TempDir,
    _names: Running,
    server: Running,
    directory: SocketAddr,
    management: SocketAddr,
}

impl Pebble {
    /// Issues certificates of this life, after asking at one of these ports of 127.0.0.1.
    pub fn start(life_seconds: u32, tls_port: u16, http_port: u16) -> Self {
        let folder = TempDir::new().unwrap();
        Authority::shared().write_to(folder.path());
        // Held until all are found, so that no two are the same.
        let held: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<SocketAddr> = held.iter().map(|socket| socket.local_addr().unwrap()).collect();
        drop(held);
        let [directory, management, dns, names_management] = addresses[..] else { panic!("{addresses:?}") };
        let names = Running::start(
            Command::new("pebble-challtestsrv")
                .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", ""])
                .args(["-tlsalpn01", "", "-dns01", &dns.to_string()])
                .args(["-management", &names_management.to_string()]),
        );
        let config = json!({ "pebble": {
            "listenAddress": directory.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": folder.path().join("server.crt"),
            "privateKey": folder.path().join("server.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": life_seconds,
        } });
        let file = folder.path().join("pebble.json");
        fs::write(&file, config.to_string()).unwrap();
        let server = Running::start(
            Command::new("pebble")
                .args(["-dnsserver", &dns.to_string(), "-config"])
                .arg(&file)
                // No waits of its own, no nonces refused, and each order asks anew.
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_WFE_NONCEREJECT", "0")
                .env("PEBBLE_AUTHZREUSE", "0"),
        );
        for address in [directory, management, dns] {
            wait_for("Pebble", || TcpStream::connect(address).ok());
        }
        Self { _folder: folder, _names: names, server, directory, management }
    }

    /// The section `acme` that names it; its own certificate is vouched for by `ca.crt` of every installation.
    pub fn section(&self) -> Value {
        json!({
            "directory": format!("https://localhost:{}/dir", self.directory.port()),
            "terms_accepted": true,
            "contact": ["mailto:ops@example.com"],
            "ca": "ca.crt",
        })
    }

    /// A client that trusts what it issues.
    pub fn client(&self) -> Arc<ClientConfig> {
        let asked = Authority::shared().client(&["http/1.1"]);
        let root = Wire::connect_tls(self.management, asked).exchange(&Request::get("/roots/0"));
        assert_eq!(root.status, 200);
        let mut trusted = RootCertStore::empty();
        trusted.add(CertificateDer::from_pem_slice(&root.body).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(client.unwrap().with_root_certificates(trusted).with_no_client_auth())
    }

    /// Ends it as a crash would.
    pub fn stop(&mut self) {
        self.server.kill();
    }
}
