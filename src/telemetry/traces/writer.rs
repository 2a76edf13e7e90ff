//! The way of spans from the door threads to whoever posts them: a buffer a thread, and one bounded channel.
//!
//! A thread writes, and never waits: a buffer that the channel cannot take is dropped, and its spans are counted. So a
//! collector that is away costs `WAITING_BATCHES` of memory and no more.

use std::cell::{Cell, RefCell};
use std::fmt;

use tokio::sync::mpsc;

use super::context::TraceIds;
use super::span::{Span, write_span};
use crate::telemetry::SpanCounts;

/// A buffer of this many bytes is handed on; a span takes some 700.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers that may wait for the collector, over all threads: 2 MiB.
const WAITING_BATCHES: usize = 64;

/// Spans as they are written, each as a field of the message that will hold them.
#[derive(Debug)]
pub struct SpanBatch {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: u64,
}

/// The way to whoever posts spans; hands each door thread a writer.
#[derive(Clone, Debug)]
pub struct SpanChannel {
    batches: mpsc::Sender<SpanBatch>,
    counts: SpanCounts,
}

/// One door thread's spans, and the names that it gives out.
pub struct SpanWriter {
    pub(super) ids: TraceIds,
    buffer: RefCell<Vec<u8>>,
    spans: Cell<u64>,
    channel: SpanChannel,
}

impl SpanBatch {
    /// How many there are.
    pub const fn spans(&self) -> u64 {
        self.spans
    }

    /// How much room they take.
    pub const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl SpanChannel {
    /// A channel and its other end; what it cannot take is counted in `counts`.
    pub fn new(counts: SpanCounts) -> (Self, mpsc::Receiver<SpanBatch>) {
        let (batches, received) = mpsc::channel(WAITING_BATCHES);
        (Self { batches, counts }, received)
    }

    /// A writer for one thread, whose names of traces and spans start at `seed`, which must be random.
    pub fn writer(&self, seed: u64) -> SpanWriter {
        SpanWriter {
            ids: TraceIds::new(seed),
            buffer: RefCell::default(),
            spans: Cell::new(0),
            channel: self.clone(),
        }
    }
}

impl SpanWriter {
    /// Adds a span to the buffer; never waits.
    pub(super) fn write(&self, span: &Span<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        write_span(&mut buffer, span);
        self.spans.set(self.spans.get() + 1);
        if buffer.len() >= BUFFER_BYTES {
            self.hand_on(&mut buffer);
        }
    }

    /// Hands on what is buffered; each door thread calls it a few times a second and at its end.
    pub fn flush(&self) {
        if self.spans.get() > 0 {
            self.hand_on(&mut self.buffer.borrow_mut());
        }
    }

    fn hand_on(&self, buffer: &mut Vec<u8>) {
        let batch = SpanBatch { bytes: std::mem::take(buffer), spans: self.spans.take() };
        let spans = batch.spans;
        if self.channel.batches.try_send(batch).is_err() {
            self.channel.counts.dropped(spans);
        }
    }
}

impl fmt::Debug for SpanWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanWriter")
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::TraceContext;
    use super::super::span::{Outcome, Parent, SpanKind};
    use super::super::testing::decoded;
    use super::*;

    fn span(name: &'static [&'static str]) -> Span<'static> {
        let context = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        Span {
            context: TraceContext::parse(context).unwrap(),
            parent: Parent::None,
            name,
            kind: SpanKind::Server,
            start_unix_nanoseconds: 1,
            end_unix_nanoseconds: 2,
            attributes: &[],
            events: &[],
            outcome: Outcome::Unset,
        }
    }

    #[test]
    fn what_was_written_is_handed_on_in_order_and_once() {
        let counts = SpanCounts::default();
        let (channel, mut received) = SpanChannel::new(counts.clone());
        let writer = channel.writer(7);
        writer.flush();
        assert!(received.try_recv().is_err(), "nothing is no batch");
        writer.write(&span(&["one"]));
        writer.write(&span(&["two"]));
        writer.flush();
        writer.flush();
        let batch = received.try_recv().unwrap();
        assert_eq!((batch.spans(), batch.size_bytes()), (2, batch.bytes.len()));
        let names: Vec<String> = decoded(&batch.bytes).into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["one", "two"]);
        assert!(received.try_recv().is_err());
        assert_eq!(counts.dropped_count(), 0);
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted_and_takes_no_more_room() {
        let counts = SpanCounts::default();
        let (channel, mut received) = SpanChannel::new(counts.clone());
        let writer = channel.writer(7);
        let mut written = 0;
        while counts.dropped_count() == 0 {
            writer.write(&span(&["a span of a usual length"]));
            written += 1;
        }
        writer.flush();
        let (mut waiting, mut size_bytes) = (0, 0);
        while let Ok(batch) = received.try_recv() {
            waiting += batch.spans();
            size_bytes += batch.size_bytes();
        }
        assert_eq!(waiting + counts.dropped_count(), written);
        assert!(size_bytes <= WAITING_BATCHES * (BUFFER_BYTES + 1024), "{size_bytes}");
        drop(received);
        writer.write(&span(&["late"]));
        writer.flush();
        assert_eq!(waiting + counts.dropped_count(), written + 1, "nobody is left to take it");
    }
}
