//! The access log: one JSON object a line, the same members for both doors and the console.
//!
//! A door thread writes into its own buffer; full buffers go through a bounded channel to one writing thread, the
//! only one that touches the file. A slow or failing disk therefore costs lines, which are counted, and never a
//! door's time. The file is not rotated here: it is opened for appending, so that `copytruncate` works.

mod line;
mod share;

use std::cell::RefCell;
use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use self::line::WrittenSecond;
use self::share::Share;
use super::{RequestId, TraceId};
use crate::model::{AccessPoint, ClientIp, KeyId, SampleRatio, Timestamp};

/// A buffer of this many bytes is handed on.
const BUFFER_BYTES: usize = 128 * 1024;
/// A buffer has room for one more line of a usual length, so that it need not grow for its last one.
const BUFFER_ROOM: usize = BUFFER_BYTES + 2 * 1024;
/// Buffers that may wait for the disk, over all threads: 4 MiB.
const WAITING_BUFFERS: usize = 32;
/// Empty buffers that are kept for the next ones: a new one costs the memory management of two threads.
const SPARE_BUFFERS: usize = 4;
/// What a line says of its share that is of all such lines.
const ALWAYS: &str = "1";
/// How long the end of the log may wait for the disk.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// One request at a door or the console: what is written about it. Borrowed, so that writing it copies each part once.
#[derive(Clone, Debug)]
pub struct AccessRecord<'a> {
    /// When the request came; the member `time`, RFC 3339 in UTC with milliseconds.
    pub at: Timestamp,
    /// Which entrance.
    pub service: AccessPoint,
    /// The listener's name.
    pub listener: &'a str,
    /// The request's name; for `IsProxy` the session's.
    pub request_id: RequestId,
    /// Where it came from.
    pub client_ip: ClientIp,
    /// HTTP method, or the line protocol's verb.
    pub method: &'a str,
    /// Path without the query, or the domain asked for.
    pub target: &'a str,
    /// HTTP status, or 100 / 400 of the line protocol; 0 where nothing was answered.
    pub status: u16,
    /// [`DenialReason::as_str`](crate::auth::DenialReason::as_str) where it was refused, or what went wrong upstream.
    pub reason: Option<&'static str>,
    /// The customer's handle, where known.
    pub customer: Option<&'a str>,
    /// The login name, where known.
    pub user: Option<&'a str>,
    /// The key, where one was used.
    pub key_id: Option<KeyId>,
    /// `api-key`, `password` or `session`, where one was right.
    pub auth_method: Option<&'static str>,
    /// The upstream's name, where one was asked.
    pub upstream: Option<&'a str>,
    /// From the request's head to the end of the answer, in microseconds; the member `duration_us`.
    pub duration_microseconds: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Its trace, where traces are made.
    pub trace_id: Option<TraceId>,
}

/// The access log of the process; hands each door thread a writer.
///
/// The writing thread ends when the last `AccessLog` and the last [`AccessLogWriter`] are dropped. That last drop
/// waits until what was handed on is in the file, five seconds at most.
#[derive(Clone, Debug)]
pub struct AccessLog(Option<Arc<Channel>>);

/// One door thread's buffer before the log: a full one is handed to the log's own thread, so that no door touches a file.
pub struct AccessLogWriter {
    buffer: RefCell<Vec<u8>>,
    second: RefCell<WrittenSecond>,
    channel: Option<Arc<Channel>>,
}

/// The way to the writing thread.
#[derive(Debug)]
struct Channel {
    /// Taken out at the end, so that the thread sees it close.
    buffers: Option<SyncSender<Vec<u8>>>,
    spare: Spare,
    dropped_lines: Arc<AtomicU64>,
    /// Of the requests that were let in and answered.
    allowed: Share,
    /// Closes when the writing thread has ended; in a mutex only to be shared, nobody else takes it.
    ended: std::sync::Mutex<Receiver<()>>,
}

/// Buffers that the writing thread has emptied.
#[derive(Clone, Debug, Default)]
struct Spare(Arc<std::sync::Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_ROOM))
    }

    fn give(&self, mut emptied: Vec<u8>) {
        emptied.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that a long line has made larger goes.
        if spare.len() < SPARE_BUFFERS && emptied.capacity() <= BUFFER_ROOM {
            spare.push(emptied);
        }
    }
}

