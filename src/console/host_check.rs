//! Is a request meant for this console? (SECURITY S92, S101)
//!
//! Cookies, security keys and links belong to one name, the public URL's. Who reads a page under another one is led
//! there; a change under another one is refused, whoever made the browser believe in that name.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};

use super::ConsoleState;
use super::plain_answer::plain_answer;
use crate::config::{PublicUrl, WebScheme};

/// Lets a request through that names the public URL's host, and leads others there.
pub(super) async fn check_host(State(state): State<ConsoleState>, request: Request, next: Next) -> Response {
    let public_url = state.public_url();
    if is_meant(&request, public_url) {
        return next.run(request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let told = "This console has another address. Nothing was changed.";
        return plain_answer(StatusCode::MISDIRECTED_REQUEST, "foreign_host", told);
    }
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let own = format!("{public_url}{target}");
    let text = format!("The console is at {public_url}");
    let mut answer = plain_answer(StatusCode::PERMANENT_REDIRECT, "foreign_host", text);
    if let Ok(location) = HeaderValue::try_from(own) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// Does the request name the host of `public_url`? What its target names outranks `Host` (RFC 9112 §3.2.2); HTTP/2 names
/// it there always.
pub fn is_meant<B>(request: &http::Request<B>, public_url: &PublicUrl) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(host), None) => host.to_str().unwrap_or_default(),
        (_, _, Some(_)) | (None, None, None) => return false,
    };
    let usual_port = match public_url.scheme() {
        WebScheme::Http => ":80",
        WebScheme::Https => ":443",
    };
    let own = public_url.authority();
    let is_own = |named: &str| named.eq_ignore_ascii_case(own);
    is_own(named) || named.strip_suffix(usual_port).is_some_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::test_console::public_url;

    fn meant(url: &str, target: &str, hosts: &[&str]) -> bool {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        is_meant(&request.body(()).unwrap(), &public_url(url))
    }

    #[test]
    fn s101_a_request_is_meant_for_the_console_if_it_names_the_public_urls_host() {
        for (url, target, hosts, expected) in [
            ("https://console.example", "/", &["console.example"][..], true),
            ("https://console.example", "/", &["Console.Example:443"], true),
            ("https://console.example", "/", &["console.example:80"], false),
            ("https://console.example", "/", &["console.example:8444"], false),
            ("https://console.example", "/", &["console.example."], false),
            ("https://console.example", "/", &["evil.example"], false),
            ("https://console.example", "/", &[], false),
            ("https://console.example", "/", &["console.example", "evil.example"], false),
            ("https://console.example", "https://evil.example/", &["console.example"], false),
            ("https://console.example", "https://console.example/", &[], true),
            ("https://localhost:8444", "/", &["localhost:8444"], true),
            ("https://localhost:8444", "/", &["localhost"], false),
            ("https://localhost:8444", "/", &["127.0.0.1:8444"], false),
            ("http://localhost", "/", &["localhost:80"], true),
            ("https://[::1]:8444", "/", &["[::1]:8444"], true),
        ] {
            assert_eq!(meant(url, target, hosts), expected, "{url} {target} {hosts:?}");
        }
    }
}
