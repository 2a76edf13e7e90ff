//! One line of the access log: the JSON text, written straight into a buffer.
//!
//! Pure. By hand rather than by a serialiser, because it runs once a request: no allocation, and texts that come from
//! a peer cannot break out of their member, the line, or the terminal that shows them.

use std::io::Write;
use std::net::IpAddr;

use time::OffsetDateTime;

use super::super::TraceId;
use super::super::target::without_credentials;
use super::AccessRecord;
use crate::model::{KeyId, Timestamp};

/// Appends `record` to `buffer` as one JSON object and a line feed. All members are always there; what is not known
/// is `null`. `sample_ratio` is the share of such records that are written, as JSON. `docs/access-log.md` tells of them.
pub(super) fn write_line(
    buffer: &mut Vec<u8>,
    present: &mut WrittenSecond,
    record: &AccessRecord<'_>,
    sample_ratio: &str,
) {
    buffer.extend_from_slice(b"{\"time\":");
    present.write_time(buffer, record.at);
    buffer.extend_from_slice(b",\"service\":\"");
    buffer.extend_from_slice(record.service.as_str().as_bytes());
    buffer.extend_from_slice(b"\",\"listener\":\"");
    write_escaped(buffer, record.listener);
    buffer.extend_from_slice(b"\",\"request_id\":\"");
    buffer.extend_from_slice(&record.request_id.to_ascii());
    buffer.extend_from_slice(b"\",\"client_ip\":\"");
    write_address(buffer, record.client_ip.address());
    buffer.extend_from_slice(b"\",\"method\":\"");
    write_escaped(buffer, record.method);
    buffer.extend_from_slice(b"\",\"target\":\"");
    write_escaped(buffer, &without_credentials(record.target));
    buffer.extend_from_slice(b"\",\"status\":");
    write_number(buffer, record.status);
    write_own(buffer, b",\"reason\":\"", record.reason.map(str::as_bytes));
    write_known(buffer, b",\"customer\":\"", record.customer);
    write_known(buffer, b",\"user\":\"", record.user);
    let key_id = record.key_id.map(KeyId::to_ascii);
    write_own(buffer, b",\"key_id\":\"", key_id.as_ref().map(<[u8; _]>::as_slice));
    write_own(buffer, b",\"auth_method\":\"", record.auth_method.map(str::as_bytes));
    write_known(buffer, b",\"upstream\":\"", record.upstream);
    buffer.extend_from_slice(b",\"duration_us\":");
    write_number(buffer, record.duration_microseconds);
    buffer.extend_from_slice(b",\"response_bytes\":");
    write_number(buffer, record.response_bytes);
    let trace_id = record.trace_id.map(TraceId::to_ascii);
    write_own(buffer, b",\"trace_id\":\"", trace_id.as_ref().map(<[u8; _]>::as_slice));
    buffer.extend_from_slice(b",\"sample_ratio\":");
    buffer.extend_from_slice(sample_ratio.as_bytes());
    buffer.extend_from_slice(b"}\n");
}

fn write_number(buffer: &mut Vec<u8>, number: impl itoa::Integer) {
    buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes what is known to need no escape.
fn write_plain(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes every byte.
    let _ = buffer.write_fmt(text);
}

/// Most are of IPv4, and the formatter costs as much as a third of a line.
fn write_address(buffer: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else { return write_plain(buffer, format_args!("{address}")) };
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            buffer.push(b'.');
        }
        let (hundreds, tens, ones) = (octet / 100, octet / 10 % 10, octet % 10);
        if hundreds > 0 {
            buffer.push(b'0' + hundreds);
        }
        if octet >= 10 {
            buffer.push(b'0' + tens);
        }
        buffer.push(b'0' + ones);
    }
}

/// Writes a text behind `before`, which ends in its opening quote, or `null`.
fn write_known<const N: usize>(buffer: &mut Vec<u8>, before: &[u8; N], text: Option<&str>) {
    match text {
        Some(text) => {
            buffer.extend_from_slice(before);
            write_escaped(buffer, text);
            buffer.push(b'"');
        }
        None => write_null(buffer, before),
    }
}

/// The same for one of our own words, which need no escape.
fn write_own<const N: usize>(buffer: &mut Vec<u8>, before: &[u8; N], word: Option<&[u8]>) {
    match word {
        Some(word) => {
            buffer.extend_from_slice(before);
            buffer.extend_from_slice(word);
            buffer.push(b'"');
        }
        None => write_null(buffer, before),
    }
}

