//! The wire format of Protocol Buffers, as far as spans need it, written straight into a buffer. Pure.
//!
//! By hand, because it is this little: generated types would want a text of their own for everything that a span tells.
//! The fields and their numbers are the callers'. Source: protobuf.dev, "Encoding".

/// The most that the length of anything takes.
const VARINT_MAX_BYTES: usize = 10;

/// How the bytes behind a field's number are to be read.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

/// A message in the making, at the end of a buffer.
pub(super) struct Message<'b>(&'b mut Vec<u8>);

impl<'b> Message<'b> {
    /// Begins at the end of `buffer`.
    pub(super) const fn at_the_end_of(buffer: &'b mut Vec<u8>) -> Self {
        Self(buffer)
    }

    /// A number, or the value of an enumeration.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.tag(field, WireType::Varint);
        self.varint(value);
    }

    /// `fixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, WireType::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `fixed32`.
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, WireType::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes, or a text, which must be UTF-8 then.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, WireType::Length);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A message within this one, or a text in several parts.
    pub(super) fn within(&mut self, field: u32, fill: impl FnOnce(&mut Message<'_>)) {
        self.tag(field, WireType::Length);
        let start = self.0.len();
        fill(&mut Message(self.0));
        // The length is known now, and belongs before what was filled in.
        let length = self.0.len() - start;
        self.varint(length as u64);
        let length_bytes = self.0.len() - start - length;
        if let Some(filled) = self.0.get_mut(start..) {
            filled.rotate_right(length_bytes);
        }
    }

    /// What is written already: whole fields, or a part of a text.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn tag(&mut self, field: u32, wire_type: WireType) {
        self.varint((u64::from(field) << 3) | wire_type as u64);
    }

    /// Seven bits a byte, the lowest first; the highest bit of each says that more follow.
    #[expect(clippy::cast_possible_truncation, reason = "seven bits are meant")]
    fn varint(&mut self, value: u64) {
        let mut left = value;
        for _ in 1..VARINT_MAX_BYTES {
            if left < 0x80 {
                break;
            }
            self.0.push((left as u8) | 0x80);
            left >>= 7;
        }
        self.0.push(left as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use prost::encoding::{decode_varint, encode_varint};

    use super::*;

    /// Every kind of field, as a library reads it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Read {
        #[prost(uint64, tag = "1")]
        number: u64,
        #[prost(fixed64, tag = "2")]
        long: u64,
        #[prost(fixed32, tag = "16")]
        short: u32,
        #[prost(string, tag = "4")]
        text: String,
        #[prost(message, repeated, tag = "5")]
        within: Vec<Read>,
    }

    #[test]
    fn a_number_takes_as_few_bytes_as_it_can() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            Message(&mut ours).varint(value);
            encode_varint(value, &mut theirs);
            assert_eq!(ours, theirs, "{value}");
            assert_eq!(decode_varint(&mut ours.as_slice()).unwrap(), value);
        }
    }

    proptest! {
        #[test]
        fn a_library_reads_what_is_written(
            number in any::<u64>(), long in any::<u64>(), short in any::<u32>(), text in any::<String>(),
            sizes in proptest::collection::vec(0_usize..400, 0..4),
        ) {
            let mut bytes = b"before".to_vec();
            let mut message = Message::at_the_end_of(&mut bytes);
            message.number(1, number);
            message.fixed64(2, long);
            message.fixed32(16, short);
            message.within(4, |parts| text.chars().for_each(|letter| parts.raw(letter.to_string().as_bytes())));
            for size in &sizes {
                message.within(5, |inner| {
                    inner.bytes(4, &vec![b'x'; *size]);
                    inner.within(5, |innermost| innermost.number(1, 7));
                });
            }
            let innermost = Read { number: 7, ..Read::default() };
            let within = sizes.iter().map(|size| {
                Read { text: "x".repeat(*size), within: vec![innermost.clone()], ..Read::default() }
            });
            let expected = Read { number, long, short, text, within: within.collect() };
            prop_assert_eq!(Read::decode(bytes.strip_prefix(b"before").unwrap()).unwrap(), expected);
        }
    }
}
