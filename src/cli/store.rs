//! `latchkey store`: how the store stands, and moving it into another one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::operator::{ConfigArgument, Operator};
use super::{UsageError, output};
use crate::auth::MissingStore;
use crate::config::StoreLocation;
use crate::store::{AfterCopy, CopyProgress, CopyStep, FollowingGateway, StoreStatus};

/// See how the store stands, and copy it into another one
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey store status")]
pub(super) struct StoreArguments {
    #[command(subcommand)]
    command: StoreCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Show where the store is, what it holds, and which gateways follow it
    #[command(after_help = "Example: latchkey store status --json")]
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy the store into an empty one, from SQLite to PostgreSQL or back, and check the copy
    ///
    /// Changes wait meanwhile; keys go on. Afterwards this store takes no changes any more: point `store.url` at the copy,
    /// keep the master key, and start the gateways anew. Sessions and one-time links are not copied.
    #[command(after_help = "Example: latchkey store copy --to postgres://latchkey@db.example.com/latchkey")]
    Copy(CopyArguments),
}

#[derive(Args, Debug)]
struct CopyArguments {
    /// The empty store, as `store.url` names one; a database's password may be in PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL")]
    to: String,
    /// Let this store take changes afterwards; what is changed in it is not in the copy
    #[arg(long)]
    leave_open: bool,
}

pub(super) fn run(arguments: &StoreArguments) -> Result<()> {
    match &arguments.command {
        StoreCommand::Status { json } => {
            status(&Operator::open(&arguments.config, MissingStore::Refuse)?, *json)
        }
        StoreCommand::Copy(copied) => {
            let folder = arguments.config.path()?.parent().unwrap_or(Path::new(""));
            let to = StoreLocation::parse(&copied.to, folder)
                .map_err(|fault| UsageError(format!("--to {fault}; {}", StoreLocation::ALLOWED)))?;
            let after = if copied.leave_open { AfterCopy::LeaveOpen } else { AfterCopy::Close };
            copy(&Operator::open(&arguments.config, MissingStore::Refuse)?, &to, after)
        }
    }
}

fn copy(operator: &Operator, to: &StoreLocation, after: AfterCopy) -> Result<()> {
    let began = Instant::now();
    let bar = output::progress_bar();
    let copied = operator.run(operator.control.copy_store(to, after, &mut |progress| {
        let CopyProgress { step, table, done, of } = progress;
        let verb = match step {
            CopyStep::Writing => "written",
            CopyStep::Checking => "checked",
        };
        bar.set_length(of.max(done));
        bar.set_position(done);
        bar.set_message(format!("{table}: {done} of {of} rows {verb}"));
    }));
    bar.finish_and_clear();
    let tables = copied?.tables;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    output::table(
        ["TABLE", "ROWS"],
        tables.iter().map(|table| [table.name.to_owned(), table.rows.to_string()]).collect(),
    )?;
    let rows = output::count(usize::try_from(rows).unwrap_or(usize::MAX), "row");
    output::note(&format!("copied {rows} to {to} and checked them in {}", shown_seconds(began.elapsed())));
    output::note(match after {
        AfterCopy::Close => {
            "this store takes no changes any more; point `store.url` at the copy, keep the master key, and start the \
             gateways anew"
        }
        AfterCopy::LeaveOpen => "this store goes on; what is changed in it from now on is not in the copy",
    });
    Ok(())
}

fn status(operator: &Operator, json: bool) -> Result<()> {
    let status = operator.run(operator.control.store_status())?;
    if json {
        return output::data(&as_json(&status).to_string());
    }
    output::data(&describe(&status))?;
    if status.gateways.is_empty() {
        return output::data("gateways      none");
    }
    output::data("")?;
    let rows = status.gateways.iter().map(|gateway| {
        [
            gateway.name.clone(),
            gateway.since.to_string(),
            gateway.applied.0.to_string(),
            gateway.behind.to_string(),
            gateway.heard_of.map_or_else(|| String::from("-"), |ago| format!("{} ago", shown_seconds(ago))),
        ]
    });
    output::table(["GATEWAY", "SINCE", "APPLIED", "BEHIND", "HEARD OF"], rows.collect())
}

fn describe(status: &StoreStatus) -> String {
    let changes = if status.moved { "refused: it was copied to another store" } else { "taken" };
    format!(
        "store         {}\nengine        {}\nchanges       {changes}\nrevision      {}\ncustomers     {}\nusers         {}\n\
         keys          {}\nAPI sessions  {}\nsize          {}",
        status.location,
        engine(status),
        status.revision.0,
        status.customers,
        status.users,
        status.keys,
        status.api_sessions,
        shown_size(status.size_bytes),
    )
}

fn as_json(status: &StoreStatus) -> Value {
    let gateway = |gateway: &FollowingGateway| {
        json!({
            "name": gateway.name,
            "since": gateway.since.to_string(),
            "applied_revision": gateway.applied.0,
            "behind": gateway.behind,
            "heard_of_ms_ago": gateway.heard_of.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        })
    };
    json!({
        "location": status.location.to_string(),
        "engine": engine(status),
        "moved": status.moved,
        "revision": status.revision.0,
        "customers": status.customers,
        "users": status.users,
        "keys": status.keys,
        "api_sessions": status.api_sessions,
        "size_bytes": status.size_bytes,
        "gateways": status.gateways.iter().map(gateway).collect::<Value>(),
    })
}

const fn engine(status: &StoreStatus) -> &'static str {
    match status.location {
        StoreLocation::Sqlite(_) => "sqlite",
        StoreLocation::Postgres(_) => "postgres",
    }
}

/// Seconds with one digit behind the point.
fn shown_seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A size with one digit behind the point, in the largest unit that it fills.
fn shown_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => {
            let tenths = bytes % size * 10 / size;
            format!("{}.{tenths} {unit}", bytes / size)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_the_unit_that_it_fills() {
        let cases = [(0, "0 bytes"), (1_023, "1023 bytes"), (1_024, "1.0 KiB"), (1_572_864, "1.5 MiB")];
        for (bytes, shown) in cases {
            assert_eq!(shown_size(bytes), shown);
        }
        assert_eq!(shown_size(3 << 30), "3.0 GiB");
    }
}
