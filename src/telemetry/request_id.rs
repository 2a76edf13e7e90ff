//! Names for requests: what a client reports, and what is searched for in the logs.

use std::fmt;
use std::str::FromStr;

use super::spread::{SpreadNumbers, write_hexadecimal};

/// The name of one request: 16 hexadecimal digits. A client's own `X-Request-Id` is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

/// Gives out request ids of one door thread.
#[derive(Debug)]
pub struct RequestIds(SpreadNumbers);

impl RequestIds {
    /// Starts at `seed`, which must be random, so that threads and restarts do not meet.
    pub const fn new(seed: u64) -> Self {
        Self(SpreadNumbers::new(seed))
    }

    /// The next id.
    pub fn next_id(&self) -> RequestId {
        RequestId(self.0.next_number())
    }
}

/// A text that is not the name of a request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a request id; one looks like `9f86d081884c7d65`")]
pub struct InvalidRequestId(String);

impl RequestId {
    /// The id as the store keeps it.
    pub const fn to_stored(self) -> i64 {
        self.0.cast_signed()
    }

    /// The id of a stored row.
    pub const fn from_stored(stored: i64) -> Self {
        Self(stored.cast_unsigned())
    }

    /// The id as 16 lower-case hexadecimal digits, without an allocation.
    pub fn to_ascii(self) -> [u8; 16] {
        let mut text = [b'0'; 16];
        write_hexadecimal(&mut text, self.0);
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    /// Takes capitals too: ids are read out on the telephone.
    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        let invalid = || InvalidRequestId(text.chars().take(40).collect());
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_and_print_as_their_digits() {
        let ids = RequestIds::new(7);
        let seen: HashSet<RequestId> = (0..10_000).map(|_| ids.next_id()).collect();
        assert_eq!(seen.len(), 10_000);
        for id in seen {
            assert_eq!(id.to_string().as_bytes(), id.to_ascii());
            assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
            assert_eq!(RequestId::from_stored(id.to_stored()), id);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "+f86d081884c7d65", "9f86d081884c7d6", "9f86d081884c7d650", "9f86d081884c7d6g", "ü"]
        {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }
}
