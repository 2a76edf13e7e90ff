//! What follows from one configuration and can be replaced while the gateway runs: listeners' plans and upstreams.
//!
//! Made in one go, at the start and at each reload, by the same code: certificates are read and everything else that can
//! fail is done before any of it is in force. What has not changed is taken over from the generation before, so that
//! servers keep what is known of their health, threads their connections to them, and clients their TLS sessions.
//! Handed to the door threads by `reload`, which open doors of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::acme::KeptCertificate;
use super::listener_tls::{Issuing, ListenerTls, Offer};
use super::places::{Place, places};
use super::post_address::AddressError;
use super::security_hook::SecurityHook;
use super::trace_export::Collector;
use crate::clock::Clock;
use crate::config::{
    AcmeSettings, CertificateSource, Config, ConsoleListener, ForwardAuthListener, HttpListener,
    IsProxyListener, Limits, ListenerProtocol, Route, TlsSettings, Traces, Upstream, UpstreamProtocol,
    UpstreamTls,
};
use crate::model::Timestamp;
use crate::net::upstream::UpstreamServers;
use crate::net::{ListenerId, TlsError};
use crate::telemetry::Metrics;

/// What an API listener, one that proxies ask, and a console offer in the TLS handshake, preferred first.
const HTTP_ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One configuration, ready to be served by.
#[derive(Debug)]
pub(super) struct Generation {
    /// What it was made of.
    pub(super) config: Arc<Config>,
    /// The configuration's, shared by all who keep them.
    pub(super) limits: Arc<Limits>,
    /// All listeners, in the order of the configuration.
    pub(super) listeners: Vec<Place>,
    /// So many were told from each other since the process began.
    listeners_known: u64,
    /// The listeners that are doors, in the order of the configuration.
    pub(super) doors: Vec<Arc<DoorPlan>>,
    /// The listeners of the console, likewise.
    pub(super) consoles: Vec<Arc<ConsolePlan>>,
    /// The upstreams.
    pub(super) upstreams: Vec<Arc<UpstreamPlan>>,
    /// Whom to tell of security events.
    pub(super) security_hook: Arc<SecurityHook>,
    /// Where spans go; `None`: no traces are made.
    pub(super) collector: Option<Arc<Collector>>,
}

/// One listener as the door threads open it.
#[derive(Debug)]
pub(super) struct DoorPlan {
    pub(super) id: ListenerId,
    pub(super) listener_name: String,
    pub(super) kind: DoorKind,
    pub(super) tls: Option<ListenerTls>,
}

/// A listener of the console, ready to be served.
#[derive(Debug)]
pub(super) struct ConsolePlan {
    pub(super) id: ListenerId,
    pub(super) listener_name: String,
    pub(super) listener: ConsoleListener,
    pub(super) tls: Option<ListenerTls>,
}

#[derive(Debug)]
pub(super) enum DoorKind {
    Http(HttpListener, Vec<(Route, Arc<UpstreamPlan>)>),
    IsProxy(IsProxyListener, Arc<UpstreamPlan>),
    ForwardAuth(ForwardAuthListener),
}

/// An upstream as the door threads connect to it.
#[derive(Debug)]
pub(super) struct UpstreamPlan {
    pub(super) name: String,
    pub(super) config: UpstreamProtocol,
    pub(super) servers: Arc<UpstreamServers>,
    /// Ends the health checks, which are for this plan only.
    pub(super) checks: CancellationToken,
    limits: Arc<Limits>,
    contents: FileContents,
}

/// A digest of what stands in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileContents(blake3::Hash);

/// A configuration that cannot be served by, although its text is sound.
#[derive(Debug, thiserror::Error)]
pub(super) struct Unusable(pub(super) Vec<Fault>);

/// One thing that keeps a configuration from being served by, with the name of what it is about.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("listener `{0}`: {1}")]
    Listener(String, TlsError),
    #[error("upstream `{0}` cannot be reached by TLS: {1}")]
    Upstream(String, TlsError),
    #[error("`security_events` cannot be told: {0}")]
    SecurityEvents(AddressError),
    #[error("`traces` cannot be posted: {0}")]
    Traces(AddressError),
    #[error("certificates cannot be ordered: {0}")]
    Acme(TlsError),
    #[error("listener `{listener}`: there is no upstream `{upstream}`")]
    NoUpstream { listener: String, upstream: String },
}

