//! Opening the store: connections for changes and for reading, each of them checked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Transaction};

use super::StoreMark;
use super::engine::Dialect;
use super::postgres::{Empty, Server};
use super::sqlite::StoreFile;
use crate::config::{PostgresUrl, StoreLocation};
use crate::crypto::random::RandomError;

/// How long a change waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// The same where the database may be out of reach: whoever waits is told so.
const SHARED_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// More than any lock is waited for.
const TASK_WITHIN: Duration = Duration::from_secs(15);
const READERS: u32 = 4;
/// One for changes and one for what nobody waits for, which may each wait in its line, and two for counting passwords.
const SERVER_WRITERS: u32 = 4;

/// The store of one installation. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) place: Arc<Place>,
    pub(super) writer: AnyPool,
    pub(super) readers: AnyPool,
}

/// Where the store is.
#[derive(Debug)]
pub(super) enum Place {
    File(StoreFile),
    Server(Server),
}

/// What can go wrong with the store; always our side's fault, never a client's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is not there, and was not to be made.
    #[error("there is no store at {0} yet; `latchkey serve`, `customer create` and `key import` make one")]
    Missing(StoreLocation),
    /// The file or its folder cannot be used.
    #[error("the store {path} cannot be opened: {source}")]
    File {
        /// The store's file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another operating-system user owns the store: files made by us would lock the gateway out.
    #[error(
        "the store {path} belongs to the operating-system user with id {owner}, and this is the user with id {us}; run the command as its owner"
    )]
    OtherOwner {
        /// The store's file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// The file that was opened is not the one at its path any more: what it says is nobody's truth.
    #[error(
        "the store {0} was moved, removed or replaced while it was in use; put it back, or start the gateway anew"
    )]
    NotInPlace(PathBuf),
    /// The database cannot be reached, or does not let us in.
    #[error("the store {url} cannot be reached: {source}")]
    Unreachable {
        /// Where it is.
        url: PostgresUrl,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The database did not answer in time.
    #[error("the store did not answer within {0:?}")]
    Unanswered(Duration),
    /// The engine refused a statement.
    #[error("the store failed: {0}")]
    Engine(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the store's schema could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A commit is not on the disk when it is acknowledged, so that a power cut could lose it.
    #[error("the store runs with {0}: what it acknowledges may be lost in a power cut")]
    NotDurable(String),
    /// A stored value makes no sense: the file was changed by something else.
    #[error("the store holds a {0} that makes no sense")]
    Corrupt(&'static str),
    /// Only one import at a time.
    #[error("another import into this store is running; wait for its end")]
    ImportRuns,
    /// Gateways are served from another store by now.
    #[error(
        "this store was copied to another one; point `store.url` at that, or run `latchkey store copy` back"
    )]
    Moved,
    /// A gateway that was started beside an empty database into which a copy is being made now.
    #[error("a copy is being made into this store; change it once `latchkey store copy` has come to its end")]
    BeingCopied,
    /// A copy that was cut off, or that was not what was read: it may lack anything.
    #[error(
        "the store {0} is an unfinished copy, which nothing may be served from; drop it, and run `latchkey store copy` anew"
    )]
    Unfinished(StoreLocation),
    /// Where deletions are noted cannot be used.
    #[error("{path}, where deletions are noted for a restore, cannot be used: {source}")]
    Tombstones {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A name is taken.
    #[error("{0} exists already")]
    Exists(String),
}

impl StoreError {
    /// Can a shared store not be reached? One that answers and does not let us in, or that shows another's certificate, is not
    /// away.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Unreachable { source: sqlx::Error::Io(_), .. } => true,
            Self::Unreachable { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| is_unwritable_by_code(&code))
            }
            _ => false,
        }
    }

    /// Can the store not be written at present, whatever is asked of it: a full disk, a failing one, a file that may not be
    /// changed or that is not in its place, a database that is away or only a replica, a store that was copied to another?
    pub fn is_unwritable(&self) -> bool {
        match self {
            Self::NotInPlace(_) | Self::Moved | Self::Unreachable { .. } | Self::Unanswered(_) => true,
            Self::Engine(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| is_unwritable_by_code(&code))
            }
            Self::Engine(error) => is_cut_off(error),
            _ => false,
        }
    }
}

/// Has the connection, and not the statement, failed?
fn is_cut_off(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::BeginFailed
    )
}

