//! The operator's configuration made into one that touches nothing of the operator's.
//!
//! What listeners demand stays: TLS files, credentials in clear, proxies, lists, routes, policy, limits. Everything that
//! leads elsewhere is replaced: store, master key, logs and hooks, the addresses of listeners, the servers of upstreams.
//! Each listener has recorders of its own, so that what reaches one is known to have come that way.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use http::HeaderName;
use tokio::runtime::Handle;

use super::origins::{Origins, admission};
use super::recorder::Recorder;
use super::shortened::shorten;
use crate::config::{
    AccessLogFile, CertificateSource, Config, Http2Use, HttpListener, HttpServer, HttpUpstream,
    IdentityHeaders, IsProxyListener, IsProxyServer, IsProxyUpstream, Limits, Listener, ListenerProtocol,
    MasterKeySource, PlaintextCredentials, Route, Scheme, StoreLocation, TlsFiles, TlsSettings, UnknownNames,
    Upstream, UpstreamProtocol, UpstreamTls,
};
use crate::model::SampleRatio;

/// Where nothing names a host.
const ANY_HOST: &str = "probe.invalid";

/// A configuration to be attacked, and what is to be known for that.
#[derive(Debug)]
pub(super) struct Rehearsal {
    /// To be served.
    pub(super) config: Config,
    /// The doors, in the order of the configuration.
    pub(super) stages: Vec<Stage>,
    /// In what the copy differs, and what was left out.
    pub(super) premises: Vec<String>,
}

/// One door of the copy.
#[derive(Debug)]
pub(super) struct Stage {
    /// The listener's name.
    pub(super) name: String,
    /// The certificate that it shows.
    pub(super) certificate: Option<PathBuf>,
    /// Are credentials taken where there is no TLS?
    pub(super) in_clear: PlaintextCredentials,
    /// From where it is attacked.
    pub(super) origins: Origins,
    /// What it speaks.
    pub(super) behind: Behind,
}

/// What stands behind a door.
#[derive(Debug)]
pub(super) enum Behind {
    /// A target for each upstream that its routes lead to, at least one.
    Http(Vec<Target>),
    /// What lines are relayed to.
    IsProxy(Recorder),
}

/// An upstream of an API listener, and how a request gets there.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The upstream's name.
    pub(super) upstream: String,
    /// A host that its route takes.
    pub(super) host: String,
    /// A path that its route takes.
    pub(super) path: String,
    /// How it is told who calls.
    pub(super) identity: IdentityHeaders,
    /// Headers that the configuration sets, but for `Host` and `Authorization`.
    pub(super) set: Vec<HeaderName>,
    /// What stands in its place.
    pub(super) recorder: Recorder,
}

/// Makes the copy, whose store and logs are in `folder` and whose upstreams run on `runtime`.
pub(super) fn rehearse(config: &Config, folder: &Path, runtime: &Handle) -> Result<Rehearsal> {
    // Every part by its name, so that a new one is decided on here.
    let Config {
        store: _,
        snapshot: _,
        master_key: _,
        listeners,
        upstreams,
        threads,
        policy,
        limits,
        access_log,
        traces: _,
        security_events: _,
        acme: _,
    } = config;
    let mut copy = Copy { upstreams, folder, runtime, made: Vec::new(), premises: Vec::new() };
    let mut stages = Vec::new();
    let mut copied = Vec::new();
    for listener in listeners {
        if let Some((listener, stage)) = copy.listener(listener)? {
            copied.push(listener);
            stages.push(stage);
        }
    }
    let mut limits: Limits = limits.clone();
    let changed = shorten(&mut limits);
    if !changed.is_empty() {
        copy.premises.push(format!("limits of the copy: {}", changed.join(", ")));
    }
    let Copy { made, premises, .. } = copy;
    let config = Config {
        store: StoreLocation::Sqlite(folder.join("data/latchkey.db")),
        snapshot: folder.join("latchkey.snapshot"),
        master_key: MasterKeySource::File(folder.join("master.key")),
        listeners: copied,
        upstreams: made,
        threads: *threads,
        policy: policy.clone(),
        limits,
        access_log: access_log
            .as_ref()
            .map(|_| AccessLogFile { path: folder.join("access.jsonl"), allowed: SampleRatio::ALL }),
        traces: None,
        security_events: None,
        acme: None,
    };
    Ok(Rehearsal { config, stages, premises })
}

