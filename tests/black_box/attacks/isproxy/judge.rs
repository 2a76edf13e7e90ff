//! Holds a conversation as a transcript has it, and tells where it went another way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::client::{Client, NoLine, text};
use super::transcript::{Carriage, Door, End, Given, Step, Transcript, Upstream};
use super::witness::Witness;
use crate::attacks::Failure;

/// What a session is asked at its end: that shows its state, and that nothing else was said.
const PROBE: &str = "probe.example";
/// The first byte of a TLS record that carries an alert (RFC 8446 §5.1).
const TLS_ALERT: u8 = 0x15;
/// PROTOCOL: at most so many requests are pending.
const MOST_PENDING: usize = 4_096;

/// Where a set runs.
pub struct Target<'a> {
    /// The listener for each door.
    pub doors: [(Door, SocketAddr); 3],
    /// What is behind it.
    pub witness: &'a Witness,
    /// Trusts it.
    pub tls: Arc<ClientConfig>,
    /// The credentials that it knows.
    pub given: Given,
    /// How long anything is waited for.
    pub patience: Duration,
}

impl Target<'_> {
    fn address(&self, door: Door) -> SocketAddr {
        self.doors.iter().find(|(named, _)| *named == door).unwrap().1
    }

    fn connect(&self, door: Door) -> Result<Client, String> {
        Client::connect(self.address(door), self.patience)
            .map_err(|error| format!("it cannot be reached: {error}"))
    }

    /// A conversation that nothing is wrong with.
    pub fn canary(&self) -> Result<(), String> {
        let mut client = self.connect(Door::Usual)?;
        for (line, answer) in [
            (&*format!("LOGIN {}", self.given.key), "100 Login ok"),
            ("ENABLE reason", "100 OK"),
            ("IS canary.example", "canary.example available"),
        ] {
            let _ = client.send(format!("{line}\r\n").as_bytes());
            expect_lines(&mut client, &[answer.to_owned()])?;
        }
        let _ = client.send(b"QUIT\r\n");
        expect_end(&mut client, End::Closed)?;
        let mut lines = self.witness.take_lines(self.patience);
        // Of a case before whose session was cut while these were on their way.
        lines.retain(|line| !line.starts_with(b"IS silent."));
        if lines == [&b"ENABLE reason"[..], b"IS canary.example"] {
            Ok(())
        } else {
            Err(format!("the canary came upstream as {}", shown(&lines)))
        }
    }

    /// Runs `transcript`, inside TLS if asked to.
    pub fn judge(&self, transcript: &Transcript, inside: Carriage) -> Vec<Failure> {
        let mut faults = Vec::new();
        faults.extend(self.converse(transcript, inside).err());
        let lines = self.witness.take_lines(self.patience);
        faults.extend(judge_lines(transcript, &lines).err());
        let held = self.witness.take_most_held();
        if held > MOST_PENDING {
            faults.push(format!("{held} requests were pending"));
        }
        let failure = |what| Failure { category: transcript.category, case: transcript.name.clone(), what };
        faults.into_iter().map(failure).collect()
    }

    fn converse(&self, transcript: &Transcript, inside: Carriage) -> Result<(), String> {
        let mut client = self.connect(transcript.door)?;
        if inside == Carriage::Both {
            let _ = client.send(b"STARTTLS\r\n");
            expect_lines(&mut client, &["100 OK".to_owned()])?;
            client.begin_tls(&self.tls).map_err(|error| format!("no TLS: {error}"))?;
        }
        for (number, step) in transcript.steps.iter().enumerate() {
            self.take(&mut client, step).map_err(|what| format!("step {number}: {what}"))?;
        }
        expect_end(&mut client, transcript.end)
    }

    fn take(&self, client: &mut Client, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(bytes) => {
                let _ = client.send(bytes);
                Ok(())
            }
            Step::Expect(lines) => expect_lines(client, lines),
            Step::Perhaps(line) => client.skip_line(line),
            Step::BeginTls => client.begin_tls(&self.tls).map_err(|error| format!("no TLS: {error}")),
            Step::FinishSending => {
                client.finish_sending();
                Ok(())
            }
            Step::Flood(part, most) => client.flood(part, *most),
            Step::Reset => {
                client.reset();
                Ok(())
            }
        }
    }
}

fn expect_lines(client: &mut Client, lines: &[String]) -> Result<(), String> {
    let mut owed: Vec<String> = lines.iter().map(|line| format!("{line}\r\n")).collect();
    while !owed.is_empty() {
        match client.read_line() {
            Ok(line) => match owed.iter().position(|owed| owed.as_bytes() == line) {
                // Not `swap_remove`: they mostly come in order, and then the first is the one.
                Some(at) => drop(owed.remove(at)),
                None => return Err(format!("{:?} instead of {:?}", text(&line), owed[0])),
            },
            Err(no_line) => return Err(format!("{no_line:?} instead of {:?}", owed[0])),
        }
    }
    Ok(())
}

fn expect_end(client: &mut Client, end: End) -> Result<(), String> {
    let probe = |client: &mut Client, answer: &str| {
        let _ = client.send(format!("IS {PROBE}\r\n").as_bytes());
        expect_lines(client, &[answer.to_owned()]).map_err(|what| format!("at its end: {what}"))
    };
    match end {
        End::Out => probe(client, "400 not authenticated"),
        End::In => probe(client, &format!("{PROBE} available")),
        End::Over => Ok(()),
        End::Closed | End::ClosedPerhapsByAlert => match client.read_to_end() {
            Ok(rest) if rest.is_empty() => Ok(()),
            Ok(rest) if end == End::ClosedPerhapsByAlert && rest[0] == TLS_ALERT => Ok(()),
            Ok(rest) => Err(format!("{:?} instead of the end", text(&rest))),
            Err(NoLine::Silence(so_far) | NoLine::Closed(so_far)) => {
                Err(format!("it is not closed; so far {so_far:?}"))
            }
        },
    }
}

fn judge_lines(transcript: &Transcript, lines: &[Vec<u8>]) -> Result<(), String> {
    let probe = (transcript.end == End::In).then(|| format!("IS {PROBE}"));
    let with_probe = |allowed: &[String]| [allowed, probe.as_slice()].concat();
    let allowed = match &transcript.upstream {
        Upstream::Exactly(allowed) => with_probe(allowed),
        Upstream::Within(allowed) => {
            let mut allowed = with_probe(allowed);
            allowed.truncate(lines.len());
            allowed
        }
        Upstream::Requests if lines.iter().all(|line| line.starts_with(b"IS ")) => return Ok(()),
        Upstream::Requests => vec!["IS …".to_owned()],
    };
    if lines.iter().eq(allowed.iter().map(String::as_bytes)) {
        Ok(())
    } else {
        Err(format!("the upstream saw {} instead of {allowed:?}", shown(lines)))
    }
}

fn shown(lines: &[Vec<u8>]) -> String {
    let beginning: Vec<String> = lines.iter().take(5).map(|line| text(line)).collect();
    format!("{} lines, {beginning:?}", lines.len())
}
