//! What every answer of the console tells the browser to keep to (CONSOLE.md rule 8, SECURITY S86).

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::ConsoleState;
use crate::config::{PublicUrl, WebScheme};

/// Files that may be cached, because their names change with their contents.
const ASSETS: &str = "/assets/";

/// On every answer, whatever it is.
const ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("publickey-credentials-get=(self), publickey-credentials-create=(self)"),
    ),
];
/// A year, for this host alone: others of its domain are not ours to decide about.
const ONLY_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Puts them on what the routes answer.
pub(super) async fn put_on_answers(
    State(state): State<ConsoleState>,
    request: Request,
    next: Next,
) -> Response {
    let is_asset = request.uri().path().starts_with(ASSETS);
    let mut answer = next.run(request).await;
    let kept =
        answer.headers_mut().remove(CACHE_CONTROL).filter(|_| is_asset && answer.status().is_success());
    put_headers(answer.headers_mut(), state.public_url());
    if let Some(kept) = kept {
        answer.headers_mut().insert(CACHE_CONTROL, kept);
    }
    answer
}

/// Puts them on an answer that is no asset.
pub(super) fn put_headers(headers: &mut HeaderMap, public_url: &PublicUrl) {
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if tells_only_https(public_url) {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONLY_HTTPS);
    }
    headers.insert(CACHE_CONTROL, NO_STORE);
}

/// `localhost` is also every other service of a developer's machine, on all ports, and most of them speak http; an IP
/// address cannot be kept to https (RFC 6797 §8.1.1).
fn tells_only_https(public_url: &PublicUrl) -> bool {
    public_url.scheme() == WebScheme::Https
        && public_url.relying_party().is_some_and(|host| host != "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::test_console::public_url;

    #[test]
    fn s86_browsers_are_told_to_keep_to_https_where_that_hurts_nobody_else() {
        for (url, expected) in [
            ("https://console.example:8444", true),
            ("https://localhost:8444", false),
            ("https://127.0.0.1", false),
            ("http://localhost", false),
        ] {
            let mut headers = HeaderMap::new();
            put_headers(&mut headers, &public_url(url));
            assert_eq!(headers.contains_key(STRICT_TRANSPORT_SECURITY), expected, "{url}");
            assert_eq!(headers.get(CACHE_CONTROL), Some(&NO_STORE));
        }
    }
}
