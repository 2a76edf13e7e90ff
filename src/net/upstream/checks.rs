//! When a server is checked, and what checks in a row bring about (`health_check:` of an upstream).
//!
//! How a server is asked is the doors' matter: their health checks wait for [`RegularChecks::due`], ask, and hand what
//! they found to [`RegularChecks::conclude`].

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::servers::{ServerState, UpstreamServers};
use crate::config::HealthCheckSchedule;

/// The checks of one server.
#[derive(Debug)]
pub struct RegularChecks {
    servers: Arc<UpstreamServers>,
    server: Arc<ServerState>,
    schedule: HealthCheckSchedule,
    ticks: Interval,
    /// Checks in a row that disagree with what is held of the server.
    disagreeing: u32,
}

impl RegularChecks {
    /// Checks of `server`, one of `servers`; the first is due at once. Needs a runtime.
    pub fn begin(
        servers: &Arc<UpstreamServers>,
        server: &Arc<ServerState>,
        schedule: HealthCheckSchedule,
    ) -> Self {
        let mut ticks = interval(Duration::from_secs(schedule.interval_seconds.into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { servers: Arc::clone(servers), server: Arc::clone(server), schedule, ticks, disagreeing: 0 }
    }

    /// Waits until the server is to be asked.
    pub async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// A check found this; enough of them in a row turn the server off or on.
    pub fn conclude(&mut self, found: &Result<(), impl Error>) {
        if found.is_ok() == self.server.is_healthy() {
            self.disagreeing = 0;
            return;
        }
        self.disagreeing = self.disagreeing.saturating_add(1);
        match found {
            Ok(()) if self.disagreeing >= self.schedule.healthy_after => {
                self.servers.note_healthy(&self.server);
            }
            Err(why) if self.disagreeing >= self.schedule.unhealthy_after => {
                self.servers.note_unhealthy(&self.server, why);
            }
            _ => return,
        }
        self.disagreeing = 0;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::ConnectError;
    use super::super::servers::Offer;
    use super::super::servers::tests::servers;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn enough_checks_in_a_row_turn_a_server_off_and_on() {
        let servers = servers(2);
        let schedule = HealthCheckSchedule {
            interval_seconds: 10,
            timeout_milliseconds: 1_000,
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let began = Instant::now();
        let mut checks = RegularChecks::begin(&servers, &servers.all()[0], schedule);
        let (well, ill) = (Ok(()), Err(ConnectError::TooLate));
        for (found, asked) in [
            (&ill, 0b11),
            (&ill, 0b11),
            (&well, 0b11),
            (&ill, 0b11),
            (&ill, 0b11),
            (&ill, 0b10),
            (&well, 0b10),
            (&ill, 0b10),
            (&well, 0b10),
            (&well, 0b11),
        ] {
            checks.due().await;
            checks.conclude(found);
            assert_eq!(servers.offer(), Offer::Any(asked), "after {:?}", began.elapsed());
        }
        assert_eq!(began.elapsed(), Duration::from_secs(90));
    }
}
