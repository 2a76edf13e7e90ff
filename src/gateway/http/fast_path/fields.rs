//! Header fields as bytes: how one is written, and which of them a plain message may have. Pure.
//!
//! Called for requests (`request_head`) and for answers (`upstream::http1_plain_answer`).

/// Appends a field. Neither name nor value can hold what would end the line: their reader, or their types, see to it.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
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
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_');
    !name.is_empty() && name.iter().fold(true, |so_far, byte| so_far & is_plain(*byte))
}
