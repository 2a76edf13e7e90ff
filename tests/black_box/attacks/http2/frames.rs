//! Writes frames (RFC 9113 §4.1) and header blocks (RFC 7541 §6) byte for byte, also such as nobody should.

/// Frame types (RFC 9113 §6).
pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const PRIORITY: u8 = 0x2;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PUSH_PROMISE: u8 = 0x5;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;

/// Flags; `ACK` is that of SETTINGS and PING.
pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITISED: u8 = 0x20;
/// A request without a body.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// Error codes (RFC 9113 §7).
pub const PROTOCOL_ERROR: u32 = 0x1;
pub const FLOW_CONTROL_ERROR: u32 = 0x3;
pub const STREAM_CLOSED: u32 = 0x5;
pub const FRAME_SIZE_ERROR: u32 = 0x6;
pub const REFUSED_STREAM: u32 = 0x7;
pub const CANCEL: u32 = 0x8;
pub const COMPRESSION_ERROR: u32 = 0x9;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Settings (RFC 9113 §6.5.2).
pub const HEADER_TABLE_SIZE: u16 = 0x1;
pub const ENABLE_PUSH: u16 = 0x2;
pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub const MAX_FRAME_SIZE: u16 = 0x5;
pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame with the length that its payload has.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A part of a body.
pub fn data(stream: u32, body: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, body)
}

/// The last part of a body.
pub fn last_data(stream: u32, body: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, body)
}

/// Lets the peer send so many bytes more, on a stream or (0) on the connection.
pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Ends a stream before its time.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A PRIORITY frame (RFC 9113 §6.3).
pub fn priority(stream: u32, depends_on: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&depends_on.to_be_bytes()[..], &[15]].concat())
}

/// A SETTINGS frame.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// An integer with a prefix of so many bits, in whose first byte stand `bits` too (RFC 7541 §5.1).
pub fn integer(prefix: u32, bits: u8, value: usize) -> Vec<u8> {
    let most = (1_usize << prefix) - 1;
    if value < most {
        return vec![bits | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![bits | u8::try_from(most).unwrap()];
    let mut rest = value - most;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A string without Huffman coding (RFC 7541 §5.2).
pub fn string(text: &[u8]) -> Vec<u8> {
    [&integer(7, 0, text.len())[..], text].concat()
}

/// A literal field, name and value in full: not indexed (`0x00`), never to be (`0x10`), or to be indexed (`0x40`).
pub fn literal_as(form: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[form][..], &string(name), &string(value)].concat()
}

/// A literal field that is not indexed.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    literal_as(0x00, name, value)
}

/// An entry of the tables (RFC 7541 §6.1).
pub fn indexed(index: usize) -> Vec<u8> {
    integer(7, 0x80, index)
}

/// Sets the dynamic table's size (RFC 7541 §6.3).
pub fn table_size(size: usize) -> Vec<u8> {
    integer(5, 0x20, size)
}

/// The fields of a message, in any order and of any bytes.
#[derive(Clone, Debug)]
pub struct Head(Vec<(Vec<u8>, Vec<u8>)>);

impl Head {
    /// No field at all, as for trailers.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Adds a field at the end.
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds a field at the beginning.
    pub fn first(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.insert(0, (name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Gives every field of that name another value.
    pub fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for (_, old) in self.0.iter_mut().filter(|(present, _)| present == name.as_bytes()) {
            *old = value.as_ref().to_vec();
        }
        self
    }

    /// Leaves every field of that name out.
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(present, _)| present != name.as_bytes());
        self
    }

    /// The header block, in literals.
    pub fn block(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(name, value)| literal(name, value)).collect()
    }

    /// The header block, with every field put into the dynamic table.
    pub fn indexing_block(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(name, value)| literal_as(0x40, name, value)).collect()
    }

    /// A HEADERS frame.
    pub fn frame(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(HEADERS, flags, stream, &self.block())
    }

    /// All of a request without a body.
    pub fn whole(&self, stream: u32) -> Vec<u8> {
        self.frame(stream, WHOLE)
    }

    /// The head of a request whose body follows.
    pub fn open(&self, stream: u32) -> Vec<u8> {
        self.frame(stream, END_HEADERS)
    }

    /// A request and its body.
    pub fn and_body(&self, stream: u32, body: &[u8]) -> Vec<u8> {
        [self.open(stream), last_data(stream, body)].concat()
    }
}
