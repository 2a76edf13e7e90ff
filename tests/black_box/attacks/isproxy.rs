//! Hostile `IsProxy` (PROTOCOL section 1): clients that try everything but the protocol, in clear and inside TLS, and
//! upstreams that answer anything but a reply.
//!
//! Each conversation ends with a question that shows the session's state, and that nothing more was said than must be;
//! one that nothing is wrong with follows it.

mod before_login;
mod broken_relay;
mod client;
mod control_bytes;
mod credentials;
mod fault_server;
mod faults;
mod foreign;
mod functions;
mod injection;
mod judge;
mod lengths;
mod pipelines;
mod starttls;
mod throttle;
mod transcript;
mod upstream_judge;
mod witness;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use self::broken_relay::BrokenRelay;
use self::fault_server::FaultServer;
use self::faults::{Fault, Stage};
use self::judge::Target;
use self::transcript::{Carriage, Door, Given, Transcript};
use self::upstream_judge::Asker;
use self::witness::Witness;
use super::{Failure, expect_in_each, expect_none};
use crate::harness::{Authority, Installation, Key, PATIENCE, TestGateway};

/// Fewer would be a part of the set only.
const LEAST_TRANSCRIPTS: usize = 250;
const LEAST_IN_TLS: usize = 200;
const LEAST_FAULTS: usize = 45;
/// How long the broken relay is waited for. It never answers some transcripts.
const SHORT: Duration = Duration::from_millis(200);
/// The same behind a faulty upstream, which it waits for itself.
const NOT_SO_SHORT: Duration = Duration::from_millis(900);
/// How many transcripts a broken relay has to take, one after the other.
const AT_A_RELAY: usize = 8;
/// The listener without a certificate.
const WITHOUT_TLS: &str = "isproxy-without-tls";

fn all_transcripts(given: &Given) -> Vec<Transcript> {
    let sets = [before_login::cases, starttls::cases, control_bytes::cases, injection::cases, lengths::cases];
    let more = [foreign::cases, credentials::cases, throttle::cases, functions::cases, pipelines::cases];
    sets.into_iter().chain(more).flat_map(|cases| cases(given)).collect()
}

/// Deadlines that a test can wait for.
fn set_limits(config: &mut Value) {
    for (name, seconds) in [("isproxy_reply_seconds", 1), ("isproxy_write_seconds", 1), ("drain_seconds", 2)]
    {
        config["limits"][name] = json!(seconds);
    }
}

/// A gateway before `witness`, and what opens it.
fn gateway_before(witness: &Witness) -> (TestGateway, Given) {
    let gateway = TestGateway::configured(|config| {
        set_limits(config);
        config["upstreams"][1]["servers"] = json!([witness.address().to_string()]);
        config["listeners"].as_array_mut().unwrap().push(json!({
            "name": WITHOUT_TLS, "protocol": "isproxy", "address": "127.0.0.1:0",
            "plaintext_credentials": "allow", "upstream": "availability",
        }));
    });
    gateway.create_customer("acme");
    let (key, deleted) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    let other_door = gateway.create_key_of("acme/admin", "api");
    gateway.delete_key(&deleted);
    let given = Given { key: key.text, other_door: other_door.text, deleted: deleted.text };
    (gateway, given)
}

fn hostile_clients(carriage: Carriage, least: usize) {
    let witness = Witness::start();
    let (gateway, given) = gateway_before(&witness);
    let transcripts: Vec<Transcript> = all_transcripts(&given)
        .into_iter()
        .filter(|transcript| carriage == Carriage::ClearOnly || transcript.carriage == Carriage::Both)
        .collect();
    let names: BTreeSet<_> = transcripts.iter().map(|case| (case.category, case.name.as_str())).collect();
    assert_eq!(names.len(), transcripts.len(), "two transcripts share a name");
    let target = Target {
        doors: [
            (Door::Usual, "isproxy"),
            (Door::Refusing, "isproxy-refuse"),
            (Door::WithoutTls, WITHOUT_TLS),
        ]
        .map(|(door, listener)| (door, gateway.address(listener))),
        witness: &witness,
        tls: Authority::shared().client(&[]),
        given,
        patience: PATIENCE,
    };
    target.canary().unwrap();
    let mut failures = Vec::new();
    for transcript in &transcripts {
        failures.extend(target.judge(transcript, carriage));
        let failure = |what| Failure { category: "canary", case: transcript.name.clone(), what };
        failures.extend(target.canary().err().map(failure));
    }
    expect_none("IsProxy clients", transcripts.len(), least, &failures);
}

#[test]
fn s16_s17_s18_s19_s46_s47_hostile_isproxy_clients_in_clear_get_nothing_but_what_they_must() {
    hostile_clients(Carriage::ClearOnly, LEAST_TRANSCRIPTS);
}

