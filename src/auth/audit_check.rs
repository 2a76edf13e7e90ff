//! Is the audit trail what was written? Walks the whole chain and names the first row that is not (S100).
//!
//! A trail whose end was cut off is whole in itself. It is found by a head that was noted elsewhere: gateways log theirs
//! every hour, and `audit verify` prints it. Called by the command line; `app` asks for the head alone.

use std::fmt;
use std::str::FromStr;

use super::control_plane::{ControlError, ControlPlane};
use super::rights::Action;
use crate::crypto::DigestKey;
use crate::model::parse_hex;
use crate::store::{AuditEnd, AuditFilter, AuditRow, StoreError};

/// Rows that are read and checked at once.
const ROWS_AT_ONCE: u32 = 2_000;

/// A row of the trail by its number and its MAC; everything before it is covered by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead(AuditEnd);

/// A text that is no head.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("write a head as it was logged or printed: a number, `:`, and 64 hexadecimal digits")]
pub struct InvalidAuditHead;

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditProgress {
    /// Rows checked.
    pub checked: u64,
    /// Rows there were when it began.
    pub of: u64,
}

/// What is wrong with a trail; the first fault alone, because what follows it cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The row is not what was written there, or was never written by Latchkey.
    #[error("row {0} was changed, or was put there by somebody else")]
    Changed(i64),
    /// Rows are numbered without gaps, and this one is not there.
    #[error("row {0} is missing")]
    Missing(i64),
    /// Rows are numbered from 1.
    #[error("row {0} was put there by somebody else: rows are numbered from 1")]
    Inserted(i64),
    /// The trail ends before the row that was expected.
    #[error("the end was cut off: row {expected} is missing, and the last one is row {last}")]
    CutOff {
        /// The row that was noted elsewhere.
        expected: i64,
        /// The last one that is there.
        last: i64,
    },
    /// The row is there and sound, and not the one that was expected.
    #[error("row {0} is not the one that was expected: the trail was written anew, or is another store's")]
    Rewritten(i64),
}

impl ControlPlane {
    /// The newest row of the trail.
    pub async fn audit_head(&self) -> Result<AuditHead, ControlError> {
        self.require(Action::Operate).await?;
        Ok(AuditHead(self.store.audit_end().await?))
    }

    /// Checks the whole trail, and that `expected` is in it; answers its newest row, or the first fault.
    ///
    /// Changes go on meanwhile: rows are only ever appended.
    pub async fn verify_audit(
        &self,
        expected: Option<AuditHead>,
        progress: &mut impl FnMut(AuditProgress),
    ) -> Result<Result<AuditHead, AuditFault>, ControlError> {
        self.require(Action::Operate).await?;
        let of = self.store.audit_end().await?;
        let walk = Walk { end: AuditEnd::EMPTY, expected, key: &self.key_ring.audit };
        let rows = async |after, count| {
            self.store.oldest_audit_rows(&AuditFilter { after, ..AuditFilter::default() }, count).await
        };
        Ok(walk.along(rows, of, progress).await?)
    }
}

/// Checks a whole trail, wherever its `rows` are: those behind a row, so many of them. It ends at `of`.
pub(super) async fn check_trail(
    key: &DigestKey,
    of: AuditEnd,
    rows: impl AsyncFnMut(i64, u32) -> Result<Vec<AuditRow>, StoreError>,
    progress: &mut impl FnMut(AuditProgress),
) -> Result<Result<AuditHead, AuditFault>, StoreError> {
    let expected = Some(AuditHead(of));
    Walk { end: AuditEnd::EMPTY, expected, key }.along(rows, of, progress).await
}

/// The check on its way along the rows.
struct Walk<'a> {
    /// The row that was passed last.
    end: AuditEnd,
    expected: Option<AuditHead>,
    key: &'a DigestKey,
}

