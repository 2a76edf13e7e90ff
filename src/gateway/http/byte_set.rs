//! Sets of bytes, to ask of many at once whether all of them are allowed. Pure.

/// ASCII letters and digits, and some marks.
#[derive(Debug)]
pub struct ByteSet([bool; 256]);

impl ByteSet {
    /// Letters, digits and `marks`.
    pub const fn alphanumeric_and(marks: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut rest = set.as_mut_slice();
        let mut byte = 0_u8;
        while let Some((place, behind)) = rest.split_first_mut() {
            *place = byte.is_ascii_alphanumeric() || contains(marks, byte);
            byte = byte.wrapping_add(1);
            rest = behind;
        }
        Self(set)
    }

    /// Is `byte` in it?
    pub fn holds(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Are all of `bytes` in it? Looks at all of them in any case, which costs less than to leave early.
    pub fn holds_all(&self, bytes: &[u8]) -> bool {
        bytes.iter().fold(true, |so_far, byte| so_far & self.holds(*byte))
    }
}

const fn contains(marks: &[u8], byte: u8) -> bool {
    let mut rest = marks;
    while let [first, behind @ ..] = rest {
        if *first == byte {
            return true;
        }
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_letters_digits_its_marks_and_nothing_else() {
        const SET: ByteSet = ByteSet::alphanumeric_and(b"-\xff");
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || byte == b'-' || byte == 0xff;
            assert_eq!(SET.holds(byte), expected, "{byte}");
            assert_eq!(SET.holds_all(&[b'a', byte, b'0']), expected, "{byte}");
        }
        assert!(SET.holds_all(b""));
    }
}
