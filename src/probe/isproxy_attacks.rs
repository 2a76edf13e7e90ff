//! The attacks on an `IsProxy` listener.

use std::time::Duration;

use tokio::time::Instant;

use super::door::{Door, Notebook};
use super::finding::Outcome;
use super::http1_attacks::Late;
use super::judge::{self, Seen};
use super::origins::{Origin, proxy_header};
use super::recorder::Recorder;
use super::wire::{End, Heard, Wire};
use crate::config::PlaintextCredentials;

/// A name, and a line that asks for it.
const NAME: &str = "probe.example";
const LOGIN_OK: &str = "100 Login ok";
const LOGIN_FAILED: &str = "400 Login failed";
const TOO_LONG: &str = "400 Line too long";
/// More than a line may have (PROTOCOL section 1: 1,024 bytes).
const LONG_NAME_BYTES: usize = 2_000;

/// A session that must be closed is listened to for so long: less than until a deadline of the copy closes it anyway.
const CLOSED_WITHIN: Duration = Duration::from_millis(2_500);
/// A PROXY header that is read has no answer, which must not be waited for beyond the login's deadline.
const HEADER_ANSWERED_WITHIN: Duration = Duration::from_millis(500);

/// A door and its upstream.
struct Attacked<'a> {
    door: &'a Door,
    recorder: &'a Recorder,
    late: &'a Late,
}

/// All but those that wait for a deadline.
pub(super) async fn attack_by_lines(door: &Door, recorder: &Recorder, late: &Late, notes: &Notebook<'_>) {
    let attacked = Attacked { door, recorder, late };
    attacked.attack_before_login(notes).await;
    attacked.attack_by_login(notes).await;
    attacked.attack_by_origin(notes).await;
}

/// A client that says nothing.
pub(super) async fn attack_by_silence(door: &Door) -> Outcome {
    let limit = door.limits.isproxy_login_seconds;
    let begun = Instant::now();
    let heard = match door.connect(door.origins.client).await {
        Some(mut wire) => wire.hear_until_closed(judge::silence_max(limit)).await,
        None => return Outcome::failed("no connection"),
    };
    if !heard.bytes.is_empty() {
        return Outcome::failed("it was greeted");
    }
    judge::closed_in_time(heard.end, begun.elapsed(), limit)
}

