//! `latchkey demo`: everything in one process on loopback — sample upstreams, the gateway, the console, a customer with
//! a key.
//!
//! The first start makes credentials and hands them out once; later starts use the same data. Prints nothing itself:
//! `cli` shows the [`Report`].

pub mod isproxy_upstream;
pub mod registry_api;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tokio_util::sync::CancellationToken;

use crate::app::{ConfigSource, Gateway};
use crate::auth::{
    Actor, ControlPlane, CustomerToMake, FirstPassword, KeyToMake, MissingStore, PasswordEnd, UserToMake,
};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::crypto::random;
use crate::installation::certificates::make_development_certificates;
use crate::model::{MfaRequirement, Secret, UserName};
use crate::store::StoreMark;

/// The file that makes a folder a demo's, besides being its configuration.
const CONFIG_FILE: &str = "latchkey.yaml";
const FIRST_LINE: &str = "# Made by `latchkey demo`, and made anew at each start.";
const CUSTOMER: &str = "demo";
const USER: &str = "demo/admin";
const LOAD_USER: &str = "demo/load";

/// What the command line says.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// A loopback address.
    pub address: IpAddr,
    /// API; the other ports follow it. 0: any free ports.
    pub port_base: u16,
    /// Keys for a load test, and the file they are written to.
    pub load_keys: Option<LoadKeys>,
    /// What to do with data of an earlier start.
    pub earlier_data: EarlierData,
}

/// Keys to be made for a load test.
#[derive(Clone, Debug)]
pub struct LoadKeys {
    /// How many.
    pub count: NonZeroU32,
    /// Written with mode 0600, a line `KEY CUSTOMER/LOGIN` each; must not exist.
    pub file: PathBuf,
}

/// What to do with data of an earlier start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlierData {
    /// Use them.
    Keep,
    /// Delete them first.
    Delete,
}

/// A demo that is up.
#[derive(Debug)]
pub struct Demo {
    gateway: Gateway,
    stop_upstreams: CancellationToken,
    report: Report,
}

/// Where everything is, and the credentials if this start made them.
#[derive(Debug)]
pub struct Report {
    /// The API without TLS.
    pub api: String,
    /// The API with TLS.
    pub api_tls: String,
    /// The line protocol; `STARTTLS` is offered.
    pub isproxy: SocketAddr,
    /// The web console, by the name that security keys work under.
    pub console: String,
    /// Liveness, readiness and metrics.
    pub ops: String,
    /// What clients are told to trust.
    pub ca_certificate: PathBuf,
    /// The configuration that every other command takes.
    pub config: PathBuf,
    /// The user.
    pub user: &'static str,
    /// Shown by the first start only.
    pub credentials: Option<Credentials>,
}

/// The credentials that a first start made.
#[derive(Debug)]
pub struct Credentials {
    /// Of the user.
    pub password: Secret<String>,
    /// Of scope `api,isproxy`.
    pub api_key: Secret<String>,
}

/// The sockets of the sample upstreams, bound before the configuration that names them is written.
struct SampleUpstreams {
    registry_api: TcpListener,
    availability: TcpListener,
}

impl Demo {
    /// Makes what is missing and starts everything.
    pub fn start(options: &DemoOptions) -> Result<Self> {
        if !options.address.is_loopback() {
            bail!(
                "--address {} is not a loopback address; a demo is for this machine only (127.0.0.1 or ::1)",
                options.address
            );
        }
        prepare_folder(options)?;
        let folder = options
            .data_dir
            .canonicalize()
            .with_context(|| format!("the folder {} cannot be used", options.data_dir.display()))?;
        let clock = Clock::system();
        let certificates = make_development_certificates(&folder.join("certs"), clock.now())?;
        let upstreams = SampleUpstreams::bind(options)?;
        let config_path = folder.join(CONFIG_FILE);
        std::fs::write(&config_path, configuration(options, &upstreams)?)
            .with_context(|| format!("{} cannot be written", config_path.display()))?;
        let config = config::load(&config_path, &|_| None)?;
        let credentials = make_data(&config, clock, options.load_keys.as_ref())?;
        let gateway = Gateway::start(ConfigSource::new(config_path.clone(), |_| None))?;
        let stop_upstreams = CancellationToken::new();
        upstreams.serve(&gateway, &stop_upstreams)?;
        let address = |name: &str| -> Result<SocketAddr> {
            let found = gateway.addresses().iter().find(|(listener, _)| listener == name);
            found.map(|(_, address)| *address).ok_or_else(|| anyhow!("the listener `{name}` is missing"))
        };
        let report = Report {
            api: format!("http://{}", address("api")?),
            api_tls: format!("https://{}", address("api-tls")?),
            isproxy: address("isproxy")?,
            console: format!("http://localhost:{}", address("console")?.port()),
            ops: format!("http://{}", address("ops")?),
            ca_certificate: certificates.authority,
            config: config_path,
            user: USER,
            credentials,
        };
        Ok(Self { gateway, stop_upstreams, report })
    }

