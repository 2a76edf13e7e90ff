//! `upstreams:` what they mean, and the table of their names that listeners refer to.

mod isproxy;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls_pki_types::ServerName;

use super::{Review, host_and_port};
use crate::config::faults::{KeyPath, closest, shown};
use crate::config::raw::{
    RawHealthCheck, RawHttp2Use, RawIdentityHeaders, RawUpstream, RawUpstreamProtocol, RawUpstreamTls,
    RawUpstreamTlsFiles, Required,
};
use crate::config::{
    HealthCheckSchedule, Http2Use, HttpHealthCheck, HttpServer, HttpUpstream, IdentityHeaders, SERVERS_MAX,
    Scheme, SetHeaders, TlsFiles, Upstream, UpstreamProtocol, UpstreamTls,
};
use crate::model::Secret;

/// Which protocol a key belongs to, for keys that do not belong to all.
const BELONGING: &[(&str, &[&str])] = &[
    ("set_headers", &["http"]),
    ("identity_headers", &["http"]),
    ("http2", &["http"]),
    ("login_key_file", &["isproxy"]),
    ("plaintext_credentials", &["isproxy"]),
];

/// Headers that frame a message, steer a connection or are ours already: an identity there would break the exchange.
///
/// Of these, `set_headers` may hold what is in [`SETTABLE_HEADERS`].
pub(super) const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Reserved for identities, but an upstream may well want its own: the client's credential never reaches it anyway, and
/// the client's host is told in `X-Forwarded-Host`.
const SETTABLE_HEADERS: &[&str] = &["authorization", "host"];

/// The names of upstreams, sound or not, so that a reference to one is judged by its name alone.
pub(super) struct KnownUpstreams {
    protocols: HashMap<String, Option<RawUpstreamProtocol>>,
    /// Could every name be read? If not, an unknown name may be that one.
    complete: bool,
}

impl KnownUpstreams {
    /// The upstream that `text` names at `path`, if it speaks `protocol`.
    pub(super) fn resolve(
        &self,
        path: &KeyPath,
        text: String,
        protocol: RawUpstreamProtocol,
        review: &mut Review<'_>,
    ) -> Option<String> {
        match self.protocols.get(&text) {
            Some(Some(spoken)) if *spoken != protocol => {
                let named = review.named(path, &text);
                let message = format!(
                    "the upstream{named} speaks {}; this needs one with `protocol: {}`",
                    word(*spoken),
                    word(protocol)
                );
                review.refuse(path, message, None);
                None
            }
            Some(_) => Some(text),
            None if !self.complete => None,
            None => {
                let named = review.named(path, &text);
                let known = self.protocols.keys().map(String::as_str);
                let meant = closest(&text, known).and_then(shown).filter(|_| !named.is_empty());
                let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
                review.refuse(path, format!("there is no upstream{named}{meant}"), None);
                None
            }
        }
    }
}

fn word(protocol: RawUpstreamProtocol) -> &'static str {
    match protocol {
        RawUpstreamProtocol::Http => "http",
        RawUpstreamProtocol::IsProxy => "isproxy",
    }
}

/// The sound upstreams, and the names of all.
pub(super) fn upstreams(
    raw: Vec<Required<RawUpstream>>,
    review: &mut Review<'_>,
) -> (Vec<Upstream>, KnownUpstreams) {
    let all = KeyPath::default().key("upstreams");
    let unread = review.faults.cover(&all) && raw.is_empty();
    let mut known = KnownUpstreams { protocols: HashMap::new(), complete: !unread };
    let mut taken = HashMap::new();
    let mut sound = Vec::new();
    for (position, raw) in raw.into_iter().enumerate() {
        let path = all.index(position);
        match &raw.0 {
            Some(RawUpstream { name: Required(Some(name)), protocol, .. }) => {
                known.protocols.entry(name.clone()).or_insert(protocol.0);
            }
            _ => known.complete = false,
        }
        sound.extend(raw.0.and_then(|raw| upstream(raw, &path, &mut taken, review)));
    }
    (sound, known)
}