impl Generation {
    /// The first generation.
    ///
    /// # Errors
    /// Everything that keeps `config` from being served by.
    pub(super) fn first(config: Arc<Config>, metrics: &Metrics) -> Result<Self, Unusable> {
        Self::made(config, None, metrics)
    }

    /// The generation after this one.
    ///
    /// # Errors
    /// Everything that keeps `config` from being served by; nothing has changed then.
    pub(super) fn successor(&self, config: Arc<Config>, metrics: &Metrics) -> Result<Self, Unusable> {
        Self::made(config, Some(self), metrics)
    }

    fn made(config: Arc<Config>, before: Option<&Self>, metrics: &Metrics) -> Result<Self, Unusable> {
        let known = before.map_or(&[][..], |before| &before.listeners);
        let (listeners, listeners_known) =
            places(&config.listeners, known, before.map_or(0, |before| before.listeners_known));
        let acme = config.acme.clone().map(Arc::new);
        let mut build = Build::new(before, &listeners, metrics, acme.as_ref());
        let Made { limits, upstreams, doors, consoles, security_hook, collector } = build.parts(&config);
        let faults = build.faults;
        if faults.is_empty() {
            Ok(Self {
                config,
                limits,
                listeners,
                listeners_known,
                doors,
                consoles,
                upstreams,
                security_hook,
                collector,
            })
        } else {
            Err(Unusable(faults))
        }
    }

    /// The ops listeners.
    pub(super) fn ops(&self) -> impl Iterator<Item = &Place> {
        self.listeners.iter().filter(|place| place.speaks(&ListenerProtocol::Ops))
    }

    fn tls_of_listener(&self, name: &str) -> Option<&ListenerTls> {
        self.tls().find(|(listener, _)| *listener == name).map(|(_, tls)| tls)
    }

    /// The listeners that offer TLS, by their names.
    fn tls(&self) -> impl Iterator<Item = (&str, &ListenerTls)> {
        let doors = self.doors.iter().map(|door| (door.listener_name.as_str(), &door.tls));
        let consoles = self.consoles.iter().map(|console| (console.listener_name.as_str(), &console.tls));
        doors.chain(consoles).filter_map(|(name, tls)| Some((name, tls.as_ref()?)))
    }

    /// The certificates that authorities issue, each once.
    pub(super) fn kept_certificates(&self) -> Vec<&Arc<KeptCertificate>> {
        let mut all: Vec<&Arc<KeptCertificate>> = Vec::new();
        for kept in self.tls().filter_map(|(_, tls)| tls.kept()) {
            if !all.iter().any(|one| Arc::ptr_eq(one, kept)) {
                all.push(kept);
            }
        }
        all
    }

    /// Those that `other` does not have.
    pub(super) fn kept_certificates_beside(&self, other: Option<&Self>) -> Vec<&Arc<KeptCertificate>> {
        let others = other.map(Self::kept_certificates).unwrap_or_default();
        let mut own = self.kept_certificates();
        own.retain(|own| !others.iter().any(|other| Arc::ptr_eq(own, other)));
        own
    }

    /// What is to be said of certificates that can be shown, and that clients will refuse at `now`.
    pub(super) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let told = |(name, tls): (&str, &ListenerTls)| {
            tls.warnings(now).map(|warning| format!("listener `{name}`: {warning}")).collect::<Vec<_>>()
        };
        self.tls().flat_map(told).collect()
    }

    /// The upstreams of this generation that `other` does not have.
    pub(super) fn upstreams_beside(&self, other: Option<&Self>) -> impl Iterator<Item = &Arc<UpstreamPlan>> {
        let others = other.map_or(&[][..], |other| &other.upstreams);
        self.upstreams.iter().filter(|own| !others.iter().any(|other| Arc::ptr_eq(own, other)))
    }
}

impl DoorPlan {
    /// What stands in the files of its certificates; `None`: it offers none.
    pub(super) fn certificates(&self) -> Option<&[FileContents]> {
        self.tls.as_ref().map(ListenerTls::contents)
    }
}

