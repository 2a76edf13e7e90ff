//! The servers of an upstream as all threads see them: which may be asked, and which are left out for a while.
//!
//! A few atomics a server, written only when something goes wrong or right again, so that what one thread finds out
//! helps the others and a healthy request costs a few reads. A server that fails `limits.upstream_failures` times in a
//! row is ejected; once its time is over, a single request tries it, and it is asked again when it answers that one.
//! The last server is never ejected. Whom the health check finds unhealthy is not asked at all. Told by the
//! doors and their health checks; read by the doors for each request.

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;

use super::balance::{Draws, ServerSet};
use super::connect::Target;
use crate::config::{
    HealthCheckSchedule, Http2Use, HttpUpstream, IsProxyServer, IsProxyUpstream, Limits, Scheme,
};
use crate::net::{TlsError, client_config};
use crate::telemetry::{Metrics, UpstreamGauge, UpstreamTimer, UpstreamTimers};

/// What is offered in the TLS handshake to servers that must speak HTTP/1.1.
const ALPN: [&[u8]; 1] = [b"http/1.1"];

/// The servers of one upstream, for all threads.
#[derive(Debug)]
pub struct UpstreamServers {
    name: String,
    servers: Box<[Arc<ServerState>]>,
    failures_to_eject: u32,
    ejection: Duration,
    ejection_max: Duration,
    /// How long a client that nobody can serve is asked to wait.
    retry_after_seconds: NonZeroU32,
    /// Times are kept as milliseconds since then.
    began: Instant,
    timers: UpstreamTimers,
}

/// One server: where it is, and how it does.
#[derive(Debug)]
pub struct ServerState {
    place: usize,
    target: Target,
    /// What the health check found last; without one it stays true.
    healthy: AtomicBool,
    /// Failures since an exchange last went well to its end.
    failures: AtomicU32,
    /// Ejections since then.
    ejections: AtomicU32,
    /// When it may be tried again; 0: it is not ejected.
    ejected_until_ms: AtomicU64,
    /// A request tries it now.
    on_trial: AtomicBool,
    /// The log has the news that it fails.
    told: AtomicBool,
    gauge: UpstreamGauge,
}

/// Whom to ask now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// This server: its ejection is over, and this request tries it.
    Trial(usize),
    /// One of these; nobody where the health check finds all of them unhealthy.
    Any(ServerSet),
}