#[test]
fn s17_s18_s19_s46_s47_hostile_isproxy_clients_inside_tls_get_nothing_but_what_they_must() {
    hostile_clients(Carriage::Both, LEAST_IN_TLS);
}

/// Some cases against a relay of their own.
fn judge_broken(given: &Given, transcripts: &[Transcript]) -> Vec<Failure> {
    let witness = Witness::start();
    let relay = BrokenRelay::start(witness.address(), &[], &given.key);
    let patient = Target {
        doors: [Door::Usual, Door::Refusing, Door::WithoutTls].map(|door| (door, relay.address())),
        witness: &witness,
        tls: Authority::shared().client(&[]),
        given: given.clone(),
        patience: PATIENCE,
    };
    patient.canary().unwrap();
    let target = Target { patience: SHORT, ..patient };
    transcripts.iter().flat_map(|transcript| target.judge(transcript, Carriage::ClearOnly)).collect()
}

#[test]
fn the_hostile_clients_find_a_broken_relay_out_in_every_category() {
    let key = |middle: char| format!("lk1_{}", format!("{middle}Zq-7_").repeat(7).get(..40).unwrap());
    let given = Given { key: key('A'), other_door: key('B'), deleted: key('C') };
    let transcripts = all_transcripts(&given);
    let failures: Vec<Failure> = std::thread::scope(|scope| {
        let judging: Vec<_> =
            transcripts.chunks(AT_A_RELAY).map(|some| scope.spawn(|| judge_broken(&given, some))).collect();
        judging.into_iter().flat_map(|judging| judging.join().unwrap()).collect()
    });
    expect_in_each(&transcripts.iter().map(|transcript| transcript.category).collect(), &failures);
}

/// Runs each of `faults` by `judge`, side by side.
fn judge_all(faults: &[Fault], judge: impl Fn(usize, &Fault) -> Vec<Failure> + Sync) -> Vec<Failure> {
    let judge = &judge;
    std::thread::scope(|scope| {
        let judging: Vec<_> = faults
            .iter()
            .enumerate()
            .map(|(number, fault)| scope.spawn(move || judge(number, fault)))
            .collect();
        judging.into_iter().flat_map(|judging| judging.join().unwrap()).collect()
    })
}

/// A gateway with a listener for each of `servers`, named by its number.
fn gateway_before_faults(servers: &[FaultServer]) -> (TestGateway, Key) {
    let installation = Installation::configured(|config| {
        set_limits(config);
        for (number, server) in servers.iter().enumerate() {
            let name = format!("fault-{number}");
            config["listeners"].as_array_mut().unwrap().push(json!({
                "name": name, "protocol": "isproxy", "address": "127.0.0.1:0",
                "plaintext_credentials": "allow", "upstream": name,
            }));
            let mut upstream =
                json!({ "name": name, "protocol": "isproxy", "servers": [server.address().to_string()] });
            if server.fault().stage >= Stage::Login {
                upstream["login_key_file"] = json!("upstream.key");
            }
            if server.fault().stage == Stage::StartTls {
                upstream["tls"] = json!({ "ca": "ca.crt" });
            }
            config["upstreams"].as_array_mut().unwrap().push(upstream);
        }
    });
    fault_server::write_own_key(&installation);
    let gateway = installation.serve();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

#[test]
fn s16_s19_s46_s71_nothing_but_legal_replies_of_a_hostile_upstream_reaches_an_isproxy_client() {
    let servers: Vec<FaultServer> = faults::all().into_iter().map(FaultServer::start).collect();
    let (gateway, key) = gateway_before_faults(&servers);
    let faults = faults::all();
    let mut failures = judge_all(&faults, |number, fault| {
        let address = gateway.address(&format!("fault-{number}"));
        Asker { address, login: key.login(), patience: PATIENCE }.judge(fault, &servers[number])
    });
    let mut canary = gateway.isproxy_session(&key.login());
    if canary.ask("IS canary.example") != "canary.example available" {
        let what = "the canary is not served any more".to_owned();
        failures.push(Failure { category: "canary", case: "canary".to_owned(), what });
    }
    expect_none("IsProxy upstreams", faults.len(), LEAST_FAULTS, &failures);
}

#[test]
fn the_hostile_upstreams_find_a_broken_relay_out_in_every_category() {
    let faults = faults::all();
    let failures = judge_all(&faults, |_, fault| {
        let server = FaultServer::start(fault.clone());
        let relay = BrokenRelay::start(server.address(), fault.stage.greeting(), "key");
        let asker = Asker { address: relay.address(), login: "LOGIN key".to_owned(), patience: NOT_SO_SHORT };
        asker.judge(fault, &server)
    });
    expect_in_each(&faults.iter().map(|fault| fault.category).collect(), &failures);
}
