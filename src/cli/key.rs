//! `latchkey key`.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::allow::{all_of, one_network};
use super::import::{ImportArguments, import};
use super::operator::{ConfigArgument, Operator};
use super::{UsageError, output, prompt};
use crate::auth::policy::Verdict;
use crate::auth::{ControlError, KeyState, KeyTest, KeyToMake, MadeKeys, MissingStore, PasswordEnd};
use crate::clock::Clock;
use crate::model::{AllowList, ClientIp, KeyId, ServiceScope, Timestamp, UserName};
use crate::store::ListedKey;

const SECONDS_A_DAY: i64 = 86_400;

/// Make, list, test, disable, delete and import API keys
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey key create acme/alex --description billing --scope api")]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key; its text goes to stdout this once
    #[command(
        after_help = "Example: latchkey key create acme/alex --description CI --scope api --expires 90d > ci.key"
    )]
    Create(CreateArguments),
    /// List keys
    #[command(after_help = "Example: latchkey key list acme/alex --json")]
    List {
        /// Of this user only: CUSTOMER/LOGIN
        user: Option<UserName>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a key; never its text
    #[command(after_help = "Example: latchkey key show key_0c1x8n4t7q2vz")]
    Show {
        /// The key's id
        id: KeyId,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell whose key it is and what it opens; the key comes on stdin
    #[command(after_help = "Example: latchkey key test --from 192.0.2.7 < ci.key")]
    Test {
        /// As for a client at this address
        #[arg(long, value_name = "ADDRESS")]
        from: Option<std::net::IpAddr>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse a key until it is enabled again; its open sessions end
    #[command(after_help = "Example: latchkey key disable key_0c1x8n4t7q2vz")]
    Disable {
        /// The key's id
        id: KeyId,
    },
    /// Let a disabled key in again
    #[command(after_help = "Example: latchkey key enable key_0c1x8n4t7q2vz")]
    Enable {
        /// The key's id
        id: KeyId,
    },
    /// Delete a key for good; it is dead everywhere when the command returns
    #[command(after_help = "Example: latchkey key delete key_0c1x8n4t7q2vz --yes")]
    Delete {
        /// The key's id
        id: KeyId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Import keys that applications hold already; only their digests are kept
    #[command(after_help = "Example: latchkey key import --scope api,isproxy --create-users --yes keys.txt")]
    Import(ImportArguments),
}

#[derive(Args, Debug)]
struct CreateArguments {
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
    #[arg(long, value_name = "N", requires = "output")]
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

pub(super) fn run(arguments: KeyArguments) -> Result<()> {
    let missing = match arguments.command {
        KeyCommand::Import(_) => MissingStore::Make,
        _ => MissingStore::Refuse,
    };
    let operator = Operator::open(&arguments.config, missing)?;
    let control = &operator.control;
    match arguments.command {
        KeyCommand::Create(arguments) => create(&operator, arguments),
        KeyCommand::List { user, json } => list(&operator, user.as_ref(), json),
        KeyCommand::Show { id, json } => show(&operator, id, json),
        KeyCommand::Test { from, json } => test(&operator, from.map(ClientIp::new), json),
        KeyCommand::Disable { id } => {
            let revision = operator.run(control.disable_key(id))?;
            operator.announce(&format!("disabled {id}"), revision)
        }
        KeyCommand::Enable { id } => {
            let revision = operator.run(control.enable_key(id))?;
            operator.announce(&format!("enabled {id}"), revision)
        }
        KeyCommand::Delete { id, yes } => {
            let key = operator.run(control.key(id))?;
            let text = format!(
                "this deletes {id} (\"{}\" of {}) for good; an application that still uses it loses access at once",
                key.key.description, key.user
            );
            prompt::require_consent(&text, yes)?;
            let revision = operator.run(control.delete_key(id))?;
            operator.announce(&format!("deleted {id}"), revision)
        }
        KeyCommand::Import(arguments) => import(&operator, &arguments),
    }
}

fn create(operator: &Operator, arguments: CreateArguments) -> Result<()> {
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

fn list(operator: &Operator, user: Option<&UserName>, json: bool) -> Result<()> {
    let keys = operator.run(operator.control.list_keys(user))?;
    let now = operator.control.clock.now();
    if json {
        return output::data(&keys.iter().map(|key| as_json(key, now)).collect::<Value>().to_string());
    }
    let rows = keys.iter().map(|listed| {
        let key = &listed.key;
        [
            key.id.to_string(),
            listed.user.to_string(),
            key.description.clone(),
            key.scope.to_string(),
            KeyState::of(key, now).as_str().to_owned(),
            format!("…{}", key.last_characters),
            key.expires_at.map_or_else(|| String::from("-"), |end| end.to_string()),
            listed.last_use.as_ref().map_or_else(|| String::from("never"), |used| used.at.to_string()),
        ]
    });
    output::table(
        ["ID", "USER", "DESCRIPTION", "SCOPE", "STATE", "ENDS WITH", "EXPIRES", "LAST USED"],
        rows.collect(),
    )
}

fn show(operator: &Operator, id: KeyId, json: bool) -> Result<()> {
    let listed = operator.run(operator.control.key(id))?;
    let now = operator.control.clock.now();
    if json {
        return output::data(&as_json(&listed, now).to_string());
    }
    output::data(&describe(&listed, now))
}

fn describe(listed: &ListedKey, now: Timestamp) -> String {
    let key = &listed.key;
    let last_use = listed.last_use.as_ref();
    let last_use = last_use.map_or_else(
        || String::from("never"),
        |used| format!("{} at {} from {}", used.at, used.service, used.address),
    );
    format!(
        "key          {}\nuser         {}\ndescription  {}\nscope        {}\nstate        {}\nends with    …{}\n\
         allow-list   {}\ncreated      {}\nexpires      {}\nlast used    {last_use}",
        key.id,
        listed.user,
        key.description,
        key.scope,
        KeyState::of(key, now).as_str(),
        key.last_characters,
        output::or_dash(&key.allow_list.to_string()),
        key.created_at,
        key.expires_at.map_or_else(|| String::from("never"), |end| end.to_string()),
    )
}

fn test(operator: &Operator, from: Option<ClientIp>, json: bool) -> Result<()> {
    let text = prompt::read_key()?;
    let now = operator.control.clock.now();
    match operator.run(operator.control.test_key(&text, from))? {
        KeyTest::Malformed(fault) => Err(UsageError(format!("not a key: {fault}")).into()),
        KeyTest::Unknown { deleted: true } => {
            Err(anyhow::anyhow!("the key was deleted here, and opens nothing"))
        }
        KeyTest::Unknown { deleted: false } => {
            Err(anyhow::anyhow!("the key is unknown here, and opens nothing"))
        }
        KeyTest::Known { key, doors } => {
            if json {
                let mut shown = as_json(&key, now);
                if let Some(members) = shown.as_object_mut() {
                    for (service, verdict) in doors {
                        members.insert(format!("opens_{service}"), json!(verdict == Verdict::Allowed));
                    }
                }
                return output::data(&shown.to_string());
            }
            output::data(&describe(&key, now))?;
            doors.iter().try_for_each(|(service, verdict)| {
                let says = match verdict {
                    Verdict::Refused(reason) => format!("no   {}", reason.explanation()),
                    _ => String::from("yes"),
                };
                output::data(&format!("{:<12} {says}", service.as_str()))
            })
        }
    }
}

fn as_json(listed: &ListedKey, now: Timestamp) -> Value {
    let key = &listed.key;
    let list: Vec<String> = key.allow_list.networks().iter().map(ToString::to_string).collect();
    json!({
        "id": key.id.to_string(),
        "user": listed.user.to_string(),
        "description": key.description,
        "scope": key.scope.to_string(),
        "state": KeyState::of(key, now).as_str(),
        "last_characters": key.last_characters,
        "allow_list": list,
        "created_at": key.created_at.to_string(),
        "expires_at": key.expires_at.map(|end| end.to_string()),
        "last_used": listed.last_use.as_ref().map(|used| json!({
            "at": used.at.to_string(),
            "service": used.service,
            "address": used.address,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