impl AccessLog {
    /// No log.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Opens the file for appending (mode 0600 if it is new), making its folder, and starts the writing thread.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be made or opened, or no thread can be started.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Self::open_for(path, SampleRatio::ALL)
    }

    /// The same; of the lines that [`AccessLogWriter::write_allowed`] is given, the share `allowed` is written.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be made or opened, no thread can be started, or there is nothing to draw with.
    pub fn open_for(path: &Path, allowed: SampleRatio) -> std::io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Self::start(file, allowed)
    }

    fn start(sink: impl Write + Send + 'static, allowed: SampleRatio) -> std::io::Result<Self> {
        let allowed = Share::new(allowed)?;
        let (buffers, received) = sync_channel(WAITING_BUFFERS);
        let (end, ended) = channel();
        let dropped_lines = Arc::new(AtomicU64::new(0));
        let (counter, spare) = (Arc::clone(&dropped_lines), Spare::default());
        let emptied = spare.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_buffers(sink, &received, &emptied, &counter, end))?;
        let ended = std::sync::Mutex::new(ended);
        Ok(Self(Some(Arc::new(Channel { buffers: Some(buffers), spare, dropped_lines, allowed, ended }))))
    }

    /// A writer for one thread.
    pub fn writer(&self) -> AccessLogWriter {
        let buffer = if self.0.is_some() { Vec::with_capacity(BUFFER_ROOM) } else { Vec::new() };
        AccessLogWriter { buffer: RefCell::new(buffer), second: RefCell::default(), channel: self.0.clone() }
    }

    /// Lines lost since the start, because the disk was too slow or refused them.
    pub fn dropped_lines(&self) -> u64 {
        self.0.as_ref().map_or(0, |channel| channel.dropped_lines.load(Ordering::Relaxed))
    }
}

impl AccessLogWriter {
    /// Adds a line to the buffer; never waits. Lines that the log cannot take any more are counted and dropped.
    pub fn write(&self, record: &AccessRecord<'_>) {
        if let Some(channel) = &self.channel {
            self.append(channel, record, ALWAYS);
        }
    }

    /// The same for a request that was let in and answered, of which the log may take a share: which ones, their ids
    /// decide, so that a session is there as a whole or not at all. Nobody outside can tell.
    pub fn write_allowed(&self, record: &AccessRecord<'_>) {
        let Some(channel) = &self.channel else { return };
        if channel.allowed.takes(record.request_id) {
            self.append(channel, record, channel.allowed.text());
        }
    }

    fn append(&self, channel: &Channel, record: &AccessRecord<'_>, sample_ratio: &str) {
        let mut buffer = self.buffer.borrow_mut();
        line::write_line(&mut buffer, &mut self.second.borrow_mut(), record, sample_ratio);
        if buffer.len() >= BUFFER_BYTES {
            channel.hand_on(&mut buffer);
        }
    }

    /// Hands on what is buffered; each door thread calls it a few times a second and at its end.
    pub fn flush(&self) {
        let Some(channel) = &self.channel else { return };
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            channel.hand_on(&mut buffer);
        }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for AccessLogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLogWriter")
    }
}

