//! `latchkey audit`: what happened, and whether the record of it is whole.

mod list;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::operator::{ConfigArgument, Operator};
use super::output;
use crate::auth::{AuditHead, MissingStore};

/// Read the audit trail, and prove that it is whole
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey audit list --user acme/alex --since 2027-01-31")]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// List what happened, oldest first
    #[command(after_help = "Example: latchkey audit list --event key.created --since 7d --csv > keys.csv")]
    List(list::ListArguments),
    /// Check every row: none changed, none removed, none put in by others; the head goes to stdout
    ///
    /// Gateways log the head every hour. A trail whose end was cut off is found by a head that was noted elsewhere.
    #[command(after_help = "Example: latchkey audit verify --expect \"$(cat noted-head)\"")]
    Verify {
        /// A head that was logged or printed before: its row must still be there
        #[arg(long, value_name = "HEAD")]
        expect: Option<AuditHead>,
    },
}

pub(super) fn run(arguments: AuditArguments) -> Result<()> {
    let operator = Operator::open(&arguments.config, MissingStore::Refuse)?;
    match arguments.command {
        AuditCommand::List(arguments) => list::list(&operator, &arguments),
        AuditCommand::Verify { expect } => verify(&operator, expect),
    }
}

fn verify(operator: &Operator, expect: Option<AuditHead>) -> Result<()> {
    let bar = output::progress_bar();
    let checked = operator.run(operator.control.verify_audit(expect, &mut |progress| {
        bar.set_length(progress.of.max(progress.checked));
        bar.set_position(progress.checked);
        bar.set_message(format!("{} of {} rows checked", progress.checked, progress.of));
    }))?;
    bar.finish_and_clear();
    match checked {
        Ok(head) => {
            let rows = output::count(usize::try_from(head.sequence()).unwrap_or(usize::MAX), "row");
            output::note(&format!("the audit trail is whole: {rows}; its head:"));
            output::data(&head.to_string())
        }
        Err(fault) => bail!("the audit trail is not what was written: {fault}"),
    }
}
