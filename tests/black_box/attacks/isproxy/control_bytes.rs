//! S19: no byte but visible ASCII and blanks gets anywhere, whatever part of a line it stands in.

use super::transcript::{Given, Transcript};

const BAD: &str = "400 Bad request";
/// NUL, some controls with every meaning that a terminal or a parser may give them, DEL, and bytes beyond ASCII.
const BYTES: [u8; 15] =
    [0x00, 0x01, 0x07, 0x08, b'\t', 0x0b, 0x0c, b'\r', 0x1a, 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0xff];

fn case(name: impl Into<String>) -> Transcript {
    Transcript::new("control-bytes", name)
}

/// Every case.
pub fn cases(given: &Given) -> Vec<Transcript> {
    let mut cases = Vec::new();
    for byte in BYTES {
        let (key, byte_text) = (given.key.as_bytes(), format!("{byte:02x}"));
        let within =
            |before: &[u8], behind: &[u8]| [before, &[byte], behind, b"\r\nIS b.example\r\n"].concat();
        let in_key = within(&[b"LOGIN ", &key[..20]].concat(), &key[20..]);
        cases.push(case(format!("{byte_text}-in-a-verb")).send(within(b"LO", b"GIN a")).expect(BAD).closes());
        cases.push(case(format!("{byte_text}-in-a-key")).send(in_key).expect(BAD).closes());
        let in_name = case(format!("{byte_text}-in-a-name")).login(given);
        cases.push(in_name.send(within(b"IS a", b"b.example")).expect(BAD).closes());
    }
    cases.extend(encodings(given));
    cases.extend(line_ends(given));
    cases
}

/// Text that somebody may take for something else.
fn encodings(given: &Given) -> Vec<Transcript> {
    let several: [(&str, &[u8]); 9] = [
        ("utf-8", "IS bücher.example".as_bytes()),
        ("line-separator", "IS a\u{2028}IS b.example".as_bytes()),
        ("paragraph-separator", "IS a\u{2029}IS b.example".as_bytes()),
        ("next-line", "IS a\u{85}IS b.example".as_bytes()),
        ("no-break-space", "IS\u{a0}a.example".as_bytes()),
        ("full-width", "\u{ff29}\u{ff33} a.example".as_bytes()),
        ("byte-order-mark", "\u{feff}IS a.example".as_bytes()),
        ("overlong-lf", b"IS a\xc0\x8aIS b.example"),
        ("utf-16", b"I\0S\0 \0a\0"),
    ];
    let refused = |(name, line): (&str, &[u8])| {
        case(name).login(given).send([line, b"\r\n"].concat()).expect(BAD).closes()
    };
    several.into_iter().map(refused).collect()
}

/// Ends of lines that are none, and the one that is taken beside CRLF.
fn line_ends(given: &Given) -> Vec<Transcript> {
    vec![
        case("bare-cr").login(given).send("IS a.example\rIS b.example\r").send("\n").expect(BAD).closes(),
        case("cr-cr-lf").login(given).send("IS a.example\r\r\n").expect(BAD).closes(),
        case("lf-cr")
            .login(given)
            .send("IS a.example\n\rIS b.example\n")
            .expect_all(["a.example available", BAD])
            .upstream(["IS a.example"])
            .closes(),
        case("bare-lf")
            .login(given)
            .send("IS a.example\nIS b.example\n")
            .expect_all(["a.example available", "b.example available"])
            .upstream(["IS a.example", "IS b.example"])
            .stays_in(),
        case("tab-for-a-blank").login(given).line("IS\ta.example").expect(BAD).closes(),
        case("nul-alone").send("\0\r\n").expect(BAD).closes(),
        case("nul-behind-a-login").send(format!("LOGIN {}\0\r\n", given.key)).expect(BAD).closes(),
        case("escape-sequence").login(given).line("IS \u{1b}[2J\u{1b}]0;a\u{7}.example").expect(BAD).closes(),
        case("backspaces").login(given).line("IS a.example\u{8}\u{8}\u{8}com").expect(BAD).closes(),
    ]
}
