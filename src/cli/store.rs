//! `latchkey store`: how the store stands, moving it, backing it up, putting it back, and its master key.

mod backup;
mod copy;
mod migrate;
mod restore;
mod rotate_master_key;
mod status;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::backup::BackupArguments;
use self::copy::CopyArguments;
use self::restore::RestoreArguments;
use self::rotate_master_key::RotateArguments;
use super::operator::{ConfigArgument, Operator};
use crate::auth::MissingStore;

/// See how the store stands, back it up and restore it, copy it into another one, rotate its master key
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
    /// Bring the store's schema up to date, as every command and every start of a gateway does before anything else
    ///
    /// For a step of its own in a roll-out. Gateways of the version before go on beside a shared database's new schema.
    #[command(after_help = "Example: latchkey store migrate")]
    Migrate {
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
    /// Write everything that lasts in the embedded store into one file, while gateways run, and check it
    ///
    /// The master key is not in it. Sessions and one-time links are not in it either. A PostgreSQL database is backed up by
    /// its own tools.
    #[command(after_help = "Example: latchkey store backup latchkey-2027-01-31.backup")]
    Backup(BackupArguments),
    /// Put the embedded store back to a backup, while gateways run, or make it anew where it is lost
    ///
    /// What was deleted, disabled, deactivated, used or replaced since stays so, unless --accept-revival brings it back; each
    /// of it is named. Sessions and one-time links end. The audit trail goes on.
    #[command(after_help = "Example: latchkey store restore latchkey-2027-01-31.backup")]
    Restore(RestoreArguments),
    /// Put a new master key in the place of the present one, while gateways run
    ///
    /// Begun with --to, both open the store; put the new key in place wherever the store is opened, and give --finish. On one
    /// machine --in-place does all of it. API keys, passwords and sessions go on as they are.
    #[command(after_help = "Example: latchkey store rotate-master-key --to new-master.key")]
    RotateMasterKey(RotateArguments),
}

pub(super) fn run(arguments: &StoreArguments) -> Result<()> {
    let config = &arguments.config;
    match &arguments.command {
        StoreCommand::Status { json } => status::run(&Operator::open(config, MissingStore::Refuse)?, *json),
        StoreCommand::Migrate { json } => migrate::run(&Operator::open(config, MissingStore::Refuse)?, *json),
        StoreCommand::Copy(copied) => copy::run(config, copied),
        StoreCommand::Backup(made) => backup::run(config, made),
        StoreCommand::Restore(restored) => restore::run(config, restored),
        StoreCommand::RotateMasterKey(rotated) => rotate_master_key::run(config, rotated),
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
