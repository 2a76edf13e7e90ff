//! `latchkey key create`.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use crate::auth::{ControlError, KeyToMake, MadeKeys, PasswordEnd};
use crate::cli::allow::{all_of, one_network};
use crate::cli::operator::Operator;
use crate::cli::{output, prompt};
use crate::clock::Clock;
use crate::model::{AllowList, KeyId, ServiceScope, Timestamp, UserName};

const SECONDS_A_DAY: i64 = 86_400;

#[derive(Args, Debug)]
pub(super) struct CreateArguments {
    /// CUSTOMER/LOGIN
    user: UserName,
    /// What the key is for
    #[arg(long, value_name = "TEXT")]
    description: String,
    /// What it opens: api, isproxy, manage, separated by commas
    #[arg(long)]
    scope: ServiceScope,
    /// Until when: a date (2027-01-31) or days (90d)
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// Narrows where it may come from; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = one_network)]
    allow: Vec<AllowList>,
    /// Make so many equal keys, written to --output
    #[arg(long, value_name = "N", requires = "output", value_parser = keys_at_once)]
    count: Option<NonZeroU32>,
    /// Where to write the keys, one a line; the file must not exist
    #[arg(long, value_name = "FILE", requires = "count")]
    output: Option<PathBuf>,
    /// Agree that a first key ends the access to the API by password
    #[arg(long)]
    yes: bool,
    /// As JSON: {"id","key",…}
    #[arg(long, conflicts_with = "count")]
    json: bool,
}

/// Keys that one command makes, in one change and in memory until then; more are several commands, or an import.
const KEYS_AT_ONCE: u32 = 100_000;

fn keys_at_once(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .ok()
        .filter(|count: &NonZeroU32| count.get() <= KEYS_AT_ONCE)
        .ok_or_else(|| format!("write a number from 1 to {KEYS_AT_ONCE}"))
}

/// When a key ends, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    At(Timestamp),
    InDays(u32),
}

impl std::str::FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
            return Ok(Self::InDays(days));
        }
        text.parse().map(Self::At).map_err(|_| format!("`{text}` is no end; write 2027-01-31 or 90d"))
    }
}

impl Expiry {
    fn moment(self, clock: &Clock) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::InDays(days) => clock.now().plus_seconds(i64::from(days) * SECONDS_A_DAY),
        }
    }
}

pub(super) fn create(operator: &Operator, arguments: CreateArguments) -> Result<()> {
    let order = KeyToMake {
        expires_at: arguments.expires.map(|expiry| expiry.moment(&operator.control.clock)),
        allow_list: all_of(&arguments.allow),
        ..KeyToMake::new(arguments.user, &arguments.description, arguments.scope)
    };
    let file = arguments.output.as_ref().map(NewFile::create).transpose()?;
    let count = arguments.count.unwrap_or(NonZeroU32::MIN);
    let made = match make(operator, &order, count, arguments.yes) {
        Ok(made) => made,
        Err(error) => {
            if let Some(file) = file {
                file.discard();
            }
            return Err(error);
        }
    };
    match file {
        Some(file) => {
            if let Err(error) = file.write(&made) {
                // Keys that nobody has the text of would only stand in the list.
                for key in &made.keys {
                    operator.run(operator.control.delete_key(key.id))?;
                }
                return Err(error.context("the keys are deleted again"));
            }
        }
        None => {
            for key in &made.keys {
                let text = key.text.expose();
                output::data(&if arguments.json {
                    made_json(&order, key.id, text)
                } else {
                    text.to_owned()
                })?;
            }
        }
    }
    let done = match made.keys.as_slice() {
        [key] => {
            format!("made {} of scope {} for {}; the key is shown this once", key.id, order.scope, order.user)
        }
        keys => {
            format!("made {} of scope {} for {}", output::count(keys.len(), "key"), order.scope, order.user)
        }
    };
    operator.announce(&done, made.revision)
}

/// Makes the keys; asks first where that ends the user's access by password.
fn make(operator: &Operator, order: &KeyToMake, count: NonZeroU32, yes: bool) -> Result<MadeKeys> {
    let control = &operator.control;
    let consent = if yes { PasswordEnd::Accepted } else { PasswordEnd::NotAccepted };
    match operator.run(control.create_keys(order, count, consent)) {
        Err(error @ ControlError::EndsPasswordAccess(_)) => {
            prompt::require_consent(&error.to_string(), yes)?;
            Ok(operator.run(control.create_keys(order, count, PasswordEnd::Accepted))?)
        }
        result => Ok(result?),
    }
}

/// A file for keys: mode 0600, and never over another.
struct NewFile {
    path: PathBuf,
    file: std::fs::File,
}

impl NewFile {
    fn create(path: &PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self { path: path.clone(), file })
    }

    fn write(self, made: &MadeKeys) -> Result<()> {
        let path = self.path.display().to_string();
        let mut writer = BufWriter::new(&self.file);
        made.keys
            .iter()
            .try_for_each(|key| writeln!(writer, "{}", key.text.expose()))
            .and_then(|()| writer.flush())
            .and_then(|()| self.file.sync_all())
            .with_context(|| format!("{path} cannot be written"))
    }

    /// Nothing was made: the empty file would only be in the way.
    fn discard(self) {
        if std::fs::remove_file(&self.path).is_err() {
            output::note(&format!("the empty file {} could not be removed", self.path.display()));
        }
    }
}

fn made_json(order: &KeyToMake, id: KeyId, text: &str) -> String {
    json!({
        "id": id.to_string(),
        "key": text,
        "user": order.user.to_string(),
        "description": order.description,
        "scope": order.scope.to_string(),
        "expires_at": order.expires_at.map(|end| end.to_string()),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_once_are_counted_and_bounded() {
        assert_eq!(keys_at_once("100000").map(NonZeroU32::get), Ok(100_000));
        for text in ["0", "100001", "-1", "", "many"] {
            assert_eq!(keys_at_once(text), Err(String::from("write a number from 1 to 100000")), "{text}");
        }
    }

    #[test]
    fn an_end_is_a_date_or_days_from_now() {
        let now: Timestamp = "2026-01-01".parse().unwrap();
        let moment =
            |text: &str| text.parse::<Expiry>().map(|expiry| expiry.moment(&Clock::given(now)).to_string());
        assert_eq!(moment("90d").unwrap(), "2026-04-01T00:00:00Z");
        assert_eq!(moment("2027-01-31").unwrap(), "2027-01-31T00:00:00Z");
        for text in ["", "d", "90", "-1d", "tomorrow", "4294967296d"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
