//! Any bytes as lines of an upstream: a reply is of a name and one of four words, and what is written of it is a line that
//! clients can take, and reads back as the same.

use latchkey::gateway::isproxy::outbox::Outbox;
use latchkey::gateway::isproxy::reply::{MAX_NAME_BYTES, REPLY_BYTES, UpstreamLine, write_reply};

/// Runs the target on one input.
pub fn run(input: &[u8]) {
    for line in input.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let read = UpstreamLine::parse(line);
        match read {
            UpstreamLine::Reply { name, detail, .. } => {
                assert!(!name.is_empty() && !name.contains(&b' ') && line.starts_with(name));
                assert!(detail.is_empty() || detail.starts_with(b" (") && detail.ends_with(b")"));
                assert!(detail.iter().all(|byte| (b' '..=b'~').contains(byte)));
                // No more of the line than its blanks, or a text that clients cannot take, is dropped.
                assert!(detail.is_empty() || line.trim_ascii_end().ends_with(detail));
                check_written(read);
            }
            UpstreamLine::Done => assert!(line.starts_with(b"100 ")),
            UpstreamLine::Refused => assert!(line.starts_with(b"400 ")),
            UpstreamLine::Garbled => {}
        }
    }
}

/// The reply as a client gets it who asked for this very name, where a name can be asked for.
fn check_written(read: UpstreamLine<'_>) {
    let UpstreamLine::Reply { name, availability, detail } = read else { return };
    if name.len() > MAX_NAME_BYTES || !name.iter().all(u8::is_ascii_graphic) {
        return;
    }
    let mut outbox = Outbox::default();
    write_reply(&mut outbox, name, availability, detail);
    let written = outbox.unwritten();
    assert!(written.len() < REPLY_BYTES);
    let line = written.strip_suffix(b"\r\n").expect("CR LF at its end");
    assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let again = UpstreamLine::parse(line);
    // One that would be too long loses its detail.
    assert!(again == read || again == UpstreamLine::Reply { name, availability, detail: b"" });
    assert!(again == read || line.len() + detail.len() + 2 >= REPLY_BYTES);
}