impl ConsolePlan {
    /// What stands in the files of its certificates; `None`: it offers none.
    pub(super) fn certificates(&self) -> Option<&[FileContents]> {
        self.tls.as_ref().map(ListenerTls::contents)
    }
}

impl UpstreamPlan {
    /// What stands in the files that it is reached with.
    pub(super) const fn certificates(&self) -> &FileContents {
        &self.contents
    }
}

impl FileContents {
    /// Reads `files`, in an order that the caller keeps. One that cannot be read counts as empty: whoever needs it tells.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for file in files {
            let contents = std::fs::read(file).map(zeroize::Zeroizing::new).unwrap_or_default();
            hasher.update(&(contents.len() as u64).to_le_bytes()).update(&contents);
        }
        Self(hasher.finalize())
    }
}

/// A generation in the making.
struct Build<'a> {
    before: Option<&'a Generation>,
    listeners: &'a [Place],
    metrics: &'a Metrics,
    issuing: Issuing<'a>,
    faults: Vec<Fault>,
}

/// What a configuration is made into.
struct Made {
    limits: Arc<Limits>,
    upstreams: Vec<Arc<UpstreamPlan>>,
    doors: Vec<Arc<DoorPlan>>,
    consoles: Vec<Arc<ConsolePlan>>,
    security_hook: Arc<SecurityHook>,
    collector: Option<Arc<Collector>>,
}

impl<'a> Build<'a> {
    fn new(
        before: Option<&'a Generation>,
        listeners: &'a [Place],
        metrics: &'a Metrics,
        acme: Option<&'a Arc<AcmeSettings>>,
    ) -> Self {
        let kept: Vec<_> =
            before.iter().flat_map(|before| before.kept_certificates()).map(Arc::clone).collect();
        let challenges = kept.first().map(|kept| Arc::clone(&kept.challenges)).unwrap_or_default();
        let now = Clock::system().now();
        let issuing = Issuing { settings: acme, challenges, before: kept, made: Vec::new(), now };
        Self { before, listeners, metrics, issuing, faults: Vec::new() }
    }

    fn parts(&mut self, config: &Config) -> Made {
        let same = self.before.map(|before| &before.limits).filter(|before| ***before == config.limits);
        let limits = same.map_or_else(|| Arc::new(config.limits.clone()), Arc::clone);
        let upstreams = self.upstreams(config, &limits);
        let doors = self.doors(config, &upstreams);
        let consoles = self.consoles(config);
        let hook = SecurityHook::new(config.security_events.as_ref(), &Clock::system());
        let security_hook = hook.unwrap_or_else(|error| {
            self.faults.push(Fault::SecurityEvents(error));
            SecurityHook::default()
        });
        let collector = config.traces.as_ref().and_then(|traces| self.collector(traces));
        Made { limits, upstreams, doors, consoles, security_hook: Arc::new(security_hook), collector }
    }

    fn collector(&mut self, traces: &Traces) -> Option<Arc<Collector>> {
        match Collector::new(traces) {
            Ok(collector) => Some(Arc::new(collector)),
            Err(error) => {
                self.faults.push(Fault::Traces(error));
                None
            }
        }
    }

    fn upstreams(&mut self, config: &Config, limits: &Arc<Limits>) -> Vec<Arc<UpstreamPlan>> {
        config.upstreams.iter().filter_map(|upstream| self.upstream(upstream, limits)).collect()
    }

