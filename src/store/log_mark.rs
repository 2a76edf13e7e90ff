//! Whether anybody has written to the embedded store, told by a look at its write-ahead log from outside.
//!
//! Every commit writes there, whichever process makes it, and the file system notes when. To ask the engine instead is a
//! question to another thread, fifty times a second. Used by `follower`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// File systems note times by the kernel's tick, which is 10 ms at most: two commits within one may leave the same mark.
const TICK: Duration = Duration::from_millis(50);

/// What the log looked like at the last look.
#[derive(Debug, Default)]
pub(super) struct LogMark(Option<Seen>);

#[derive(Debug)]
struct Seen {
    mark: Mark,
    since: Instant,
    /// Was the engine asked once more when the tick of the mark was over?
    is_settled: bool,
}

/// Device and number of the file, its length, and when it was written to, in seconds and nanoseconds.
#[derive(Debug, PartialEq, Eq)]
struct Mark([u64; 3], [i64; 2]);

impl LogMark {
    /// Can nothing have been written since the last look? It is `now`. Where this says no, the engine is to be asked.
    pub(super) fn is_as_it_was(&mut self, log: &Path, now: Instant) -> bool {
        let mark = Mark::of(log);
        match (&mut self.0, mark) {
            (Some(seen), Some(mark)) if seen.mark == mark => {
                let was_settled = seen.is_settled;
                seen.is_settled |= now - seen.since >= TICK;
                was_settled
            }
            (seen, mark) => {
                *seen = mark.map(|mark| Seen { mark, since: now, is_settled: false });
                false
            }
        }
    }
}

impl Mark {
    /// `None`: there is no log, or it cannot be looked at.
    fn of(log: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(log).ok()?;
        let file = [metadata.dev(), metadata.ino(), metadata.len()];
        Some(Self(file, [metadata.mtime(), metadata.mtime_nsec()]))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::sqlite::{log_path, real_path};
    use super::*;
    use crate::config::StoreLocation;
    use crate::store::Store;

    #[test]
    fn a_log_is_as_it_was_once_a_look_behind_its_tick_found_it_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut mark, mut now) = (LogMark::default(), Instant::now());
        assert!(!mark.is_as_it_was(&path, now), "there is none");
        let mut log = std::fs::File::create(&path).unwrap();
        for written in ["one", "two"] {
            log.write_all(written.as_bytes()).unwrap();
            assert!(!mark.is_as_it_was(&path, now));
            assert!(!mark.is_as_it_was(&path, now), "perhaps written to within the tick");
            now += TICK;
            assert!(!mark.is_as_it_was(&path, now), "nobody has looked behind the tick yet");
            assert!(mark.is_as_it_was(&path, now));
        }
        // As long as before.
        let later = std::fs::metadata(&path).unwrap().modified().unwrap() + Duration::from_millis(4);
        log.set_modified(later).unwrap();
        assert!(!mark.is_as_it_was(&path, now));
    }

    #[tokio::test]
    async fn a_commit_leaves_its_mark_also_where_the_log_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latchkey.db");
        let store = Store::open_or_create(&StoreLocation::Sqlite(path.clone())).await.unwrap();
        let log = log_path(&real_path(&path));
        let (mut mark, mut now, mut values) = (LogMark::default(), Instant::now(), 0..1_000);
        for begins_anew in [false, true, true] {
            if begins_anew {
                sqlx::raw_sql("PRAGMA wal_checkpoint(RESTART)").execute(&store.writer).await.unwrap();
            }
            mark.is_as_it_was(&log, now);
            now += TICK;
            mark.is_as_it_was(&log, now);
            assert!(mark.is_as_it_was(&log, now));
            // Until the kernel's tick is another.
            while mark.is_as_it_was(&log, now) {
                let value = values.next().unwrap();
                let commit = format!("PRAGMA user_version = {value}");
                sqlx::raw_sql(sqlx::AssertSqlSafe(commit)).execute(&store.writer).await.unwrap();
            }
        }
    }
}
