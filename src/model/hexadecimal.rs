//! Bytes that were written as hexadecimal digits.

/// The `N` bytes that `digits` are, of either case; `None` for anything else.
pub fn parse_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_digits_as_there_are_bytes_are_taken() {
        assert_eq!(parse_hex("00aF"), Some([0, 0xaf]));
        for digits in ["", "00a", "00aff", "00af00", "0 af", "+1af", "00ag", "0ü1"] {
            assert_eq!(parse_hex::<2>(digits), None, "{digits}");
        }
    }
}
