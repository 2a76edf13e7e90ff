//! `latchkey store copy`.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use super::shown_seconds;
use crate::auth::MissingStore;
use crate::cli::operator::{ConfigArgument, Operator};
use crate::cli::{UsageError, output};
use crate::config::StoreLocation;
use crate::store::{AfterCopy, CopyProgress, CopyStep};

#[derive(Args, Debug)]
pub(super) struct CopyArguments {
    /// The empty store, as `store.url` names one; a database's password may be in PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL")]
    to: String,
    /// Let this store take changes afterwards; what is changed in it is not in the copy
    #[arg(long)]
    leave_open: bool,
}

pub(super) fn run(config: &ConfigArgument, arguments: &CopyArguments) -> Result<()> {
    let folder = config.path()?.parent().unwrap_or(Path::new(""));
    let to = StoreLocation::parse(&arguments.to, folder)
        .map_err(|fault| UsageError(format!("--to {fault}; {}", StoreLocation::ALLOWED)))?;
    let after = if arguments.leave_open { AfterCopy::LeaveOpen } else { AfterCopy::Close };
    copy(&Operator::open(config, MissingStore::Refuse)?, &to, after)
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
