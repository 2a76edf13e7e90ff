//! May a request change anything, judged by where it was made? (SECURITY S85, S92)
//!
//! Browsers say from where a request comes, and pages of other sites cannot make them lie. Every request that could
//! change something must come from the console's own pages, sign-in and one-time links included, so that no other site
//! acts with the cookie of its visitor, or signs the visitor in as somebody else. The form token of each page stands
//! beside this, for browsers that say nothing.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::ConsoleState;
use super::api::is_for_management;
use super::plain_answer::plain_answer;
use crate::config::PublicUrl;

/// From where a browser makes a request (Fetch Metadata, `Sec-Fetch-Site`).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What becomes of a request, judged by where it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It changes nothing, or was made by a page of the console.
    Admitted,
    /// It presents a credential that no browser adds by itself; a cookie beside it counts for nothing.
    PresentsCredential,
    /// It was made elsewhere, or does not tell.
    Refused,
}

/// Judges a request with this head to the console at `public_url`.
pub fn judge_origin(head: &Parts, public_url: &PublicUrl) -> Verdict {
    if is_for_management(head.uri.path()) && head.headers.contains_key(AUTHORIZATION) {
        return Verdict::PresentsCredential;
    }
    if matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Verdict::Admitted;
    }
    let own = public_url.origin().as_bytes();
    let is_own = match (the_one(&head.headers, &SEC_FETCH_SITE), the_one(&head.headers, &ORIGIN)) {
        // `Referrer-Policy: no-referrer` makes browsers write `null` as the origin of a form of our own (Fetch, "append
        // a request `Origin` header"; measured with Chromium); that of a sandboxed frame comes with `cross-site`.
        (Field::One(b"same-origin"), Field::None | Field::One(b"null")) => true,
        (Field::One(b"same-origin") | Field::None, Field::One(origin)) => origin == own,
        _ => false,
    };
    if is_own { Verdict::Admitted } else { Verdict::Refused }
}

enum Field<'h> {
    None,
    One(&'h [u8]),
    Several,
}

fn the_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Field<'h> {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Field::None,
        (Some(only), None) => Field::One(only.as_bytes()),
        (Some(_), Some(_)) => Field::Several,
    }
}

/// Lets a request through, or refuses it before anything has looked at it.
pub(super) async fn check_origin(
    State(state): State<ConsoleState>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    match judge_origin(&head, state.public_url()) {
        Verdict::Admitted | Verdict::PresentsCredential => next.run(Request::from_parts(head, body)).await,
        Verdict::Refused => plain_answer(
            StatusCode::FORBIDDEN,
            "cross_site_request",
            "This request was not made by a page of the console. Nothing was changed.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::test_console::public_url;

    const OWN: &str = "https://console.example";

    fn judged(method: &str, target: &str, fields: &[(&str, &str)]) -> Verdict {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        judge_origin(&request.body(()).unwrap().into_parts().0, &public_url(OWN))
    }

    #[test]
    fn s85_a_change_comes_from_the_consoles_own_pages() {
        let site = "sec-fetch-site";
        for (fields, expected) in [
            (&[(site, "same-origin"), ("origin", OWN)][..], Verdict::Admitted),
            (&[(site, "same-origin")], Verdict::Admitted),
            (&[(site, "same-origin"), ("origin", "null")], Verdict::Admitted),
            (&[("origin", OWN)], Verdict::Admitted),
            (&[], Verdict::Refused),
            (&[("origin", "null")], Verdict::Refused),
            (&[("origin", "")], Verdict::Refused),
            (&[("origin", "https://console.example:444")], Verdict::Refused),
            (&[("origin", "http://console.example")], Verdict::Refused),
            (&[("origin", "https://console.example.evil")], Verdict::Refused),
            (&[("origin", "https://evil.example")], Verdict::Refused),
            (&[("origin", OWN), ("origin", "https://evil.example")], Verdict::Refused),
            (&[(site, "same-origin"), ("origin", "https://evil.example")], Verdict::Refused),
            (&[(site, "same-origin"), (site, "cross-site"), ("origin", OWN)], Verdict::Refused),
            (&[(site, "same-site"), ("origin", OWN)], Verdict::Refused),
            (&[(site, "cross-site"), ("origin", OWN)], Verdict::Refused),
            (&[(site, "cross-site"), ("origin", "null")], Verdict::Refused),
            (&[(site, "none"), ("origin", OWN)], Verdict::Refused),
            (&[(site, "none")], Verdict::Refused),
            (&[(site, "Same-Origin"), ("origin", OWN)], Verdict::Refused),
            (&[(site, ""), ("origin", OWN)], Verdict::Refused),
            (&[("referer", "https://console.example/")], Verdict::Refused),
            // Elsewhere than at the management API a credential changes nothing about it.
            (&[("authorization", "ApiKey x")], Verdict::Refused),
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
                assert_eq!(judged(method, "/sign-in", fields), expected, "{method} {fields:?}");
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert_eq!(judged(method, "/sign-in", fields), Verdict::Admitted, "{method} {fields:?}");
            }
        }
    }

    #[test]
    fn s92_the_management_api_takes_a_credential_from_anywhere_and_a_cookie_from_here() {
        let cross = [("sec-fetch-site", "cross-site"), ("authorization", "ApiKey x"), ("cookie", "a=b")];
        for (target, fields, expected) in [
            ("/api/v1/users", &cross[..], Verdict::PresentsCredential),
            ("/api/v1", &cross, Verdict::PresentsCredential),
            ("/api/v1/users", &[("authorization", "")], Verdict::PresentsCredential),
            ("/api/v1/users", &[("cookie", "a=b")], Verdict::Refused),
            ("/api/v1/users", &[("cookie", "a=b"), ("origin", OWN)], Verdict::Admitted),
            ("/api/v10/users", &cross, Verdict::Refused),
            ("/api/v2/users", &cross, Verdict::Refused),
            ("/x/api/v1/users", &cross, Verdict::Refused),
        ] {
            assert_eq!(judged("POST", target, fields), expected, "{target} {fields:?}");
        }
        assert_eq!(judged("GET", "/api/v1/users", &cross), Verdict::PresentsCredential);
    }
}