fn upstream(
    mut raw: RawUpstream,
    path: &KeyPath,
    taken: &mut HashMap<String, String>,
    review: &mut Review<'_>,
) -> Option<Upstream> {
    let name = review.name(&path.key("name"), Required(raw.name.0.take()), taken);
    if let Some(protocol) = raw.protocol.0 {
        review.refuse_misplaced(path, BELONGING, word(protocol));
    }
    let protocol = match raw.protocol.0? {
        RawUpstreamProtocol::Http => {
            http_upstream(raw, path, review).map(|http| UpstreamProtocol::Http(Box::new(http)))
        }
        RawUpstreamProtocol::IsProxy => {
            isproxy::isproxy_upstream(raw, path, review).map(UpstreamProtocol::IsProxy)
        }
    };
    Some(Upstream { name: name?, protocol: protocol? })
}

fn http_upstream(raw: RawUpstream, path: &KeyPath, review: &mut Review<'_>) -> Option<HttpUpstream> {
    let identity_headers =
        identity_headers(raw.identity_headers, &path.key("identity_headers"), &[RESERVED_HEADERS], review);
    let set_headers = set_headers(raw.set_headers, &identity_headers, &path.key("set_headers"), review);
    let health_check = match raw.health_check {
        Some(check) => Some(health_check(&check, &path.key("health_check"), review)?),
        None => None,
    };
    let http2 = http2_use(raw.http2);
    let tls = https(raw.tls, &path.key("tls"), review);
    let servers = servers(raw.servers, &path.key("servers"), http_server, review);
    Some(HttpUpstream { servers: servers?, tls: tls?, identity_headers, set_headers, health_check, http2 })
}

/// The list at `path`, each of its texts read by `read`; the sound ones, each once.
fn servers<S: PartialEq>(
    raw: Required<Vec<Required<String>>>,
    path: &KeyPath,
    read: impl Fn(&str, &KeyPath, &mut Review<'_>) -> Option<S>,
    review: &mut Review<'_>,
) -> Option<Vec<S>> {
    let raw = raw.0?;
    if !(1..=SERVERS_MAX).contains(&raw.len()) {
        let message = format!("must hold 1 to {SERVERS_MAX} servers, not {}", raw.len());
        review.refuse(path, message, None);
        return None;
    }
    let mut servers = Vec::new();
    for (position, text) in raw.into_iter().enumerate() {
        let path = path.index(position);
        let Some(server) = text.0.and_then(|text| read(&text, &path, review)) else { continue };
        if servers.contains(&server) {
            review.refuse(&path, "this server stands in the list already", None);
        }
        servers.push(server);
    }
    Some(servers)
}

fn http_server(text: &str, path: &KeyPath, review: &mut Review<'_>) -> Option<HttpServer> {
    let (scheme, rest, usual_port) = match text.strip_prefix("https://") {
        Some(rest) => (Scheme::Https, Some(rest), 443),
        None => (Scheme::Http, text.strip_prefix("http://"), 80),
    };
    let Some((host, port)) = rest.and_then(host_and_port) else {
        let help = "for example http://127.0.0.1:9000; no user, path or query";
        review.refuse(path, "must be http://HOST[:PORT] or https://HOST[:PORT]", Some(help));
        return None;
    };
    if scheme == Scheme::Https && ServerName::try_from(host.as_str()).is_err() {
        review.refuse(path, "no certificate can be for this host", None);
    }
    Some(HttpServer { scheme, host, port: port.unwrap_or(usual_port) })
}

/// `tls:` of an HTTP upstream.
fn https(raw: Option<RawUpstreamTls>, path: &KeyPath, review: &mut Review<'_>) -> Option<UpstreamTls> {
    match raw {
        None => Some(UpstreamTls::default()),
        Some(RawUpstreamTls::Files(files)) => tls_files(files, path, review),
        Some(RawUpstreamTls::Word(_)) => {
            let message = "must be a mapping for protocol http; whether TLS is spoken, the servers' URLs say";
            let help = "allowed: ca, client_certificate, client_private_key, server_name";
            review.refuse(path, message, Some(help));
            None
        }
    }
}

fn tls_files(raw: RawUpstreamTlsFiles, path: &KeyPath, review: &mut Review<'_>) -> Option<UpstreamTls> {
    const HELP: &str = "a PEM file";
    let mut file = |key: &str, text: Option<String>| match text {
        Some(text) => review.existing_file(&path.key(key), Required(Some(text)), HELP).map(Some),
        None => Some(None),
    };
    let ca = file("ca", raw.ca);
    let certificate = file("client_certificate", raw.client_certificate);
    let private_key = file("client_private_key", raw.client_private_key);
    if raw.server_name.as_deref().is_some_and(|name| ServerName::try_from(name).is_err()) {
        review.refuse(&path.key("server_name"), "must be a DNS name or an address", None);
    }
    let client = match (certificate?, private_key?) {
        (Some(certificate), Some(private_key)) => Some(TlsFiles { certificate, private_key }),
        (None, None) => None,
        (Some(_), None) => {
            review.refuse_missing(path, "client_private_key", "it belongs to `client_certificate`");
            return None;
        }
        (None, Some(_)) => {
            review.refuse_missing(path, "client_certificate", "it belongs to `client_private_key`");
            return None;
        }
    };
    Some(UpstreamTls { ca: ca?, client, server_name: raw.server_name })
}

/// The headers that tell who calls. None may have a name that one of the lists in `reserved` holds.
pub(super) fn identity_headers(
    raw: RawIdentityHeaders,
    path: &KeyPath,
    reserved: &[&[&str]],
    review: &mut Review<'_>,
) -> IdentityHeaders {
    let mut taken = Vec::new();
    let mut header = |key: &str, text: Option<String>| {
        let path = path.key(key);
        let text = text?;
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            review.refuse(&path, "must be the name of a header, or null for none", None);
            return None;
        };
        if reserved.iter().any(|names| names.contains(&name.as_str())) {
            review.refuse(&path, "this header steers the exchange itself; choose another", None);
        } else if taken.contains(&name) {
            review.refuse(&path, "another part of the identity has this header; choose another", None);
        }
        taken.push(name.clone());
        Some(name)
    };
    IdentityHeaders {
        customer: header("customer", raw.customer),
        user: header("user", raw.user),
        key_id: header("key_id", raw.key_id),
        method: header("method", raw.method),
    }
}

