//! `latchkey store backup`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{shown_seconds, shown_size};
use crate::auth::{BackupProgress, MissingStore};
use crate::cli::operator::{ConfigArgument, Operator};
use crate::cli::output;
use crate::store::BackupContents;

#[derive(Args, Debug)]
pub(super) struct BackupArguments {
    /// Where to; it must not exist
    file: PathBuf,
    /// What it holds, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &ConfigArgument, arguments: &BackupArguments) -> Result<()> {
    let operator = Operator::open(config, MissingStore::Refuse)?;
    let (began, file) = (Instant::now(), arguments.file.display());
    let bar = output::progress_bar();
    let made =
        operator.run(operator.control.back_up_store(&arguments.file, &mut |step| show_progress(&bar, step)));
    bar.finish_and_clear();
    let made = made?;
    let held = describe(&made.contents);
    output::note(&format!("backed the store up to {file} in {}: {held}", shown_seconds(began.elapsed())));
    output::note("the master key is not in it, and opens it: keep both, and keep them apart");
    if arguments.json {
        let contents = made.contents;
        let told = json!({
            "file": arguments.file,
            "customers": contents.customers,
            "users": contents.users,
            "keys": contents.keys,
            "revision": contents.revision.0,
            "bytes": contents.bytes,
            "audit_head": made.trail.ok().map(|head| head.to_string()),
        });
        output::data(&told.to_string())?;
    }
    match made.trail {
        Ok(_) => Ok(()),
        Err(fault) => Err(anyhow::anyhow!(
            "the store's audit trail is not whole, and a restore will refuse the backup {file}: {fault}; it is kept for what it \
             tells, and is no backup"
        )),
    }
}

/// What a backup holds, in words.
pub(super) fn describe(contents: &BackupContents) -> String {
    let count = |number, one| output::count(usize::try_from(number).unwrap_or(usize::MAX), one);
    format!(
        "{}, {}, {} as of revision {}, {}",
        count(contents.customers, "customer"),
        count(contents.users, "user"),
        count(contents.keys, "key"),
        contents.revision.0,
        shown_size(contents.bytes)
    )
}

/// Shows how far a backup or a restore has come.
pub(super) fn show_progress(bar: &indicatif::ProgressBar, step: BackupProgress) {
    let (done, of, message) = match step {
        BackupProgress::Copying { done, of } => {
            (done, of, format!("{} of {} copied", shown_size(done), shown_size(of)))
        }
        BackupProgress::Checking(checked) => {
            let message = format!("{} of {} rows of the audit trail checked", checked.checked, checked.of);
            (checked.checked, checked.of, message)
        }
    };
    bar.set_length(of.max(done));
    bar.set_position(done);
    bar.set_message(message);
}