impl Attacked<'_> {
    async fn attack_before_login(&self, notes: &Notebook<'_>) {
        let door = self.door;
        let login = self.login();
        let seen = self.say(format!("IS {NAME}\r\nENABLE reason\r\nIS\r\n").as_bytes(), Until::Quiet).await;
        notes.note("IS and ENABLE before LOGIN", judge::lines_refused(&seen));
        let line = format!("STARTTLS\r\n{login}\r\nIS {NAME}\r\n");
        let seen = self.say(line.as_bytes(), Until::Closed).await;
        notes.note("lines behind STARTTLS in one packet", judge::answered_and_closed(&seen, &[]));
        let seen = self.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Until::Closed).await;
        notes.note("a request of HTTP", judge::answered_and_closed(&seen, &[]));
        let seen = self.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Until::Closed).await;
        notes.note("TLS where a line is due", judge::answered_and_closed(&seen, &[]));
        let line = format!("IS {}\r\nIS {NAME}\r\n", "x".repeat(LONG_NAME_BYTES));
        let seen = self.say(line.as_bytes(), Until::Closed).await;
        let name = "a line beyond 1,024 bytes, before LOGIN";
        notes.note(name, judge::answered_and_closed(&seen, &[TOO_LONG]));
        if door.in_clear == PlaintextCredentials::Refuse {
            let line = format!("{login}\r\nIS {NAME}\r\n");
            let seen = self.say(line.as_bytes(), Until::Quiet).await;
            notes.note("LOGIN with a right key in clear", judge::lines_refused(&seen));
            let line = format!("IS {} {NAME}\r\n", door.keys.right.text.expose());
            let seen = self.say(line.as_bytes(), Until::Quiet).await;
            notes.note("IS with a right key in clear", judge::lines_refused(&seen));
        }
        let most = usize::try_from(door.limits.isproxy_failed_logins).unwrap_or(usize::MAX);
        let lines = format!("{}{login}\r\nIS {NAME}\r\n", "LOGIN wrong\r\n".repeat(most));
        let seen = self.say(lines.as_bytes(), Until::Closed).await;
        let replies = vec![LOGIN_FAILED; most];
        let name = format!("a right LOGIN behind {most} failed ones");
        notes.note(name, judge::answered_and_closed(&seen, &replies));
    }

    async fn attack_by_login(&self, notes: &Notebook<'_>) {
        const NAMES: [&str; 5] = [
            "a right key",
            "a wrong key",
            "control bytes in a name",
            "a line beyond 1,024 bytes, after LOGIN",
            "STARTTLS after LOGIN",
        ];
        let [right, wrong, control, long, again] = NAMES;
        if let Some(why) = self.door.lets_nobody_in() {
            for name in NAMES {
                notes.note(name, Outcome::NotProbed(why.to_owned()));
            }
            return;
        }
        let asked = format!("IS {NAME}");
        let (replies, seen) = self.ask(&[&self.login(), &asked]).await;
        notes.note(right, judge_let_in(&replies, &seen));
        let login = format!("LOGIN {}", self.door.keys.right.wrong());
        let (replies, seen) = self.ask(&[&login, &asked]).await;
        notes.note(wrong, judge_turned_away(&replies, &seen));
        notes.note(control, self.control_bytes().await);
        let line = format!("IS {}\r\nIS {NAME}\r\n", "x".repeat(LONG_NAME_BYTES));
        let seen = self.say_logged_in(line.as_bytes()).await;
        notes.note(long, judge::answered_and_closed(&seen, &[TOO_LONG]));
        let (replies, seen) = self.ask(&[&self.login(), "STARTTLS"]).await;
        let answer = replies.get(1).map(String::as_str).unwrap_or_default();
        let fits = answer.starts_with("400 ") && judge::is_nothing(&seen.received);
        notes.note(again, judge::pass_if(fits, format!("`{answer}`, {}", judge::received(&seen.received))));
    }

    async fn attack_by_origin(&self, notes: &Notebook<'_>) {
        let origins = &self.door.origins;
        if let Some(outsider) = origins.outsider {
            let seen = self.say_from(outsider, b"IS a\r\n", Until::Closed).await;
            notes.note("a client from outside allow_list", judge::answered_and_closed(&seen, &[]));
        }
        if origins.client.announced.is_none() {
            let outcome = match self.door.lets_nobody_in() {
                Some(why) => Outcome::NotProbed(why.to_owned()),
                None => self.unread_header().await,
            };
            return notes.note("a PROXY header where none is read", outcome);
        }
        let silent = Origin { announced: None, ..origins.client };
        let seen = self.say_from(silent, b"IS a\r\n", Until::Closed).await;
        notes.note("a client without a PROXY header", judge::answered_and_closed(&seen, &[]));
        let outcome = match origins.stranger {
            None => Outcome::NotProbed(String::from("every address of this machine is a trusted proxy")),
            Some(stranger) => {
                let seen = self.say_from(stranger, b"IS a\r\n", Until::Closed).await;
                judge::answered_and_closed(&seen, &[])
            }
        };
        notes.note("a PROXY header from a stranger", outcome);
    }

    /// A header where none is read, before a key that would be right if the header were believed.
    async fn unread_header(&self) -> Outcome {
        self.late.collect(self.recorder);
        let header = proxy_header(self.door.origins.claimed);
        let header = String::from_utf8_lossy(&header);
        let mut reply = None;
        if let Some(mut wire) = self.door.connect(self.door.origins.client).await {
            // It is a line like any other, and answered; a listener that believed it would be silent.
            let said = wire.ask_within(header.trim_end(), HEADER_ANSWERED_WITHIN).await;
            if said.is_none_or(|said| said.starts_with("400 "))
                && let Some(mut wire) = self.secured(wire).await
            {
                reply = wire.ask(&format!("LOGIN {}", self.door.keys.listed.text.expose())).await;
            }
        }
        let received = self.recorder.take();
        let told = reply.as_deref().map_or(String::from("closed"), |reply| format!("`{reply}`"));
        let fits = reply.as_deref() != Some(LOGIN_OK) && judge::is_nothing(&received);
        judge::pass_if(fits, format!("the key is judged by its true address: {told}"))
    }

    /// Bytes that another server could take for the end of a line, or of a name.
    async fn control_bytes(&self) -> Outcome {
        let hidden = [
            &b"IS pro\0be.example\r\n"[..],
            b"IS a.example\rIS smuggled.example\r\n",
            b"IS pro\x1bbe.example\r\n",
            b"IS pro\tbe.example\r\n",
            b"IS pro\xffbe.example\r\n",
        ];
        for line in hidden {
            let seen = self.say_logged_in(line).await;
            if let Outcome::Failed(what) = judge::lines_refused(&seen) {
                return Outcome::Failed(format!("`{}`: {what}", line.escape_ascii()));
            }
        }
        Outcome::passed(format!("each of {} names refused, nothing upstream", hidden.len()))
    }

    fn login(&self) -> String {
        format!("LOGIN {}", self.door.keys.right.text.expose())
    }

    /// Says `bytes` at the beginning of a session, in clear.
    async fn say(&self, bytes: &[u8], until: Until) -> Seen {
        self.say_from(self.door.origins.client, bytes, until).await
    }

    async fn say_from(&self, origin: Origin, bytes: &[u8], until: Until) -> Seen {
        self.late.collect(self.recorder);
        let heard = match self.door.connect(origin).await {
            Some(mut wire) => {
                wire.send(bytes).await;
                match until {
                    Until::Quiet => wire.hear().await,
                    Until::Closed => wire.hear_until_closed(CLOSED_WITHIN).await,
                }
            }
            None => Heard::closed(),
        };
        Seen { heard, received: self.recorder.take() }
    }

    /// Says `bytes` behind a login, inside TLS where there is some.
    async fn say_logged_in(&self, bytes: &[u8]) -> Seen {
        self.late.collect(self.recorder);
        let mut heard = Heard { bytes: Vec::new(), end: End::Open };
        if let Some(mut wire) = self.open().await
            && wire.ask(&self.login()).await.as_deref() == Some(LOGIN_OK)
        {
            wire.send(bytes).await;
            heard = wire.hear_until_closed(CLOSED_WITHIN).await;
        }
        Seen { heard, received: self.recorder.take() }
    }

    /// The replies to `lines`, one each, inside TLS where there is some.
    async fn ask(&self, lines: &[&str]) -> (Vec<String>, Seen) {
        self.late.collect(self.recorder);
        let mut replies = Vec::new();
        if let Some(mut wire) = self.open().await {
            for line in lines {
                replies.extend(wire.ask(line).await);
            }
        }
        (replies, Seen { heard: Heard::closed(), received: self.recorder.take() })
    }

    async fn open(&self) -> Option<Wire> {
        let wire = self.door.connect(self.door.origins.client).await?;
        self.secured(wire).await
    }

    /// Goes through STARTTLS where it is offered.
    async fn secured(&self, mut wire: Wire) -> Option<Wire> {
        let Some(tls) = &self.door.tls else { return Some(wire) };
        if wire.ask("STARTTLS").await.as_deref() != Some("100 OK") {
            return None;
        }
        wire.into_tls(tls).await.ok()
    }
}

/// How long a session is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Quiet,
    Closed,
}

/// A session by the right key: let in, answered, and relayed as it is.
fn judge_let_in(replies: &[String], seen: &Seen) -> Outcome {
    let expected = [LOGIN_OK.to_owned(), format!("{NAME} available")];
    let fits = replies == expected && seen.received.lines == [format!("IS {NAME}")];
    let told = format!("`{}`, {}", replies.join("`, `"), judge::received(&seen.received));
    judge::pass_if(fits, told)
}

/// A session by a wrong key: every line refused.
fn judge_turned_away(replies: &[String], seen: &Seen) -> Outcome {
    let fits = !replies.is_empty()
        && replies.iter().all(|reply| reply.starts_with("400 "))
        && judge::is_nothing(&seen.received);
    judge::pass_if(fits, format!("`{}`, {}", replies.join("`, `"), judge::received(&seen.received)))
}
