//! An HTTP/2 client that gives exactly the window a test says, and shows the frames that come (RFC 9113).

use std::net::SocketAddr;
use std::time::Duration;

use super::Wire;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const ACK: u8 = 0x1;
/// `END_STREAM` and `END_HEADERS`.
const WHOLE_REQUEST: u8 = 0x5;

/// One connection of prior knowledge.
pub struct FrameClient {
    wire: Wire,
    next_stream: u32,
}

/// What the gateway sent, as far as tests ask for it.
#[derive(Debug, PartialEq, Eq)]
pub enum Http2Frame {
    /// The head of an answer.
    Head(u32),
    /// So many bytes of a body, and whether they are the last.
    Data(u32, usize, bool),
    /// A stream's end before its time, with the code of RFC 9113 §7.
    Reset(u32, u32),
    /// The answer to a ping.
    Pong,
    /// The connection ends soon, with the code of RFC 9113 §7.
    GoAway(u32),
}

impl FrameClient {
    /// Connects; every stream has a window of so many bytes.
    pub fn connect(address: SocketAddr, window: u32) -> Self {
        Self::over(Wire::connect(address), window)
    }

    /// Speaks HTTP/2 on `wire`.
    pub fn over(wire: Wire, window: u32) -> Self {
        let mut client = Self { wire, next_stream: 1 };
        client.wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // SETTINGS_INITIAL_WINDOW_SIZE
        client.send(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
        client
    }

    /// Asks for `path`; answers the stream's number.
    pub fn get(&mut self, path: &str, authorization: &str) -> u32 {
        // RFC 7541: indexed `:method: GET` and `:scheme: http`, then literals with the static table's names.
        let mut head = vec![0x82, 0x86, 0x04];
        push_text(&mut head, path);
        head.push(0x01);
        push_text(&mut head, "api.example");
        head.extend([0x0f, 0x08]);
        push_text(&mut head, authorization);
        let stream = self.next_stream;
        self.next_stream += 2;
        self.send(HEADERS, WHOLE_REQUEST, stream, &head);
        stream
    }

    /// Lets the gateway send so many bytes more, on a stream or (0) on the connection.
    pub fn grant(&mut self, stream: u32, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// The next frame; `None`: the connection has ended.
    pub fn next_frame(&mut self) -> Option<Http2Frame> {
        loop {
            let head = self.wire.read_up_to(9);
            let [a, b, c, kind, flags, stream @ ..] = &head[..] else { return None };
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let (kind, flags) = (*kind, *flags);
            let stream = u32::from_be_bytes(stream.try_into().unwrap());
            let payload = self.wire.read_up_to(length);
            if payload.len() < length {
                return None;
            }
            match kind {
                DATA => return Some(Http2Frame::Data(stream, length, flags & 1 == 1)),
                HEADERS => return Some(Http2Frame::Head(stream)),
                RST_STREAM => return Some(Http2Frame::Reset(stream, number(&payload[..4]))),
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload),
                PING => return Some(Http2Frame::Pong),
                GOAWAY => return Some(Http2Frame::GoAway(number(&payload[4..8]))),
                _ => {}
            }
        }
    }

    /// Reads up to the head of the answer on `stream`.
    #[track_caller]
    pub fn expect_head(&mut self, stream: u32) {
        assert_eq!(self.next_frame(), Some(Http2Frame::Head(stream)));
    }

    /// Reads away what comes until `stream` is reset, and answers the code; nothing else may end.
    #[track_caller]
    pub fn expect_reset(&mut self, stream: u32) -> u32 {
        loop {
            match self.next_frame() {
                Some(Http2Frame::Reset(number, code)) if number == stream => return code,
                Some(Http2Frame::Data(_, _, false) | Http2Frame::Head(_)) => {}
                other => panic!("{other:?} instead of a reset of stream {stream}"),
            }
        }
    }

    /// The connection and its streams must be as they were: a ping is answered, and nothing ends before.
    #[track_caller]
    pub fn expect_unharmed(&mut self) {
        self.send(PING, 0, 0, &[7; 8]);
        loop {
            match self.next_frame() {
                Some(Http2Frame::Pong) => return,
                Some(Http2Frame::Data(_, _, false)) => {}
                other => panic!("{other:?} instead of the answer to a ping"),
            }
        }
    }

    /// Nothing may come for `time`.
    pub fn expect_silence(&mut self, time: Duration) {
        self.wire.expect_silence(time);
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.wire.send(frame);
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// A string without Huffman coding (RFC 7541 §5.2).
fn push_text(head: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "longer texts have a longer length");
    head.push(u8::try_from(text.len()).unwrap());
    head.extend_from_slice(text.as_bytes());
}