/// A copy in the making.
struct Copy<'c> {
    upstreams: &'c [Upstream],
    folder: &'c Path,
    runtime: &'c Handle,
    made: Vec<Upstream>,
    premises: Vec<String>,
}

impl Copy<'_> {
    fn listener(&mut self, listener: &Listener) -> Result<Option<(Listener, Stage)>> {
        let name = listener.name.as_str();
        let (protocol, stage) = match &listener.protocol {
            ListenerProtocol::Http(http) => self.http(name, http)?,
            ListenerProtocol::IsProxy(isproxy) => self.isproxy(name, isproxy)?,
            ListenerProtocol::Console(_) => {
                self.premises.push(format!("left out: `{name}`, a console"));
                return Ok(None);
            }
            ListenerProtocol::ForwardAuth(_) => {
                self.premises
                    .push(format!("left out: `{name}`, which proxies ask and which forwards nothing"));
                return Ok(None);
            }
            ListenerProtocol::Ops => {
                self.premises.push(format!("left out: `{name}`, for operation, which takes no credential"));
                return Ok(None);
            }
        };
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        Ok(Some((Listener { name: name.to_owned(), address, protocol }, stage)))
    }

    fn http(&mut self, name: &str, http: &HttpListener) -> Result<(ListenerProtocol, Stage)> {
        let HttpListener { tls, plaintext_credentials, client_address, allow_list, routes } = http;
        let admission = admission(allow_list, client_address);
        self.tell_added(name, &admission.added);
        let mut targets: Vec<Target> = Vec::new();
        for route in routes {
            if !targets.iter().any(|target| target.upstream == route.upstream) {
                targets.extend(self.target(name, route)?);
            }
        }
        let renamed = |route: &Route| Route { upstream: renamed(name, &route.upstream), ..route.clone() };
        let tls = self.tls(name, tls.as_ref())?;
        let copy = HttpListener {
            tls: tls.clone(),
            plaintext_credentials: *plaintext_credentials,
            client_address: admission.client_address,
            allow_list: admission.allow_list,
            routes: routes.iter().map(renamed).collect(),
        };
        let behind = Behind::Http(targets);
        let stage = stage(name, tls.as_ref(), *plaintext_credentials, admission.origins, behind);
        Ok((ListenerProtocol::Http(copy), stage))
    }

    fn isproxy(&mut self, name: &str, isproxy: &IsProxyListener) -> Result<(ListenerProtocol, Stage)> {
        let IsProxyListener { tls, plaintext_credentials, client_address, allow_list, upstream } = isproxy;
        let admission = admission(allow_list, client_address);
        self.tell_added(name, &admission.added);
        let recorder = Recorder::of_isproxy(self.runtime).context(NO_RECORDER)?;
        let upstream = renamed(name, upstream);
        let server =
            IsProxyServer { host: recorder.address().ip().to_string(), port: recorder.address().port() };
        // Its key is the operator's secret, and nobody here asks for it.
        let copy = IsProxyUpstream { servers: vec![server], tls: None, login_key: None, health_check: None };
        self.made.push(Upstream { name: upstream.clone(), protocol: UpstreamProtocol::IsProxy(copy) });
        let tls = self.tls(name, tls.as_ref())?;
        let copy = IsProxyListener {
            tls: tls.clone(),
            plaintext_credentials: *plaintext_credentials,
            client_address: admission.client_address,
            allow_list: admission.allow_list,
            upstream,
        };
        let behind = Behind::IsProxy(recorder);
        let stage = stage(name, tls.as_ref(), *plaintext_credentials, admission.origins, behind);
        Ok((ListenerProtocol::IsProxy(copy), stage))
    }

    /// The first certificate, whatever name is asked for: the attacks are about what comes behind it. Nothing is ordered
    /// for a copy: in the place of what an authority issues stands one of its own.
    fn tls(&mut self, listener: &str, tls: Option<&TlsSettings>) -> Result<Option<TlsSettings>> {
        let Some(TlsSettings { certificates, unknown_names }) = tls else { return Ok(None) };
        if let CertificateSource::Acme(hosts) = certificates {
            let files = self_signed(hosts, self.folder, listener)?;
            self.premises.push(format!("`{listener}`: the copy shows a certificate of its own"));
            let certificates = CertificateSource::Only(files);
            return Ok(Some(TlsSettings { certificates, unknown_names: UnknownNames::First }));
        }
        let Some(first) = certificates.files().first().cloned() else { return Ok(None) };
        if certificates.files().len() > 1 || *unknown_names != UnknownNames::First {
            self.premises.push(format!("`{listener}`: the copy shows the first certificate to everybody"));
        }
        let certificates = CertificateSource::Only(first);
        Ok(Some(TlsSettings { certificates, unknown_names: UnknownNames::First }))
    }

    /// Copies the upstream of `route`, with a recorder in the place of its servers.
    fn target(&mut self, listener: &str, route: &Route) -> Result<Option<Target>> {
        let found = self.upstreams.iter().find(|upstream| upstream.name == route.upstream);
        let Some(UpstreamProtocol::Http(http)) = found.map(|upstream| &upstream.protocol) else {
            return Ok(None);
        };
        let HttpUpstream { servers: _, identity_headers, set_headers, health_check: _, tls: _, http2: _ } =
            &**http;
        let recorder = Recorder::of_http(self.runtime).context(NO_RECORDER)?;
        let (host, port) = (recorder.address().ip().to_string(), recorder.address().port());
        let copy = HttpUpstream {
            servers: vec![HttpServer { scheme: Scheme::Http, host, port }],
            identity_headers: identity_headers.clone(),
            set_headers: set_headers.clone(),
            health_check: None,
            tls: UpstreamTls::default(),
            http2: Http2Use::Never,
        };
        let name = renamed(listener, &route.upstream);
        self.made.push(Upstream { name, protocol: UpstreamProtocol::Http(Box::new(copy)) });
        let own = [http::header::HOST, http::header::AUTHORIZATION];
        let set = set_headers.0.iter().map(|(name, _)| name.clone()).filter(|name| !own.contains(name));
        Ok(Some(Target {
            upstream: route.upstream.clone(),
            host: route.hosts.first().cloned().unwrap_or_else(|| ANY_HOST.to_owned()),
            path: format!("{}/latchkey-probe", route.path.trim_end_matches('/')),
            identity: identity_headers.clone(),
            set: set.collect(),
            recorder,
        }))
    }

    fn tell_added(&mut self, listener: &str, added: &[(&'static str, ipnet::IpNet)]) {
        self.premises.extend(
            added
                .iter()
                .map(|(key, network)| format!("`{listener}`: {key} of the copy holds {network}, too")),
        );
    }
}

const NO_RECORDER: &str = "a recording upstream cannot listen on 127.0.0.1";

/// Writes a certificate for `hosts` that nobody vouches for to `NAME.crt`, and its key to `NAME.key`.
fn self_signed(hosts: &[String], folder: &Path, name: &str) -> Result<TlsFiles> {
    let made = rcgen::generate_simple_self_signed(hosts.to_vec())?;
    let file = |extension: &str| folder.join(format!("{name}.{extension}"));
    let files = TlsFiles { certificate: file("crt"), private_key: file("key") };
    std::fs::write(&files.certificate, made.cert.pem())?;
    std::fs::write(&files.private_key, made.signing_key.serialize_pem())?;
    Ok(files)
}

/// Each listener has copies of its own.
fn renamed(listener: &str, upstream: &str) -> String {
    format!("{listener}/{upstream}")
}

fn stage(
    name: &str,
    tls: Option<&TlsSettings>,
    in_clear: PlaintextCredentials,
    origins: Origins,
    behind: Behind,
) -> Stage {
    let files = tls.and_then(|tls| tls.certificates.files().first());
    let certificate = files.map(|files| files.certificate.clone());
    Stage { name: name.to_owned(), certificate, in_clear, origins, behind }
}
