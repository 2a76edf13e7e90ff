//! Which of many lines alike are written: by a draw from the request's id, which a secret of the process makes.
//!
//! Clients see the ids of their requests and can reckon the next ones. Without the secret they cannot tell which of them
//! will be written.

use crate::crypto::random;
use crate::model::SampleRatio;
use crate::telemetry::RequestId;

/// A share of all lines.
#[derive(Debug)]
pub(super) struct Share {
    /// `None`: all of them, so that nothing need be drawn.
    draw: Option<Draw>,
    /// The ratio as JSON.
    text: Box<str>,
}

struct Draw {
    ratio: SampleRatio,
    secret: [u8; 32],
}

impl std::fmt::Debug for Draw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draw").field("ratio", &self.ratio).finish_non_exhaustive()
    }
}

impl Share {
    /// The share `ratio`, by a secret of its own.
    ///
    /// # Errors
    /// The operating system has no random bytes to give.
    pub(super) fn new(ratio: SampleRatio) -> std::io::Result<Self> {
        let draw = if ratio == SampleRatio::ALL {
            None
        } else {
            Some(Draw { ratio, secret: random::bytes().map_err(std::io::Error::other)? })
        };
        Ok(Self { draw, text: ratio.to_string().into() })
    }

    /// Is what has this id written? The answer for an id is always the same.
    pub(super) fn takes(&self, id: RequestId) -> bool {
        self.draw.as_ref().is_none_or(|draw| draw.takes(id))
    }

    /// As JSON.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Draw {
    fn takes(&self, id: RequestId) -> bool {
        let hash = blake3::keyed_hash(&self.secret, &id.to_ascii());
        hash.as_bytes().first_chunk().is_some_and(|bits| self.ratio.takes(u64::from_le_bytes(*bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RequestIds;

    fn ids(count: usize) -> Vec<RequestId> {
        let ids = RequestIds::new(7);
        (0..count).map(|_| ids.next_id()).collect()
    }

    #[test]
    fn so_many_are_taken_as_the_share_says() {
        for (ratio, shown, least, most) in [
            (0.0, "0", 0, 0),
            (0.01, "0.01", 50, 150),
            (0.5, "0.5", 4_700, 5_300),
            (1.0, "1", 10_000, 10_000),
        ] {
            let share = Share::new(SampleRatio::new(ratio).unwrap()).unwrap();
            let taken = ids(10_000).into_iter().filter(|id| share.takes(*id)).count();
            assert!((least..=most).contains(&taken), "{ratio}: {taken}");
            assert_eq!(share.text(), shown);
        }
    }

    #[test]
    fn an_id_is_always_judged_alike_and_by_each_process_otherwise() {
        let half = SampleRatio::new(0.5).unwrap();
        let (one, other) = (Share::new(half).unwrap(), Share::new(half).unwrap());
        let ids = ids(1_000);
        assert!(ids.iter().all(|id| one.takes(*id) == one.takes(*id)));
        let alike = ids.iter().filter(|id| one.takes(**id) == other.takes(**id)).count();
        assert!((350..650).contains(&alike), "{alike} of 1000: the id alone must not tell");
        assert!(!format!("{one:?}").contains("secret"), "{one:?}");
    }
}
