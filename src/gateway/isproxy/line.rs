//! Cuts lines out of one reused buffer, in place.
//!
//! Bounded: a line of more than [`MAX_LINE_BYTES`] is told as such and never collected. Knows no command; both
//! sides of the door, client and upstream, and the sample upstream read through it.

use zeroize::Zeroize;

/// Longest line, without its end (PROTOCOL: "a line over 1,024 bytes").
pub const MAX_LINE_BYTES: usize = 1_024;

/// What one read may take; holds more than one longest line with its end, so that there is always room for a read.
const BUFFER_BYTES: usize = 4_096;

/// The first byte of a TLS record that carries a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A buffer that is filled by reads and emptied by lines.
#[derive(Debug)]
pub struct LineReader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Up to here there is no line end; kept so that a slow line is not searched again and again.
    searched: usize,
}

/// What the buffer holds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLine<'a> {
    /// A line without its end (CRLF or a bare LF), and whether bytes stand behind it.
    Complete(&'a [u8], Behind),
    /// More than [`MAX_LINE_BYTES`] without an end; the line's beginning. The reader gives nothing else any more.
    TooLong(&'a [u8]),
    /// A TLS record where a line is due. The reader gives nothing else any more.
    TlsHello,
    /// Nothing whole; read more.
    Incomplete,
}

/// Has more been read than the line itself? `STARTTLS` must know (S16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The line was the last that was read.
    Nothing,
    /// Bytes of a further line stand in the buffer.
    Bytes,
}

impl LineReader {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), start: 0, end: 0, searched: 0 }
    }

    /// The room that the next read may fill; never empty once [`Self::next_line`] has answered `Incomplete`.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that a read has put `count` bytes into [`Self::room`].
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Takes the next line out.
    pub fn next_line(&mut self) -> NextLine<'_> {
        let held = self.buffer.get(self.start..self.end).unwrap_or_default();
        if held.first() == Some(&TLS_HANDSHAKE) {
            return NextLine::TlsHello;
        }
        let from = self.searched.saturating_sub(self.start);
        let fresh = held.get(from..).unwrap_or_default();
        let line_end = memchr::memchr(b'\n', fresh).map(|at| from + at);
        let Some(line_end) = line_end else {
            self.searched = self.end;
            // One byte more may be the CR of a longest line.
            let longest = MAX_LINE_BYTES + usize::from(held.last() == Some(&b'\r'));
            return if held.len() > longest {
                NextLine::TooLong(held.get(..MAX_LINE_BYTES).unwrap_or(held))
            } else {
                NextLine::Incomplete
            };
        };
        let line = held.get(..line_end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE_BYTES {
            return NextLine::TooLong(line.get(..MAX_LINE_BYTES).unwrap_or(line));
        }
        self.start += line_end + 1;
        self.searched = self.start;
        NextLine::Complete(line, if self.start == self.end { Behind::Nothing } else { Behind::Bytes })
    }

    /// Is there nothing of a line that was not taken out?
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Wipes all but what is still to be taken: a line that was taken out carried a credential, and parts of it may
    /// stand where the line was before it was moved.
    pub fn wipe_taken(&mut self) {
        let (start, end) = (self.start, self.end);
        if let Some(taken) = self.buffer.get_mut(..start) {
            taken.zeroize();
        }
        if let Some(stale) = self.buffer.get_mut(end..) {
            stale.zeroize();
        }
    }

    /// Forgets everything: what is read next comes from another connection.
    pub fn clear(&mut self) {
        (self.start, self.end, self.searched) = (0, 0, 0);
    }
}

impl Default for LineReader {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(reader: &mut LineReader, bytes: &[u8]) {
        let room = reader.room();
        room[..bytes.len()].copy_from_slice(bytes);
        reader.filled(bytes.len());
    }