impl UpstreamServers {
    /// The servers of the HTTP upstream `name`, all of them healthy until they prove otherwise.
    ///
    /// # Errors
    /// A server is to be reached by TLS, and what that needs cannot be used.
    pub fn for_http(
        name: &str,
        config: &HttpUpstream,
        limits: &Limits,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, TlsError> {
        // One for all servers and threads, so that sessions are resumed wherever they began.
        let speaks_tls = config.servers.iter().any(|server| server.scheme == Scheme::Https);
        let tls = speaks_tls.then(|| client_config(&config.tls, &ALPN)).transpose()?;
        let http2_tls = tls.as_ref().and_then(|tls| offering_http2(tls, config.http2));
        let targets = config.servers.iter().map(|server| {
            let tls = tls.as_ref().and_then(|tls| Some((tls, config.server_name(server)?)));
            Target::new(&server.host, server.port, server.to_string(), tls)
                .using(config.http2, http2_tls.as_ref())
        });
        let checks = config.health_check.as_ref().map(|check| &check.schedule);
        Ok(Self::new(name, targets, checks, limits, metrics))
    }

    /// The servers of the `IsProxy` upstream `name`, likewise.
    ///
    /// # Errors
    /// What `STARTTLS` needs cannot be used.
    pub fn for_isproxy(
        name: &str,
        config: &IsProxyUpstream,
        limits: &Limits,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, TlsError> {
        let tls = config.tls.as_ref().map(|tls| client_config(tls, &[])).transpose()?;
        let target = |server: &IsProxyServer| {
            let label = server.to_string();
            let tls = match &tls {
                Some(tls) => {
                    let name = config.server_name(server);
                    Some((tls, name.ok_or_else(|| TlsError::NoName(label.clone()))?))
                }
                None => None,
            };
            Ok(Target::new(&server.host, server.port, label, tls))
        };
        let targets: Vec<Target> = config.servers.iter().map(target).collect::<Result<_, TlsError>>()?;
        Ok(Self::new(name, targets.into_iter(), config.health_check.as_ref(), limits, metrics))
    }

    fn new(
        name: &str,
        targets: impl Iterator<Item = Target>,
        checks: Option<&HealthCheckSchedule>,
        limits: &Limits,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let ejection = Duration::from_secs(limits.upstream_ejection_seconds.into());
        let ejection_max = Duration::from_secs(limits.upstream_ejection_max_seconds.into());
        let server = |(place, target): (usize, Target)| {
            let gauge = metrics.upstream_server(name, target.label());
            gauge.set_healthy();
            Arc::new(ServerState {
                place,
                target,
                healthy: AtomicBool::new(true),
                failures: AtomicU32::new(0),
                ejections: AtomicU32::new(0),
                ejected_until_ms: AtomicU64::new(0),
                on_trial: AtomicBool::new(false),
                told: AtomicBool::new(false),
                gauge,
            })
        };
        Arc::new(Self {
            name: name.to_owned(),
            servers: targets.enumerate().map(server).collect(),
            failures_to_eject: limits.upstream_failures,
            ejection,
            ejection_max: ejection_max.max(ejection),
            retry_after_seconds: checks
                .and_then(|checks| NonZeroU32::new(checks.interval_seconds))
                .unwrap_or(NonZeroU32::MIN),
            began: Instant::now(),
            timers: metrics.upstream_timers(name),
        })
    }

    /// Takes over what `before`, of an earlier configuration, knows of the servers that are in both, so that a reload
    /// sends nothing to a server that is known to be down. Both must be reached and checked alike.
    pub fn take_over(&self, before: &Self) {
        for server in &self.servers {
            let known = before.servers.iter().find(|known| known.target.label() == server.target.label());
            let Some(known) = known else { continue };
            let until = known.ejected_until_ms.load(Ordering::Relaxed);
            let remaining = until.saturating_sub(before.now_ms());
            let until = if until == 0 { 0 } else { self.now_ms() + remaining };
            server.ejected_until_ms.store(until, Ordering::Relaxed);
            server.healthy.store(known.is_healthy(), Ordering::Relaxed);
            for (to, from) in [(&server.failures, &known.failures), (&server.ejections, &known.ejections)] {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            server.show();
        }
    }

    /// The upstream's name in the configuration and the logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts how long the upstream takes, for one thread that asks it.
    pub fn timer(&self) -> UpstreamTimer {
        self.timers.for_thread()
    }

    /// All servers in the configuration's order.
    pub fn all(&self) -> &[Arc<ServerState>] {
        &self.servers
    }

    /// How long a client should wait when no server is healthy: until the next check.
    pub const fn retry_after_seconds(&self) -> NonZeroU32 {
        self.retry_after_seconds
    }

    /// The place of the server to ask: of two drawn, the one that is less `busy`; `None`: nobody is healthy.
    pub fn choose(&self, draws: &Draws, busy: impl Fn(usize) -> u32) -> Option<usize> {
        if let [only] = &*self.servers {
            return only.is_healthy().then_some(only.place);
        }
        match self.offer() {
            Offer::Trial(place) => Some(place),
            Offer::Any(set) => draws.less_busy(set, busy),
        }
    }

    /// Another server than `tried`, which could not be reached.
    pub fn choose_beside(
        &self,
        tried: &ServerState,
        draws: &Draws,
        busy: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        draws.less_busy(self.healthy() & !self.ejected() & !tried.bit(), busy)
    }

    /// Whom to ask. Where every healthy server is ejected, which two threads can bring about at once, all are asked.
    pub(super) fn offer(&self) -> Offer {
        let ejected = self.ejected();
        if ejected != 0
            && let Some(due) = self.take_trial()
        {
            return Offer::Trial(due);
        }
        let healthy = self.healthy();
        let usable = healthy & !ejected;
        Offer::Any(if usable == 0 { healthy } else { usable })
    }

    fn healthy(&self) -> ServerSet {
        self.servers.iter().filter(|server| server.is_healthy()).fold(0, |set, server| set | server.bit())
    }

    fn ejected(&self) -> ServerSet {
        self.servers.iter().filter(|server| server.is_ejected()).fold(0, |set, server| set | server.bit())
    }

    /// A server whose ejection is over; the next try is as long away as this ejection was, should nothing come of it.
    fn take_trial(&self) -> Option<usize> {
        let now = self.now_ms();
        let taken = self.servers.iter().find(|server| {
            let until = server.ejected_until_ms.load(Ordering::Relaxed);
            let next = now + self.ejection_ms(server.ejections.load(Ordering::Relaxed));
            let due = (1..=now).contains(&until) && server.is_healthy();
            due && server
                .ejected_until_ms
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        })?;
        taken.on_trial.store(true, Ordering::Relaxed);
        Some(taken.place)
    }

    /// No connection to `server` came about that a request could be sent on.
    pub fn note_unreachable(&self, server: &ServerState, error: &dyn Error) {
        self.tell(server, "a server of an upstream cannot be reached", error);
        self.note_failure(server);
    }

    /// `server` broke off while it owed answers, or was late with them, where nothing else would tell so.
    pub fn note_broken(&self, server: &ServerState, error: &dyn Error) {
        self.tell(server, "a server of an upstream broke off", error);
        self.note_failure(server);
    }

    /// `server` refused a request as a whole. It is up, so that is not held against it; what it wants may be missing
    /// in the configuration.
    pub fn note_refusal(&self, server: &ServerState, error: &dyn Error) {
        self.tell(server, "a server of an upstream refuses requests", error);
    }

    /// Once until it answers again, not for each request: whoever asks meanwhile has it in the access log.
    fn tell(&self, server: &ServerState, news: &str, error: &dyn Error) {
        let (upstream, label) = (&self.name, server.target.label());
        if server.told.swap(true, Ordering::Relaxed) {
            tracing::debug!(upstream, server = label, %error, "{news}");
        } else {
            tracing::warn!(upstream, server = label, %error, "{news}");
        }
    }

    /// `server` broke an exchange off, answered no HTTP, or was late.
    pub fn note_failure(&self, server: &ServerState) {
        let failures = server.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = server.ejected_until_ms.load(Ordering::Relaxed);
        let tried = server.on_trial.swap(false, Ordering::Relaxed);
        // What was sent before the ejection may fail during it, and says nothing new.
        let counts = (until == 0 && failures >= self.failures_to_eject) || (until != 0 && tried);
        let others = self.healthy() & !self.ejected() & !server.bit();
        if self.failures_to_eject == 0 || !counts || others == 0 {
            return;
        }
        let ejections = server.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let milliseconds = self.ejection_ms(ejections);
        let next = self.now_ms() + milliseconds;
        let ejected =
            server.ejected_until_ms.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        if ejected.is_ok() {
            server.show();
            let (upstream, label) = (&self.name, server.target.label());
            tracing::warn!(upstream, server = label, milliseconds, "a server of an upstream is ejected");
        }
    }

    /// `server` has sent the head of an answer: it is back, if it was away.
    pub fn note_head(&self, server: &ServerState) {
        if server.told.load(Ordering::Relaxed) {
            server.told.store(false, Ordering::Relaxed);
        }
        if server.is_ejected() {
            server.readmit();
            let (upstream, label) = (&self.name, server.target.label());
            tracing::info!(upstream, server = label, "a server of an upstream answers again");
        }
    }

    /// The health check finds `server` healthy: it is asked again, whatever was held against it.
    pub fn note_healthy(&self, server: &ServerState) {
        server.healthy.store(true, Ordering::Relaxed);
        server.failures.store(0, Ordering::Relaxed);
        server.ejections.store(0, Ordering::Relaxed);
        server.readmit();
        let (upstream, label) = (&self.name, server.target.label());
        tracing::info!(upstream, server = label, "a server of an upstream is healthy again");
    }

    /// The health check finds `server` unhealthy: it is not asked, be it the last.
    pub fn note_unhealthy(&self, server: &ServerState, why: &dyn Error) {
        server.healthy.store(false, Ordering::Relaxed);
        server.show();
        let (upstream, label) = (&self.name, server.target.label());
        tracing::warn!(upstream, server = label, %why, "a server of an upstream is unhealthy");
    }

    /// The length of an ejection that is the `count`th in a row.
    fn ejection_ms(&self, count: u32) -> u64 {
        let doublings = count.saturating_sub(1).min(20);
        let length = self.ejection.saturating_mul(1 << doublings).min(self.ejection_max);
        u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
    }

    /// At least 1, as 0 stands for never.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl ServerState {
    /// Its place in the configuration.
    pub const fn place(&self) -> usize {
        self.place
    }

    /// Where it is.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Is it healthy as far as the health check knows? Without one, always.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// An exchange went well to its end.
    pub fn note_end(&self) {
        // Looked at first: writing would take the cache line from the other threads at every request.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    fn is_ejected(&self) -> bool {
        self.ejected_until_ms.load(Ordering::Relaxed) != 0
    }

    fn readmit(&self) {
        self.ejected_until_ms.store(0, Ordering::Relaxed);
        self.on_trial.store(false, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        if self.is_healthy() && !self.is_ejected() {
            self.gauge.set_healthy();
        } else {
            self.gauge.set_unhealthy();
        }
    }

    const fn bit(&self) -> ServerSet {
        1 << self.place
    }
}

/// `tls`, offering HTTP/2 as `http2` says; both resume the same sessions.
fn offering_http2(tls: &Arc<ClientConfig>, http2: Http2Use) -> Option<Arc<ClientConfig>> {
    let offered: &[&[u8]] = match http2 {
        Http2Use::Auto => &[b"h2", b"http/1.1"],
        Http2Use::Always => &[b"h2"],
        Http2Use::Never => return None,
    };
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    Some(Arc::new(tls))
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::config::{HttpServer, IdentityHeaders, SetHeaders, UpstreamTls};

    /// So many servers of an HTTP upstream.
    pub(in crate::net::upstream) fn servers(count: u16) -> Arc<UpstreamServers> {
        let server = |port| HttpServer { scheme: Scheme::Http, host: String::from("127.0.0.1"), port };
        let config = HttpUpstream {
            servers: (1..=count).map(server).collect(),
            identity_headers: IdentityHeaders::default(),
            set_headers: SetHeaders::default(),
            health_check: None,
            tls: UpstreamTls::default(),
            http2: Http2Use::Auto,
        };
        UpstreamServers::for_http("registry", &config, &Limits::default(), &Metrics::default()).unwrap()
    }

    fn fail(servers: &UpstreamServers, place: usize, times: usize) {
        (0..times).for_each(|_| servers.note_failure(&servers.all()[place]));
    }

    async fn pass(seconds: u64) {
        advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_eject_for_ten_seconds() {
        let servers = servers(3);
        fail(&servers, 1, 4);
        assert_eq!(servers.offer(), Offer::Any(0b111));
        servers.all()[1].note_end();
        fail(&servers, 1, 4);
        assert_eq!(servers.offer(), Offer::Any(0b111), "not in a row");
        fail(&servers, 1, 1);
        assert_eq!(servers.offer(), Offer::Any(0b101));
        let beside = servers.choose_beside(&servers.all()[0], &Draws::new(1), |_| 0);
        assert_eq!(beside, Some(2));
        advance(Duration::from_millis(9_999)).await;
        assert_eq!(servers.offer(), Offer::Any(0b101));
        advance(Duration::from_millis(1)).await;
        assert_eq!(servers.offer(), Offer::Trial(1));
        assert_eq!(servers.offer(), Offer::Any(0b101), "one request tries it");
    }

    #[tokio::test(start_paused = true)]
    async fn each_trial_that_fails_doubles_the_ejection_up_to_five_minutes() {
        let servers = servers(2);
        fail(&servers, 0, 5);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            pass(seconds - 1).await;
            assert_eq!(servers.offer(), Offer::Any(0b10), "{seconds} s");
            pass(1).await;
            assert_eq!(servers.offer(), Offer::Trial(0), "{seconds} s");
            fail(&servers, 0, 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_its_trial_is_back_and_begins_anew_after_a_whole_answer() {
        let servers = servers(2);
        fail(&servers, 0, 5);
        pass(10).await;
        assert_eq!(servers.offer(), Offer::Trial(0));
        servers.note_head(&servers.all()[0]);
        assert_eq!(servers.offer(), Offer::Any(0b11));
        fail(&servers, 0, 1);
        assert_eq!(servers.offer(), Offer::Any(0b10), "its answer broke off");
        pass(20).await;
        assert_eq!(servers.offer(), Offer::Trial(0));
        servers.note_head(&servers.all()[0]);
        servers.all()[0].note_end();
        fail(&servers, 0, 4);
        assert_eq!(servers.offer(), Offer::Any(0b11));
        fail(&servers, 0, 1);
        pass(10).await;
        assert_eq!(servers.offer(), Offer::Trial(0), "ten seconds again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_of_which_nothing_is_heard_is_followed_by_another() {
        let servers = servers(2);
        fail(&servers, 0, 5);
        pass(10).await;
        assert_eq!(servers.offer(), Offer::Trial(0));
        pass(10).await;
        assert_eq!(servers.offer(), Offer::Trial(0));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_what_was_sent_before_the_ejection_do_not_lengthen_it() {
        let servers = servers(2);
        fail(&servers, 0, 50);
        pass(10).await;
        assert_eq!(servers.offer(), Offer::Trial(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_a_server_is_taken_over_for_what_is_left_of_its_ejection() {
        let before = servers(3);
        pass(100).await;
        fail(&before, 1, 5);
        fail(&before, 0, 4);
        pass(4).await;
        let after = servers(2);
        after.take_over(&before);
        assert_eq!(after.offer(), Offer::Any(0b01));
        pass(5).await;
        assert_eq!(after.offer(), Offer::Any(0b01));
        pass(1).await;
        assert_eq!(after.offer(), Offer::Trial(1));
        fail(&after, 1, 1);
        pass(19).await;
        assert_eq!(after.offer(), Offer::Any(0b01), "the second ejection in a row is twice as long");
        let nobody = NotFound;
        before.note_unhealthy(&before.all()[0], &nobody);
        after.take_over(&before);
        assert!(!after.all()[0].is_healthy());
    }

    #[derive(Debug, thiserror::Error)]
    #[error("not found")]
    struct NotFound;

    #[test]
    fn the_last_server_is_never_ejected() {
        let one = servers(1);
        fail(&one, 0, 100);
        assert_eq!(one.offer(), Offer::Any(1));
        let two = servers(2);
        fail(&two, 0, 5);
        fail(&two, 1, 100);
        assert_eq!(two.offer(), Offer::Any(0b10));
        two.note_head(&two.all()[0]);
        fail(&two, 1, 1);
        assert_eq!(two.offer(), Offer::Any(0b01), "now there is another");
    }

    #[test]
    fn the_health_check_turns_servers_off_and_on_be_it_the_last() {
        let servers = servers(2);
        let why = super::super::ConnectError::TooLate;
        servers.note_unhealthy(&servers.all()[0], &why);
        assert_eq!(servers.offer(), Offer::Any(0b10));
        fail(&servers, 1, 9);
        assert_eq!(servers.offer(), Offer::Any(0b10), "the last healthy one is not ejected");
        servers.note_unhealthy(&servers.all()[1], &why);
        assert_eq!(servers.offer(), Offer::Any(0));
        servers.note_healthy(&servers.all()[0]);
        assert_eq!(servers.offer(), Offer::Any(0b01));
    }

    #[test]
    fn a_check_that_finds_a_server_healthy_ends_its_ejection() {
        let servers = servers(2);
        fail(&servers, 0, 5);
        assert_eq!(servers.offer(), Offer::Any(0b10));
        servers.note_healthy(&servers.all()[0]);
        assert_eq!(servers.offer(), Offer::Any(0b11));
        fail(&servers, 0, 4);
        assert_eq!(servers.offer(), Offer::Any(0b11));
    }

    #[test]
    fn what_one_thread_finds_out_helps_the_others() {
        let servers = servers(4);
        std::thread::scope(|scope| {
            for place in 0..4 {
                let servers = &servers;
                scope.spawn(move || fail(servers, place, 1_000));
            }
        });
        let Offer::Any(set) = servers.offer() else { panic!("a trial already") };
        assert!(set != 0, "somebody is asked, whatever they do");
    }
}
