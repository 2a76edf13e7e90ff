//! A client that never stops sending: whatever ends a session ends this one, too.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{gateway_with_key, gateway_with_limits};
use crate::harness::{PATIENCE, Wire};

/// Far beyond what a busy machine needs, and far below the deadlines that would end it otherwise.
const SOON: Duration = Duration::from_secs(10);

/// Sends empty lines, which get no answer, until the connection is cut; how long that took.
fn flood(session: &mut Wire) -> Duration {
    let (began, lines) = (Instant::now(), "\r\n".repeat(32 * 1_024));
    while session.try_send(&lines).is_ok() && began.elapsed() < PATIENCE {}
    began.elapsed()
}

#[test]
fn a_flooding_session_before_its_login_ends_by_its_deadline() {
    let (gateway, _) = gateway_with_limits(&json!({ "isproxy_login_seconds": 1 }));
    let took = flood(&mut gateway.connect("isproxy"));
    assert!((Duration::from_secs(1)..SOON).contains(&took), "it took {took:?}");
}

#[test]
fn s20_a_flooding_session_ends_with_its_key() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    let took = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&mut session));
        gateway.delete_key(&key);
        let deleted = Instant::now();
        flooding.join().unwrap();
        deleted.elapsed()
    });
    assert!(took < SOON, "it took {took:?}");
}

#[test]
fn a_flooding_session_is_drained() {
    let (gateway, key) = gateway_with_limits(&json!({ "drain_seconds": 60 }));
    let mut session = gateway.isproxy_session(&key.login());
    let flooding = std::thread::spawn(move || flood(&mut session));
    let asked = Instant::now();
    let (status, log, _) = gateway.stop();
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < SOON, "it took {took:?}");
    flooding.join().unwrap();
}
