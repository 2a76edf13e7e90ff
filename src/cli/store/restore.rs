//! `latchkey store restore`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::backup::{describe, show_progress};
use super::shown_seconds;
use crate::auth::{Actor, Deletions, MissingStore, RestorePlan};
use crate::cli::operator::{self, ConfigArgument, Operator};
use crate::cli::{output, prompt, sentence};
use crate::clock::Clock;
use crate::model::Revision;
use crate::store::{Difference, DifferenceKind, Effect, Revival};

/// So many of a kind are named on stderr; `--dry-run` and `--json` name all.
const NAMED_AT_MOST: usize = 20;

#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Args, Debug)]
pub(super) struct RestoreArguments {
    /// The backup
    file: PathBuf,
    /// Bring back what was deleted, disabled, deactivated, used or replaced since, as it was in the backup
    #[arg(long)]
    accept_revival: bool,
    /// Name all that would be restored, kept away and taken away, and change nothing
    #[arg(long)]
    dry_run: bool,
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
    describe_plan(&plan);
    if arguments.dry_run {
        let told = tell_all(arguments, &plan, revival);
        runtime.block_on(plan.give_up());
        return told;
    }
    if let Err(refused) = consent(arguments, &plan, revival) {
        runtime.block_on(plan.give_up());
        return Err(refused);
    }
    let began = Instant::now();
    let (shown, makes_store) = (plan.differences.clone(), plan.makes_store());
    let restored = runtime.block_on(plan.carry_out(revival))?;
    let done =
        format!("restored the store from {} in {}", arguments.file.display(), shown_seconds(began.elapsed()));
    if restored.differences != shown {
        output::note("the store was changed meanwhile; what holds is:");
        note(&told(&restored.differences, revival, NAMED_AT_MOST));
    }
    announce(config, &done, restored.revision);
    if !arguments.json {
        return Ok(());
    }
    let told = json!({
        "file": arguments.file,
        "new_store": makes_store,
        "revision": restored.revision.0,
        "differences": as_json(&restored.differences, revival),
    });
    output::data(&told.to_string())
}

/// Says what the backup holds, and how much is known of what happened since.
fn describe_plan(plan: &RestorePlan) {
    output::note(&format!("the backup holds {}", describe(&plan.contents())));
    if !plan.trail_goes_on {
        output::note(&format!(
            "the backup's audit trail ends with {}, which is no row of the present trail: the store went another way \
             since; keep the backup for what it tells",
            plan.trail
        ));
    }
    let known = match plan.deletions {
        Deletions::Store => return,
        Deletions::File(count) => format!(
            "what was deleted since is known from the file of tombstones beside it alone, which tells of {}",
            output::count(count, "deletion")
        ),
        Deletions::Unknown => String::from(
            "the file of tombstones beside it is missing, too, so that nothing is known of what was deleted since",
        ),
    };
    output::note(&format!(
        "there is no store at its place; {known}; whatever else was taken away since, such as disabled keys, deactivated \
         users and changed passwords, is not known, and comes back as it was"
    ));
}

/// Tells what the restore changes, and fails unless that is agreed to.
fn consent(arguments: &RestoreArguments, plan: &RestorePlan, revival: Revival) -> Result<()> {
    plan.require_known_deletions(revival)?;
    note(&told(&plan.differences, revival, NAMED_AT_MOST));
    let consequence = if plan.makes_store() {
        "this makes the store anew from the backup; there is none at its place"
    } else {
        "this puts the store back to the backup, but for its audit trail; every session and one-time link ends"
    };
    prompt::require_consent(consequence, arguments.yes)
}

/// Names on stdout all that the restore would change.
fn tell_all(arguments: &RestoreArguments, plan: &RestorePlan, revival: Revival) -> Result<()> {
    if !arguments.json {
        return told(&plan.differences, revival, usize::MAX).iter().try_for_each(|line| output::data(line));
    }
    let told = json!({
        "file": arguments.file,
        "new_store": plan.makes_store(),
        "deletions_known": plan.deletions != Deletions::Unknown,
        "differences": as_json(&plan.differences, revival),
    });
    output::data(&told.to_string())
}

