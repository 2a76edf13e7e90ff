//! A client that says what a case says, and sees what comes back, frame by frame.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::case::{Case, Opening, Outcome, Step};
use super::frames::{self, ACK, END_STREAM};
use crate::harness::{Authority, Wire};

/// What is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// How HTTP/2 is agreed on there.
    pub transport: Transport,
    /// How long an answer is waited for.
    pub patience: Duration,
}

/// How HTTP/2 is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By prior knowledge (RFC 9113 §3.3).
    Clear,
    /// By ALPN (RFC 9113 §3.2).
    Tls,
}

impl Target {
    /// Connects, and says nothing yet.
    pub fn connect(&self) -> Peer {
        let wire = match self.transport {
            Transport::Clear => Wire::connect(self.address),
            Transport::Tls => Wire::connect_tls(self.address, Authority::shared().client(&["h2"])),
        };
        Peer::over(wire, self.patience)
    }

    /// Connects, and says what every client says first.
    pub fn open(&self) -> Peer {
        let mut peer = self.connect();
        peer.open();
        peer
    }
}

/// A frame that came.
pub struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// One connection, and all that was seen on it.
pub struct Peer {
    wire: Wire,
    unread: Vec<u8>,
    patience: Duration,
    settings: Vec<(u16, u32)>,
    /// Status of each stream that was answered, whether or not its body has come.
    statuses: Vec<(u32, u16)>,
    /// How streams ended, in their order.
    ends: Vec<(u32, Outcome)>,
    pongs: usize,
    pings: usize,
    /// How the connection ended.
    end: Option<Outcome>,
}

impl Peer {
    fn over(wire: Wire, patience: Duration) -> Self {
        let (settings, statuses, ends) = (Vec::new(), Vec::new(), Vec::new());
        let (unread, end) = (Vec::new(), None);
        Self { wire, unread, patience, settings, statuses, ends, pongs: 0, pings: 0, end }
    }

    fn open(&mut self) {
        // Without a dynamic table each status comes in full.
        let settings = frames::settings(&[(frames::HEADER_TABLE_SIZE, 0)]);
        self.send(&[frames::PREFACE, &settings].concat());
    }

    /// Sends; a connection that has ended is seen by whoever reads.
    pub fn send(&mut self, bytes: &[u8]) {
        // What came before the end can still be read.
        let _ = self.wire.try_send(bytes);
    }

    /// How the connection ended, if it did.
    pub const fn end(&self) -> Option<&Outcome> {
        self.end.as_ref()
    }

    /// How many streams were reset by the peer.
    pub fn resets(&self) -> usize {
        self.ends.iter().filter(|(_, end)| matches!(end, Outcome::Reset(_))).count()
    }

    /// How `stream` ended, if it did.
    pub fn end_of(&self, stream: u32) -> Option<&Outcome> {
        self.ends.iter().find(|(ended, _)| *ended == stream).map(|(_, end)| end)
    }

    /// Reads what is there, and waits for nothing.
    pub fn read_what_came(&mut self) {
        self.read_until(Duration::from_micros(1), |_| false);
    }

    /// Waits until all that was sent has been read by the peer.
    pub fn settle(&mut self) {
        self.send(&frames::frame(frames::PING, 0, 0, b"are you?"));
        self.pings += 1;
        self.read_until(self.patience, |peer| peer.pongs >= peer.pings);
    }

    /// Waits until `stream` has ended.
    pub fn await_end(&mut self, stream: u32) {
        self.read_until(self.patience, |peer| peer.end_of(stream).is_some());
    }

