//! An HTTP upstream as one door thread sees it: chooses the server that a request goes to, and sends it there.
//!
//! Connections are `server_pool`'s, exchanges on them `http1_exchange`'s and `http2_exchange`'s, and what is known of the servers' health is shared
//! between the threads by `servers`. Called by `forward`.

mod answer_wait;
mod body;
mod exchange;
mod health_check;
mod http1_answer;
mod http1_body;
mod http1_connection;
mod http1_exchange;
mod http1_plain;
mod http1_plain_answer;
mod http1_upload;
mod http2_connection;
mod http2_exchange;
mod http2_head;
mod http2_pool;
mod server_pool;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

pub use self::body::UpstreamBody;
pub use self::exchange::Switched;
pub use self::exchange::Waited;
use self::exchange::{Asking, Outcome, Unsent};
pub use self::health_check::health_checks;
pub use self::http1_answer::{AnswerHead, Framing, HeadReader, UnreadableHead};
pub use self::http1_body::{BodyDecoder, BrokenBody, Decoded};
pub use self::http1_plain::Came;
pub use self::http1_upload::{UploadFraming, write_head};
pub use self::http2_head::http2_head;
pub use self::server_pool::InFlight;
use self::server_pool::{Connection, ServerPool};
use super::denial::Fault;
use super::headers::{IdentityRules, Told};
use super::request_body::{RequestBody, SendProgress};
use super::upgrade::Answer;
use crate::config::Limits;
use crate::net::turn::end_of_turn;
use crate::net::upstream::{Draws, HttpVersion, ServerState, UpstreamServers};
use crate::telemetry::UpstreamTimer;

/// One upstream with its connections, for one thread.
#[derive(Debug)]
pub struct HttpUpstream {
    servers: Arc<UpstreamServers>,
    identity: IdentityRules,
    limits: Arc<Limits>,
    /// In the order of `servers`.
    pools: Box<[Rc<ServerPool>]>,
    draws: Draws,
    timer: UpstreamTimer,
    takes_plain: bool,
}

/// Where a connection came from, and with it who is to blame if it turns out closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It waited in the pool; servers close such connections as they like.
    Kept,
    Fresh,
}

impl HttpUpstream {
    /// The upstream whose servers are `servers`, without a connection yet. Threads need different seeds.
    pub fn new(
        servers: &Arc<UpstreamServers>,
        config: &crate::config::HttpUpstream,
        limits: Arc<Limits>,
        seed: u64,
    ) -> Rc<Self> {
        let identity = IdentityRules::new(config.identity_headers.clone(), config.set_headers.clone());
        let is_http1 =
            |state: &Arc<ServerState>| state.target().settled_version() == Some(HttpVersion::Http1);
        Rc::new(Self {
            takes_plain: servers.all().iter().all(is_http1) && !identity.have_collisions(),
            pools: servers.all().iter().map(|state| ServerPool::new(servers, state, &limits)).collect(),
            servers: Arc::clone(servers),
            identity,
            limits,
            draws: Draws::new(seed),
            timer: servers.timer(),
        })
    }

    /// Its name in the configuration and the logs.
    pub fn name(&self) -> &str {
        self.servers.name()
    }

    /// It let a request wait for so long.
    pub fn count_time(&self, waited: Duration) {
        self.timer.count(waited);
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
        self.pools.iter().map(|pool| pool.idle_connections()).sum()
    }

    /// Requests of this thread that wait for an answer's end, upgraded ones included.
    #[cfg(test)]
    pub fn requests_in_flight(&self) -> u32 {
        self.pools.iter().map(|pool| pool.in_flight()).sum()
    }

    /// Sends what is `unsent` and what is `told` beside it, and waits for the head of the answer. The permit in it is the
    /// leave to do so (invariant 1): without one there is no way to an upstream, and only `auth` makes permits.
    ///
    /// A request is tried at servers as [`Self::ask`] says. One that a server says it did nothing with (HTTP/2) goes to it
    /// again, once, on another connection. Dropping the future closes the connection or resets the stream that it uses
    /// (S72).
    ///
    /// Counts in `waited` what of the time was spent on connecting and on waiting for the answer.
    pub async fn send(
        self: &Rc<Self>,
        told: &Told<'_>,
        unsent: &mut Unsent,
        progress: Option<Rc<SendProgress>>,
        waited: &mut Waited,
    ) -> Result<Response<UpstreamBody>, Fault> {
        let exchange = async |connection, total_due, waited: &mut Waited| {
            if matches!(connection, Connection::Http1(_)) {
                end_of_turn().await;
            }
            let asking = Asking { progress: progress.as_ref(), began: Instant::now(), total_due };
            let outcome = match connection {
                Connection::Http1(connection) => connection.exchange(self, told, unsent, asking).await,
                Connection::Http2(place) => Box::pin(place.exchange(self, told, unsent, asking)).await,
            };
            waited.count(asking.began);
            outcome
        };
        self.ask(Instant::now(), ServerPool::take_kept, ServerPool::connect, exchange, waited).await
    }

