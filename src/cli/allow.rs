//! `latchkey allow`: the allow-lists of customers, users and keys.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::operator::{ConfigArgument, Operator};
use super::output;
use crate::auth::{AllowListOwner, MissingStore};
use crate::model::AllowList;

/// Narrow where a customer, a user or a key may come from
///
/// Every list that is not empty must admit an address; an empty one narrows nothing.
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey allow add user:acme/alex 192.0.2.0/24 2001:db8::/32")]
pub(super) struct AllowArguments {
    #[command(subcommand)]
    command: AllowCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum AllowCommand {
    /// Add networks
    #[command(after_help = "Example: latchkey allow add customer:acme 192.0.2.0/24")]
    Add {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        owner: AllowListOwner,
        /// Addresses or networks (CIDR)
        #[arg(required = true, value_name = "CIDR")]
        networks: Vec<String>,
    },
    /// Remove networks; removing the last one lets every address in
    #[command(after_help = "Example: latchkey allow remove user:acme/alex 192.0.2.0/24")]
    Remove {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        owner: AllowListOwner,
        /// Networks as they stand in the list
        #[arg(required = true, value_name = "CIDR")]
        networks: Vec<String>,
    },
    /// List networks
    #[command(after_help = "Example: latchkey allow list key:key_0c1x8n4t7q2vz --json")]
    List {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        owner: AllowListOwner,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: AllowArguments) -> Result<()> {
    let operator = Operator::open(&arguments.config, MissingStore::Refuse)?;
    let control = &operator.control;
    match arguments.command {
        AllowCommand::Add { owner, networks } => {
            let networks = AllowList::parse(networks.iter().map(String::as_str))?;
            let (list, revision) = operator.run(control.add_networks(&owner, &networks))?;
            operator.announce(&describe(&owner, &list), revision)
        }
        AllowCommand::Remove { owner, networks } => {
            let networks = AllowList::parse(networks.iter().map(String::as_str))?;
            let (list, revision) = operator.run(control.remove_networks(&owner, &networks))?;
            operator.announce(&describe(&owner, &list), revision)
        }
        AllowCommand::List { owner, json } => {
            let list = operator.run(control.allow_list(&owner))?;
            let networks: Vec<String> = list.networks().iter().map(ToString::to_string).collect();
            if json {
                return output::data(&json!(networks).to_string());
            }
            networks.iter().try_for_each(|network| output::data(network))?;
            if networks.is_empty() {
                output::note("the list is empty: every address is let in");
            }
            Ok(())
        }
    }
}

fn describe(owner: &AllowListOwner, list: &AllowList) -> String {
    if list.is_empty() {
        format!("{owner} may come from everywhere")
    } else {
        format!("{owner} may come from {list}")
    }
}
