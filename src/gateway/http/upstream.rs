//! An HTTP upstream as one door thread sees it: its server, and the idle connections to it.
//!
//! The pool belongs to the thread, so that no lock is taken and a connection is used where its buffers are warm.
//! Exchanges on a connection are `exchange`'s; balancing over several servers joins here later. Called by `forward`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::denial::Fault;
use super::exchange::{Outcome, UpstreamBody, UpstreamConnection};
use super::headers::IdentityRules;
use super::request_body::{RequestBody, SendProgress};
use crate::auth::Permit;
use crate::config::{HttpServer, Limits};

/// How often idle connections are looked through for closed and outlived ones.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// One upstream with its idle connections, for one thread.
#[derive(Debug)]
pub struct HttpUpstream {
    name: String,
    server: HttpServer,
    identity: IdentityRules,
    limits: Arc<Limits>,
    /// The server's address where it was configured as one: then there is nothing to look up.
    literal: Option<SocketAddr>,
    /// Longest idle first; the one used last is used next, so that the others may grow old and go.
    idle: RefCell<VecDeque<Box<UpstreamConnection>>>,
    sweeping: Cell<bool>,
}

impl HttpUpstream {
    /// The upstream called `name`, without a connection yet.
    pub fn new(
        name: impl Into<String>,
        config: &crate::config::HttpUpstream,
        limits: Arc<Limits>,
    ) -> Rc<Self> {
        let server = config.server.clone();
        Rc::new(Self {
            name: name.into(),
            literal: server.host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, server.port)),
            server,
            identity: IdentityRules::new(config.identity_headers.clone(), config.set_headers.clone()),
            limits,
            idle: RefCell::default(),
            sweeping: Cell::new(false),
        })
    }

    /// Its name in the configuration and the logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is told who calls.
    pub const fn identity_rules(&self) -> &IdentityRules {
        &self.identity
    }

    /// Deadlines of an exchange.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Connections that wait for a request.
    pub fn idle_connections(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Sends `request` and waits for the head of the answer. The permit is the leave to do so (invariant 1): there is
    /// no other way to an upstream, and only `auth` makes permits.
    ///
    /// A kept connection that turns out closed before a byte of the request was written is replaced by a fresh one;
    /// nothing is ever sent twice (S73). Dropping the future closes the connection that it uses (S72).
    pub async fn send(
        self: &Rc<Self>,
        _leave: &Permit,
        mut request: Request<RequestBody>,
        progress: Option<Rc<SendProgress>>,
    ) -> Result<Response<UpstreamBody>, Fault> {
        let total = Duration::from_secs(self.limits.upstream_total_seconds.into());
        let total_due = (!total.is_zero()).then(|| Instant::now() + total);
        while let Some(kept) = self.take_idle() {
            match kept.exchange(self, request, progress.as_ref(), total_due).await {
                Outcome::Answered(response) => return Ok(response),
                Outcome::Failed(fault) => return Err(fault),
                Outcome::NothingSent(unsent) => request = unsent,
            }
        }
        let fresh = self.connect().await?;
        match fresh.exchange(self, request, progress.as_ref(), total_due).await {
            Outcome::Answered(response) => Ok(response),
            Outcome::Failed(fault) => Err(fault),
            Outcome::NothingSent(_) => Err(Fault::UpstreamBroke),
        }
    }

    /// The connection used last that is still open and young enough.
    fn take_idle(&self) -> Option<Box<UpstreamConnection>> {
        let idle_limit = self.idle_limit();
        loop {
            let kept = self.idle.borrow_mut().pop_back()?;
            if kept.idle_for() < idle_limit {
                return Some(kept);
            }
        }
    }

    fn idle_limit(&self) -> Duration {
        Duration::from_secs(self.limits.upstream_idle_seconds.into())
    }

    /// Takes back a connection that is ready for another request; beyond the limit the oldest is closed.
    pub fn keep(self: &Rc<Self>, connection: Box<UpstreamConnection>) {
        let limit = usize::try_from(self.limits.upstream_idle_connections).unwrap_or(usize::MAX);
        let mut idle = self.idle.borrow_mut();
        idle.push_back(connection);
        if idle.len() > limit {
            idle.pop_front();
        }
        drop(idle);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes connections that the upstream closed, or that have been idle for too long.
    fn close_outlived(&self) {
        let idle_limit = self.idle_limit();
        // Whoever would be woken by these connections has nothing to do with them.
        let mut cx = Context::from_waker(Waker::noop());
        self.idle.borrow_mut().retain_mut(|kept| kept.idle_for() < idle_limit && kept.is_open(&mut cx));
    }

    async fn connect(&self) -> Result<Box<UpstreamConnection>, Fault> {
        let deadline = Duration::from_millis(self.limits.upstream_connect_milliseconds.into());
        match timeout(deadline, self.open_socket()).await {
            Ok(Ok(stream)) => UpstreamConnection::open(stream).await,
            Ok(Err(error)) => {
                tracing::debug!(upstream = %self.name, %error, "cannot connect");
                Err(Fault::UpstreamUnreachable)
            }
            Err(_) => Err(Fault::UpstreamTooSlow),
        }
    }

    async fn open_socket(&self) -> io::Result<TcpStream> {
        let stream = match self.literal {
            Some(address) => TcpStream::connect(address).await?,
            // tokio tries every address that the name has.
            None => TcpStream::connect((self.server.host.as_str(), self.server.port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Runs while there are idle connections, and ends with the upstream.
async fn sweep(upstream: Weak<HttpUpstream>) {
    loop {
        let Some(idle_limit) = upstream.upgrade().map(|upstream| upstream.idle_limit()) else { return };
        sleep(SWEEP_EVERY.min(idle_limit)).await;
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.close_outlived();
        if upstream.idle.borrow().is_empty() {
            upstream.sweeping.set(false);
            return;
        }
    }
}
