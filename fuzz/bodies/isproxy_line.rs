//! Any bytes, in any reads: the same lines come out, no line is over the bound, no bad byte becomes a command.
//!
//! The first byte says, from `0` on, of how many bytes a read is.

use latchkey::gateway::isproxy::command::Command;
use latchkey::gateway::isproxy::line::{LineReader, MAX_LINE_BYTES, NextLine};
use latchkey::gateway::isproxy::reply::UpstreamLine;

/// Every line of `bytes`, read in pieces of `piece` bytes; the last entry says how it ended.
fn lines(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut reader = LineReader::new();
    let mut lines = Vec::new();
    for part in bytes.chunks(piece) {
        let room = reader.room();
        room[..part.len()].copy_from_slice(part);
        reader.filled(part.len());
        loop {
            match reader.next_line() {
                NextLine::Complete(line, _) => lines.push(line.to_vec()),
                NextLine::TooLong(_) => return [lines, vec![b"too long".to_vec()]].concat(),
                NextLine::TlsHello => return [lines, vec![b"tls".to_vec()]].concat(),
                NextLine::Incomplete => break,
            }
        }
    }
    lines
}

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    let Some((piece, bytes)) = input.split_first() else { return };
    let whole = lines(bytes, 1_024);
    assert_eq!(whole, lines(bytes, usize::from(piece.wrapping_sub(b'0')).max(1)));
    for line in whole {
        assert!(line.len() <= MAX_LINE_BYTES);
        let command = Command::parse(&line);
        let bad = line.iter().any(|byte| !(b' '..=b'~').contains(byte));
        assert!(!bad || matches!(command, Command::BadBytes | Command::Http));
        let _ = UpstreamLine::parse(&line);
    }
}