fn is_unwritable_by_code(code: &str) -> bool {
    // Five letters: PostgreSQL's (appendix A of its manual): connection failures, too few resources, an operator's
    // intervention, a replica, a lock that was waited for in vain. Otherwise SQLITE_READONLY, SQLITE_IOERR and SQLITE_FULL;
    // the low byte of an extended code is the plain one.
    const CLASSES: [&str; 3] = ["08", "53", "57"];
    if code.len() == 5 {
        return CLASSES.iter().any(|class| code.starts_with(class)) || matches!(code, "25006" | "55P03");
    }
    code.parse::<i32>().is_ok_and(|code| matches!(code & 0xff, 8 | 10 | 13))
}

impl Store {
    /// Opens the store at `location` and brings its schema up to date. A file, and its folder, are made if need be; a
    /// database must exist and may be empty.
    pub async fn open_or_create(location: &StoreLocation) -> Result<Self, StoreError> {
        if let StoreLocation::Sqlite(path) = location {
            super::sqlite::create(path)?;
        }
        Self::open_place(location, Empty::Make).await
    }

    /// Opens the store at `location`, which must exist, and brings its schema up to date.
    pub async fn open(location: &StoreLocation) -> Result<Self, StoreError> {
        Self::open_place(location, Empty::Refuse).await
    }

    async fn open_place(location: &StoreLocation, empty: Empty) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let place = match location {
            StoreLocation::Sqlite(path) => Place::File(StoreFile::open(path).await?),
            StoreLocation::Postgres(url) => Place::Server(Server::open(url, empty).await?),
        };
        let writers = match &place {
            // Writers of one file would only wait for each other.
            Place::File(_) => 1,
            Place::Server(_) => SERVER_WRITERS,
        };
        let writer = place.pool(writers, Task::Writing).connect_with(place.options()?).await?;
        let readers = place.pool(READERS, Task::Reading).connect_with(place.options()?).await?;
        let store = Self { place: Arc::new(place), writer, readers };
        if store.is_marked(StoreMark::Unfinished).await? {
            store.close().await;
            return Err(StoreError::Unfinished(location.clone()));
        }
        Ok(store)
    }

    /// A shared store that is away: nothing is connected yet, and its schema is looked at once it is there.
    pub fn awaiting(url: &PostgresUrl) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let place = Place::Server(Server::awaiting(url));
        let writer = place.pool(SERVER_WRITERS, Task::Writing).connect_lazy_with(place.options()?);
        let readers = place.pool(READERS, Task::Reading).connect_lazy_with(place.options()?);
        Ok(Self { place: Arc::new(place), writer, readers })
    }

    /// Is what is open still what stands at its path? The embedded engine does not notice by itself.
    pub(super) fn require_in_place(&self) -> Result<(), StoreError> {
        match &*self.place {
            Place::File(file) => file.require_in_place(),
            Place::Server(_) => Ok(()),
        }
    }

    /// Was it away when it was to be opened, and has not been reached since?
    pub(super) fn is_awaited(&self) -> bool {
        matches!(&*self.place, Place::Server(server) if !server.is_current())
    }

    /// Where it is.
    pub fn location(&self) -> StoreLocation {
        match &*self.place {
            Place::File(file) => StoreLocation::Sqlite(file.name().to_owned()),
            Place::Server(server) => StoreLocation::Postgres(server.url().clone()),
        }
    }

    /// Ends all connections; the write-ahead log of the embedded engine is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &*self.place {
            Place::File(_) => Dialect::Sqlite,
            Place::Server(_) => Dialect::Postgres,
        }
    }

    /// Begins a change; waits for other writers.
    pub(super) async fn begin_write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.writer.begin_with(self.dialect().begin_write()).await?)
    }

    /// Begins the writing of what nobody waits for, and what is lost without harm.
    pub(super) async fn begin_bookkeeping(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.writer.begin_with(self.dialect().begin_bookkeeping()).await?)
    }

    /// Carries out one statement of what nobody waits for; how many rows it touched.
    pub(super) async fn keep_book(
        &self,
        query: Query<'static, Any, AnyArguments>,
    ) -> Result<u64, StoreError> {
        self.in_time(async {
            let mut transaction = self.begin_bookkeeping().await?;
            let done = query.execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(done.rows_affected())
        })
        .await
    }

    /// What `work` answers; an error where a shared database does not answer it within 15 s: a connection that leads nowhere
    /// would keep whoever waits for minutes. Of a task that goes on for ever, everything it asks of the store.
    pub async fn in_time<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match &*self.place {
            Place::File(_) => work.await,
            Place::Server(_) => {
                let answered = tokio::time::timeout(TASK_WITHIN, work).await;
                answered.unwrap_or_else(|_| Err(StoreError::Unanswered(TASK_WITHIN).into()))
            }
        }
    }

    /// Begins the writing of a gateway's own rows, which nobody else writes.
    pub(super) async fn begin_unordered(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.writer.begin_with(self.dialect().begin_unordered()).await?)
    }

    /// Begins reading at one moment.
    pub(super) async fn begin_read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.readers.begin_with(self.dialect().begin_read()).await?)
    }

    /// A connection of its own: for following the feed, and for reading everything once.
    pub(super) async fn pinned_connection(&self) -> Result<AnyConnection, StoreError> {
        let mut connection = self.place.options()?.connect().await?;
        self.place.prepare(&mut connection, Task::Following).await?;
        Ok(connection)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Writing,
    Reading,
    Following,
}