    fn upstream(&mut self, upstream: &Upstream, limits: &Arc<Limits>) -> Option<Arc<UpstreamPlan>> {
        let (name, config) = (upstream.name.as_str(), &upstream.protocol);
        let tls = tls_of(config);
        let client = tls.and_then(|tls| tls.client.as_ref());
        let client = client.into_iter().flat_map(|files| [&files.certificate, &files.private_key]);
        let contents = FileContents::of(tls.and_then(|tls| tls.ca.as_ref()).into_iter().chain(client));
        let before = self.before.and_then(|before| before.upstreams.iter().find(|plan| plan.name == name));
        let same = |before: &&Arc<UpstreamPlan>| {
            before.config == *config && before.limits == *limits && before.contents == contents
        };
        if let Some(same) = before.filter(same) {
            return Some(Arc::clone(same));
        }
        let servers = match config {
            UpstreamProtocol::Http(http) => UpstreamServers::for_http(name, http, limits, self.metrics),
            UpstreamProtocol::IsProxy(isproxy) => {
                UpstreamServers::for_isproxy(name, isproxy, limits, self.metrics)
            }
        };
        let servers = match servers {
            Ok(servers) => servers,
            Err(error) => {
                self.faults.push(Fault::Upstream(name.to_owned(), error));
                return None;
            }
        };
        // What was reached or asked otherwise says nothing: the change may well be the cure.
        let alike = |before: &&Arc<UpstreamPlan>| {
            before.contents == contents && are_asked_alike(&before.config, config)
        };
        if let Some(before) = before.filter(alike) {
            servers.take_over(&before.servers);
        }
        Some(Arc::new(UpstreamPlan {
            name: name.to_owned(),
            config: config.clone(),
            servers,
            checks: CancellationToken::new(),
            limits: Arc::clone(limits),
            contents,
        }))
    }

    fn doors(&mut self, config: &Config, upstreams: &[Arc<UpstreamPlan>]) -> Vec<Arc<DoorPlan>> {
        let mut doors = Vec::new();
        for (listener, place) in config.listeners.iter().zip(self.listeners) {
            let (name, id) = (listener.name.as_str(), place.id);
            let (kind, tls) = match &listener.protocol {
                ListenerProtocol::Http(http) => {
                    let routes = self.routes(name, http, config, upstreams);
                    (
                        Some(DoorKind::Http(http.clone(), routes)),
                        self.tls(name, http.tls.as_ref(), &HTTP_ALPN),
                    )
                }
                ListenerProtocol::IsProxy(isproxy) => {
                    let upstream = self.asked(name, &isproxy.upstream, config, upstreams);
                    let kind = upstream.map(|upstream| DoorKind::IsProxy(isproxy.clone(), upstream));
                    (kind, self.tls(name, isproxy.tls.as_ref(), &[]))
                }
                ListenerProtocol::ForwardAuth(asked) => (
                    Some(DoorKind::ForwardAuth(asked.clone())),
                    self.tls(name, asked.tls.as_ref(), &HTTP_ALPN),
                ),
                ListenerProtocol::Console(_) | ListenerProtocol::Ops => (None, None),
            };
            let plan = |kind| Arc::new(DoorPlan { id, listener_name: name.to_owned(), kind, tls });
            doors.extend(kind.map(plan));
        }
        doors
    }

    fn consoles(&mut self, config: &Config) -> Vec<Arc<ConsolePlan>> {
        let mut consoles = Vec::new();
        for (listener, place) in config.listeners.iter().zip(self.listeners) {
            let ListenerProtocol::Console(console) = &listener.protocol else { continue };
            let name = listener.name.clone();
            let tls = self.tls(&name, console.tls.as_ref(), &HTTP_ALPN);
            let (id, listener) = (place.id, console.clone());
            consoles.push(Arc::new(ConsolePlan { id, listener_name: name, listener, tls }));
        }
        consoles
    }

    fn routes(
        &mut self,
        listener: &str,
        http: &HttpListener,
        config: &Config,
        upstreams: &[Arc<UpstreamPlan>],
    ) -> Vec<(Route, Arc<UpstreamPlan>)> {
        let mut routes = Vec::new();
        for route in &http.routes {
            let upstream = self.asked(listener, &route.upstream, config, upstreams);
            routes.extend(upstream.map(|upstream| (route.clone(), upstream)));
        }
        routes
    }

    /// The upstream `name`, which `listener` asks.
    fn asked(
        &mut self,
        listener: &str,
        name: &str,
        config: &Config,
        upstreams: &[Arc<UpstreamPlan>],
    ) -> Option<Arc<UpstreamPlan>> {
        let found = upstreams.iter().find(|upstream| upstream.name == name).map(Arc::clone);
        // One that is there and cannot be reached has told so.
        if found.is_none() && !config.upstreams.iter().any(|upstream| upstream.name == name) {
            let fault = Fault::NoUpstream { listener: listener.to_owned(), upstream: name.to_owned() };
            self.faults.push(fault);
        }
        found
    }

