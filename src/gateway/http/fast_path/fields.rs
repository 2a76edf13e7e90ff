//! Header fields as bytes: how one is written, and which of them a plain message may have. Pure.
//!
//! Called for requests (`request_head`) and for answers (`own_answer`, `upstream::http1_plain_answer`).

use http::StatusCode;

use crate::gateway::http::byte_set::ByteSet;
use crate::gateway::swar::make_lower_case;

/// Appends a field. Neither name nor value can hold what would end the line: their reader, or their types, see to it.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field that was read from `source`, with its name in lower case; answers where in `out` it begins.
pub fn write_read(out: &mut Vec<u8>, source: &[u8], field: &httparse::Header<'_>) -> usize {
    let start = out.len();
    match line_of(source, field) {
        Some(line) => out.extend_from_slice(line),
        None => write_field(out, field.name.as_bytes(), field.value),
    }
    if let Some(written) = out.get_mut(start..) {
        make_lower_case(written, field.name.len());
    }
    start
}

/// The whole line of `field` in `source`, if it stands there as [`write_field`] would write it. Nearly every one does.
fn line_of<'s>(source: &'s [u8], field: &httparse::Header<'_>) -> Option<&'s [u8]> {
    let place_of = |part: &[u8]| part.as_ptr().addr().checked_sub(source.as_ptr().addr());
    let (name, value) = (field.name.as_bytes(), field.value);
    let start = place_of(name)?;
    let colon = start + name.len();
    let is_usual = source.get(colon..colon + 2)? == b": " && place_of(value)? == colon + 2;
    let end = colon + 2 + value.len();
    (is_usual && source.get(end..end + 2)? == b"\r\n").then(|| source.get(start..end + 2)).flatten()
}

/// Appends an answer's first line.
pub fn write_status(out: &mut Vec<u8>, status: StatusCode, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Does a field of this name, in any case, concern one connection, or the framing of what comes over it? A message with
/// one is not plain, unless whoever reads it knows better.
pub fn is_special(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    // By length first: nearly every name is passed by it.
    match name.len() {
        2 => is("te"),
        7 => is("upgrade") || is("trailer"),
        8 => is("alt-used"),
        10 => is("connection") || is("keep-alive"),
        14 => is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        19 => is("proxy-authorization"),
        25 => is("proxy-authentication-info"),
        _ => false,
    }
}

/// Has a name the letters that nearly all have? Other marks are allowed, and could be read as something else.
pub fn is_plain_name(name: &[u8]) -> bool {
    static PLAIN: ByteSet = ByteSet::alphanumeric_and(b"-_");
    !name.is_empty() && PLAIN.holds_all(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_written_alike_however_it_stood_where_it_was_read() {
        for line in
            ["Name: value\r\n", "NAME:value\r\n", "name:  value \r\n", "name: value\n", "name:\tvalue\r\n"]
        {
            let source = [line, "Other: one\r\n\r\n"].concat();
            let mut slots = [httparse::EMPTY_HEADER; 2];
            httparse::parse_headers(source.as_bytes(), &mut slots).unwrap();
            let mut out = b"before\r\n".to_vec();
            let starts = slots.each_ref().map(|field| write_read(&mut out, source.as_bytes(), field));
            assert_eq!(out, b"before\r\nname: value\r\nother: one\r\n", "{line:?}");
            assert_eq!(starts, [8, 21], "{line:?}");
        }
    }

    #[test]
    fn a_field_that_stands_elsewhere_is_written_as_it_is() {
        let (here, elsewhere) = (b"Name: value\r\n".to_vec(), b"Name: value\r\n\r\n".to_vec());
        let mut slots = [httparse::EMPTY_HEADER; 1];
        httparse::parse_headers(&elsewhere, &mut slots).unwrap();
        let mut out = Vec::new();
        write_read(&mut out, &here, &slots[0]);
        assert_eq!(out, b"name: value\r\n");
    }
}
