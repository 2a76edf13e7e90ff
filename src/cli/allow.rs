//! `latchkey allow`: the allow-lists of customers, users and keys.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::operator::{ConfigArgument, Operator};
use super::output;
use crate::auth::{Holder, MissingStore};
use crate::model::{AllowList, AllowListError};

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
        owner: Holder,
        /// Addresses or networks (CIDR)
        #[arg(required = true, value_name = "CIDR", value_parser = one_network)]
        networks: Vec<AllowList>,
    },
    /// Remove networks; removing the last one lets every address in
    #[command(after_help = "Example: latchkey allow remove user:acme/alex 192.0.2.0/24")]
    Remove {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        owner: Holder,
        /// Networks as they stand in the list
        #[arg(required = true, value_name = "CIDR", value_parser = one_network)]
        networks: Vec<AllowList>,
    },
    /// List networks
    #[command(after_help = "Example: latchkey allow list key:key_0c1x8n4t7q2vz --json")]
    List {
        /// customer:HANDLE, user:CUSTOMER/LOGIN or key:ID
        owner: Holder,
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
            let (list, revision) = operator.run(control.add_networks(&owner, &all_of(&networks)))?;
            operator.announce(&describe(&owner, &list), revision)
        }
        AllowCommand::Remove { owner, networks } => {
            let (list, revision) = operator.run(control.remove_networks(&owner, &all_of(&networks)))?;
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

/// Reads one network of the command line, so that a wrong one is wrong usage.
pub(super) fn one_network(text: &str) -> Result<AllowList, AllowListError> {
    AllowList::parse([text])
}

/// The networks of the command line as one list.
pub(super) fn all_of(networks: &[AllowList]) -> AllowList {
    AllowList::new(networks.iter().flat_map(AllowList::networks).copied())
}

fn describe(owner: &Holder, list: &AllowList) -> String {
    if list.is_empty() {
        format!("{owner} may come from everywhere")
    } else {
        format!("{owner} may come from {list}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_one_by_one_and_kept_in_their_order() {
        let given = ["203.0.113.5", "192.0.2.7/24"].map(|text| one_network(text).unwrap());
        assert_eq!(all_of(&given).to_string(), "203.0.113.5/32,192.0.2.0/24");
        assert!(all_of(&[]).is_empty());
        for text in ["", "192.0.2.0/33", "192.0.2.1,192.0.2.2", "example.com"] {
            assert!(one_network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_list_is_not_told_as_a_narrow_one() {
        let owner: Holder = "user:acme/alex".parse().unwrap();
        assert_eq!(describe(&owner, &AllowList::default()), "user:acme/alex may come from everywhere");
        let one = one_network("192.0.2.0/24").unwrap();
        assert_eq!(describe(&owner, &one), "user:acme/alex may come from 192.0.2.0/24");
    }
}
