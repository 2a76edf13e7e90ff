//! Which upstream a request goes to: by host, then by the longest prefix of whole path segments. Pure.
//!
//! The path is compared as it was sent: `%2e`, `//` and the like are the upstream's to read, and change nothing about
//! who may come in, because every route asks for the same credential. Called by `forward`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use crate::config::{Route, Upgrade};

/// A listener's routes; `U` is what they lead to. What finding one costs hardly grows with their number.
#[derive(Debug)]
pub struct Routes<U> {
    /// In the file's order.
    all: Vec<Resolved<U>>,
    /// Those that name hosts, by host in lower case.
    of_hosts: HashMap<String, Prefixes>,
    of_any_host: Prefixes,
}

/// A route with what it leads to.
#[derive(Debug)]
pub struct Resolved<U> {
    /// The prefix that it is for.
    pub path: Rc<str>,
    /// Where its requests go.
    pub upstream: Rc<U>,
    /// What its requests may become.
    pub upgrades: Vec<Upgrade>,
}

/// Routes by their paths, which are in order, each once.
#[derive(Debug, Default)]
struct Prefixes(Vec<Prefix>);

#[derive(Debug)]
struct Prefix {
    path: String,
    /// Its place among all routes.
    route: usize,
    /// The place of the longest path before it that it begins with.
    shorter: Option<usize>,
}

impl<U> Routes<U> {
    /// Routes with what each leads to.
    pub fn new(routes: impl IntoIterator<Item = (Route, Rc<U>)>) -> Self {
        let (mut all, mut of_hosts, mut of_any_host) = (Vec::new(), HashMap::<_, Vec<_>>::new(), Vec::new());
        for (place, (route, upstream)) in routes.into_iter().enumerate() {
            if route.hosts.is_empty() {
                of_any_host.push((route.path.clone(), place));
            }
            for host in &route.hosts {
                of_hosts.entry(host.to_ascii_lowercase()).or_default().push((route.path.clone(), place));
            }
            all.push(Resolved { path: route.path.into(), upstream, upgrades: route.upgrades });
        }
        let of_hosts = of_hosts.into_iter().map(|(host, paths)| (host, Prefixes::new(paths))).collect();
        Self { all, of_hosts, of_any_host: Prefixes::new(of_any_host) }
    }

    /// Where a host (without port) and `path` lead: a route that names the host before any other, then the longest
    /// path. `host` is asked only where a route names one.
    pub fn find<'a>(&self, host: impl FnOnce() -> Option<&'a str>, path: &str) -> Option<&Resolved<U>> {
        // `OPTIONS *` asks about the server as a whole: it goes where `/` goes.
        let path = if path == "*" { "/" } else { path };
        let named = if self.of_hosts.is_empty() { None } else { self.of_hosts.get(&*lower_case(host()?)) };
        let route = named.and_then(|named| named.find(path)).or_else(|| self.of_any_host.find(path))?;
        self.all.get(route)
    }

    /// Does any of them allow `upgrade`?
    pub fn allow(&self, upgrade: Upgrade) -> bool {
        self.all.iter().any(|route| route.upgrades.contains(&upgrade))
    }
}

impl Prefixes {
    /// Of paths with the places of their routes; of equal paths the first counts.
    fn new(mut paths: Vec<(String, usize)>) -> Self {
        paths.sort();
        paths.dedup_by(|later, earlier| later.0 == earlier.0);
        let mut prefixes: Vec<Prefix> = Vec::with_capacity(paths.len());
        for (path, route) in paths {
            let mut shorter = prefixes.len().checked_sub(1);
            while let Some(other) = shorter.and_then(|place| prefixes.get(place))
                && !path.starts_with(&other.path)
            {
                shorter = other.shorter;
            }
            prefixes.push(Prefix { path, route, shorter });
        }
        Self(prefixes)
    }

    /// The route with the longest path of whole segments that `path` begins with.
    ///
    /// Whatever `path` begins with stands before it in order, and the nearest before it begins with all of these.
    fn find(&self, path: &str) -> Option<usize> {
        let mut place = self.0.partition_point(|prefix| *prefix.path <= *path).checked_sub(1);
        loop {
            let prefix = self.0.get(place?)?;
            if starts_with_segments(path, &prefix.path) {
                return Some(prefix.route);
            }
            place = prefix.shorter;
        }
    }
}

/// Most are sent so already.
fn lower_case(host: &str) -> Cow<'_, str> {
    let has_capitals = host.bytes().any(|byte| byte.is_ascii_uppercase());
    if has_capitals { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
}

/// Does `path` start with the whole segments of `prefix`? `/v2` holds `/v2` and `/v2/x`, not `/v2x`.
fn starts_with_segments(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
                routes.find(|| Some("any.example"), path).map(|found| *found.upstream),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn a_named_host_wins_over_any() {
        let routes = routes(&[(&[], "/v2/long", "any"), (&["one.example", "two.example"], "/", "named")]);
        assert_eq!(
            routes.find(|| Some("TWO.example"), "/v2/long").map(|found| *found.upstream),
            Some("named")
        );
        assert_eq!(
            routes.find(|| Some("three.example"), "/v2/long").map(|found| *found.upstream),
            Some("any")
        );
        assert!(routes.find(|| Some("three.example"), "/v1").is_none());
    }

    #[test]
    fn of_two_routes_with_one_path_the_first_counts() {
        let routes =
            routes(&[(&[], "/v2", "first"), (&[], "/v2", "second"), (&["a.example"], "/v2", "named")]);
        assert_eq!(routes.find(|| Some("b.example"), "/v2").map(|found| *found.upstream), Some("first"));
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_longest_that_a_search_through_all_would_find(
            paths in prop::collection::vec("(/[ab]{0,2}){1,3}", 0..12),
            path in "(/[abc]{0,2}){1,4}",
        ) {
            let all: Vec<_> = paths.iter().cloned().zip(0..).collect();
            let mut expected = None;
            for (prefix, place) in &all {
                let is_longer = expected.is_none_or(|(length, _)| prefix.len() > length);
                if starts_with_segments(&path, prefix) && is_longer {
                    expected = Some((prefix.len(), *place));
                }
            }
            prop_assert_eq!(Prefixes::new(all).find(&path), expected.map(|(_, place)| place));
        }
    }
}
