//! `PostgreSQL`: a database that any number of gateways share.
//!
//! Everything stands in the schema `latchkey`. A connection that hangs is given up by deadlines on both sides, so that a
//! gateway that is cut off in the middle of a change holds up nobody for longer than ten seconds.

use std::sync::OnceLock;
use std::time::Duration;

use sqlx::AnyConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use super::StoreError;
use super::open::Task;
use super::schema::{NEWEST_MIGRATION, Schema};
use crate::config::{PostgresUrl, StoreLocation};

/// How long a connection may take to be made.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where an open store is.
#[derive(Debug)]
pub(super) struct Server {
    url: PostgresUrl,
    /// What was made of its schema, once that is up to date.
    schema: OnceLock<Schema>,
}

/// Is a database without a store to be made one?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Empty {
    Make,
    Refuse,
}

impl Server {
    /// The database at `url`, with its schema up to date. Gateways of an earlier version go on beside a newer schema, and
    /// are started beside it: migrations only ever add, until no such gateway is left.
    pub(super) async fn open(url: &PostgresUrl, empty: Empty) -> Result<Self, StoreError> {
        let server = Self::awaiting(url);
        server.bring_up_to_date(empty).await?;
        Ok(server)
    }

    /// The database at `url`, which is away.
    pub(super) fn awaiting(url: &PostgresUrl) -> Self {
        Self { url: url.clone(), schema: OnceLock::new() }
    }

    /// Has its schema been brought up to date?
    pub(super) fn is_current(&self) -> bool {
        self.schema.get().is_some()
    }

    /// Brings the schema up to date, once.
    pub(super) async fn bring_up_to_date(&self, empty: Empty) -> Result<(), StoreError> {
        if self.is_current() {
            return Ok(());
        }
        let mut connection = self.connect().await?;
        let made: Option<String> =
            sqlx::query_scalar("SELECT CAST(to_regclass('latchkey.feed_head') AS TEXT)")
                .fetch_one(&mut connection)
                .await?;
        if made.is_none() && empty == Empty::Refuse {
            return Err(StoreError::Missing(StoreLocation::Postgres(self.url.clone())));
        }
        // Gateways that start together wait for one of them; let go with the connection.
        sqlx::raw_sql("SELECT pg_advisory_lock(7311004)").execute(&mut connection).await?;
        if made.is_none() {
            sqlx::raw_sql("CREATE SCHEMA IF NOT EXISTS latchkey").execute(&mut connection).await?;
        }
        let before = schema_version(&mut connection).await?;
        let mut migrator = sqlx::migrate!("src/store/migrations/postgres");
        migrator.set_locking(false).set_ignore_missing(true);
        migrator.run_direct(None, &mut connection, false).await?;
        let now = schema_version(&mut connection).await?;
        connection.close().await?;
        // Whoever was quicker has told the same.
        let _ = self.schema.set(Schema { before, now });
        Ok(())
    }

    /// What was made of its schema; `None` while it is awaited.
    pub(super) fn schema(&self) -> Option<Schema> {
        self.schema.get().copied()
    }

    pub(super) const fn url(&self) -> &PostgresUrl {
        &self.url
    }

    /// Hears of every commit that changes the feed, until its connection fails.
    pub(super) async fn listen(&self) -> Result<PgListener, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_with(self.options()?)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("latchkey").await?;
        Ok(listener)
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let unreachable = |source| StoreError::Unreachable { url: self.url.clone(), source };
        let options = self.options()?;
        tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
            .await
            .map_err(|_| StoreError::Unanswered(CONNECT_TIMEOUT))?
            .map_err(unreachable)
    }

    fn options(&self) -> Result<PgConnectOptions, StoreError> {
        let options: PgConnectOptions = self.url.expose().parse()?;
        Ok(options
            .application_name("latchkey")
            .options([("search_path", "latchkey")])
            .disable_statement_logging())
    }
}

/// The newest migration that was carried out; 0 where none was.
async fn schema_version(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let is_made = "SELECT to_regclass('latchkey._sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar(is_made).fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    Ok(sqlx::query_scalar(NEWEST_MIGRATION).fetch_one(connection).await?)
}

/// What a connection is told first. Whoever vanishes in the middle of a change lets go of its locks after ten seconds.
///
/// No statement of ours runs for long enough to be worth compiling, and before a table's first `ANALYZE` the server takes
/// some for such: a look at the feed then takes 80 ms of CPU time instead of 0.2.
pub(super) const fn preparation(task: Task) -> &'static str {
    match task {
        Task::Writing => {
            "SET application_name TO latchkey; SET search_path TO latchkey; SET jit TO off; \
             SET statement_timeout TO '10s'; SET idle_in_transaction_session_timeout TO '10s'; SET tcp_user_timeout TO '10s'; \
             SET tcp_keepalives_idle TO 5; SET tcp_keepalives_interval TO 2; SET tcp_keepalives_count TO 3"
        }
        Task::Reading => {
            "SET application_name TO latchkey; SET search_path TO latchkey; SET jit TO off; \
             SET statement_timeout TO '60s'"
        }
        Task::Following => "SET application_name TO latchkey; SET search_path TO latchkey; SET jit TO off",
    }
}

pub(super) async fn require_durable(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let (fsync, commit): (String, String) =
        sqlx::query_as("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            .fetch_one(connection)
            .await?;
    if fsync != "on" {
        return Err(StoreError::NotDurable(format!("fsync={fsync}")));
    }
    if commit == "off" { Err(StoreError::NotDurable("synchronous_commit=off".into())) } else { Ok(()) }
}