impl Channel {
    /// Hands `buffer` to the writing thread and leaves an empty one, or drops its lines where the thread is behind.
    fn hand_on(&self, buffer: &mut Vec<u8>) {
        let Some(buffers) = &self.buffers else { return };
        match buffers.try_send(std::mem::take(buffer)) {
            Ok(()) => *buffer = self.spare.take(),
            Err(TrySendError::Full(mut lost) | TrySendError::Disconnected(mut lost)) => {
                self.dropped_lines.fetch_add(count_lines(&lost), Ordering::Relaxed);
                lost.clear();
                *buffer = lost;
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.buffers = None;
        // Nothing is ever sent: the wait ends with the thread, or with the deadline where the disk hangs.
        if let Ok(ended) = self.ended.get_mut() {
            let _ = ended.recv_timeout(CLOSE_DEADLINE);
        }
    }
}

/// The writing thread: writes until the last sender is gone. `end` is dropped with it, which is the news of its end.
fn write_buffers(
    sink: impl Write,
    received: &Receiver<Vec<u8>>,
    emptied: &Spare,
    dropped_lines: &AtomicU64,
    end: Sender<()>,
) {
    let mut file = LogFile { sink, within_line: false };
    let mut failing = false;
    while let Ok(buffer) = received.recv() {
        match file.append(&buffer) {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the access log is written again");
            }
            Ok(()) => {}
            Err(failure) => {
                dropped_lines.fetch_add(failure.lost_lines, Ordering::Relaxed);
                if !failing {
                    failing = true;
                    let error = failure.error;
                    tracing::error!(%error, "the access log cannot be written; its lines are dropped and counted");
                }
            }
        }
        emptied.give(buffer);
    }
    let _ = file.sink.flush();
    drop(end);
}

/// The file as the writing thread sees it.
struct LogFile<W> {
    sink: W,
    /// A write broke off within a line; the next one starts on a line of its own, so that only that one is unreadable.
    within_line: bool,
}

/// What the end of a buffer that could not be written cost.
#[derive(Debug)]
struct AppendFailure {
    error: std::io::Error,
    lost_lines: u64,
}

impl<W: Write> LogFile<W> {
    /// Writes whole lines, as many as go.
    fn append(&mut self, lines: &[u8]) -> Result<(), AppendFailure> {
        let mut rest = lines;
        if self.within_line && !lines.is_empty() {
            self.sink
                .write_all(b"\n")
                .map_err(|error| AppendFailure { error, lost_lines: count_lines(rest) })?;
            self.within_line = false;
        }
        while !rest.is_empty() {
            let error = match self.sink.write(rest) {
                Ok(0) => std::io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    let (written, left) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                    self.within_line = !written.ends_with(b"\n");
                    rest = left;
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(AppendFailure { error, lost_lines: count_lines(rest) });
        }
        Ok(())
    }
}

/// Every line ends in the only line feed it holds: those of its values are escaped.
fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    use super::*;

    /// A request by `acme/alex` with a key.
    pub(super) fn sample() -> AccessRecord<'static> {
        AccessRecord {
            at: "2026-11-23T10:20:30.456Z".parse::<Timestamp>().unwrap(),
            service: AccessPoint::Api,
            listener: "api",
            request_id: super::super::RequestIds::new(1).next_id(),
            client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            method: "GET",
            target: "/v2/domains",
            status: 200,
            reason: None,
            customer: Some("acme"),
            user: Some("alex"),
            key_id: Some(KeyId::from_random(7)),
            auth_method: Some("api-key"),
            upstream: Some("registry"),
            duration_microseconds: 1234,
            response_bytes: 56,
            trace_id: None,
        }
    }

    /// A file that refuses writes as told, and takes at most `most` bytes in one.
    #[derive(Clone)]
    struct Disk {
        content: Arc<Mutex<Vec<u8>>>,
        most: usize,
        refuses_after: Arc<Mutex<usize>>,
    }

    impl Disk {
        fn new(most: usize, refuses_after: usize) -> Self {
            Self { content: Arc::default(), most, refuses_after: Arc::new(Mutex::new(refuses_after)) }
        }

        fn allow(&self, bytes: usize) {
            *self.refuses_after.lock().unwrap() = bytes;
        }