    fn tls(&mut self, listener: &str, settings: Option<&TlsSettings>, alpn: &[&[u8]]) -> Option<ListenerTls> {
        let before = self.before.and_then(|before| before.tls_of_listener(listener));
        let offer = Offer { listener, alpn, metrics: self.metrics };
        let settings = settings?;
        match ListenerTls::new(settings, &offer, &mut self.issuing, before) {
            Ok(tls) => tls,
            Err(error) if matches!(settings.certificates, CertificateSource::Acme(_)) => {
                // It is one authority for all listeners.
                if !self.faults.iter().any(|fault| matches!(fault, Fault::Acme(_))) {
                    self.faults.push(Fault::Acme(error));
                }
                None
            }
            Err(error) => {
                self.faults.push(Fault::Listener(listener.to_owned(), error));
                None
            }
        }
    }
}

/// How the servers of `upstream` are verified, and what they are shown.
pub(super) const fn tls_of(upstream: &UpstreamProtocol) -> Option<&UpstreamTls> {
    match upstream {
        UpstreamProtocol::Http(http) => Some(&http.tls),
        UpstreamProtocol::IsProxy(isproxy) => isproxy.tls.as_ref(),
    }
}

/// Does a server answer both alike, as far as it is told who asks and how?
fn are_asked_alike(was: &UpstreamProtocol, is: &UpstreamProtocol) -> bool {
    match (was, is) {
        (UpstreamProtocol::Http(was), UpstreamProtocol::Http(is)) => {
            was.tls == is.tls && was.set_headers == is.set_headers && was.health_check == is.health_check
        }
        (UpstreamProtocol::IsProxy(was), UpstreamProtocol::IsProxy(is)) => {
            was.tls == is.tls && was.login_key == is.login_key && was.health_check == is.health_check
        }
        _ => false,
    }
}

impl Unusable {
    /// Each fault in a line of its own.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::path::Path;

    use super::*;

    /// A folder with a configuration of three upstreams, three doors and a console, and a certificate.
    pub(in crate::app) struct TestFolder(tempfile::TempDir);

