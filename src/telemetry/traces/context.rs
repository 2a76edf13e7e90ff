//! Where a request stands in a trace, and how that is told in a header: W3C Trace Context, `traceparent`. Pure.
//!
//! `tracestate` is other systems' and never read here. Called by `tracer`, and by the API door for what a client sends.

use std::fmt;

use super::super::spread::{SpreadNumbers, write_hexadecimal};

/// `00-<32 digits>-<16 digits>-<2 digits>`.
const LENGTH: usize = 55;
/// The flag of requests that are written down (W3C Trace Context §3.2.2.5).
const SAMPLED: u8 = 1;

/// The name of a trace: 32 hexadecimal digits, not all of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// The name of a span within its trace: 16 hexadecimal digits, not all of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

/// Is a trace written down?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Its spans go to the collector.
    Kept,
    /// It has names only, so that others may keep theirs.
    Left,
}

/// A place in a trace: what one header `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that asks.
    pub span_id: SpanId,
    /// Was the trace chosen to be written down?
    pub sampling: Sampling,
}

/// Gives out names of traces and spans of one thread.
#[derive(Debug)]
pub(super) struct TraceIds(SpreadNumbers);

impl TraceContext {
    /// Reads the value of `traceparent` (W3C Trace Context §3.2); `None`: it says nothing that may be relied on.
    ///
    /// A version above 00 is read as far as 00 goes, and may say more behind it (§3.2.4).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let version = parts.next().filter(|part| part.len() == 2).and_then(hexadecimal)?;
        let trace_id = parts.next().filter(|part| part.len() == 32).and_then(hexadecimal)?;
        let span_id = parts.next().filter(|part| part.len() == 16).and_then(hexadecimal)?;
        let flags = parts.next().filter(|part| part.len() == 2).and_then(hexadecimal)?;
        let ends_well = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        if !ends_well || trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self {
            trace_id: TraceId(trace_id),
            span_id: SpanId(u64::try_from(span_id).ok()?),
            sampling: if flags & u128::from(SAMPLED) == 0 { Sampling::Left } else { Sampling::Kept },
        })
    }

    /// The value of `traceparent`, version 00. Of the flags it sets the one that there is in every version.
    pub fn to_ascii(self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        if let Some(digits) = text.get_mut(3..35) {
            digits.copy_from_slice(&self.trace_id.to_ascii());
        }
        if let Some(digits) = text.get_mut(36..52) {
            write_hexadecimal(digits, self.span_id.0);
        }
        if let Some(digits) = text.get_mut(53..) {
            write_hexadecimal(digits, self.flags().into());
        }
        text
    }

    /// As the header and a span of OTLP have them.
    pub(super) const fn flags(self) -> u8 {
        match self.sampling {
            Sampling::Kept => SAMPLED,
            Sampling::Left => 0,
        }
    }
}

/// Lower-case digits and nothing else (W3C Trace Context §3.2.1); at most 32, which the caller sees to.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

impl TraceId {
    /// As it goes over the wire.
    pub(super) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// As 32 lower-case hexadecimal digits, without an allocation.
    pub fn to_ascii(self) -> [u8; 32] {
        let mut text = [b'0'; 32];
        let (high, low) = text.split_at_mut(16);
        write_hexadecimal(high, (self.0 >> 64) as u64);
        write_hexadecimal(low, self.lowest_bits());
        text
    }

    /// The evenly spread half of a name that is ours.
    #[expect(clippy::cast_possible_truncation, reason = "the other half is not asked for")]
    pub(super) const fn lowest_bits(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl SpanId {
    /// As it goes over the wire.
    pub(super) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TraceIds {
    /// Starts at `seed`, which must be random.
    pub(super) const fn new(seed: u64) -> Self {
        Self(SpreadNumbers::new(seed))
    }

    /// A new trace's name.
    pub(super) fn next_trace(&self) -> TraceId {
        let (high, low) = (self.0.next_number(), self.0.next_number());
        // Two numbers one behind the other are never both 0.
        TraceId((u128::from(high) << 64) | u128::from(low))
    }

    /// A new span's name.
    pub(super) fn next_span(&self) -> SpanId {
        SpanId(self.0.next_number().max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parsed(text: &str) -> Option<TraceContext> {
        TraceContext::parse(text.as_bytes())
    }

    #[test]
    fn a_sound_header_is_read_and_written_as_it_was() {
        let context = parsed(SOUND).unwrap();
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.trace_id.to_ascii(), *b"0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(context.sampling, Sampling::Kept);
        assert_eq!(context.to_ascii(), SOUND.as_bytes());
        assert_eq!(context.trace_id.to_bytes()[..2], [0x0a, 0xf7]);
        assert_eq!(context.span_id.to_bytes()[6..], [0x33, 0x31]);
    }

    #[test]
    fn only_the_lowest_flag_counts_and_no_other_is_written() {
        for (flags, sampling, written) in [
            ("00", Sampling::Left, "00"),
            ("01", Sampling::Kept, "01"),
            ("02", Sampling::Left, "00"),
            ("03", Sampling::Kept, "01"),
            ("ff", Sampling::Kept, "01"),
        ] {
            let context = parsed(&SOUND.replace("-01", &format!("-{flags}"))).unwrap();
            assert_eq!(context.sampling, sampling, "{flags}");
            assert!(context.to_ascii().ends_with(written.as_bytes()), "{flags}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_the_first_one_goes() {
        for (text, is_read) in [
            (SOUND.replacen("00", "01", 1), true),
            (SOUND.replacen("00", "cc", 1), true),
            (SOUND.replacen("00", "cc", 1) + "-what-the-future-will-be-like", true),
            (SOUND.replacen("00", "cc", 1) + "-", true),
            (SOUND.replacen("00", "cc", 1) + ".what", false),
            (SOUND.replacen("00", "ff", 1), false),
            (SOUND.to_owned() + "-", false),
            (SOUND.to_owned() + "-more", false),
        ] {
            assert_eq!(parsed(&text), parsed(SOUND).filter(|_| is_read), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        let long = SOUND.repeat(1_000);
        for text in [
            "",
            "00",
            "00-",
            &SOUND[1..],
            &SOUND[..54],
            long.as_str(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0A",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031-9cb7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c--7ad6b7169203331-01",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_distinct_and_never_only_zeros() {
        let ids = TraceIds::new(7);
        let traces: HashSet<String> = (0..1_000).map(|_| ids.next_trace().to_string()).collect();
        let spans: HashSet<String> = (0..1_000).map(|_| ids.next_span().to_string()).collect();
        assert_eq!((traces.len(), spans.len()), (1_000, 1_000));
        // The step back from 0 is the one whose number is 0.
        let zero = TraceIds::new(0_u64.wrapping_sub(0x9e37_79b9_7f4a_7c15));
        assert_eq!(zero.next_span(), SpanId(1));
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(trace_id in 1_u128.., span_id in 1_u64.., kept in any::<bool>()) {
            let sampling = if kept { Sampling::Kept } else { Sampling::Left };
            let context = TraceContext { trace_id: TraceId(trace_id), span_id: SpanId(span_id), sampling };
            prop_assert_eq!(TraceContext::parse(&context.to_ascii()), Some(context));
        }

        #[test]
        fn no_bytes_end_in_anything_but_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(context) = TraceContext::parse(&bytes) {
                prop_assert_eq!(&context.to_ascii()[3..52], &bytes[3..52]);
            }
        }
    }
}
