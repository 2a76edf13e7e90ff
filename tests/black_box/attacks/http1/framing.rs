//! Where a request ends: lengths, transfer codings and chunks (RFC 9112 §6 and §7).

use super::case::{Allowed, Case, EITHER, PASSED, REFUSED, SMUGGLED, Then, post, request};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
/// A coding that is not known here (RFC 9112 §6.1).
const UNKNOWN: Allowed = &[&[400], &[501], &[]];
/// Four bytes of body, and then a request without a key.
const THEN_REFUSED: Allowed = &[&[200, 401], &[200]];
const EITHER_WAY: Allowed = &[&[200, 401], &[200], &[400], &[]];
const TOO_LONG: Allowed = &[&[413], &[431], &[400], &[]];

pub fn cases() -> Vec<Case> {
    [lengths_beside_codings(), lengths(), codings(), bodies_of_any_method(), good_chunks(), bad_chunks()]
        .concat()
}

fn lengths_beside_codings() -> Vec<Case> {
    let twice = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n";
    let cases = [
        ("coding-then-length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        ("length-then-coding", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-then-no-length", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
        ("no-length-then-coding", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-between-lengths", twice),
        ("coding-and-whole-length", "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n"),
        ("coding-in-capitals", "Content-Length: 4\r\nTRANSFER-ENCODING: CHUNKED\r\n"),
        ("coding-behind-a-lone-lf", "Content-Length: 4\r\nX-A: b\nTransfer-Encoding: chunked\r\n"),
        ("unknown-coding-and-length", "Transfer-Encoding: identity\r\nContent-Length: 4\r\n"),
    ];
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let case = |(name, fields): (&str, &str)| {
        Case::new("length-beside-coding", name, "RFC 9112 §6.3", post(fields, &body), EITHER)
    };
    cases.into_iter().map(case).collect()
}

fn lengths() -> Vec<Case> {
    let one = |name, value: &str, allowed| {
        Case::new(
            "length",
            name,
            "RFC 9110 §8.6",
            post(&format!("Content-Length: {value}\r\n"), &format!("abcd{SMUGGLED}")),
            allowed,
        )
    };
    let mut cases = vec![
        one("plain", "4", THEN_REFUSED),
        one("blanks-around", " \t4 \t", THEN_REFUSED),
        one("leading-zeros", "0004", EITHER_WAY),
        one("equal-list", "4, 4", EITHER_WAY),
        one("list", "4, 5", REFUSED),
        one("list-without-blank", "4,5", REFUSED),
        one("list-with-nothing", "4,", EITHER_WAY),
        one("plus", "+4", REFUSED),
        one("minus", "-4", REFUSED),
        one("minus-zero", "-0", REFUSED),
        one("hexadecimal", "0x4", REFUSED),
        one("two-numbers", "4 4", REFUSED),
        one("letters-behind", "4abc", REFUSED),
        one("parameter", "4;a=b", REFUSED),
        one("fraction", "4.0", REFUSED),
        one("exponent", "4e0", REFUSED),
        one("empty", "", REFUSED),
        one("quoted", "\"4\"", REFUSED),
        one("underscore", "1_0", REFUSED),
        one("arabic-digit", "\u{d9}\u{a4}", REFUSED),
        one("nul-behind", "4\0", REFUSED),
        one("vertical-tab-behind", "4\u{b}", REFUSED),
        one("no-break-space-before", "\u{a0}4", REFUSED),
        one("twenty-digits", "99999999999999999999", TOO_LONG),
        one("wraps-at-64-bits", "18446744073709551620", TOO_LONG),
        one("64-bits-full", "18446744073709551615", TOO_LONG),
        one("negative-in-64-bits", "9223372036854775808", TOO_LONG),
        one("500-digits", &"9".repeat(500), TOO_LONG),
        one("500-zeros", &format!("{}4", "0".repeat(500)), EITHER_WAY),
    ];
    for (name, fields, allowed) in [
        ("twice-equal", "Content-Length: 4\r\nContent-Length: 4\r\n", EITHER_WAY),
        ("twice-different", "Content-Length: 4\r\nContent-Length: 5\r\n", REFUSED),
        ("twice-different-capitals", "Content-Length: 4\r\ncontent-length: 0\r\n", REFUSED),
        ("thrice", "Content-Length: 4\r\nContent-Length: 4\r\nContent-Length: 0\r\n", REFUSED),
        ("blank-before-colon", "Content-Length : 4\r\n", REFUSED),
        ("nul-before-colon", "Content-Length\0: 4\r\n", REFUSED),
        ("folded", "Content-Length:\r\n 4\r\n", EITHER_WAY),
        ("folded-more", "Content-Length: 4\r\n 5\r\n", REFUSED),
        ("twin-beside", "Content-Length: 4\r\nContent_Length: 99\r\n", EITHER_WAY),
        ("twin-with-dots", "Content-Length: 4\r\ncontent.length: 0\r\n", EITHER_WAY),
        ("named-in-connection", "Content-Length: 4\r\nConnection: content-length\r\n", EITHER_WAY),
    ] {
        cases.push(Case::new(
            "length",
            name,
            "RFC 9112 §6.3",
            post(fields, &format!("abcd{SMUGGLED}")),
            allowed,
        ));
    }
    let half = post("Content-Length: 40\r\n", "abcd");
    cases.push(Case::never_whole("length", "more-than-comes", "RFC 9112 §8", half));
    cases
}

fn codings() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value, allowed) in [
        ("plain", "chunked", PASSED),
        ("capitals", "CHUNKED", PASSED),
        ("blanks-around", " \tchunked\t ", PASSED),
        ("empty-elements", ", chunked,", EITHER),
        ("twice", "chunked, chunked", UNKNOWN),
        ("identity-before", "identity, chunked", UNKNOWN),
        ("gzip-before", "gzip, chunked", UNKNOWN),
        ("gzip", "gzip", UNKNOWN),
        ("identity", "identity", UNKNOWN),
        ("gzip-behind", "chunked, gzip", UNKNOWN),
        ("identity-behind", "chunked, identity", UNKNOWN),
        ("parameter", "chunked;q=1", UNKNOWN),
        ("quoted", "\"chunked\"", UNKNOWN),
        ("single-quoted", "'chunked'", UNKNOWN),
        ("x-before", "xchunked", UNKNOWN),
        ("x-behind", "chunkedx", UNKNOWN),
        ("two-words", "chunked x", UNKNOWN),
        ("empty", "", UNKNOWN),
        ("vertical-tab", "\u{b}chunked", UNKNOWN),
        ("form-feed-behind", "chunked\u{c}", UNKNOWN),
        ("no-break-space", "\u{a0}chunked", UNKNOWN),
        ("nul", "chunked\0", UNKNOWN),
    ] {
        let text = post(&format!("Transfer-Encoding: {value}\r\n"), "4\r\nabcd\r\n0\r\n\r\n");
        cases.push(Case::new("coding", name, "RFC 9112 §6.1", text, allowed));
    }
    for (name, fields, allowed) in [
        ("two-fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", UNKNOWN),
        ("identity-field-before", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", UNKNOWN),
        ("identity-field-behind", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", UNKNOWN),
        (
            "empty-field-behind",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
            &[&[200], &[400], &[501], &[]],
        ),
        ("blank-before-colon", "Transfer-Encoding : chunked\r\n", REFUSED),
        ("tab-before-colon", "Transfer-Encoding\t: chunked\r\n", REFUSED),
        ("nul-before-colon", "Transfer-Encoding\0: chunked\r\n", REFUSED),
        ("folded-name", "X: y\r\n Transfer-Encoding: chunked\r\n", REFUSED),
        ("folded-value", "Transfer-Encoding:\r\n chunked\r\n", REFUSED),
        ("folded-behind", "Transfer-Encoding: chunked\r\n , identity\r\n", REFUSED),
        ("behind-a-lone-cr", "X: y\rTransfer-Encoding: chunked\r\n", REFUSED),
        ("cr-before-colon", "Transfer-Encoding\r: chunked\r\n", REFUSED),
        ("named-in-connection", "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", EITHER),
    ] {
        let text = post(fields, "4\r\nabcd\r\n0\r\n\r\n");
        cases.push(Case::new("coding", name, "RFC 9112 §6.1", text, allowed));
    }
    for (name, field) in [
        ("twin", "Transfer_Encoding: chunked"),
        ("twin-with-dot", "Transfer.Encoding: chunked"),
        ("twin-in-capitals", "TRANSFER_ENCODING: chunked"),
    ] {
        let text = post(&format!("{field}\r\nContent-Length: 5\r\n"), "0\r\n\r\n");
        cases.push(Case::new("coding", name, "RFC 9112 §11.2", text, EITHER));
    }
    let old = "POST /t HTTP/1.0\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    cases.push(Case::new("coding", "in-http-1.0", "RFC 9112 §6.1", old, EITHER));
    let kept = old.replace("\r\n\r\n4", "\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\n4");
    cases.push(Case::new("coding", "in-http-1.0-kept-alive", "RFC 9112 §6.1", kept, EITHER));
    cases
}

/// A body goes on with its framing whatever the method (S08).
fn bodies_of_any_method() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "QUERY"] {
        let length = request(&format!("{method} /t"), "Content-Length: 4\r\n", "abcd");
        cases.push(Case::new("body", format!("{method}-length"), "RFC 9110 §9.3", length, PASSED));
        let chunks = request(&format!("{method} /t"), CHUNKED, "4\r\nabcd\r\n0\r\n\r\n");
        cases.push(Case::new("body", format!("{method}-chunks"), "RFC 9112 §6", chunks, PASSED));
    }
    let hidden = format!("Content-Length: {}\r\n", SMUGGLED.len());
    for method in ["GET", "HEAD", "DELETE"] {
        let text = request(&format!("{method} /t"), &hidden, SMUGGLED);
        cases.push(Case::new("body", format!("{method}-of-a-request"), "RFC 9112 §6", text, PASSED));
    }
    cases.push(Case::new("body", "none", "RFC 9112 §6.3", post("", ""), PASSED));
    cases.push(Case::new("body", "length-zero", "RFC 9112 §6.3", post("Content-Length: 0\r\n", ""), PASSED));
    cases.push(Case {
        then: Then::Ends,
        ..Case::new(
            "body",
            "of-http-1.0-until-the-end",
            "RFC 9112 §6.3",
            "POST /t HTTP/1.0\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\nabcd",
            &[&[200], &[400], &[411], &[200, 400], &[]],
        )
    });
    cases
}

