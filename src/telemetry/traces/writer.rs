//! The way of spans from the door threads to whoever posts them: a buffer a thread, and one bounded channel.
//!
//! A thread writes, and never waits: a full buffer that the channel cannot take is dropped, and its spans are counted. So
//! a collector that is away costs a buffer a thread and `WAITING_BATCHES`, and no more.

use std::cell::{Cell, RefCell};
use std::fmt;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::context::TraceIds;
use super::span::{Span, write_span};
use crate::telemetry::SpanCounts;

/// A buffer of this many bytes is handed on; a span takes some 700.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers that may wait for the collector, over all threads: 2 MiB.
const WAITING_BATCHES: usize = 64;
/// So many places are for full buffers alone. A place is taken whatever a buffer holds: those of a quiet gateway would
/// soon take them all, and spans be lost while there is room.
const PLACES_OF_FULL_BUFFERS: usize = WAITING_BATCHES / 2;

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
    /// Adds a span to the buffer; never waits. A full buffer that nobody can take is dropped and counted.
    pub(super) fn write(&self, span: &Span<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        write_span(&mut buffer, span);
        let is_full = buffer.len() >= BUFFER_BYTES;
        drop(buffer);
        self.spans.set(self.spans.get() + 1);
        if is_full {
            self.hand_on();
        }
    }

    /// Hands on what is buffered, or keeps it for another time where it finds no place; each door thread calls it a few
    /// times a second.
    pub fn flush(&self) {
        if self.channel.batches.capacity() <= PLACES_OF_FULL_BUFFERS {
            return;
        }
        match self.send() {
            Ok(()) => {}
            // Another thread was faster.
            Err(TrySendError::Full(SpanBatch { bytes, spans })) => {
                self.buffer.replace(bytes);
                self.spans.set(spans);
            }
            Err(TrySendError::Closed(batch)) => self.channel.counts.dropped(batch.spans),
        }
    }

    fn hand_on(&self) {
        if let Err(TrySendError::Full(batch) | TrySendError::Closed(batch)) = self.send() {
            self.channel.counts.dropped(batch.spans);
        }
    }

    fn send(&self) -> Result<(), TrySendError<SpanBatch>> {
        let spans = self.spans.take();
        if spans == 0 {
            return Ok(());
        }
        self.channel.batches.try_send(SpanBatch { bytes: self.buffer.take(), spans })
    }
}

impl Drop for SpanWriter {
    /// The thread ends: there is no other time.
    fn drop(&mut self) {
        self.hand_on();
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

    #[test]
    fn what_finds_no_place_in_time_waits_in_its_buffer() {
        let counts = SpanCounts::default();
        let (channel, mut received) = SpanChannel::new(counts.clone());
        let (quiet, busy) = (channel.writer(7), channel.writer(8));
        let mut taken = 0;
        let mut take =
            || std::iter::from_fn(|| received.try_recv().ok()).map(|batch| batch.spans()).sum::<u64>();
        for _ in 0..2 * WAITING_BATCHES {
            quiet.write(&span(&["one"]));
            quiet.flush();
        }
        let mut written = 2 * WAITING_BATCHES as u64;
        assert_eq!(counts.dropped_count(), 0, "small buffers do not take every place");
        for _ in 0..PLACES_OF_FULL_BUFFERS / 2 * BUFFER_BYTES / 200 {
            busy.write(&span(&["a span among many"]));
            written += 1;
        }
        busy.flush();
        assert_eq!(counts.dropped_count(), 0, "there is place for full ones still");
        taken += take();
        assert!(taken < written, "some wait in their buffers");
        quiet.flush();
        busy.flush();
        taken += take();
        assert_eq!((taken, counts.dropped_count()), (written, 0));
    }

    #[test]
    fn a_writer_that_ends_hands_on_what_it_has_or_counts_it() {
        let counts = SpanCounts::default();
        let (channel, mut received) = SpanChannel::new(counts.clone());
        let last = channel.writer(7);
        last.write(&span(&["last"]));
        drop(last);
        assert_eq!(received.try_recv().unwrap().spans(), 1);
        let (fills, last) = (channel.writer(8), channel.writer(9));
        last.write(&span(&["lost"]));
        while counts.dropped_count() == 0 {
            fills.write(&span(&["a span of a usual length"]));
        }
        drop(fills);
        let dropped = counts.dropped_count();
        drop(last);
        assert_eq!(counts.dropped_count(), dropped + 1);
    }
}
