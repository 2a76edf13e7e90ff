//! Asks servers regularly how they do (`health_check:` of an upstream), on the control plane's runtime.
//!
//! A check gets a connection of its own ready as a session's is, says `QUIT`, and waits until the server closes
//! (PROTOCOL section 1): a server that takes connections and reads no line is not well. Nothing of a client is in it,
//! so it needs no permit. Started by `app::control`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::opening::{OpenError, open};
use crate::config::{HealthCheckSchedule, IsProxyUpstream};
use crate::model::Secret;
use crate::net::upstream::{RegularChecks, ServerState, UpstreamServers, UpstreamStream};

/// What a check asks with, for one server.
struct Checker {
    servers: Arc<UpstreamServers>,
    state: Arc<ServerState>,
    schedule: HealthCheckSchedule,
    login_key: Option<Secret<String>>,
}

/// Why a check found a server unhealthy.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("{0}")]
    Unready(#[from] OpenError),
    #[error("it did not close behind QUIT in time")]
    Stays,
}

/// The checks of all servers of an upstream, a task each; none where `config` asks for none. They never end.
pub fn health_checks(
    servers: &Arc<UpstreamServers>,
    config: &IsProxyUpstream,
) -> Vec<impl Future<Output = ()> + use<>> {
    let Some(schedule) = config.health_check else { return Vec::new() };
    let checker = |state: &Arc<ServerState>| Checker {
        servers: Arc::clone(servers),
        state: Arc::clone(state),
        schedule,
        login_key: config.login_key.clone(),
    };
    servers.all().iter().map(|state| checker(state).check_regularly()).collect()
}

impl Checker {
    async fn check_regularly(self) {
        let mut checks = RegularChecks::begin(&self.servers, &self.state, self.schedule);
        loop {
            checks.due().await;
            checks.conclude(&self.check_once().await);
        }
    }

    async fn check_once(&self) -> Result<(), Unhealthy> {
        let within = Duration::from_millis(self.schedule.timeout_milliseconds.into());
        let quit = async {
            let (stream, _) = open(self.state.target(), self.login_key.as_ref(), within).await?;
            leave(stream).await;
            Ok(())
        };
        timeout(within, quit).await.unwrap_or(Err(Unhealthy::Stays))
    }
}

/// Says `QUIT` and waits for the end, however it comes.
async fn leave(mut stream: UpstreamStream) {
    let mut rest = [0; 512];
    let said = stream.write_all(b"QUIT\r\n").await.is_ok() && stream.flush().await.is_ok();
    while said && stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{IsProxyServer, Limits};
    use crate::telemetry::Metrics;

    fn checker(listener: &TcpListener, timeout_milliseconds: u32) -> Checker {
        let port = listener.local_addr().unwrap().port();
        let schedule = HealthCheckSchedule {
            interval_seconds: 1,
            timeout_milliseconds,
            healthy_after: 1,
            unhealthy_after: 1,
        };
        let config = IsProxyUpstream {
            servers: vec![IsProxyServer { host: String::from("127.0.0.1"), port }],
            tls: None,
            login_key: Some(Secret::new(String::from("hunter2"))),
            health_check: Some(schedule),
        };
        let servers = UpstreamServers::for_isproxy("names", &config, &Limits::default(), &Metrics::default());
        let servers = servers.unwrap();
        assert_eq!(health_checks(&servers, &config).len(), 1);
        let none = IsProxyUpstream { health_check: None, ..config.clone() };
        assert!(health_checks(&servers, &none).is_empty());
        let state = Arc::clone(&servers.all()[0]);
        Checker { servers, state, schedule, login_key: config.login_key }
    }

    /// Answers a check as `answers` say, a line each, and closes, or outlasts the check.
    async fn checked(answers: &[&str], closes: bool) -> (String, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let checker = checker(&listener, if closes { 10_000 } else { 300 });
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut lines = BufReader::new(&mut stream).lines();
            let mut heard = Vec::new();
            for answer in answers {
                heard.extend(lines.next_line().await.unwrap());
                lines.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
            heard.extend(lines.next_line().await.unwrap());
            (heard, (!closes).then_some(stream))
        };
        let (found, (heard, _open)) = tokio::join!(checker.check_once(), serving);
        (found.err().map(|why| why.to_string()).unwrap_or_default(), heard)
    }

    #[tokio::test]
    async fn a_server_that_lets_in_and_closes_behind_quit_is_well() {
        let (found, heard) = checked(&["100 Login ok"], true).await;
        assert_eq!((found.as_str(), heard), ("", vec!["LOGIN hunter2".into(), "QUIT".into()]));
    }

    #[tokio::test]
    async fn a_server_that_refuses_the_login_or_stays_is_not_well() {
        let (found, heard) = checked(&["400 Login failed"], true).await;
        assert_eq!((found.as_str(), heard.len()), ("it refused the login", 1));
        let (found, _) = checked(&["100 Login ok"], false).await;
        assert_eq!(found, "it did not close behind QUIT in time");
    }
}