impl Place {
    fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        let options: AnyConnectOptions = match self {
            Self::File(file) => file.url().parse()?,
            Self::Server(server) => server.url().expose().parse()?,
        };
        Ok(options.disable_statement_logging())
    }

    fn pool(&self, connections: u32, task: Task) -> AnyPoolOptions {
        let prepare = self.preparation(task);
        let (timeout, dialect) = match self {
            Self::File(_) => (ACQUIRE_TIMEOUT, Dialect::Sqlite),
            Self::Server(_) => (SHARED_ACQUIRE_TIMEOUT, Dialect::Postgres),
        };
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(timeout)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    prepare_connection(connection, prepare, dialect)
                        .await
                        .map_err(|error| sqlx::Error::Configuration(error.into()))
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Answered when a rollback that was begun before is done.
                    connection.ping().await?;
                    // Where the disk is full or fails, the embedded engine rolls back by itself, of which the driver knows
                    // nothing: it would never begin another transaction. Such a connection is closed, and the next one is
                    // a new one.
                    Ok(!connection.is_in_transaction())
                })
            })
    }

    /// Tells a connection what it is for, and refuses one that could lose an acknowledged change (DESIGN section 2).
    async fn prepare(&self, connection: &mut AnyConnection, task: Task) -> Result<(), StoreError> {
        let dialect = Dialect::of(connection);
        prepare_connection(connection, self.preparation(task), dialect).await
    }

    const fn preparation(&self, task: Task) -> &'static str {
        match self {
            Self::File(_) => super::sqlite::preparation(task),
            Self::Server(_) => super::postgres::preparation(task),
        }
    }
}

async fn prepare_connection(
    connection: &mut AnyConnection,
    text: &'static str,
    dialect: Dialect,
) -> Result<(), StoreError> {
    sqlx::raw_sql(text).execute(&mut *connection).await?;
    match dialect {
        Dialect::Sqlite => super::sqlite::require_durable(connection).await,
        Dialect::Postgres => super::postgres::require_durable(connection).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::empty_store;

    #[tokio::test]
    async fn every_connection_is_prepared() {
        let (_folder, store) = empty_store().await;
        let (question, answer) = match store.dialect() {
            Dialect::Sqlite => ("SELECT journal_mode FROM pragma_journal_mode", "wal"),
            // Compiling a statement costs more than any of ours takes.
            Dialect::Postgres => ("SELECT current_setting('jit')", "off"),
        };
        let mut following = store.pinned_connection().await.unwrap();
        let told: [String; 3] = [
            sqlx::query_scalar(question).fetch_one(&store.writer).await.unwrap(),
            sqlx::query_scalar(question).fetch_one(&store.readers).await.unwrap(),
            sqlx::query_scalar(question).fetch_one(&mut following).await.unwrap(),
        ];
        assert_eq!(told, [answer; 3]);
    }

    #[test]
    fn what_keeps_a_store_from_being_written_is_told_by_its_code() {
        for code in ["8", "10", "13", "1288", "08006", "53100", "57P01", "57014", "25006", "55P03"] {
            assert!(is_unwritable_by_code(code), "{code}");
        }
        for code in ["1", "5", "19", "2067", "23505", "40001", "22021", ""] {
            assert!(!is_unwritable_by_code(code), "{code}");
        }
    }
}
