//! `latchkey key import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::operator::Operator;
use super::{output, prompt};
use crate::auth::{ImportOrder, ImportPlan, ImportProgress, KeyStrength, MissingUsers};
use crate::model::{ServiceScope, UserName};

/// Users named when their password ends; of further ones only the number.
const NAMED_USERS: usize = 10;

#[derive(Args, Debug)]
pub(super) struct ImportArguments {
    /// A line `KEY` or `KEY CUSTOMER/LOGIN` each; `-` is stdin
    file: PathBuf,
    /// Whose keys the lines without a name are: CUSTOMER/LOGIN
    #[arg(long, value_name = "CUSTOMER/LOGIN")]
    user: Option<UserName>,
    /// What the keys open: api, isproxy, separated by commas
    #[arg(long)]
    scope: ServiceScope,
    /// Make users and customers that are missing (MFA optional)
    #[arg(long)]
    create_users: bool,
    /// Take keys of 16 to 31 characters as well
    #[arg(long)]
    allow_weak: bool,
    /// Agree that a first key ends the access to the API by password
    #[arg(long)]
    yes: bool,
}

pub(super) fn import(operator: &Operator, arguments: &ImportArguments) -> Result<()> {
    if arguments.scope.manages() {
        let text = "keys of scope `manage` cannot be imported; allowed are `api`, `isproxy`";
        return Err(super::UsageError(text.to_owned()).into());
    }
    let order = ImportOrder {
        user: arguments.user.clone(),
        missing_users: if arguments.create_users { MissingUsers::Make } else { MissingUsers::Refuse },
        strength: if arguments.allow_weak { KeyStrength::Weak } else { KeyStrength::Usual },
        scope: arguments.scope,
    };
    let source = open(&arguments.file)?;
    let bar = output::progress_bar();
    let mut show = |progress| match progress {
        ImportProgress::Read(lines) => bar.set_message(format!("{lines} lines read")),
        ImportProgress::Written(done, total) => {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("{done} of {total} keys written"));
        }
    };
    let plan = operator.run(operator.control.plan_import(source, &order, &mut show))?;
    agree_to_consequences(&plan, arguments.yes)?;
    let (keys, users) = (output::count(plan.keys(), "key"), output::count(plan.new_users(), "new user"));
    let revision = operator.run(operator.control.run_import(plan, &mut show))?;
    bar.finish_and_clear();
    operator.announce(&format!("imported {keys} with {users}"), revision)
}

fn open(path: &PathBuf) -> Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Box::new(BufReader::with_capacity(64 * 1024, file)))
}

fn agree_to_consequences(plan: &ImportPlan, yes: bool) -> Result<()> {
    let users = plan.ends_password_of();
    if users.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> = users.iter().take(NAMED_USERS).map(ToString::to_string).collect();
    if users.len() > NAMED_USERS {
        names.push(format!("{} more", users.len() - NAMED_USERS));
    }
    let names = names.join(", ");
    output::note(&format!("their first key ends the access to the API by password of: {names}"));
    prompt::require_consent("this ends their access by password, also after the keys are deleted", yes)
}
