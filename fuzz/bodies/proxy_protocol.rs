//! Any bytes: a PROXY protocol header comes out, or is asked for within its bound, or is refused; and what is asked
//! for never reaches past the header.

use latchkey::net::proxy_protocol::{Progress, parse_header};

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    let mut read = 0;
    loop {
        match parse_header(&bytes[..read]) {
            Ok(Progress::NeedsBytes(count)) => {
                assert!(count > 0 && read + count <= 4_096);
                read += count;
            }
            Ok(Progress::NeedsLine(most)) => {
                assert!(most > 0 && read + most <= 107);
                let line = bytes[read.min(bytes.len())..].iter().take(most);
                let end = line.clone().position(|byte| *byte == b'\n').map_or(line.len(), |end| end + 1);
                read += end.max(1);
            }
            Ok(Progress::Complete(announced)) => {
                assert_eq!(parse_header(&bytes[..read]).ok(), Some(Progress::Complete(announced)));
                // One byte more is not the same header.
                assert!(bytes.get(..=read).is_none_or(|longer| parse_header(longer).is_err()));
                return;
            }
            Err(_) => return,
        }
        if read > bytes.len() {
            return;
        }
    }
}
