//! The probe must see what is open: doors that pass every byte on and ask nobody.

use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

const CONFIG: &str = "\
store: { url: \"sqlite:latchkey.db\" }
listeners:
  - name: api
    protocol: http
    address: 127.0.0.1:8443
    plaintext_credentials: allow
    routes: [{ path: /, upstream: registry }]
  - name: isproxy
    protocol: isproxy
    address: 127.0.0.1:2001
    plaintext_credentials: allow
    upstream: availability
upstreams:
  - { name: registry, protocol: http, servers: [\"http://127.0.0.1:9000\"] }
  - { name: availability, protocol: isproxy, servers: [\"127.0.0.1:9001\"] }
";

/// A door that is none: whatever comes goes to `upstream`, and back. Ends with the process.
fn open_door(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(upstream).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                std::thread::spawn(move || {
                    // Either may go away; then the other one does.
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn doors_that_ask_nobody_fail_nearly_every_attack() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latchkey.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let config = crate::config::load(&file, &|_| None).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let Rehearsal { config, stages, .. } = rehearse(&config, copy.path(), runtime.handle()).unwrap();
    let claimed: Vec<_> = stages.iter().map(|stage| stage.origins.claimed).collect();
    let keys = runtime.block_on(make_keys(&config, &claimed)).unwrap();
    let addresses: Vec<(String, SocketAddr)> = stages
        .iter()
        .map(|stage| {
            let upstream = match &stage.behind {
                Behind::Http(targets) => targets[0].recorder.address(),
                Behind::IsProxy(recorder) => recorder.address(),
            };
            (stage.name.clone(), open_door(upstream))
        })
        .collect();
    let findings = attack_all(&runtime, stages, keys, &addresses, &config.limits, &|_| {}).unwrap();
    let failed = |listener: &str| -> Vec<&str> {
        let failed = findings.iter().filter(|found| matches!(found.outcome, Outcome::Failed(_)));
        failed.filter(|found| found.listener == listener).map(|found| found.attack.as_str()).collect()
    };
    for attack in ["no credential", "a wrong key", "forged identity headers, in every spelling", "TRACE"] {
        assert!(failed("api").contains(&attack), "{attack} passed an open door: {findings:#?}");
    }
    for attack in ["IS and ENABLE before LOGIN", "a request of HTTP"] {
        assert!(failed("isproxy").contains(&attack), "{attack} passed an open door: {findings:#?}");
    }
    assert!(failed("api").len() > 15 && failed("isproxy").len() > 5, "{findings:#?}");
}