fn http2_use(raw: Option<RawHttp2Use>) -> Http2Use {
    match raw {
        None | Some(RawHttp2Use::Auto) => Http2Use::Auto,
        Some(RawHttp2Use::Never) => Http2Use::Never,
        Some(RawHttp2Use::Always) => Http2Use::Always,
    }
}

fn health_check(raw: &RawHealthCheck, path: &KeyPath, review: &mut Review<'_>) -> Option<HttpHealthCheck> {
    let wanted = raw.path.starts_with('/').then(|| raw.path.parse().ok()).flatten();
    if wanted.is_none() {
        review.refuse(&path.key("path"), "must be a path that starts with /", None);
    }
    Some(HttpHealthCheck { path: wanted?, schedule: schedule(raw) })
}

const fn schedule(raw: &RawHealthCheck) -> HealthCheckSchedule {
    HealthCheckSchedule {
        interval_seconds: raw.interval_seconds,
        timeout_milliseconds: raw.timeout_milliseconds,
        healthy_after: raw.healthy_after,
        unhealthy_after: raw.unhealthy_after,
    }
}

fn set_headers(
    raw: BTreeMap<String, Required<String>>,
    identity: &IdentityHeaders,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> SetHeaders {
    let mut set: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (key, text) in raw {
        let path = path.key(&key);
        let text = text.0.map(Secret::new);
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            review.refuse(&path, "this is no name of a header", None);
            continue;
        };
        if RESERVED_HEADERS.contains(&name.as_str()) && !SETTABLE_HEADERS.contains(&name.as_str()) {
            review.refuse(&path, "this header steers the exchange itself, or is set by Latchkey", None);
        } else if identity.names().any(|own| *own == name) {
            review.refuse(&path, "this header tells who calls; see identity_headers", None);
        } else if set.iter().any(|(other, _)| *other == name) {
            review.refuse(&path, "another key names this header already", None);
        } else if let Some(value) = text.and_then(|text| header_value(&name, text, &path, review)) {
            set.push((name, value));
        }
    }
    SetHeaders(set)
}

