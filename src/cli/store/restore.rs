//! `latchkey store restore`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::backup::{describe, show_progress};
use super::shown_seconds;
use crate::auth::{Actor, MissingStore, RestorePlan};
use crate::cli::operator::{self, ConfigArgument, Operator};
use crate::cli::{output, prompt};
use crate::clock::Clock;
use crate::store::{Difference, DifferenceKind, Effect, Revival};

/// So many of a kind are named on stderr; `--json` names all.
const NAMED_AT_MOST: usize = 20;

#[derive(Args, Debug)]
pub(super) struct RestoreArguments {
    /// The backup
    file: PathBuf,
    /// Bring back what was deleted, disabled, deactivated, used or replaced since, as it was in the backup
    #[arg(long)]
    accept_revival: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// What was restored, kept away and taken away, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &ConfigArgument, arguments: &RestoreArguments) -> Result<()> {
    let loaded = config.load()?;
    let runtime = operator::runtime()?;
    let revival = if arguments.accept_revival { Revival::Accepted } else { Revival::Refused };
    let bar = output::progress_bar();
    let mut progress = |step| show_progress(&bar, step);
    let actor = Actor::operator();
    let plan =
        runtime.block_on(RestorePlan::of(&loaded, Clock::system(), actor, &arguments.file, &mut progress));
    bar.finish_and_clear();
    let plan = plan?;
    let (contents, makes_store) = (plan.contents(), plan.makes_store());
    output::note(&format!("the backup holds {}", describe(&contents)));
    if !plan.trail_goes_on {
        output::note(&format!(
            "the backup's audit trail ends with {}, which is no row of the present trail: the store went another way \
             since; keep the backup for what it tells",
            plan.trail
        ));
    }
    tell(&plan.differences, revival);
    let consequence = if makes_store {
        "this makes the store anew from the backup; there is none at its place"
    } else {
        "this puts the store back to the backup, but for its audit trail; every session and one-time link ends"
    };
    if let Err(refused) = prompt::require_consent(consequence, arguments.yes) {
        runtime.block_on(plan.give_up());
        return Err(refused);
    }
    let began = Instant::now();
    let shown = plan.differences.clone();
    let restored = runtime.block_on(plan.carry_out(revival))?;
    if restored.differences != shown {
        output::note("the store was changed meanwhile; what holds is:");
        tell(&restored.differences, revival);
    }
    let operator = Operator::open(config, MissingStore::Refuse)?;
    let done =
        format!("restored the store from {} in {}", arguments.file.display(), shown_seconds(began.elapsed()));
    operator.announce(&done, restored.revision)?;
    if !arguments.json {
        return Ok(());
    }
    let differences = restored.differences.iter().map(|found| as_json(found, revival)).collect::<Value>();
    let told = json!({
        "file": arguments.file,
        "new_store": makes_store,
        "revision": restored.revision.0,
        "differences": differences,
    });
    output::data(&told.to_string())
}

/// Names what a restore keeps as it is, gives back and takes away.
fn tell(differences: &[Difference], revival: Revival) {
    for effect in [Effect::KeptUnlessRevived, Effect::GivenBack, Effect::TakenAway] {
        let heading = match (effect, revival) {
            (Effect::KeptUnlessRevived, Revival::Refused) => {
                "stays as it is now (--accept-revival brings it back as it was in the backup):"
            }
            (Effect::KeptUnlessRevived, Revival::Accepted) => "comes back as it was in the backup:",
            (Effect::GivenBack, _) => "becomes what it was in the backup, which may let in more:",
            (Effect::TakenAway, _) => "is not in the backup, and goes:",
        };
        if differences.iter().any(|found| found.kind.effect() == effect) {
            output::note(heading);
        }
        for kind in DifferenceKind::ALL.into_iter().filter(|kind| kind.effect() == effect) {
            let of_kind: Vec<_> = differences.iter().filter(|found| found.kind == kind).collect();
            for found in of_kind.iter().take(NAMED_AT_MOST) {
                output::note(&format!("  {}  {}", found.subject, line(kind)));
            }
            if of_kind.len() > NAMED_AT_MOST {
                let more = of_kind.len() - NAMED_AT_MOST;
                output::note(&format!("  and {more} more of these  {}", line(kind)));
            }
        }
    }
}

/// What a subject is, and what became of it.
fn line(kind: DifferenceKind) -> String {
    let what = match kind {
        DifferenceKind::CustomerDeleted | DifferenceKind::CustomerMade => "customer, ",
        DifferenceKind::UserDeleted | DifferenceKind::UserMade => "user, ",
        DifferenceKind::RecoveryCodes => "recovery codes ",
        _ => "",
    };
    format!("{what}{}", kind.told())
}

fn as_json(found: &Difference, revival: Revival) -> Value {
    let effect = match (found.kind.effect(), revival) {
        (Effect::KeptUnlessRevived, Revival::Refused) => "kept",
        (Effect::KeptUnlessRevived, Revival::Accepted) => "revived",
        (Effect::GivenBack, _) => "given_back",
        (Effect::TakenAway, _) => "taken_away",
    };
    json!({ "kind": found.kind.as_str(), "subject": found.subject, "effect": effect })
}
