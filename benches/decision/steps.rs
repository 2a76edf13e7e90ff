//! The steps of a decision, each as one turn of a loop.

use std::hint::black_box;

use futures_util::FutureExt;
use latchkey::auth::{Attempt, Credential, Decision, PresentedKey};
use latchkey::crypto::recognise_key;
use latchkey::gateway::http::parse_authorization;
use latchkey::gateway::isproxy::command::{Command, LoginArguments};
use latchkey::gateway::isproxy::line::{LineReader, NextLine};
use latchkey::model::{AllowList, ClientIp, Service};

use super::world::{Asked, World};

/// One step.
pub struct Step<'a> {
    /// What it does.
    pub name: &'static str,
    /// Does it once, for a key by its number.
    pub turn: Box<dyn FnMut(usize) + 'a>,
}

/// All steps, in the order of a decision; the whole ones last.
pub fn steps(world: &World) -> Vec<Step<'_>> {
    let client_ip = ClientIp::new([10, 3, 200, 7].into());
    let mut reader = LineReader::new();
    vec![
        step(world, "empty step", |_| {}),
        step(world, "parse the Authorization header", |asked| {
            black_box(parse_authorization(&asked.headers));
        }),
        step(world, "recognise form and tag", |asked| {
            recognise_key(asked.text.as_bytes(), &world.key_ring.tag).unwrap();
        }),
        step(world, "keyed digest", |asked| {
            black_box(world.key_ring.digest.digest(asked.text.as_bytes()));
        }),
        step(world, "look-up in the index", |asked| {
            black_box(world.index.lookup_key(&asked.digest).unwrap());
        }),
        admitting(world, "allow-list of 1 network", 1, client_ip),
        admitting(world, "allow-list of 1,000 networks", 1_000, client_ip),
        admitting(world, "allow-list of 10,000 networks", 10_000, client_ip),
        step(world, "whole decision: header to permit", move |asked| {
            let authorization = parse_authorization(&asked.headers).unwrap();
            decide(world, authorization.credential(), Service::Api, client_ip);
        }),
        step(world, "whole decision: LOGIN line to permit", move |asked| {
            reader.room()[..asked.login.len()].copy_from_slice(&asked.login);
            reader.filled(asked.login.len());
            let NextLine::Complete(line, _) = reader.next_line() else { panic!("half a line") };
            let Command::Login(LoginArguments::Key(key)) = Command::parse(line) else { panic!("no LOGIN") };
            decide(world, Credential::ApiKey(PresentedKey(key.as_bytes())), Service::IsProxy, client_ip);
        }),
    ]
}

fn step<'a>(world: &'a World, name: &'static str, mut act: impl FnMut(&Asked) + 'a) -> Step<'a> {
    let turn = move |number| act(black_box(&world.asked[number % world.asked.len()]));
    Step { name, turn: Box::new(turn) }
}

fn admitting<'a>(world: &'a World, name: &'static str, networks: u32, client_ip: ClientIp) -> Step<'a> {
    // Every other /24, so that none are joined, with the client's in the middle.
    let beginning = u32::from_be_bytes([10, 3, 200, 0]) - networks / 2 * 512;
    let texts: Vec<String> = (0..networks)
        .map(|number| format!("{}/24", std::net::Ipv4Addr::from(beginning + number * 512)))
        .collect();
    let list = AllowList::parse(texts.iter().map(String::as_str)).unwrap();
    step(world, name, move |_| assert!(list.admits(black_box(client_ip))))
}

/// For a key it never waits, so that one look at the future is enough.
fn decide(world: &World, credential: Credential<'_>, service: Service, client_ip: ClientIp) {
    let attempt = Attempt { credential, service, client_ip };
    let decision = world.authenticator.authenticate(attempt).now_or_never();
    assert!(matches!(black_box(decision), Some(Decision::Allow(_))));
}