/// Writes `null` behind `before`, which ends in a quote, without that.
fn write_null<const N: usize>(buffer: &mut Vec<u8>, before: &[u8; N]) {
    buffer.extend_from_slice(before);
    buffer.pop();
    buffer.extend_from_slice(b"null");
}

/// Writes the content of a JSON string (RFC 8259 §7). Beyond what JSON asks for, everything that moves a terminal's
/// cursor, ends a line for some readers or turns the direction of text is escaped (S87).
fn write_escaped(buffer: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        buffer.extend_from_slice(text.as_bytes());
        return;
    }
    for letter in text.chars() {
        match letter {
            '"' => buffer.extend_from_slice(b"\\\""),
            '\\' => buffer.extend_from_slice(b"\\\\"),
            // All of them lie in the first plane: one escape of four digits.
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                write_plain(buffer, format_args!("\\u{:04x}", u32::from(letter)));
            }
            _ if letter.is_control() => write_plain(buffer, format_args!("\\u{:04x}", u32::from(letter))),
            _ => buffer.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Is it visible ASCII without quotes and backslashes? Eight bytes at a time, as every line asks it several times.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    // The last eight bytes, of which some were looked at already; of a shorter text its bytes among plain ones.
    let last = text.last_chunk().copied().unwrap_or_else(|| {
        let mut word = [b'a'; 8];
        word.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        word
    });
    words.iter().fold(doubts(last), |so_far, word| so_far | doubts(*word)) == 0
}

/// A bit in each byte that is none of those, or, by a borrow, in one behind it: enough to tell whether there is one.
const fn doubts(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & HIGHS
    }
    let word = u64::from_le_bytes(bytes);
    let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    controls
        | (word & HIGHS)
        | zeros(word ^ (ONES * b'"' as u64))
        | zeros(word ^ (ONES * b'\\' as u64))
        | zeros(word ^ (ONES * 0x7f))
}

/// The second of the last line as text: most lines are of the same, and a calendar costs as much as a digest.
#[derive(Debug, Default)]
pub(super) struct WrittenSecond {
    /// `None`: nothing was written yet.
    unix_seconds: Option<i64>,
    /// Such as `2026-11-23T10:20:30`; empty outside the years 0 to 9999.
    text: String,
}

impl WrittenSecond {
    /// Writes `"2026-11-23T10:20:30.456Z"` (RFC 3339), or `null` outside the years 0 to 9999.
    fn write_time(&mut self, buffer: &mut Vec<u8>, at: Timestamp) {
        if self.unix_seconds != Some(at.unix_seconds()) {
            self.unix_seconds = Some(at.unix_seconds());
            self.text = text_of_second(at.unix_seconds());
        }
        if self.text.is_empty() {
            buffer.extend_from_slice(b"null");
            return;
        }
        let milliseconds = u16::try_from(at.unix_milliseconds().rem_euclid(1000)).unwrap_or(0);
        let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
        buffer.push(b'"');
        buffer.extend_from_slice(self.text.as_bytes());
        buffer.extend_from_slice(&[
            b'.',
            digit(milliseconds / 100),
            digit(milliseconds / 10),
            digit(milliseconds),
            b'Z',
            b'"',
        ]);
    }
}