    /// Every line that comes out of `reads`, and how it ended.
    fn lines(reads: &[&[u8]]) -> (Vec<Vec<u8>>, &'static str) {
        let mut reader = LineReader::new();
        let mut lines = Vec::new();
        for read in reads {
            for part in read.chunks(1_024) {
                feed(&mut reader, part);
                loop {
                    match reader.next_line() {
                        NextLine::Complete(line, _) => lines.push(line.to_vec()),
                        NextLine::TooLong(_) => return (lines, "too long"),
                        NextLine::TlsHello => return (lines, "tls"),
                        NextLine::Incomplete => break,
                    }
                }
            }
        }
        (lines, "incomplete")
    }

    #[test]
    fn lines_end_in_crlf_or_a_bare_lf() {
        let (lines, end) = lines(&[b"IS a.com\r\nIS b.com\nIS c", b".com\r", b"\n\n", b"rest"]);
        assert_eq!(lines, [b"IS a.com".as_slice(), b"IS b.com", b"IS c.com", b""]);
        assert_eq!(end, "incomplete");
    }

    #[test]
    fn a_longest_line_passes_and_one_byte_more_does_not() {
        for line_end in ["\n", "\r\n"] {
            let longest = "x".repeat(MAX_LINE_BYTES);
            assert_eq!(lines(&[format!("{longest}{line_end}").as_bytes()]).0, [longest.as_bytes()]);
            assert_eq!(lines(&[format!("{longest}x{line_end}").as_bytes()]), (vec![], "too long"));
        }
        assert_eq!(lines(&["x".repeat(MAX_LINE_BYTES + 1).as_bytes()]).1, "too long");
        assert_eq!(lines(&["x".repeat(MAX_LINE_BYTES).as_bytes(), b"\r"]).1, "incomplete");
        assert_eq!(lines(&["x".repeat(MAX_LINE_BYTES).as_bytes(), b"\r\r"]).1, "too long");
    }

    #[test]
    fn s47_a_tls_hello_is_noticed_at_its_first_byte() {
        assert_eq!(lines(&[b"\x16"]), (vec![], "tls"));
        assert_eq!(lines(&[b"QUIT\n\x16\x03\x01"]), (vec![b"QUIT".to_vec()], "tls"));
        assert_eq!(lines(&[b"a\x16\n"]), (vec![b"a\x16".to_vec()], "incomplete"));
    }

    #[test]
    fn s16_bytes_behind_a_line_are_told() {
        let mut reader = LineReader::new();
        feed(&mut reader, b"STARTTLS\r\nL");
        assert_eq!(reader.next_line(), NextLine::Complete(b"STARTTLS", Behind::Bytes));
        let mut reader = LineReader::new();
        feed(&mut reader, b"STARTTLS\r\n");
        assert_eq!(reader.next_line(), NextLine::Complete(b"STARTTLS", Behind::Nothing));
    }

    #[test]
    fn a_line_with_a_credential_is_wiped_from_the_buffer() {
        let mut reader = LineReader::new();
        feed(&mut reader, b"HELP and more of it\r\nLOGIN sec");
        assert!(matches!(reader.next_line(), NextLine::Complete(b"HELP and more of it", _)));
        feed(&mut reader, b"ret\r\nIS a.com\r\n");
        assert!(matches!(reader.next_line(), NextLine::Complete(b"LOGIN secret", _)));
        reader.wipe_taken();
        assert!(!reader.buffer.windows(3).any(|window| window == b"sec" || window == b"ret"));
        assert_eq!(reader.next_line(), NextLine::Complete(b"IS a.com", Behind::Nothing));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_into_reads_changes_nothing(
            bytes in proptest::collection::vec(
                prop_oneof![8 => Just(b'x'), 1 => Just(b'\r'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..600),
            long in prop_oneof![3 => Just(0usize), 1 => 1_000usize..1_050],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut bytes = bytes;
            bytes.extend(std::iter::repeat_n(b'y', long));
            bytes.extend(b"\r\nlast\n");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut reads = Vec::new();
            let mut from = 0;
            for cut in cuts {
                reads.push(&bytes[from..cut]);
                from = cut;
            }
            reads.push(&bytes[from..]);
            prop_assert_eq!(lines(&reads), lines(&[&bytes]));
        }
    }
}
