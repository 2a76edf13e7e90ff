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

use crate::config::{
    Config, HttpListener, IsProxyListener, Limits, ListenerProtocol, Route, TlsFiles, Upstream,
    UpstreamProtocol, UpstreamTls,
};
use crate::net::upstream::UpstreamServers;
use crate::net::{TlsError, server_config};
use crate::telemetry::Metrics;

/// What an API listener offers in the TLS handshake, preferred first.
const HTTP_ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One configuration, ready to be served by.
#[derive(Debug)]
pub(super) struct Generation {
    /// What it was made of.
    pub(super) config: Arc<Config>,
    /// The configuration's, shared by all who keep them.
    pub(super) limits: Arc<Limits>,
    /// The listeners that are doors, in the order of the configuration that the process was started with.
    pub(super) doors: Vec<Arc<DoorPlan>>,
    /// The upstreams, also those that only a listener asks which goes with a restart.
    pub(super) upstreams: Vec<Arc<UpstreamPlan>>,
}

/// One listener as the door threads open it.
#[derive(Debug)]
pub(super) struct DoorPlan {
    pub(super) listener_name: String,
    pub(super) kind: DoorKind,
    pub(super) tls: Option<ListenerTls>,
}

#[derive(Debug)]
pub(super) enum DoorKind {
    Http(HttpListener, Vec<(Route, Arc<UpstreamPlan>)>),
    IsProxy(IsProxyListener, Arc<UpstreamPlan>),
}

/// A certificate that is offered.
#[derive(Clone, Debug)]
pub(super) struct ListenerTls {
    pub(super) config: Arc<rustls::ServerConfig>,
    contents: FileContents,
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
pub(super) struct Unusable(Vec<Fault>);

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("listener `{0}`: {1}")]
    Listener(String, TlsError),
    #[error("upstream `{0}` cannot be reached by TLS: {1}")]
    Upstream(String, TlsError),
    #[error("listener `{listener}`: there is no upstream `{upstream}`")]
    NoUpstream { listener: String, upstream: String },
}

impl Generation {
    /// The first generation.
    ///
    /// # Errors
    /// Everything that keeps `config` from being served by.
    pub(super) fn first(config: Arc<Config>, metrics: &Metrics) -> Result<Self, Unusable> {
        let mut build = Build { before: None, metrics, faults: Vec::new() };
        let (limits, upstreams, doors) = build.parts(&config);
        build.finish(Self { config, limits, doors, upstreams })
    }

    /// The generation after this one. Listeners that are new in `config` are left out, those that are gone or speak
    /// another protocol stay as they are: sockets are opened and closed by a restart.
    ///
    /// # Errors
    /// Everything that keeps `config` from being served by; nothing has changed then.
    pub(super) fn successor(&self, config: Arc<Config>, metrics: &Metrics) -> Result<Self, Unusable> {
        let mut build = Build { before: Some(self), metrics, faults: Vec::new() };
        let (limits, mut upstreams, made) = build.parts(&config);
        let doors: Vec<_> = self
            .doors
            .iter()
            .map(|present| Arc::clone(made.iter().find(|made| made.replaces(present)).unwrap_or(present)))
            .collect();
        for asked in doors.iter().flat_map(|door| door.upstreams()) {
            if !upstreams.iter().any(|upstream| Arc::ptr_eq(upstream, asked)) {
                upstreams.push(Arc::clone(asked));
            }
        }
        build.finish(Self { config, limits, doors, upstreams })
    }

    /// The upstreams of this generation that `other` does not have.
    pub(super) fn upstreams_beside(&self, other: Option<&Self>) -> impl Iterator<Item = &Arc<UpstreamPlan>> {
        let others = other.map_or(&[][..], |other| &other.upstreams);
        self.upstreams.iter().filter(|own| !others.iter().any(|other| Arc::ptr_eq(own, other)))
    }
}

impl DoorPlan {
    fn replaces(&self, present: &Self) -> bool {
        self.listener_name == present.listener_name
            && std::mem::discriminant(&self.kind) == std::mem::discriminant(&present.kind)
    }

    fn upstreams(&self) -> Vec<&Arc<UpstreamPlan>> {
        match &self.kind {
            DoorKind::Http(_, routes) => routes.iter().map(|(_, upstream)| upstream).collect(),
            DoorKind::IsProxy(_, upstream) => vec![upstream],
        }
    }

    /// What stands in the files of its certificate; `None`: it offers none.
    pub(super) fn certificate(&self) -> Option<&FileContents> {
        self.tls.as_ref().map(|tls| &tls.contents)
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
    fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
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
    metrics: &'a Metrics,
    faults: Vec<Fault>,
}

impl Build<'_> {
    fn parts(&mut self, config: &Config) -> (Arc<Limits>, Vec<Arc<UpstreamPlan>>, Vec<Arc<DoorPlan>>) {
        let same = self.before.map(|before| &before.limits).filter(|before| ***before == config.limits);
        let limits = same.map_or_else(|| Arc::new(config.limits.clone()), Arc::clone);
        let upstreams = self.upstreams(config, &limits);
        let doors = self.doors(config, &upstreams);
        (limits, upstreams, doors)
    }

    fn finish(self, generation: Generation) -> Result<Generation, Unusable> {
        if self.faults.is_empty() { Ok(generation) } else { Err(Unusable(self.faults)) }
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
        for listener in &config.listeners {
            let name = listener.name.as_str();
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
                ListenerProtocol::Ops => (None, None),
            };
            let plan = |kind| Arc::new(DoorPlan { listener_name: name.to_owned(), kind, tls });
            doors.extend(kind.map(plan));
        }
        doors
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

    fn tls(&mut self, listener: &str, files: Option<&TlsFiles>, alpn: &[&[u8]]) -> Option<ListenerTls> {
        let files = files?;
        let contents = FileContents::of([&files.certificate, &files.private_key]);
        let before = self.before.and_then(|before| before.doors.iter().find(|d| d.listener_name == listener));
        // One protocol of a listener stands for one ALPN.
        let offered = |config: &Arc<rustls::ServerConfig>| config.alpn_protocols.iter().eq(alpn);
        let same = before
            .and_then(|before| before.tls.as_ref())
            .filter(|tls| tls.contents == contents && offered(&tls.config));
        if let Some(same) = same {
            return Some(same.clone());
        }
        match server_config(files, alpn) {
            Ok(config) => Some(ListenerTls { config, contents }),
            Err(error) => {
                self.faults.push(Fault::Listener(listener.to_owned(), error));
                None
            }
        }
    }
}

const fn tls_of(upstream: &UpstreamProtocol) -> Option<&UpstreamTls> {
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