    pub(in crate::app) const TEXT: &str = "\
listeners:
  - name: api
    protocol: http
    address: 127.0.0.1:8443
    tls: { certificate: one.crt, private_key: one.key }
    routes: [{ path: /, upstream: registry }]
  - name: ops
    protocol: ops
    address: 127.0.0.1:9100
  - name: isproxy
    protocol: isproxy
    address: 127.0.0.1:2001
    upstream: availability
  - name: internal
    protocol: http
    address: 127.0.0.1:8444
    routes: [{ path: /, upstream: second }]
  - name: console
    protocol: console
    address: 127.0.0.1:8446
    public_url: http://localhost:8446
upstreams:
  - { name: registry, protocol: http, servers: [http://127.0.0.1:9000, http://127.0.0.1:9002] }
  - { name: second, protocol: http, servers: [http://127.0.0.1:9003] }
  - { name: availability, protocol: isproxy, servers: [127.0.0.1:9001] }
";

    impl TestFolder {
        pub(in crate::app) fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.certify("one");
            folder
        }

        /// Writes `NAME.crt` and `NAME.key`.
        pub(in crate::app) fn certify(&self, name: &str) {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            self.write(&format!("{name}.crt"), &made.cert.pem());
            self.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        }

        pub(in crate::app) fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }

        pub(in crate::app) fn parse(&self, text: &str) -> Arc<Config> {
            let parsed = crate::config::parse(text, Path::new("f.yaml"), self.0.path(), &|_| None);
            Arc::new(parsed.unwrap_or_else(|faults| panic!("{faults}")))
        }

        pub(in crate::app) fn first(&self) -> Generation {
            Generation::first(self.parse(TEXT), &Metrics::default()).unwrap()
        }

        pub(in crate::app) fn successor(&self, of: &Generation, text: &str) -> Generation {
            of.successor(self.parse(text), &Metrics::default()).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{TEXT, TestFolder};
    use super::*;

    fn names(generation: &Generation) -> Vec<&str> {
        generation.doors.iter().map(|door| door.listener_name.as_str()).collect()
    }

    fn upstream<'g>(generation: &'g Generation, name: &str) -> &'g Arc<UpstreamPlan> {
        generation.upstreams.iter().find(|upstream| upstream.name == name).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_taken_over() {
        let folder = TestFolder::new();
        let before = folder.first();
        assert_eq!(names(&before), ["api", "isproxy", "internal"]);
        let after = folder.successor(&before, &TEXT.replace("9003", "9004"));
        assert!(Arc::ptr_eq(upstream(&before, "registry"), upstream(&after, "registry")));
        assert!(!Arc::ptr_eq(upstream(&before, "second"), upstream(&after, "second")));
        assert!(Arc::ptr_eq(&before.limits, &after.limits));
        let certificate =
            |generation: &Generation| Arc::clone(&generation.doors[0].tls.as_ref().unwrap().config);
        assert!(Arc::ptr_eq(&certificate(&before), &certificate(&after)));
        let only_here = |one: &Generation, other| -> Vec<_> {
            one.upstreams_beside(other).map(|upstream| upstream.name.clone()).collect()
        };
        assert_eq!(only_here(&after, Some(&before)), ["second"]);
        assert_eq!(only_here(&before, Some(&after)), ["second"]);
        assert_eq!(only_here(&after, None), ["registry", "second", "availability"]);

        folder.certify("one");
        let renewed = folder.successor(&after, &TEXT.replace("9003", "9004"));
        assert!(!Arc::ptr_eq(&certificate(&after), &certificate(&renewed)), "the same names, other contents");
        assert!(Arc::ptr_eq(upstream(&after, "second"), upstream(&renewed, "second")));
    }

    #[test]
    fn a_changed_upstream_keeps_what_is_known_of_its_servers() {
        let (folder, metrics) = (TestFolder::new(), Metrics::default());
        let shown = |healthy| {
            let series = "latchkey_upstream_healthy{upstream=\"registry\",server=\"http://127.0.0.1:9002\"}";
            metrics.render().contains(&format!("{series} {healthy}\n"))
        };
        let before = Generation::first(folder.parse(TEXT), &metrics).unwrap();
        assert!(shown(1));
        let servers = &upstream(&before, "registry").servers;
        (0..5).for_each(|_| servers.note_failure(&servers.all()[1]));
        assert!(shown(0));
        let limits = folder.parse(&format!("{TEXT}limits: {{ upstream_idle_seconds: 7 }}\n"));
        let after = before.successor(limits, &metrics).unwrap();
        assert!(!Arc::ptr_eq(upstream(&before, "registry"), upstream(&after, "registry")));
        drop(before);
        assert!(shown(0));
        let cured = TEXT.replace("http://127.0.0.1:9002]", "http://127.0.0.1:9002], tls: { ca: one.crt }");
        let _cured = after.successor(folder.parse(&cured), &metrics).unwrap();
        assert!(shown(1), "what is reached otherwise begins anew");
    }

    fn ids(generation: &Generation) -> Vec<u64> {
        generation.listeners.iter().map(|place| place.id.0).collect()
    }

    #[test]
    fn a_listener_is_the_same_while_it_keeps_name_address_and_protocol() {
        let folder = TestFolder::new();
        let first = folder.first();
        assert_eq!(ids(&first), [0, 1, 2, 3, 4]);
        assert_eq!(first.ops().map(|place| place.id.0).collect::<Vec<_>>(), [1]);
        let same = folder
            .successor(&first, &TEXT.replace("path: /, upstream: second", "path: /v2, upstream: second"));
        assert_eq!(ids(&same), ids(&first));
        let swapped = TEXT
            .replace("127.0.0.1:8443", "x")
            .replace("127.0.0.1:8444", "127.0.0.1:8443")
            .replace("address: x", "address: 127.0.0.1:8444");
        let moved = folder.successor(&same, &swapped);
        assert_eq!(ids(&moved), [5, 1, 2, 6, 4]);
        assert_eq!(moved.doors.iter().map(|door| door.id.0).collect::<Vec<_>>(), [5, 2, 6]);
        let back = folder.successor(&moved, TEXT);
        assert_eq!(ids(&back), [7, 1, 2, 8, 4], "connections of before are not those of now");
        let (isproxy, rest) =
            TEXT.split_once("  - name: isproxy\n").map(|(head, tail)| (tail, head)).unwrap();
        let (_, behind) = isproxy.split_once("  - name: internal\n").unwrap();
        let fewer = folder.successor(&back, &format!("{rest}  - name: internal\n{behind}"));
        assert_eq!(ids(&fewer), [7, 1, 8, 4]);
        assert_eq!(names(&fewer), ["api", "internal"]);
        assert_eq!(ids(&folder.successor(&fewer, TEXT)), [7, 1, 9, 8, 4], "an id is never given twice");
    }

    #[test]
    fn a_listener_of_another_protocol_is_another_one() {
        let folder = TestFolder::new();
        let before = folder.first();
        let text = TEXT.replace(
            "protocol: http\n    address: 127.0.0.1:8444\n    routes: [{ path: /, upstream: second }]",
            "protocol: isproxy\n    address: 127.0.0.1:8444\n    upstream: availability",
        );
        let after = folder.successor(&before, &text);
        assert_eq!(ids(&after), [0, 1, 2, 5, 4]);
        assert!(matches!(after.doors[2].kind, DoorKind::IsProxy(..)));
    }

    #[test]
    fn a_consoles_certificate_is_read_again_with_each_reload() {
        let folder = TestFolder::new();
        let text = TEXT.replace(
            "public_url: http://localhost:8446",
            "public_url: https://localhost:8446\n    tls: { certificate: one.crt, private_key: one.key }",
        );
        let first = Generation::first(folder.parse(&text), &Metrics::default()).unwrap();
        let same = folder.successor(&first, &text);
        let certificate =
            |generation: &Generation| Arc::clone(&generation.consoles[0].tls.as_ref().unwrap().config);
        assert!(Arc::ptr_eq(&certificate(&first), &certificate(&same)));
        folder.certify("one");
        let renewed = folder.successor(&same, &text);
        assert!(!Arc::ptr_eq(&certificate(&same), &certificate(&renewed)));
    }

    #[test]
    fn authorities_of_a_collector_that_cannot_be_used_are_told() {
        let folder = TestFolder::new();
        folder.write("empty.pem", "nothing\n");
        let before = folder.first();
        assert!(before.collector.is_none());
        let text = format!("{TEXT}traces: {{ otlp: \"https://otlp.example\", ca: empty.pem }}\n");
        let unusable = before.successor(folder.parse(&text), &Metrics::default()).unwrap_err();
        let told = unusable.to_string();
        assert!(told.starts_with("`traces` cannot be posted: the collector of traces: "), "{told}");
        assert!(!told.contains("otlp.example"), "{told}");
        assert!(folder.successor(&before, &text.replace("empty.pem", "one.crt")).collector.is_some());
    }

    #[test]
    fn every_certificate_that_cannot_be_used_is_told_and_nothing_comes_of_it() {
        let folder = TestFolder::new();
        let metrics = Metrics::default();
        let before = Generation::first(folder.parse(TEXT), &metrics).unwrap();
        folder.write("empty.pem", "nothing\n");
        let text = TEXT
            .replace("certificate: one.crt", "certificate: empty.pem")
            .replace("[http://127.0.0.1:9003]", "[https://localhost:9003], tls: { ca: empty.pem }")
            .replace("http://127.0.0.1:9002", "http://127.0.0.1:9009");
        let unusable = before.successor(folder.parse(&text), &metrics).unwrap_err();
        let lines: Vec<String> = unusable.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("upstream `second` cannot be reached by TLS: "), "{lines:?}");
        assert!(lines[1].starts_with("listener `api`: ") && lines[1].contains("empty.pem"), "{lines:?}");
        assert_eq!(unusable.to_string(), lines.join("\n"));
        assert!(!metrics.render().contains("9009"), "a server that nobody asks is not shown");
        assert!(Generation::first(folder.parse(&text), &metrics).is_err());
    }
}
