//! Keeps the product's own cookies away from upstreams, and upstreams from setting them (S92). Pure.
//!
//! Called by `forward`, for each request and each answer; whatever else a cookie says passes untouched.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::has_field;
use crate::model::is_own_cookie;

/// Takes the product's cookies out of a request.
pub fn strip_own_cookies(headers: &mut HeaderMap) {
    if has_field(headers, &COOKIE) {
        replace_values(headers, &COOKIE, without_own);
    }
}

/// Makes one field of the crumbs that HTTP/2 lets a client send (RFC 9113 §8.2.3).
pub fn join_cookie_crumbs(headers: &mut HeaderMap) {
    if !has_field(headers, &COOKIE) || headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Values with blanks between them are a value; were they none, the field would go rather than pass.
    match HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        Ok(joined) => drop(headers.insert(COOKIE, joined)),
        Err(_) => drop(headers.remove(COOKIE)),
    }
}

/// Takes fields that would set the product's cookies out of an answer.
pub fn strip_own_set_cookies(headers: &mut HeaderMap) {
    if has_field(headers, &SET_COOKIE) {
        replace_values(headers, &SET_COOKIE, |field| (!sets_own(field.as_bytes())).then_some(field));
    }
}

/// Makes each value of a field what `kept` makes of it.
fn replace_values(
    headers: &mut HeaderMap,
    name: &HeaderName,
    kept: impl Fn(HeaderValue) -> Option<HeaderValue>,
) {
    let left: Vec<_> = headers.get_all(name).iter().cloned().filter_map(kept).collect();
    headers.remove(name);
    for value in left {
        headers.append(name, value);
    }
}

/// Does the value of a `Set-Cookie` set one of the product's cookies?
pub fn sets_own(value: &[u8]) -> bool {
    is_own_cookie(name_of(value))
}

/// Is one of the product's cookies in the value of a `Cookie`?
pub fn holds_own(value: &[u8]) -> bool {
    value.split(|byte| *byte == b';').any(|pair| is_own_cookie(name_of(pair)))
}

/// A `Cookie` field without the product's pairs; `None`: nothing is left of it.
fn without_own(field: HeaderValue) -> Option<HeaderValue> {
    if !holds_own(field.as_bytes()) {
        return Some(field);
    }
    let pairs = || field.as_bytes().split(|byte| *byte == b';');
    let others: Vec<&[u8]> =
        pairs().filter(|pair| !is_own_cookie(name_of(pair))).map(<[u8]>::trim_ascii).collect();
    // Parts of a value are a value; were they none, the field would go rather than pass.
    (!others.is_empty()).then(|| HeaderValue::from_bytes(&others.join(&b"; "[..])).ok()).flatten()
}

/// The name of a cookie: what stands before the first `=` (RFC 6265 §4.1.1).
fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn s92_own_cookies_leave_a_request_and_others_pass_untouched() {
        for (given, left) in [
            (&["a=1;  b=\"latchkey-\"; c"][..], &["a=1;  b=\"latchkey-\"; c"][..]),
            (&["a=1; __Host-latchkey-session=x; b=2"], &["a=1; b=2"]),
            (&["__Host-latchkey-session=x"], &[]),
            (&["a=1", "LATCHKEY-device=1;__host-Latchkey-session=2", "b=2"], &["a=1", "b=2"]),
            (&["latchkey-a=1; latchkey-a=2;c=3"], &["c=3"]),
        ] {
            let mut headers = map(&COOKIE, given);
            strip_own_cookies(&mut headers);
            assert_eq!(values(&headers, &COOKIE), left, "{given:?}");
        }
    }

    #[test]
    fn crumbs_become_one_field() {
        for (crumbs, joined) in [
            (&["a=1", "b=2", "c=3; d=4"][..], &["a=1; b=2; c=3; d=4"][..]),
            (&["a=1; b=2"], &["a=1; b=2"]),
            (&[], &[]),
        ] {
            let mut headers = map(&COOKIE, crumbs);
            join_cookie_crumbs(&mut headers);
            assert_eq!(values(&headers, &COOKIE), joined);
        }
    }

    #[test]
    fn s92_an_upstream_sets_its_own_cookies_and_none_of_the_products() {
        let mut headers = map(
            &SET_COOKIE,
            &["sid=1; Path=/", "__Host-latchkey-session=evil; Path=/; Secure", "b=latchkey-; HttpOnly"],
        );
        strip_own_set_cookies(&mut headers);
        assert_eq!(values(&headers, &SET_COOKIE), ["sid=1; Path=/", "b=latchkey-; HttpOnly"]);
        let mut headers = map(&SET_COOKIE, &["latchkey-x=1"]);
        strip_own_set_cookies(&mut headers);
        assert!(headers.is_empty());
    }
}
