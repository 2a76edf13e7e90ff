//! Making answers of pages.

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderValue, StatusCode};

use super::ConsoleState;
use super::cookies::ConsoleCookie;
use super::failure::Failure;
use crate::model::Secret;

/// The page, with 200.
pub(super) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// The page again, with what was wrong in it: nothing that was typed is lost (CONSOLE rule 6).
pub(super) fn unprocessable(template: &impl Template) -> Response {
    page_with(StatusCode::UNPROCESSABLE_ENTITY, template)
}

pub(super) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let mut answer = (status, Body::from(text)).into_response();
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            answer.headers_mut().insert(CONTENT_TYPE, html);
            answer
        }
        Err(error) => Failure::defect(&error.to_string()).into_response(),
    }
}

/// On to `path` of this console, by GET.
pub(super) fn see_other(path: &str) -> Response {
    let mut answer = StatusCode::SEE_OTHER.into_response();
    let path = HeaderValue::try_from(path).unwrap_or_else(|_| HeaderValue::from_static("/"));
    answer.headers_mut().insert(LOCATION, path);
    answer
}

/// `path` with the parameters that are not empty.
pub(super) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let parameters: Vec<_> = parameters.iter().filter(|(_, value)| !value.is_empty()).collect();
    for (name, value) in &parameters {
        query.append_pair(name, value);
    }
    if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", query.finish()) }
}

/// The number, from 0, of the part of a list that the field `page` of an address means; what is no number means the first.
pub(super) fn part_of(page: &str) -> u32 {
    page.parse::<u32>().unwrap_or(1).saturating_sub(1)
}

/// A path to go on to that a form brought: of this console, or the start page. A second slash or a backslash would make
/// a browser read a host into it.
pub fn own_path(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    let is_plain = next.len() <= 1_024 && !next.chars().any(char::is_control);
    if is_path && is_plain { next } else { "/" }
}

/// The answer, after which the browser holds this session.
pub(super) fn holding(state: &ConsoleState, token: &Secret<String>, mut answer: Response) -> Response {
    match state.cookies().set(ConsoleCookie::Session, token) {
        Ok(field) => {
            answer.headers_mut().append(SET_COOKIE, field);
            answer
        }
        Err(error) => Failure::defect(&error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_console_are_gone_on_to() {
        for own in ["/", "/profile", "/account/users?page=2"] {
            assert_eq!(own_path(own), own);
        }
        for other in ["", "//evil.example", "https://evil.example", "/\\evil.example", "profile", "/a\nb"] {
            assert_eq!(own_path(other), "/", "{other}");
        }
    }

    #[test]
    fn parameters_are_escaped_and_empty_ones_left_out() {
        assert_eq!(with_query("/sign-in", &[("next", ""), ("reason", "")]), "/sign-in");
        assert_eq!(
            with_query("/sign-in", &[("next", "/a?b=c&d"), ("reason", "over")]),
            "/sign-in?next=%2Fa%3Fb%3Dc%26d&reason=over"
        );
    }
}
