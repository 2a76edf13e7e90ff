//! A digest without a key, by which two copies of the same rows are compared.
//!
//! It keeps nothing secret and proves nothing against whoever can change both copies. Called by `store`.

/// BLAKE3 over everything that was added, in its order.
#[derive(Clone, Debug, Default)]
pub struct Checksum(blake3::Hasher);

impl Checksum {
    /// Adds `bytes`; the caller sees to it that its parts can be told apart.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of what was added so far.
    pub fn digest(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_other_bytes_and_another_order() {
        let of = |parts: &[&str]| {
            let mut sum = Checksum::default();
            for part in parts {
                sum.add(part.as_bytes());
            }
            sum.digest()
        };
        assert_eq!(of(&["a", "b"]), of(&["ab"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a"]), of(&[]));
    }
}