fn good_chunks() -> Vec<Case> {
    let many: String = "1\r\na\r\n".repeat(2_000) + "0\r\n\r\n";
    let cases = [
        ("one", "4\r\nabcd\r\n0\r\n\r\n", PASSED),
        ("two", "4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n", PASSED),
        ("capital-digits", "A\r\nabcdefghij\r\n0\r\n\r\n", PASSED),
        ("leading-zeros", "0004\r\nabcd\r\n0\r\n\r\n", EITHER),
        ("last-of-zeros", "4\r\nabcd\r\n000\r\n\r\n", EITHER),
        ("extension", "4;a=b\r\nabcd\r\n0\r\n\r\n", EITHER),
        ("quoted-extension", "4;a=\"b;c\"\r\nabcd\r\n0;d\r\n\r\n", EITHER),
        ("blank-before-extension", "4 ;a\r\nabcd\r\n0\r\n\r\n", EITHER),
        ("trailers", "4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n", PASSED),
        ("data-that-ends-a-body", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", PASSED),
        (
            "trailers-of-framing",
            "4\r\nabcd\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\n\r\n",
            EITHER,
        ),
        ("trailers-of-twins", "4\r\nabcd\r\n0\r\nContent_Length: 99\r\nHost: evil\r\n\r\n", EITHER),
        ("of-one-byte-each", &many, PASSED),
    ];
    let hidden = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let mut all: Vec<Case> = cases
        .into_iter()
        .map(|(name, body, allowed)| Case::new("chunks", name, "RFC 9112 §7.1", post(CHUNKED, body), allowed))
        .collect();
    all.push(Case::new("chunks", "of-a-request", "RFC 9112 §7.1", post(CHUNKED, &hidden), PASSED));
    all
}

fn bad_chunks() -> Vec<Case> {
    let long_extension = format!("4;{}\r\nabcd\r\n0\r\n\r\n", "a".repeat(40_000));
    let long_trailer = format!("4\r\nabcd\r\n0\r\nX: {}\r\n\r\n", "a".repeat(500_000));
    let many_extensions = format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "e".repeat(1_000)).repeat(200));
    let cases = [
        ("size-0x", "0x4\r\nabcd\r\n0\r\n\r\n"),
        ("size-plus", "+4\r\nabcd\r\n0\r\n\r\n"),
        ("size-minus", "-4\r\nabcd\r\n0\r\n\r\n"),
        ("size-behind-blank", " 4\r\nabcd\r\n0\r\n\r\n"),
        ("size-behind-tab", "\t4\r\nabcd\r\n0\r\n\r\n"),
        ("size-with-letter", "4g\r\nabcd\r\n0\r\n\r\n"),
        ("size-with-blank-within", "4 4\r\nabcd\r\n0\r\n\r\n"),
        ("size-with-underscore", "0_4\r\nabcd\r\n0\r\n\r\n"),
        ("size-missing", "\r\nabcd\r\n0\r\n\r\n"),
        ("size-of-extension-alone", ";a\r\nabcd\r\n0\r\n\r\n"),
        ("size-behind-vertical-tab", "4\u{b}\r\nabcd\r\n0\r\n\r\n"),
        ("size-with-nul", "4\0\r\nabcd\r\n0\r\n\r\n"),
        ("size-overflows", "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n"),
        ("size-wraps-at-64-bits", "10000000000000004\r\nabcd\r\n0\r\n\r\n"),
        ("size-wraps-at-32-bits", "100000004\r\nabcd\r\n0\r\n\r\n"),
        ("size-of-64-bits", "ffffffffffffffff\r\nabcd\r\n0\r\n\r\n"),
        ("lone-lf-behind-size", "4\nabcd\r\n0\r\n\r\n"),
        ("lone-cr-behind-size", "4\rabcd\r\n0\r\n\r\n"),
        ("cr-cr-lf-behind-size", "4\r\r\nabcd\r\n0\r\n\r\n"),
        ("lone-lf-behind-data", "4\r\nabcd\n0\r\n\r\n"),
        ("lone-cr-behind-data", "4\r\nabcd\r0\r\n\r\n"),
        ("nothing-behind-data", "4\r\nabcd0\r\n\r\n"),
        ("more-data-than-size", "4\r\nabcdX\r\n0\r\n\r\n"),
        ("much-more-data", "4\r\nabcdefgh\r\n0\r\n\r\n"),
        ("empty-line-between", "4\r\nabcd\r\n\r\n0\r\n\r\n"),
        ("lone-lf-in-extension", "4;a\nb\r\nabcd\r\n0\r\n\r\n"),
        ("lone-cr-in-extension", "4;a\rb\r\nabcd\r\n0\r\n\r\n"),
        ("lone-lfs-at-the-end", "4\r\nabcd\r\n0\n\n"),
        ("no-last-chunk", "4\r\nabcd\r\n"),
        ("half-of-the-data", "8\r\nabcd"),
        ("half-of-the-end", "4\r\nabcd\r\n0\r\n"),
        ("size-alone", "4"),
        ("trailer-without-colon", "4\r\nabcd\r\n0\r\nX-Sum\r\n\r\n"),
        ("trailer-with-blank-before-colon", "4\r\nabcd\r\n0\r\nX-Sum : 1\r\n\r\n"),
        ("trailer-with-nul", "4\r\nabcd\r\n0\r\nX-Sum: \0\r\n\r\n"),
        ("trailer-folded", "4\r\nabcd\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n"),
        ("extension-too-long", &long_extension),
        ("extensions-longer-than-data", &many_extensions),
        ("trailer-too-long", &long_trailer),
    ];
    cases
        .into_iter()
        .map(|(name, body)| Case::never_whole("bad-chunks", name, "RFC 9112 §7.1", post(CHUNKED, body)))
        .collect()
}
