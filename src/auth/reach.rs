//! Where a change holds: what every gateway of a shared store has said of it within a second.
//!
//! Called by the console and the management API, so that whoever takes an access away sees how far that has got, and whoever
//! gives one can rely on it.

use std::time::{Duration, Instant};

use super::control_plane::{ControlError, ControlPlane};
use crate::model::Revision;
use crate::store::{Acknowledgement, Store, StoreError};

/// How long gateways are waited for where an access is taken away.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where one is given: one that is silent keeps nobody waiting for long.
const KNOWN_EVERYWHERE_WITHIN: Duration = Duration::from_millis(300);

/// How far a change has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Gateways at which it holds.
    pub gateways: usize,
    /// What it ended there: sessions, streams and connections.
    pub ended: u64,
    /// Gateways that have not confirmed it, by name.
    pub silent: Vec<String>,
    /// How long all this took.
    pub milliseconds: u64,
}

impl ControlPlane {
    /// Waits until every gateway of a shared store has confirmed `revision`, a second at most; `None` where the store is not
    /// shared: then this gateway is the only one.
    pub async fn reach(&self, revision: Revision) -> Result<Option<Reach>, ControlError> {
        if !self.store.is_shared() {
            return Ok(None);
        }
        let began = Instant::now();
        let answers = self.store.await_acknowledgements(revision, PATIENCE).await?;
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Reach::of(answers, milliseconds)))
    }
}

/// Waits until every gateway of a shared store has `revision`, 300 ms at most: the next request may reach another gateway than
/// the one that answers this one.
pub(super) async fn known_everywhere(store: &Store, revision: Revision) -> Result<(), StoreError> {
    if store.is_shared() {
        store.await_acknowledgements(revision, KNOWN_EVERYWHERE_WITHIN).await?;
    }
    Ok(())
}

impl Reach {
    fn of(answers: Vec<Acknowledgement>, milliseconds: u64) -> Self {
        let mut reach = Self { milliseconds, ..Self::default() };
        for answer in answers {
            match answer {
                Acknowledgement::Applied { ended_sessions, .. } => {
                    reach.gateways += 1;
                    reach.ended = reach.ended.saturating_add(ended_sessions);
                }
                Acknowledgement::Silent { gateway } => reach.silent.push(gateway),
            }
        }
        reach
    }

    /// As it is told to people, with a blank before it.
    pub fn sentence(&self) -> String {
        let Self { gateways, ended, silent, milliseconds } = self;
        let connections = if *ended == 1 { "connection was" } else { "connections were" };
        let places = if *gateways == 1 { "gateway" } else { "gateways" };
        let reached = match ended {
            0 => format!(" In force on {gateways} {places} after {milliseconds} ms."),
            _ => format!(" {ended} {connections} ended on {gateways} {places} in {milliseconds} ms."),
        };
        if silent.is_empty() {
            reached
        } else {
            format!("{reached} Not confirmed by: {}.", silent.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_deletes_is_told_where_it_holds_and_who_is_silent() {
        let applied = |ended_sessions| Acknowledgement::Applied { gateway: "a".into(), ended_sessions };
        let silent = Acknowledgement::Silent { gateway: "host pid 7".into() };
        let told = |answers| Reach::of(answers, 41).sentence();
        assert_eq!(told(vec![applied(0)]), " In force on 1 gateway after 41 ms.");
        assert_eq!(told(vec![applied(2), applied(1)]), " 3 connections were ended on 2 gateways in 41 ms.");
        assert_eq!(
            told(vec![applied(1), silent]),
            " 1 connection was ended on 1 gateway in 41 ms. Not confirmed by: host pid 7."
        );
    }
}