impl Walk<'_> {
    async fn along(
        mut self,
        mut rows: impl AsyncFnMut(i64, u32) -> Result<Vec<AuditRow>, StoreError>,
        of: AuditEnd,
        progress: &mut impl FnMut(AuditProgress),
    ) -> Result<Result<AuditHead, AuditFault>, StoreError> {
        let mut after = i64::MIN;
        loop {
            let rows = rows(after, ROWS_AT_ONCE).await?;
            let Some(last) = rows.last() else { break };
            after = last.sequence;
            if let Err(fault) = rows.iter().try_for_each(|row| self.pass(row)) {
                return Ok(Err(fault));
            }
            progress(AuditProgress { checked: count(self.end.sequence), of: count(of.sequence) });
        }
        Ok(self.finish())
    }

    fn pass(&mut self, row: &AuditRow) -> Result<(), AuditFault> {
        let sequence = self.end.sequence + 1;
        if row.sequence < sequence {
            return Err(AuditFault::Inserted(row.sequence));
        }
        if row.sequence > sequence {
            return Err(AuditFault::Missing(sequence));
        }
        let mac = row.entry.mac(self.key, sequence, &self.end.mac);
        if mac != row.mac {
            return Err(AuditFault::Changed(sequence));
        }
        self.end = AuditEnd { sequence, mac };
        match self.expected {
            Some(AuditHead(head)) if head.sequence == sequence && head.mac != mac => {
                Err(AuditFault::Rewritten(sequence))
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<AuditHead, AuditFault> {
        match self.expected {
            Some(AuditHead(head)) if head.sequence > self.end.sequence => {
                Err(AuditFault::CutOff { expected: head.sequence, last: self.end.sequence })
            }
            // The head of an empty trail is behind no row.
            Some(AuditHead(head)) if head.sequence < 1 && head != AuditEnd::EMPTY => {
                Err(AuditFault::Rewritten(head.sequence))
            }
            _ => Ok(AuditHead(self.end)),
        }
    }
}

fn count(sequence: i64) -> u64 {
    u64::try_from(sequence).unwrap_or(0)
}

impl From<AuditEnd> for AuditHead {
    fn from(end: AuditEnd) -> Self {
        Self(end)
    }
}

impl AuditHead {
    /// The row's number; 0 of an empty trail.
    pub const fn sequence(self) -> i64 {
        self.0.sequence
    }
}

impl fmt::Display for AuditHead {
    /// `SEQUENCE:HEXMAC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.0.sequence)?;
        self.0.mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for AuditHead {
    type Err = InvalidAuditHead;

    fn from_str(text: &str) -> Result<Self, InvalidAuditHead> {
        let (sequence, digits) = text.trim().split_once(':').ok_or(InvalidAuditHead)?;
        let mac = parse_hex(digits).ok_or(InvalidAuditHead)?;
        let sequence = sequence.parse().ok().filter(|number| *number >= 0).ok_or(InvalidAuditHead)?;
        Ok(Self(AuditEnd { sequence, mac }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::plane;
    use super::super::{UserChanges, UserToMake};
    use super::*;

    async fn verified(
        plane: &ControlPlane,
        expected: Option<AuditHead>,
    ) -> (Result<AuditHead, AuditFault>, Vec<AuditProgress>) {
        let mut seen = Vec::new();
        (plane.verify_audit(expected, &mut |progress| seen.push(progress)).await.unwrap(), seen)
    }

    #[tokio::test]
    async fn s100_a_whole_trail_is_whole_and_its_head_covers_it() {
        let (_folder, plane) = plane().await;
        let (before, progress) = verified(&plane, None).await;
        let before = before.unwrap();
        assert_eq!(before, plane.audit_head().await.unwrap());
        let rows = count(before.sequence());
        assert_eq!(progress, [AuditProgress { checked: rows, of: rows }]);
        plane.create_user(UserToMake::new("acme/kim".parse().unwrap())).await.unwrap();
        let name = "acme/kim".parse().unwrap();
        let changes = UserChanges { administrator: Some(true), ..Default::default() };
        plane.update_user(&name, &changes).await.unwrap();
        // An older head is a part of the same trail; another row of that number is not.
        let after = verified(&plane, Some(before)).await.0.unwrap();
        assert_eq!(after.sequence(), before.sequence() + 2);
        let other = AuditHead(AuditEnd { mac: [1; 32], ..before.0 });
        assert_eq!(verified(&plane, Some(other)).await.0, Err(AuditFault::Rewritten(before.sequence())));
        let further = AuditHead(AuditEnd { sequence: after.sequence() + 1, ..after.0 });
        let cut = AuditFault::CutOff { expected: further.sequence(), last: after.sequence() };
        assert_eq!(verified(&plane, Some(further)).await.0, Err(cut));
        assert!(verified(&plane, Some(AuditHead(AuditEnd::EMPTY))).await.0.is_ok());
    }

    #[tokio::test]
    async fn s100_the_first_row_that_is_not_as_written_is_named() {
        let (_folder, plane) = plane().await;
        let rows = plane.store.oldest_audit_rows(&AuditFilter::default(), 100).await.unwrap();
        let walked = |rows: &[AuditRow]| {
            let mut walk = Walk { end: AuditEnd::EMPTY, expected: None, key: &plane.key_ring.audit };
            rows.iter().try_for_each(|row| walk.pass(row)).and_then(|()| walk.finish())
        };
        assert!(rows.len() >= 3 && walked(&rows).is_ok());
        let with = |edit: &dyn Fn(&mut Vec<AuditRow>)| {
            let mut rows = rows.clone();
            edit(&mut rows);
            walked(&rows)
        };
        assert_eq!(with(&|rows| rows[1].entry.actor.push('x')), Err(AuditFault::Changed(2)));
        assert_eq!(with(&|rows| rows[2].mac = [0; 32]), Err(AuditFault::Changed(3)));
        assert_eq!(with(&|rows| drop(rows.remove(1))), Err(AuditFault::Missing(2)));
        assert_eq!(with(&|rows| drop(rows.remove(0))), Err(AuditFault::Missing(1)));
        // Numbered anew, so that no gap shows.
        let renumbered = with(&|rows| {
            rows.remove(1);
            rows[1].sequence = 2;
        });
        assert_eq!(renumbered, Err(AuditFault::Changed(2)));
        let inserted = with(&|rows| rows.insert(0, AuditRow { sequence: 0, ..rows[0].clone() }));
        assert_eq!(inserted, Err(AuditFault::Inserted(0)));
        let forged = with(&|rows| {
            let last = rows.last().unwrap().clone();
            rows.push(AuditRow { sequence: last.sequence + 1, ..last });
        });
        assert_eq!(forged, Err(AuditFault::Changed(i64::try_from(rows.len()).unwrap() + 1)));
    }

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = AuditHead(AuditEnd { sequence: 17, mac: [0xa5; 32] });
        assert_eq!(head.to_string().parse(), Ok(head));
        assert_eq!(format!(" {head}\n").to_uppercase().parse(), Ok(head));
        let digits = "0".repeat(64);
        for text in ["", "17", "17:", "17:00", ":", &digits, &format!("-1:{digits}"), &format!("x:{digits}")]
        {
            assert_eq!(text.parse::<AuditHead>(), Err(InvalidAuditHead), "{text}");
        }
        assert!(format!("1:{}ü", "0".repeat(62)).parse::<AuditHead>().is_err());
    }
}