    /// What to tell the person who started it.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Serves until SIGTERM or SIGINT.
    pub fn run_until_signal(self) -> Result<()> {
        let result = self.gateway.run_until_signal();
        self.stop_upstreams.cancel();
        result
    }
}

impl SampleUpstreams {
    fn bind(options: &DemoOptions) -> Result<Self> {
        let bind = |offset| {
            let address = SocketAddr::new(options.address, port(options, offset)?);
            let listener = TcpListener::bind(address).with_context(|| {
                format!("a sample upstream cannot listen on {address}; --port-base takes other ports")
            })?;
            listener.set_nonblocking(true)?;
            Ok::<_, anyhow::Error>(listener)
        };
        Ok(Self { registry_api: bind(5)?, availability: bind(6)? })
    }

    fn serve(self, gateway: &Gateway, stop: &CancellationToken) -> Result<()> {
        let _inside = gateway.control().enter();
        let registry_api = tokio::net::TcpListener::from_std(self.registry_api)?;
        gateway.control().spawn(registry_api::serve_registry_api(registry_api, stop.clone()));
        let availability = tokio::net::TcpListener::from_std(self.availability)?;
        gateway.control().spawn(isproxy_upstream::serve_isproxy_upstream(availability, stop.clone()));
        Ok(())
    }
}

fn port(options: &DemoOptions, offset: u16) -> Result<u16> {
    if options.port_base == 0 {
        return Ok(0);
    }
    options
        .port_base
        .checked_add(offset)
        .ok_or_else(|| anyhow!("--port-base {} leaves no room for 7 ports; at most 65529", options.port_base))
}

/// The console's port, which its public URL names: where any free one will do, one that is free now.
fn console_port(options: &DemoOptions) -> Result<u16> {
    match port(options, 3)? {
        0 => Ok(TcpListener::bind(SocketAddr::new(options.address, 0))?.local_addr()?.port()),
        chosen => Ok(chosen),
    }
}

/// Makes the folder; with `--reset` an earlier demo's is deleted first, and nothing that is not a demo's.
fn prepare_folder(options: &DemoOptions) -> Result<()> {
    let folder = &options.data_dir;
    if folder.exists() && !is_a_demos(folder)? {
        bail!(
            "{} is not empty and was not made by `latchkey demo`; --data-dir takes another folder",
            folder.display()
        );
    }
    if options.earlier_data == EarlierData::Delete && folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("{} cannot be deleted", folder.display()))?;
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("the folder {} cannot be made", folder.display()))
}

fn is_a_demos(folder: &Path) -> Result<bool> {
    let is_empty =
        folder.read_dir().with_context(|| format!("{} is no folder", folder.display()))?.next().is_none();
    let configuration = std::fs::read_to_string(folder.join(CONFIG_FILE)).unwrap_or_default();
    Ok(is_empty || configuration.starts_with(FIRST_LINE))
}

fn configuration(options: &DemoOptions, upstreams: &SampleUpstreams) -> Result<String> {
    let at = |offset| Ok::<_, anyhow::Error>(SocketAddr::new(options.address, port(options, offset)?));
    let console = SocketAddr::new(options.address, console_port(options)?);
    let tls = "tls: { certificate: certs/server.crt, private_key: certs/server.key }";
    Ok(format!(
        "{FIRST_LINE}
store:
  url: sqlite:data/latchkey.db
master_key_file: master.key
listeners:
  - name: api
    protocol: http
    address: \"{api}\"
    plaintext_credentials: allow
    routes:
      - {{ path: /, upstream: registry, upgrades: [websocket] }}
  - name: api-tls
    protocol: http
    address: \"{api_tls}\"
    {tls}
    routes:
      - {{ path: /, upstream: registry, upgrades: [websocket] }}
  - name: isproxy
    protocol: isproxy
    address: \"{isproxy}\"
    {tls}
    plaintext_credentials: allow
    upstream: availability
  - name: console
    protocol: console
    address: \"{console}\"
    public_url: \"http://localhost:{console_port}\"
  - name: ops
    protocol: ops
    address: \"{ops}\"
upstreams:
  - name: registry
    protocol: http
    servers: [\"http://{registry}\"]
  - name: availability
    protocol: isproxy
    servers: [\"{availability}\"]
access_log: {{ path: logs/access.jsonl }}
",
        api = at(0)?,
        api_tls = at(1)?,
        isproxy = at(2)?,
        console_port = console.port(),
        ops = at(4)?,
        registry = upstreams.registry_api.local_addr()?,
        availability = upstreams.availability.local_addr()?,
    ))
}

/// Makes the customer, the user and the key, unless an earlier start did; and the keys for a load test.
fn make_data(config: &Config, clock: Clock, load_keys: Option<&LoadKeys>) -> Result<Option<Credentials>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let control = ControlPlane::open(config, clock, MissingStore::Make, Actor::operator()).await?;
        let credentials = match control.store.customer(&CUSTOMER.parse()?).await? {
            Some(_) => None,
            None => Some(make_customer(&control).await?),
        };
        if let Some(load_keys) = load_keys {
            make_load_keys(&control, load_keys).await?;
        }
        control.store.close().await;
        Ok(credentials)
    })
}