/// A value that is never shown, and is wiped with its last copy. A fault does not repeat it: it may be a secret.
pub(super) fn header_value(
    name: &HeaderName,
    text: Secret<String>,
    path: &KeyPath,
    review: &mut Review<'_>,
) -> Option<HeaderValue> {
    if text.expose().trim().is_empty() {
        review.refuse(path, "is empty", None);
        return None;
    }
    if name == http::header::HOST && host_and_port(text.expose()).is_none() {
        review.refuse(path, "must be HOST[:PORT]", None);
        return None;
    }
    let visible = text.expose().bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let value = HeaderValue::from_maybe_shared(Bytes::from_owner(SecretBytes(text)));
    let Some(mut value) = value.ok().filter(|_| visible) else {
        review.refuse(path, "may hold visible ASCII characters and blanks only, and no line end", None);
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// Lends a secret to a header's value, which wipes it when it goes.
struct SecretBytes(Secret<String>);

impl AsRef<[u8]> for SecretBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{BASE, TestFolder};

    /// The smallest sound configuration with the servers of its upstream, and what follows, replaced.
    fn with_servers(rest: &str) -> String {
        BASE.replace("servers: [http://127.0.0.1:9000]", rest)
    }

    fn http_upstream(text: &str) -> HttpUpstream {
        let config = TestFolder::new().parse(text).unwrap_or_else(|faults| panic!("{faults}"));
        match config.upstreams.into_iter().next().map(|upstream| upstream.protocol) {
            Some(UpstreamProtocol::Http(http)) => *http,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_is_a_plain_url_that_stands_there_once() {
        let upstream = http_upstream(&with_servers("servers: [\"http://[::1]\"]"));
        assert_eq!(
            upstream.servers,
            [HttpServer { scheme: Scheme::Http, host: String::from("::1"), port: 80 }]
        );
        assert_eq!(upstream.servers[0].to_string(), "http://[::1]:80");
        let upstream = http_upstream(&with_servers("servers: [http://a, http://b:81, http://a:81]"));
        assert_eq!(upstream.servers.len(), 3);
        for (servers, expected) in [
            ("[]", "f.yaml:10:14  error  upstreams[0].servers: must hold 1 to 64 servers, not 0"),
            (
                "[http://a, http://A:80]",
                "f.yaml:10:25  error  upstreams[0].servers[1]: this server stands in the list already",
            ),
            ("[http://a/]", "f.yaml:10:15  error  upstreams[0].servers[0]: must be http://HOST[:PORT]"),
            ("[http://u:hunter2@a]", "f.yaml:10:15  error  upstreams[0].servers[0]: must be"),
            ("[http://a?b]", "f.yaml:10:15  error  upstreams[0].servers[0]: must be"),
            ("[127.0.0.1:9000]", "f.yaml:10:15  error  upstreams[0].servers[0]: must be"),
            ("http://a", "f.yaml:10:14  error  upstreams[0].servers: must be a list, not text"),
        ] {
            let told = TestFolder::new().faults(&with_servers(&format!("servers: {servers}")));
            assert!(told.starts_with(expected), "{told}");
            assert!(told.ends_with("\n1 error") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn http2_is_left_to_the_servers_unless_told_otherwise() {
        for (rest, expected) in [
            ("", Http2Use::Auto),
            ("\n    http2: auto", Http2Use::Auto),
            ("\n    http2: never", Http2Use::Never),
            ("\n    http2: always", Http2Use::Always),
        ] {
            let upstream = http_upstream(&with_servers(&format!("servers: [https://a, http://b]{rest}")));
            assert_eq!(upstream.http2, expected, "{rest}");
        }
        let told = TestFolder::new().faults(&with_servers("servers: [http://a]\n    http2: yes"));
        assert!(told.contains("upstreams[0].http2"), "{told}");
    }

    #[test]
    fn identity_headers_can_be_renamed_and_dropped() {
        let upstream = http_upstream(&with_servers(
            "servers: [http://a]\n    identity_headers: { customer: X-Consumer-Username, user: Remote-User, key_id: null }",
        ));
        let name = |text: &'static str| Some(HeaderName::from_static(text));
        assert_eq!(
            upstream.identity_headers,
            IdentityHeaders {
                customer: name("x-consumer-username"),
                user: name("remote-user"),
                key_id: None,
                method: name("x-auth-method"),
            }
        );
    }

    #[test]
    fn an_identity_header_may_neither_steer_the_exchange_nor_hide_another() {
        for (headers, expected) in [
            ("{ user: Transfer-Encoding }", "identity_headers.user: this header steers the exchange itself"),
            ("{ user: Authorization }", "identity_headers.user: this header steers the exchange itself"),
            (
                "{ user: x-auth-customer }",
                "identity_headers.user: another part of the identity has this header",
            ),
            ("{ user: \"a b\" }", "identity_headers.user: must be the name of a header"),
            ("{ user: \"\" }", "identity_headers.user: must be the name of a header"),
            ("{ name: X-Name }", "identity_headers: unknown key `name`"),
        ] {
            let text = with_servers(&format!("servers: [http://a]\n    identity_headers: {headers}"));
            let told = TestFolder::new().faults(&text);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn s40_headers_are_set_from_files_and_never_shown() {
        let folder = TestFolder::new();
        folder.write("secrets/upstream.key", "lk1_of_the_upstream\n");
        let text = with_servers(
            "servers: [http://a]\n    set_headers: { Authorization: \"ApiKey ${file:secrets/upstream.key}\", Host: api.example:8443 }",
        );
        let config = folder.parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
        let shown = format!("{config:?}");
        assert!(!shown.contains("of_the_upstream"), "{shown}");
        let UpstreamProtocol::Http(upstream) = &config.upstreams[0].protocol else { panic!("not HTTP") };
        let set: Vec<_> = upstream.set_headers.0.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let expected: [(&str, &[u8]); 2] =
            [("authorization", b"ApiKey lk1_of_the_upstream"), ("host", b"api.example:8443")];
        assert_eq!(set, expected);
    }

    #[test]
    fn s40_a_header_that_may_not_be_set_is_refused_without_its_value() {
        for (headers, expected) in [
            ("{ Connection: hunter2 }", "set_headers.Connection: this header steers the exchange itself"),
            ("{ content-length: \"5\" }", "this header steers the exchange itself"),
            ("{ Transfer-Encoding: hunter2 }", "this header steers the exchange itself"),
            ("{ X-Forwarded-For: hunter2 }", "this header steers the exchange itself"),
            ("{ X-Request-Id: hunter2 }", "this header steers the exchange itself"),
            ("{ X-Auth-User: hunter2 }", "set_headers.X-Auth-User: this header tells who calls"),
            ("{ X-A: hunter2, x-a: hunter2 }", "another key names this header already"),
            ("{ \"a b\": hunter2 }", "this is no name of a header"),
            ("{ X-A: \"\" }", "set_headers.X-A: is empty"),
            ("{ X-A: \"hunter2\\nX-B: c\" }", "visible ASCII"),
            ("{ X-A: \"hunter2\\xe9\" }", "visible ASCII"),
            ("{ Host: \"hunter2/\" }", "set_headers.Host: must be HOST[:PORT]"),
            ("{ X-A: \"${file:nowhere}\" }", "set_headers.X-A: file not found: nowhere"),
            ("{ X-A: [hunter2] }", "set_headers.X-A: must be text, not a list"),
        ] {
            let text = with_servers(&format!("servers: [http://a]\n    set_headers: {headers}"));
            let told = TestFolder::new().faults(&text);
            assert!(told.contains(expected) && told.contains("\n1 error"), "{headers}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_health_check_has_defaults_and_a_path() {
        let check = |setting: &str| {
            http_upstream(&with_servers(&format!("servers: [http://a]\n    {setting}"))).health_check
        };
        assert_eq!(check(""), None);
        let usual = check("health_check: {}").unwrap();
        assert_eq!(usual.path.as_str(), "/healthz");
        assert_eq!((usual.schedule.interval_seconds, usual.schedule.timeout_milliseconds), (10, 1_000));
        assert_eq!((usual.schedule.healthy_after, usual.schedule.unhealthy_after), (2, 2));
        let own =
            check("health_check: { path: \"/up?deep=1\", interval_seconds: 1, unhealthy_after: 1 }").unwrap();
        let (path, schedule) = (own.path.as_str(), own.schedule);
        assert_eq!((path, schedule.interval_seconds, schedule.unhealthy_after), ("/up?deep=1", 1, 1));
        for (setting, expected) in [
            ("{ path: healthz }", "health_check.path: must be a path that starts with /"),
            ("{ path: \"/a b\" }", "health_check.path: must be a path that starts with /"),
            ("{ interval_seconds: 0 }", "health_check.interval_seconds: must be from 1 to 3600"),
            ("{ timeout_seconds: 1 }", "health_check: unknown key `timeout_seconds`"),
        ] {
            let told = TestFolder::new()
                .faults(&with_servers(&format!("servers: [http://a]\n    health_check: {setting}")));
            assert!(told.contains(expected) && told.contains("\n1 error"), "{told}");
        }
    }

    #[test]
    fn https_servers_are_verified_as_the_upstream_says() {
        let upstream = http_upstream(&with_servers("servers: [\"https://a\", \"https://[::1]:8443\"]"));
        assert_eq!(upstream.servers[0].to_string(), "https://a:443");
        assert_eq!(upstream.tls, UpstreamTls::default());
        let folder = TestFolder::new();
        let (certificate, private_key) = (folder.path("certs/dev.crt"), folder.path("certs/dev.key"));
        let text = with_servers(
            "servers: [\"https://10.0.0.1\"]\n    tls: { ca: certs/dev.crt, client_certificate: certs/dev.crt, client_private_key: certs/dev.key, server_name: a.example }",
        );
        let config = folder.parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
        let UpstreamProtocol::Http(upstream) = &config.upstreams[0].protocol else { panic!("not HTTP") };
        let client = Some(TlsFiles { certificate: certificate.clone(), private_key });
        let server_name = Some(String::from("a.example"));
        assert_eq!(upstream.tls, UpstreamTls { ca: Some(certificate), client, server_name });
        assert_eq!(upstream.server_name(&upstream.servers[0]), ServerName::try_from("a.example").ok());
        for (tls, expected) in [
            ("{ ca: nowhere.pem }", "upstreams[0].tls.ca: file not found: nowhere.pem"),
            ("{ client_certificate: certs/dev.crt }", "upstreams[0].tls: missing key `client_private_key`"),
            ("{ client_private_key: certs/dev.key }", "upstreams[0].tls: missing key `client_certificate`"),
            ("{ server_name: \"a b\" }", "upstreams[0].tls.server_name: must be a DNS name"),
            ("{ verify: false }", "upstreams[0].tls: unknown key `verify`"),
            ("none", "upstreams[0].tls: must be a mapping for protocol http"),
            ("starttls", "upstreams[0].tls: must be a mapping for protocol http"),
            ("{}\n    login_key_file: k", "key `login_key_file` belongs to protocol isproxy, not http"),
            (
                "{}\n    plaintext_credentials: allow",
                "key `plaintext_credentials` belongs to protocol isproxy",
            ),
        ] {
            let told =
                TestFolder::new().faults(&with_servers(&format!("servers: [\"https://a\"]\n    tls: {tls}")));
            assert!(told.contains(expected) && told.contains("\n1 error"), "{told}");
        }
    }

    #[test]
    fn what_is_off_may_be_said() {
        http_upstream(&with_servers("servers: [http://a]\n    set_headers: {}"));
    }

    #[test]
    fn names_are_unique() {
        let text = format!("{BASE}  - name: registry\n    protocol: isproxy\n    servers: [localhost:1]\n");
        let told = TestFolder::new().faults(&text);
        assert!(
            told.contains(
                "f.yaml:11:11  error  upstreams[1].name: the name `registry` is taken: upstreams[0].name"
            ),
            "{told}"
        );
        for name in ["\"\"", "a b", "a/b", &"a".repeat(65)] {
            let told = TestFolder::new().faults(&BASE.replace("name: registry", &format!("name: {name}")));
            assert!(told.contains("upstreams[0].name: must be 1 to 64 of the letters"), "{told}");
        }
    }
}
