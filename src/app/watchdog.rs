//! Gives systemd signs of life, as long as every door thread turns.
//!
//! A thread that hangs is not seen by a task of the control plane, which runs beside it: each shows itself by a pulse.
//! Where systemd wants no signs (`WatchdogSec=`), nothing runs. Started by `app`.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::doors::Pulse;
use super::systemd::Supervisor;

/// Looks within the time that systemd waits: a late look or two cost nothing.
const LOOKS: u32 = 4;

/// Which threads have moved since the last sign of life.
struct Watched {
    pulses: Vec<Pulse>,
    told_at: Vec<u64>,
}

impl Watched {
    fn new(pulses: Vec<Pulse>) -> Self {
        let told_at = vec![0; pulses.len()];
        Self { pulses, told_at }
    }

    /// Have all moved since this was last answered by yes?
    fn have_all_moved(&mut self) -> bool {
        let beats: Vec<u64> = self.pulses.iter().map(Pulse::beats).collect();
        let have_moved = beats.iter().zip(&self.told_at).all(|(now, then)| now != then);
        if have_moved {
            self.told_at = beats;
        }
        have_moved
    }
}

/// Tells `supervisor` until `stop` that the process lives, whenever all of `pulses` have beaten since it last did.
pub(super) async fn give_signs_of_life(supervisor: Supervisor, pulses: Vec<Pulse>, stop: CancellationToken) {
    let Some(within) = supervisor.watchdog() else { return };
    let mut watched = Watched::new(pulses);
    let mut looks = interval((within / LOOKS).max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        if watched.have_all_moved() {
            supervisor.tell_alive();
        } else {
            tracing::debug!("a door thread has not turned since systemd was last told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_that_stands_still_is_enough_to_say_nothing() {
        let pulses = vec![Pulse::default(), Pulse::default()];
        let mut watched = Watched::new(pulses.clone());
        assert!(!watched.have_all_moved(), "none has turned yet");
        pulses[0].beat();
        assert!(!watched.have_all_moved());
        pulses[1].beat();
        assert!(watched.have_all_moved());
        pulses[1].beat();
        assert!(!watched.have_all_moved(), "the first stands still");
        pulses[0].beat();
        assert!(watched.have_all_moved());
    }
}