    fn read_until(&mut self, patience: Duration, is_enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        while self.end.is_none() && !is_enough(self) {
            while let Some(frame) = self.take_frame() {
                self.note(&frame);
                if self.end.is_some() || is_enough(self) {
                    return;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.wire.read_next(left) {
                None => return,
                Some(bytes) if bytes.is_empty() => self.end = Some(Outcome::Closed),
                Some(bytes) => self.unread.extend(bytes),
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [a, b, c, kind, flags, stream @ ..] = self.unread.get(..9)? else { return None };
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let (kind, flags, stream) = (*kind, *flags, number(stream));
        let payload = self.unread.get(9..9 + length)?.to_vec();
        self.unread.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    fn note(&mut self, frame: &Frame) {
        let Frame { kind, flags, stream, payload } = frame;
        let is_last = flags & END_STREAM != 0;
        match *kind {
            frames::HEADERS => {
                let status = status(payload);
                self.statuses.push((*stream, status));
                if is_last {
                    self.ends.push((*stream, Outcome::Answered(status)));
                }
            }
            frames::DATA if is_last => {
                self.ends.push((*stream, Outcome::Answered(self.status_of(*stream).unwrap_or(0))));
            }
            frames::RST_STREAM => {
                // A refusal may be answered, and the stream be reset before its body is there (RFC 9113 §8.1).
                let refused = self.status_of(*stream).filter(|status| *status >= 400);
                let end = refused.map_or_else(|| Outcome::Reset(number(payload)), Outcome::Answered);
                if self.end_of(*stream).is_none() {
                    self.ends.push((*stream, end));
                }
            }
            frames::SETTINGS if flags & ACK == 0 => {
                let values = payload.chunks_exact(6);
                self.settings.extend(values.map(|v| (u16::from_be_bytes([v[0], v[1]]), number(&v[2..]))));
                self.send(&frames::frame(frames::SETTINGS, ACK, 0, &[]));
            }
            frames::PING if flags & ACK == 0 => self.send(&frames::frame(frames::PING, ACK, 0, payload)),
            frames::PING => self.pongs += 1,
            frames::GOAWAY => match payload.get(4..8).map(number) {
                // Nothing is wrong; the end comes later.
                Some(0) => {}
                code => self.end = Some(Outcome::GoAway(code.unwrap_or(0))),
            },
            _ => {}
        }
    }

    fn status_of(&self, stream: u32) -> Option<u16> {
        self.statuses.iter().find(|(answered, _)| *answered == stream).map(|(_, status)| *status)
    }

    fn announced(&self, id: u16) -> Option<u32> {
        self.settings.iter().find(|(announced, _)| *announced == id).map(|(_, value)| *value)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_be_bytes)
}

/// The status that a header block of an answer begins with, 0 if it does not.
fn status(block: &[u8]) -> u16 {
    // Sizes of the dynamic table may come before (RFC 7541 §4.2).
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or(block.len());
    match &block[start..] {
        // RFC 7541 appendix A.
        [entry @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(entry - 0x88)],
        [form, length, value @ ..] if [0x08, 0x18, 0x48].contains(form) => {
            let text = value.get(..usize::from(length & 0x7f)).unwrap_or_default();
            let digits = if length & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            String::from_utf8_lossy(&digits).parse().unwrap_or(0)
        }
        // What the broken proxy sends.
        [0x00, 7, name @ ..] => {
            String::from_utf8_lossy(name.get(8..11).unwrap_or_default()).parse().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Digits have five or six bits (RFC 7541 appendix B).
fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let value = |bits: &[u8]| bits.iter().fold(0_u8, |value, bit| value << 1 | bit);
    let (mut digits, mut at) = (Vec::new(), 0);
    while let Some(five) = bits.get(at..at + 5).map(value) {
        if five < 3 {
            digits.push(b'0' + five);
            at += 5;
            continue;
        }
        match bits.get(at..at + 6).map(value) {
            Some(six @ 0x19..=0x1f) => digits.push(b'3' + six - 0x19),
            _ => break,
        }
        at += 6;
    }
    digits
}

/// Has the conversation of `case`, and tells how it ended.
pub fn converse(target: &Target, case: &Case) -> Outcome {
    let mut peer = target.connect();
    if case.opening == Opening::Usual {
        peer.open();
    }
    for step in &case.steps {
        match step {
            Step::Send(bytes) => peer.send(bytes),
            Step::Settle => peer.settle(),
            Step::AwaitEnd(stream) => peer.await_end(*stream),
            Step::ExpectSetting(id, most) => {
                peer.settle();
                if peer.announced(*id).is_none_or(|value| value > *most) {
                    return Outcome::Setting(*id);
                }
            }
        }
    }
    if case.stream == 0 {
        peer.settle();
        let is_alive = peer.pongs >= peer.pings;
        return peer.end.unwrap_or(if is_alive { Outcome::Unharmed } else { Outcome::Silence });
    }
    peer.await_end(case.stream);
    let of_stream = peer.end_of(case.stream).cloned();
    of_stream.or(peer.end).unwrap_or(Outcome::Silence)
}

#[test]
fn a_status_is_read_in_each_way_that_it_is_written() {
    // 401 as h2 writes it: a literal with the table's name, in Huffman code.
    assert_eq!(status(&[0x20, 0x48, 0x82, 0x68, 0x01]), 401);
    assert_eq!(status(&[0x08, 0x03, b'5', b'0', b'2']), 502);
    assert_eq!(status(&[0x8c]), 400);
    assert_eq!(status(&frames::literal(b":status", b"431")), 431);
    assert_eq!(huffman_digits(&[0b0110_1001, 0b1101_1111]), b"47");
}
