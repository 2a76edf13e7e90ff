//! A handle or login name in an entry of the index.

/// What is held in place.
const SHORT_BYTES: usize = 14;

/// A name in 16 bytes, in place where it is short: an allocation of its own would cost more than the name.
#[derive(Debug)]
pub(super) enum Name {
    /// The first `length` bytes are the name.
    Short { length: u8, bytes: [u8; SHORT_BYTES] },
    /// Behind one more pointer, so that entries with a short name have no room for the length.
    Long(Box<Box<str>>),
}

impl Name {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(Box::new(text.into())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short { length, bytes } => {
                let bytes = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Self::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_what_it_was_made_from() {
        for length in 0..=64 {
            let text = "n".repeat(length);
            assert_eq!(Name::new(&text).as_str(), text);
        }
        assert_eq!(Name::new("grün").as_str(), "grün");
    }
}