fn text_of_second(unix_seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix_seconds).ok().filter(|moment| moment.year() >= 0);
    moment.map_or_else(String::new, |moment| {
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second) = moment.to_hms();
        let month = u8::from(month);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::super::TraceContext;
    use super::super::tests::sample;
    use super::*;
    use crate::model::{AccessPoint, ClientIp};

    fn line_of(record: &AccessRecord<'_>) -> String {
        let mut buffer = Vec::new();
        write_line(&mut buffer, &mut WrittenSecond::default(), record, "0.5");
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_line_has_every_member_in_one_order() {
        let mut record = sample();
        record.at = Timestamp::from_unix_milliseconds(1_795_429_230_456);
        let id = record.request_id;
        assert_eq!(
            line_of(&record),
            format!(
                "{{\"time\":\"2026-11-23T10:20:30.456Z\",\"service\":\"api\",\"listener\":\"api\",\
                 \"request_id\":\"{id}\",\"client_ip\":\"192.0.2.7\",\"method\":\"GET\",\
                 \"target\":\"/v2/domains\",\"status\":200,\"reason\":null,\"customer\":\"acme\",\"user\":\"alex\",\
                 \"key_id\":\"key_0000000000007\",\"auth_method\":\"api-key\",\"upstream\":\"registry\",\
                 \"duration_us\":1234,\"response_bytes\":56,\"trace_id\":null,\"sample_ratio\":0.5}}\n"
            )
        );
    }

    #[test]
    fn both_doors_write_the_same_members() {
        let names = |record: &AccessRecord<'_>| -> Vec<String> {
            let line: Value = serde_json::from_str(&line_of(record)).unwrap();
            line.as_object().unwrap().keys().cloned().collect()
        };
        let refused = AccessRecord {
            service: AccessPoint::IsProxy,
            listener: "isproxy",
            client_ip: ClientIp::new("2001:db8::1".parse().unwrap()),
            method: "LOGIN",
            target: "",
            status: 400,
            reason: Some("unknown_key"),
            customer: None,
            user: None,
            key_id: None,
            auth_method: None,
            upstream: None,
            ..sample()
        };
        assert_eq!(names(&sample()), names(&refused));
        let line: Value = serde_json::from_str(&line_of(&refused)).unwrap();
        assert_eq!(line["reason"], "unknown_key");
        assert_eq!(line["client_ip"], "2001:db8::1");
        assert_eq!(line["key_id"], Value::Null);
    }

    #[test]
    fn a_trace_is_named_by_its_digits() {
        let context =
            TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let record = AccessRecord { trace_id: Some(context.trace_id), ..sample() };
        let line: Value = serde_json::from_str(&line_of(&record)).unwrap();
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn the_page_tells_of_every_member_and_of_no_other() {
        let page = include_str!("../../../docs/access-log.md");
        let rows = page.lines().filter_map(|row| row.strip_prefix("| `")?.split_once('`'));
        let documented: Vec<&str> = rows.map(|(name, _)| name).collect();
        let line: Value = serde_json::from_str(&line_of(&sample())).unwrap();
        let written: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, written);
    }

    #[test]
    fn s87_what_a_peer_sends_cannot_leave_its_member_its_line_or_its_place_on_a_terminal() {
        for (sent, written) in [
            ("/a\r\n{\"status\":200}", "/a\\u000d\\u000a{\\\"status\\\":200}"),
            ("\u{1b}[2J", "\\u001b[2J"),
            ("\u{7f}\u{9b}2J", "\\u007f\\u009b2J"),
            ("\\\"", "\\\\\\\""),
            ("\u{202e}gpj.exe\u{2028}", "\\u202egpj.exe\\u2028"),
            ("\0", "\\u0000"),
            ("/künde/✓", "/künde/✓"),
        ] {
            let mut buffer = Vec::new();
            write_escaped(&mut buffer, sent);
            assert_eq!(String::from_utf8(buffer).unwrap(), written);
        }
    }

    #[test]
    fn time_is_rfc_3339_in_utc_with_milliseconds() {
        let mut second = WrittenSecond::default();
        for (milliseconds, text) in [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (-1, "\"1969-12-31T23:59:59.999Z\""),
            (951_782_400_007, "\"2000-02-29T00:00:00.007Z\""),
            (951_782_400_999, "\"2000-02-29T00:00:00.999Z\""),
            (951_782_401_010, "\"2000-02-29T00:00:01.010Z\""),
            (253_402_300_799_999, "\"9999-12-31T23:59:59.999Z\""),
            (253_402_300_800_000, "null"),
            (i64::MIN, "null"),
            (i64::MAX, "null"),
        ] {
            let mut buffer = Vec::new();
            second.write_time(&mut buffer, Timestamp::from_unix_milliseconds(milliseconds));
            assert_eq!(String::from_utf8(buffer).unwrap(), text, "{milliseconds}");
        }
    }

    #[test]
    fn every_byte_at_every_place_is_plain_or_not() {
        for place in 0..17 {
            for byte in 0..=u8::MAX {
                let mut text = [b'a'; 17];
                text[place] = byte;
                let expected = matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
                assert_eq!(is_plain(&text), expected, "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_survives_and_stays_on_one_line(target in any::<String>(), listener in any::<String>()) {
            let record = AccessRecord { target: &target, listener: &listener, ..sample() };
            let line = line_of(&record);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(!line.trim_end_matches('\n').chars().any(char::is_control));
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["target"].as_str(), Some(target.as_str()));
            prop_assert_eq!(read["listener"].as_str(), Some(listener.as_str()));
        }

        #[test]
        fn times_agree_with_the_time_crate(seconds in -62_167_219_200_i64..253_402_300_800) {
            let mut buffer = Vec::new();
            let at = Timestamp::from_unix_milliseconds(seconds * 1000);
            WrittenSecond::default().write_time(&mut buffer, at);
            let expected = format!("\"{}\"", at.to_string().replace('Z', ".000Z"));
            prop_assert_eq!(String::from_utf8(buffer).unwrap(), expected);
        }
    }
}
