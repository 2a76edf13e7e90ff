//! Which upstream a request goes to: by host, then by the longest prefix of whole path segments. Pure.
//!
//! The path is compared as it was sent: `%2e`, `//` and the like are the upstream's to read, and change nothing about
//! who may come in, because every route asks for the same credential. Called by `forward`.

use std::rc::Rc;

use crate::config::{Route, Upgrade};

/// A listener's routes in the order they are tried; `U` is what they lead to.
#[derive(Debug)]
pub struct Routes<U>(Vec<Resolved<U>>);

/// A route with what it leads to.
#[derive(Debug)]
pub struct Resolved<U> {
    hosts: Vec<String>,
    path: String,
    /// Where its requests go.
    pub upstream: Rc<U>,
    /// What its requests may become.
    pub upgrades: Vec<Upgrade>,
}

impl<U> Routes<U> {
    /// Routes with what each leads to.
    pub fn new(routes: impl IntoIterator<Item = (Route, Rc<U>)>) -> Self {
        let mut resolved: Vec<_> = routes
            .into_iter()
            .map(|(route, upstream)| Resolved {
                hosts: route.hosts,
                path: route.path,
                upstream,
                upgrades: route.upgrades,
            })
            .collect();
        // A named host wins over any, then the longest path; equal ones keep the file's order.
        resolved.sort_by_key(|route| (route.hosts.is_empty(), std::cmp::Reverse(route.path.len())));
        Self(resolved)
    }

    /// Where `host` (without port) and `path` lead.
    pub fn find(&self, host: &str, path: &str) -> Option<&Resolved<U>> {
        self.0.iter().find(|route| route.takes(host, path))
    }

    /// Does any of them allow `upgrade`?
    pub fn allow(&self, upgrade: Upgrade) -> bool {
        self.0.iter().any(|route| route.upgrades.contains(&upgrade))
    }
}

impl<U> Resolved<U> {
    fn takes(&self, host: &str, path: &str) -> bool {
        (self.hosts.is_empty() || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
            && starts_with_segments(path, &self.path)
    }
}

/// Does `path` start with the whole segments of `prefix`? `/v2` holds `/v2` and `/v2/x`, not `/v2x`.
fn starts_with_segments(path: &str, prefix: &str) -> bool {
    // `OPTIONS *` asks about the server as a whole: it goes where `/` goes.
    let path = if path == "*" { "/" } else { path };
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(routes: &[(&[&str], &str, &'static str)]) -> Routes<&'static str> {
        Routes::new(routes.iter().map(|(hosts, path, upstream)| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            (
                Route { hosts, path: (*path).to_owned(), upstream: String::new(), upgrades: Vec::new() },
                Rc::new(*upstream),
            )
        }))
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let routes = routes(&[(&[], "/", "all"), (&[], "/v2", "two"), (&[], "/v2/domains/", "domains")]);
        for (path, expected) in [
            ("/", "all"),
            ("/v2", "two"),
            ("/v2/", "two"),
            ("/v2x", "all"),
            ("/v2/domains", "two"),
            ("/v2/domains/", "domains"),
            ("/v2/domains/a", "domains"),
            ("/V2", "all"),
            ("//v2", "all"),
            ("/v2/../x", "two"),
            ("*", "all"),
        ] {
            assert_eq!(
                routes.find("any.example", path).map(|found| *found.upstream),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn a_named_host_wins_over_any() {
        let routes = routes(&[(&[], "/v2/long", "any"), (&["one.example", "two.example"], "/", "named")]);
        assert_eq!(routes.find("TWO.example", "/v2/long").map(|found| *found.upstream), Some("named"));
        assert_eq!(routes.find("three.example", "/v2/long").map(|found| *found.upstream), Some("any"));
        assert!(routes.find("three.example", "/v1").is_none());
    }
}