/// Tells where the restore holds. It is done, whatever fails here.
fn announce(config: &ConfigArgument, done: &str, revision: Revision) {
    let announced =
        Operator::open(config, MissingStore::Refuse).and_then(|operator| operator.announce(done, revision));
    if let Err(error) = announced {
        let error = sentence(&error);
        output::note(&format!("{done}; but whether the gateways have it could not be asked: {error}"));
    }
}

fn note(lines: &[String]) {
    for line in lines {
        output::note(line);
    }
}

/// What a restore keeps as it is, gives back and takes away, by name; of each kind so many at most.
fn told(differences: &[Difference], revival: Revival, at_most: usize) -> Vec<String> {
    let mut lines = Vec::new();
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
            lines.push(heading.to_owned());
        }
        for kind in DifferenceKind::ALL.into_iter().filter(|kind| kind.effect() == effect) {
            let of_kind: Vec<_> = differences.iter().filter(|found| found.kind == kind).collect();
            for found in of_kind.iter().take(at_most) {
                lines.push(format!("  {}  {}", found.subject, line(kind)));
            }
            if of_kind.len() > at_most {
                let more = of_kind.len() - at_most;
                lines.push(format!("  and {more} more of these, which --dry-run names  {}", line(kind)));
            }
        }
    }
    if revival == Revival::Refused
        && differences.iter().any(|found| found.kind == DifferenceKind::NoAdministrator)
    {
        lines.push(String::from(
            "a customer whose administrators are gone or deactivated is left without one; make one with \
             `latchkey user create CUSTOMER/LOGIN --administrator`",
        ));
    }
    lines
}

/// What a subject is, and what became of it.
fn line(kind: DifferenceKind) -> String {
    let what = match kind {
        DifferenceKind::CustomerDeleted
        | DifferenceKind::CustomerBack
        | DifferenceKind::CustomerMade
        | DifferenceKind::NoAdministrator => "customer, ",
        DifferenceKind::UserDeleted | DifferenceKind::UserBack | DifferenceKind::UserMade => "user, ",
        DifferenceKind::RecoveryCodes => "recovery codes ",
        _ => "",
    };
    format!("{what}{}", kind.told())
}

fn as_json(differences: &[Difference], revival: Revival) -> Value {
    let as_json = |found: &Difference| {
        let effect = match (found.kind.effect(), revival) {
            (Effect::KeptUnlessRevived, Revival::Refused) => "kept",
            (Effect::KeptUnlessRevived, Revival::Accepted) => "revived",
            (Effect::GivenBack, _) => "given_back",
            (Effect::TakenAway, _) => "taken_away",
        };
        json!({ "kind": found.kind.as_str(), "subject": found.subject, "effect": effect })
    };
    differences.iter().map(as_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: DifferenceKind, subject: &str) -> Difference {
        Difference { kind, subject: subject.to_owned(), customer: None }
    }

    #[test]
    fn a_few_of_each_kind_are_named_and_all_of_them_where_they_are_asked_for() {
        let found: Vec<_> =
            (0..30).map(|number| found(DifferenceKind::KeyBack, &format!("key_{number}"))).collect();
        let few = told(&found, Revival::Refused, 20);
        assert_eq!(few.len(), 22);
        assert_eq!(few[1], "  key_0  missing by now, and never deleted");
        assert!(few[21].starts_with("  and 10 more of these, which --dry-run names"), "{few:?}");
        assert_eq!(told(&found, Revival::Refused, usize::MAX).len(), 31);
    }

    #[test]
    fn who_is_left_without_an_administrator_is_told_how_to_make_one() {
        let found = [found(DifferenceKind::NoAdministrator, "acme")];
        let told = |revival| told(&found, revival, 20).join("\n");
        assert!(told(Revival::Refused).contains("--administrator"));
        assert!(!told(Revival::Accepted).contains("--administrator"));
    }
}