        fn text(&self) -> String {
            String::from_utf8(self.content.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut content = self.content.lock().unwrap();
            let room = self.refuses_after.lock().unwrap().saturating_sub(content.len());
            if room == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(self.most).min(room);
            content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_in_the_file_when_the_log_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/access.jsonl");
        for round in 1..=2 {
            let log = AccessLog::open(&path).unwrap();
            let writer = log.writer();
            for _ in 0..1_000 {
                writer.write(&sample());
            }
            drop(log);
            drop(writer);
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), round * 1_000, "the file is appended to");
            assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn writers_of_several_threads_never_mix_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.jsonl");
        let log = AccessLog::open(&path).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let writer = log.writer();
                scope.spawn(move || (0..2_000).for_each(|_| writer.write(&sample())));
            }
        });
        let dropped = log.dropped_lines();
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count() as u64 + dropped, 8_000);
        let first = text.lines().next().unwrap();
        assert!(text.lines().all(|line| line == first));
    }

    #[test]
    fn a_log_that_is_off_takes_lines_and_keeps_nothing() {
        let log = AccessLog::off();
        let writer = log.writer();
        writer.write(&sample());
        writer.flush();
        assert!(writer.buffer.borrow().is_empty());
        assert_eq!(log.dropped_lines(), 0);
    }

    #[test]
    fn an_unusable_path_is_told_at_the_start() {
        assert!(AccessLog::open(Path::new("/dev/null/access.jsonl")).is_err());
    }

    #[test]
    fn a_disk_that_hangs_costs_lines_and_never_a_doors_time() {
        let (release, released) = channel::<()>();
        let log = AccessLog::start(Hanging(released), SampleRatio::ALL).unwrap();
        let writer = log.writer();
        let line_bytes = {
            let mut line = Vec::new();
            line::write_line(&mut line, &mut WrittenSecond::default(), &sample(), ALWAYS);
            line.len()
        };
        let lines = (WAITING_BUFFERS + 10) * (BUFFER_BYTES / line_bytes + 1);
        for _ in 0..lines {
            writer.write(&sample());
        }
        let dropped = log.dropped_lines();
        assert!(dropped > 0, "the log is bounded");
        assert!(dropped < (lines / 4) as u64, "only what exceeds the bound is lost: {dropped} of {lines}");
        drop(release);
    }

    /// Takes nothing until its other end is dropped.
    struct Hanging(Receiver<()>);

    impl Write for Hanging {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_share_of_what_was_let_in_is_written_by_its_ids_and_all_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.jsonl");
        let log = AccessLog::open_for(&path, SampleRatio::new(0.25).unwrap()).unwrap();
        let (writer, ids) = (log.writer(), super::super::RequestIds::new(1));
        for _ in 0..4_000 {
            let record = AccessRecord { request_id: ids.next_id(), ..sample() };
            // Two lines of one session.
            writer.write_allowed(&record);
            writer.write_allowed(&record);
        }
        for _ in 0..10 {
            writer.write(&AccessRecord { status: 401, request_id: ids.next_id(), ..sample() });
        }
        writer.flush();
        drop((writer, log));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (refused, allowed): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["status"] == 401);
        assert_eq!(refused.len(), 10);
        assert!(refused.iter().all(|line| line["sample_ratio"] == 1));
        assert!((1_700..2_300).contains(&allowed.len()), "{} of 8000", allowed.len());
        for pair in allowed.chunks(2) {
            assert_eq!(pair[0]["request_id"], pair[1]["request_id"]);
            assert_eq!(pair[0]["sample_ratio"], 0.25);
        }
    }

    #[test]
    fn a_full_disk_loses_the_rest_and_counts_it() {
        let (buffers, received) = sync_channel(2);
        buffers.send(b"one\ntwo\nthree\n".to_vec()).unwrap();
        buffers.send(b"four\n".to_vec()).unwrap();
        drop(buffers);
        let (disk, dropped) = (Disk::new(3, 10), AtomicU64::new(0));
        write_buffers(disk.clone(), &received, &Spare::default(), &dropped, channel().0);
        assert_eq!(disk.text(), "one\ntwo\nth");
        assert_eq!(dropped.into_inner(), 2);
    }

    #[test]
    fn after_a_full_disk_the_log_goes_on_with_a_line_of_its_own() {
        let disk = Disk::new(100, 6);
        let mut file = LogFile { sink: disk.clone(), within_line: false };
        assert_eq!(file.append(b"one\ntwo\n").unwrap_err().lost_lines, 1);
        assert_eq!(file.append(b"three\n").unwrap_err().lost_lines, 1);
        disk.allow(7);
        assert_eq!(file.append(b"four\n").unwrap_err().lost_lines, 1);
        disk.allow(usize::MAX);
        assert!(file.append(b"five\n").is_ok());
        assert_eq!(disk.text(), "one\ntw\nfive\n");
    }

    #[test]
    fn a_file_that_takes_little_at_a_time_still_gets_everything() {
        let disk = Disk::new(1, usize::MAX);
        let mut file = LogFile { sink: disk.clone(), within_line: false };
        assert!(file.append(b"one\n").is_ok());
        assert!(file.append(b"two\n").is_ok());
        assert_eq!(disk.text(), "one\ntwo\n");
    }
}