    /// Asks a server, from `now` on: on a connection that it takes or, where there is none, connects, by `exchange`, which
    /// is also told until when all must be over.
    ///
    /// A kept connection that turns out closed before a byte of the request was written is replaced by a fresh one,
    /// and a server to which none comes about by another server, once; nothing else is ever sent twice (S73), but for
    /// what a server says it did nothing with.
    async fn ask<C, T>(
        &self,
        now: Instant,
        take_kept: impl Fn(&Rc<ServerPool>, Instant) -> Option<C>,
        connect: impl AsyncFn(&Rc<ServerPool>) -> Result<C, Fault>,
        mut exchange: impl AsyncFnMut(C, Option<Instant>, &mut Waited) -> Outcome<T>,
        waited: &mut Waited,
    ) -> Result<T, Fault> {
        let total_due = self.total_due(now);
        let mut pool = self.choose().ok_or_else(|| self.nobody())?;
        let mut second = Some(());
        loop {
            let kept = take_kept(pool, now);
            let origin = if kept.is_some() { Origin::Kept } else { Origin::Fresh };
            let connection = if let Some(kept) = kept {
                Ok(kept)
            } else {
                let began = Instant::now();
                // Boxed, so that the many requests that find one have no room to keep for it.
                let connection = Box::pin(connect(pool)).await;
                waited.count(began);
                connection
            };
            let fault = match connection {
                Err(fault) => fault,
                Ok(connection) => {
                    match exchange(connection, total_due, waited).await {
                        Outcome::Answered(answer) => {
                            pool.note_head();
                            return Ok(answer);
                        }
                        Outcome::Failed(fault) => {
                            if is_servers(fault, total_due) {
                                pool.note_failure();
                            }
                            return Err(fault);
                        }
                        // Nobody asked for it: `exchange` says so, and never switches unasked.
                        Outcome::Switched(_) => return Err(Fault::UpstreamUpgraded),
                        Outcome::NothingSent => {}
                        Outcome::Refused if second.take().is_some() => continue,
                        Outcome::Refused => {
                            pool.note_failure();
                            return Err(Fault::UpstreamBroke);
                        }
                    }
                    if origin == Origin::Kept {
                        continue;
                    }
                    pool.note_failure();
                    Fault::UpstreamBroke
                }
            };
            pool = second.take().and_then(|()| self.choose_beside(pool)).ok_or(fault)?;
        }
    }

    /// Sends a `request` that asks to switch protocols, and has no body; everything said of [`Self::send`] holds. It
    /// goes over a connection of its own, which speaks HTTP/1.1 and is never one that was kept.
    pub async fn switch(
        self: &Rc<Self>,
        told: &Told<'_>,
        request: Request<RequestBody>,
    ) -> Result<Answer, Fault> {
        let mut unsent = Some(request);
        let total_due = self.total_due(Instant::now());
        let mut pool = self.choose().ok_or_else(|| self.nobody())?;
        let connection = match pool.connect_http1().await {
            Ok(connection) => connection,
            Err(fault) => {
                pool = self.choose_beside(pool).ok_or(fault)?;
                pool.connect_http1().await?
            }
        };
        let answer = match connection.exchange_for_switch(self, told, &mut unsent, total_due).await {
            Outcome::Answered(response) => Ok(Answer::Ordinary(response)),
            Outcome::Switched(switched) => Ok(Answer::Switched(*switched)),
            Outcome::Failed(fault) => Err(fault),
            Outcome::NothingSent | Outcome::Refused => Err(Fault::UpstreamBroke),
        };
        match &answer {
            Ok(_) => pool.note_head(),
            Err(fault) if is_servers(*fault, total_due) => pool.note_failure(),
            Err(_) => {}
        }
        answer
    }

    /// When an exchange that begins `now` must be over.
    fn total_due(&self, now: Instant) -> Option<Instant> {
        let total = Duration::from_secs(self.limits.upstream_total_seconds.into());
        (!total.is_zero()).then(|| now + total)
    }

    /// The health check finds every server unhealthy.
    fn nobody(&self) -> Fault {
        Fault::NoHealthyServer { retry_after_seconds: self.servers.retry_after_seconds() }
    }

    /// The server to ask.
    fn choose(&self) -> Option<&Rc<ServerPool>> {
        self.pools.get(self.servers.choose(&self.draws, |place| self.in_flight(place))?)
    }

    /// Another server than the one of `tried`, which could not be reached.
    fn choose_beside(&self, tried: &ServerPool) -> Option<&Rc<ServerPool>> {
        let busy = |place| self.in_flight(place);
        self.pools.get(self.servers.choose_beside(tried.state(), &self.draws, busy)?)
    }

    fn in_flight(&self, place: usize) -> u32 {
        self.pools.get(place).map_or(u32::MAX, |pool| pool.in_flight())
    }
}

/// Is `fault` to be held against the server? Not when the whole exchange is over its time, which a client that sends
/// or reads slowly brings about.
pub fn is_servers(fault: Fault, total_due: Option<Instant>) -> bool {
    matches!(fault, Fault::UpstreamBroke | Fault::UpstreamTooSlow)
        && total_due.is_none_or(|due| Instant::now() < due)
}
