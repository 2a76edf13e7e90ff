//! Bytes that wait to be written to a peer: replies are gathered here, so that many leave in one write.
//!
//! It grows as it is told to; who fills it asks [`Outbox::len`] and stops (the session does).

/// Above this much room, an emptied buffer is given back.
const KEPT_BYTES: usize = 32 * 1_024;

/// A queue of bytes for one peer.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Adds `parts`, one behind the other.
    pub fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Bytes that wait.
    pub const fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.written)
    }

    /// Does nothing wait?
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits, oldest first.
    pub fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// The first `count` bytes are written.
    pub fn advance(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.clear();
        } else if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Forgets what waits: the peer is gone.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_what_was_pushed() {
        let mut outbox = Outbox::default();
        let mut seen = Vec::new();
        outbox.push(&[b"one ", b"two "]);
        for step in [1, 3, 2] {
            seen.extend_from_slice(&outbox.unwritten()[..step]);
            outbox.advance(step);
            outbox.push(&[b"+"]);
        }
        seen.extend_from_slice(outbox.unwritten());
        assert_eq!(seen, b"one two +++");
        assert_eq!(outbox.len(), 5);
        outbox.advance(100);
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_emptied_outbox_gives_a_large_buffer_back() {
        let mut outbox = Outbox::default();
        outbox.push(&[&vec![0; 1_000_000]]);
        outbox.advance(1_000_000);
        assert!(outbox.bytes.capacity() <= KEPT_BYTES);
    }
}
