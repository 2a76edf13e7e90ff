//! A client that does everything right before an upstream that does not, and judges what it gets: one legal reply for
//! each name, and no end of the session for what is not its fault.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::{Client, text};
use super::fault_server::FaultServer;
use super::faults::{AFTER, ASKED, Fault, OTHER, Stage};
use crate::attacks::Failure;

/// Every reply stays below this, its end included (PROTOCOL: clients read 1,024 bytes at a time).
const REPLY_BYTES: usize = 1_000;
/// What a name can be found.
const RESULTS: [&str; 4] = ["available", "not available", "invalid domain", "error"];

/// One client, which logs in by a line.
pub struct Asker {
    /// Where the gateway is.
    pub address: SocketAddr,
    /// `LOGIN …`.
    pub login: String,
    /// How long anything is waited for.
    pub patience: Duration,
}

impl Asker {
    /// Asks through to `server`, which has `fault`.
    pub fn judge(&self, fault: &Fault, server: &FaultServer) -> Vec<Failure> {
        let mut faults = Vec::new();
        faults.extend(self.converse(fault).err());
        faults.extend(self.judge_lines(fault.stage, &server.lines()).err());
        let failure = |what| Failure { category: fault.category, case: fault.name.to_owned(), what };
        faults.into_iter().map(failure).collect()
    }

    fn converse(&self, fault: &Fault) -> Result<(), String> {
        let mut client = Client::connect(self.address, self.patience)
            .map_err(|error| format!("it cannot be reached: {error}"))?;
        let fixed = |answers: &[&str], line: &[u8]| {
            answers.iter().any(|answer| format!("{answer}\r\n").as_bytes() == line)
        };
        let login = |line: &[u8]| fixed(&["100 Login ok"], line);
        ask(&mut client, &[&self.login], &mut [&login])?;
        if fault.stage == Stage::Enable {
            let enabled = |line: &[u8]| fixed(&["100 OK", "400 Unknown function"], line);
            ask(&mut client, &["ENABLE reason"], &mut [&enabled])?;
        }
        for names in [&[OTHER, ASKED][..], &[AFTER]] {
            let lines: Vec<String> = names.iter().map(|name| format!("IS {name}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            ask_names(&mut client, &lines, names)?;
        }
        // Nothing more may have been said, and the session must have kept its state.
        let refused = |line: &[u8]| fixed(&["400 Unknown command"], line);
        ask(&mut client, &["HELP"], &mut [&refused])
    }

    /// Nothing that is a client's may be said in clear to a server that does not begin TLS, nor to one that does not
    /// let the gateway in; and a client's own key to none.
    fn judge_lines(&self, stage: Stage, lines: &[String]) -> Result<(), String> {
        let may_be_said = |line: &&String| match line.split(' ').next().unwrap_or_default() {
            "STARTTLS" => stage == Stage::StartTls,
            "LOGIN" => stage == Stage::Login && **line != self.login,
            "IS" | "ENABLE" => stage < Stage::Login,
            _ => false,
        };
        match lines.iter().find(|line| !may_be_said(line)) {
            Some(line) => Err(format!("{line:?} was said upstream")),
            None => Ok(()),
        }
    }
}

type Wanted<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Sends `lines` in one write, and reads a line for each of `wanted`, in any order.
fn ask(client: &mut Client, lines: &[&str], wanted: &mut [Wanted]) -> Result<(), String> {
    let _ = client.send(format!("{}\r\n", lines.join("\r\n")).as_bytes());
    let mut wanted = wanted.to_vec();
    while !wanted.is_empty() {
        match client.read_line() {
            Ok(line) => match wanted.iter().position(|wanted| wanted(&line)) {
                Some(at) => drop(wanted.remove(at)),
                None => return Err(format!("{:?} to {lines:?}", text(&line))),
            },
            Err(no_line) => return Err(format!("{no_line:?} to {lines:?}")),
        }
    }
    Ok(())
}

/// What a line has to be.
type Check<'a> = Box<dyn Fn(&[u8]) -> bool + 'a>;

fn ask_names(client: &mut Client, lines: &[&str], names: &[&str]) -> Result<(), String> {
    let checks: Vec<Check<'_>> = names
        .iter()
        .map(|name| Box::new(move |line: &[u8]| is_legal_reply(line, name)) as Check<'_>)
        .collect();
    let mut wanted: Vec<Wanted> = checks.iter().map(|check| &**check).collect();
    ask(client, lines, &mut wanted)
}

/// PROTOCOL: `^([\-\w.]+)\s(available|not\savailable|invalid\sdomain|error)( \(.*\))?$`, with CRLF behind, visible
/// ASCII only, and with the name as it was asked.
fn is_legal_reply(line: &[u8], name: &str) -> bool {
    let Some(text) = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok()) else {
        return false;
    };
    let said = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    let is_result = |said: &str| {
        RESULTS
            .iter()
            .filter_map(|result| said.strip_prefix(result))
            .any(|detail| detail.is_empty() || (detail.starts_with(" (") && detail.ends_with(')')))
    };
    line.len() < REPLY_BYTES
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && said.is_some_and(is_result)
}

#[test]
fn a_reply_is_legal_by_the_clients_expression() {
    for (line, legal) in [
        ("a.b available\r\n", true),
        ("a.b not available (reason=x)\r\n", true),
        ("a.b error\n", false),
        ("a.B error\r\n", false),
        ("a.b  error\r\n", false),
        ("a.b available (x\r\n", false),
        ("a.b available \u{1b}\r\n", false),
        ("a.b perhaps\r\n", false),
    ] {
        assert_eq!(is_legal_reply(line.as_bytes(), "a.b"), legal, "{line:?}");
    }
    let long = format!("a.b error ({})\r\n", "x".repeat(986));
    assert_eq!((long.len(), is_legal_reply(long.as_bytes(), "a.b")), (1_000, false));
}
