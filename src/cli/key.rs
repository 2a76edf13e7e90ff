//! `latchkey key`; making, rotating and importing keys is in files of their own.

mod create;
mod rotate;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::create::{CreateArguments, create};
use self::rotate::{RotateArguments, rotate};
use super::import::{ImportArguments, import};
use super::operator::{ConfigArgument, Operator};
use super::{UsageError, output, prompt, usage};
use crate::auth::policy::Verdict;
use crate::auth::{KeyState, KeyTest, MissingStore};
use crate::model::{ClientIp, KeyId, Timestamp, UserName};
use crate::store::ListedKey;

/// Make, list, test, rotate, disable, delete and import API keys
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
    /// Show a key and what it did within 30 days; never its text
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
    /// Make a key like another one, which ends after an overlap; the new one's text goes to stdout this once
    #[command(after_help = "Example: latchkey key rotate key_0c1x8n4t7q2vz --overlap 7d > ci.key")]
    Rotate(RotateArguments),
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
        KeyCommand::Rotate(arguments) => rotate(&operator, &arguments),
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
    let done = operator.run(operator.control.usage_of_key(id))?;
    let now = operator.control.clock.now();
    if json {
        let mut shown = as_json(&listed, now);
        if let Some(members) = shown.as_object_mut() {
            members.insert(String::from("usage"), usage::as_json(&done));
        }
        return output::data(&shown.to_string());
    }
    output::data(&describe(&listed, now))?;
    output::data(&usage::describe(&done, "last used    ".len()))
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
