//! `latchkey store rotate-master-key`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{ArgGroup, Args};

use crate::auth::{MissingStore, RotatedInPlace, RotationBegun};
use crate::cli::operator::{ConfigArgument, Operator};
use crate::cli::{output, prompt};

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line; at most one step is given"
)]
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("step").required(true))]
pub(super) struct RotateArguments {
    /// Begin: let the master key of this file open the store as well; it is made where it does not exist, mode 0600
    #[arg(long, value_name = "FILE", group = "step")]
    to: Option<PathBuf>,
    /// End, once the new key is the one that is configured everywhere: the old one opens the store no more
    #[arg(long, group = "step")]
    finish: bool,
    /// Give up, while the old key is the one that is configured: the new one opens the store no more
    #[arg(long, group = "step")]
    abandon: bool,
    /// On one machine: do all of it, and replace the configured file; the old key is kept beside it, as `.old`
    #[arg(long, group = "step")]
    in_place: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

const IF_NOBODY_NEEDS_IT: &str =
    "backups made before open with the old key alone: keep it, apart from them, for as long as you keep them";

pub(super) fn run(config: &ConfigArgument, arguments: &RotateArguments) -> Result<()> {
    let operator = Operator::open(config, MissingStore::Refuse)?;
    match &arguments.to {
        Some(new) => begin(&operator, new),
        None if arguments.abandon => abandon(&operator),
        None if arguments.finish => finish(&operator, arguments.yes),
        None => in_place(&operator, arguments.yes),
    }
}

fn begin(operator: &Operator, new: &Path) -> Result<()> {
    let control = &operator.control;
    let begun = operator.run(control.begin_master_key_rotation(operator.master_key(), new))?;
    let file = new.display();
    output::note(&match begun {
        RotationBegun::WithNewKey => format!("made a new master key in {file}; it opens the store as well"),
        RotationBegun::WithGivenKey => format!("the master key in {file} opens the store as well"),
        RotationBegun::Before => {
            format!("the master key in {file} opens the store as well, as it did before")
        }
    });
    output::note(
        "put it in the place of the old one wherever the store is opened; gateways that run need no restart, and may be \
         started with either. Over a shared database wait half a minute first, until every gateway's snapshot opens with \
         both. Then run `latchkey store rotate-master-key --finish`",
    );
    Ok(())
}

fn finish(operator: &Operator, yes: bool) -> Result<()> {
    prompt::require_consent(
        "from now on the old master key opens the store no more: no gateway and no command starts with it",
        yes,
    )?;
    operator.run(operator.control.finish_master_key_rotation(operator.master_key()))?;
    output::note("rotated the master key: the old one opens the store no more");
    output::note(IF_NOBODY_NEEDS_IT);
    Ok(())
}

fn abandon(operator: &Operator) -> Result<()> {
    operator.run(operator.control.abandon_master_key_rotation(operator.master_key()))?;
    output::note("the old master key alone opens the store, as before");
    Ok(())
}

fn in_place(operator: &Operator, yes: bool) -> Result<()> {
    prompt::require_consent(
        "this puts a new master key in the place of the configured file; no gateway and no command starts with the old \
         one afterwards",
        yes,
    )?;
    let RotatedInPlace { kept, set_aside } =
        operator.run(operator.control.rotate_master_key_in_place(operator.master_key()))?;
    if let Some(aside) = set_aside {
        output::note(&format!(
            "a file that was there as `.new` was not used, because no rotation was begun with it: it is {} now; delete it, \
             unless you know that you need it",
            aside.display()
        ));
    }
    output::note(&match kept {
        Some(kept) => format!("rotated the master key; the old one is kept in {}", kept.display()),
        None => String::from("rotated the master key"),
    });
    output::note(IF_NOBODY_NEEDS_IT);
    Ok(())
}