async fn make_customer(control: &ControlPlane) -> Result<Credentials> {
    let mut change = control.store.mutate().await?;
    change.mark(StoreMark::Demo).await?;
    change.commit().await?;
    // 120 random bits, in a form that a person can type.
    let password = Secret::new(format!("{:030x}", u128::from_ne_bytes(random::bytes()?) >> 8));
    control
        .create_customer(CustomerToMake {
            mfa: Some(MfaRequirement::Optional),
            admin_password: FirstPassword::Chosen(password.clone()),
            ..CustomerToMake::new(CUSTOMER.parse()?)
        })
        .await?;
    let key = KeyToMake::new(USER.parse()?, "made by the demo", "api,isproxy".parse()?);
    let made = control.create_keys(&key, NonZeroU32::MIN, PasswordEnd::Accepted).await?;
    let text = made
        .keys
        .first()
        .map(|key| key.text.expose().to_owned())
        .ok_or_else(|| anyhow!("no key was made"))?;
    Ok(Credentials { password, api_key: Secret::new(text) })
}

async fn make_load_keys(control: &ControlPlane, wanted: &LoadKeys) -> Result<()> {
    let path = wanted.file.display();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&wanted.file)
        .with_context(|| format!("{path} cannot be made"))?;
    let user: UserName = LOAD_USER.parse()?;
    if control.store.user(&user).await?.is_none() {
        control.create_user(UserToMake::new(user.clone())).await?;
    }
    let key = KeyToMake::new(user, "for a load test", "api,isproxy".parse()?);
    let made = control.create_keys(&key, wanted.count, PasswordEnd::Accepted).await?;
    let mut file = BufWriter::new(file);
    for key in &made.keys {
        writeln!(file, "{} {LOAD_USER}", key.text.expose())
            .with_context(|| format!("{path} cannot be written"))?;
    }
    file.flush().with_context(|| format!("{path} cannot be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path) -> DemoOptions {
        DemoOptions {
            data_dir: folder.to_owned(),
            address: "127.0.0.1".parse().unwrap(),
            port_base: 0,
            load_keys: None,
            earlier_data: EarlierData::Keep,
        }
    }

    #[test]
    fn s103_a_demo_is_for_this_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        let beyond = DemoOptions { address: "0.0.0.0".parse().unwrap(), ..options(folder.path()) };
        assert!(Demo::start(&beyond).unwrap_err().to_string().contains("loopback"));
    }

    #[test]
    fn a_folder_that_is_not_a_demos_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        let reset = DemoOptions { earlier_data: EarlierData::Delete, ..options(folder.path()) };
        assert!(prepare_folder(&reset).unwrap_err().to_string().contains("not made by"));
        assert!(folder.path().join("thesis.txt").exists());
    }

    #[test]
    fn a_reset_deletes_what_a_demo_made() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), format!("{FIRST_LINE}\n")).unwrap();
        std::fs::write(folder.path().join("old"), "").unwrap();
        prepare_folder(&DemoOptions { earlier_data: EarlierData::Delete, ..options(folder.path()) }).unwrap();
        assert!(folder.path().exists() && !folder.path().join("old").exists());
    }

    #[test]
    fn ports_follow_the_base_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let based = |port_base| DemoOptions { port_base, ..options(folder.path()) };
        assert_eq!(port(&based(8700), 6).unwrap(), 8706);
        assert_eq!(port(&based(0), 6).unwrap(), 0);
        assert!(port(&based(65_530), 6).is_err());
    }
}
