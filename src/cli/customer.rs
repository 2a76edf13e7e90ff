//! `latchkey customer`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::operator::{ConfigArgument, Operator};
use super::{output, prompt};
use crate::auth::{CustomerToMake, FirstPassword, MissingStore};
use crate::model::{CustomerHandle, MfaRequirement, Timestamp};
use crate::store::CustomerRecord;

/// Make, change, show and delete customers
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey customer create acme --mfa optional")]
pub(super) struct CustomerArguments {
    #[command(subcommand)]
    command: CustomerCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum CustomerCommand {
    /// Make a customer and its administrator `admin`
    #[command(
        after_help = "Example: latchkey customer create acme --mfa optional --password-file - < password"
    )]
    Create {
        /// Its handle
        handle: CustomerHandle,
        /// Is MFA required of its users? By default of customers made after 2020-04-30
        #[arg(long)]
        mfa: Option<Mfa>,
        /// When it became a customer; today where it is not given
        #[arg(long, value_name = "DATE")]
        created_on: Option<Timestamp>,
        /// The first line of this file (`-`: stdin) is the administrator's password; without it, a one-time link for
        /// choosing one is printed
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Require MFA of a customer's users, or stop requiring it
    #[command(after_help = "Example: latchkey customer update --all --mfa required")]
    Update {
        /// Its handle
        #[arg(required_unless_present = "all")]
        handle: Option<CustomerHandle>,
        /// Every customer
        #[arg(long, conflicts_with = "handle")]
        all: bool,
        /// Is MFA required of its users?
        #[arg(long)]
        mfa: Mfa,
    },
    /// List customers
    #[command(after_help = "Example: latchkey customer list --json")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a customer and its users
    #[command(after_help = "Example: latchkey customer show acme")]
    Show {
        /// Its handle
        handle: CustomerHandle,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a customer with its users and their keys
    #[command(after_help = "Example: latchkey customer delete acme --yes")]
    Delete {
        /// Its handle
        handle: CustomerHandle,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mfa {
    Required,
    Optional,
}

impl From<Mfa> for MfaRequirement {
    fn from(mfa: Mfa) -> Self {
        match mfa {
            Mfa::Required => Self::Required,
            Mfa::Optional => Self::Optional,
        }
    }
}

pub(super) fn run(arguments: CustomerArguments) -> Result<()> {
    let missing = match arguments.command {
        CustomerCommand::Create { .. } => MissingStore::Make,
        _ => MissingStore::Refuse,
    };
    let operator = Operator::open(&arguments.config, missing)?;
    match arguments.command {
        CustomerCommand::Create { handle, mfa, created_on, password_file } => {
            let admin_password = match prompt::read_password(password_file.as_ref())? {
                Some(password) => FirstPassword::Chosen(password),
                None => operator.first_password(),
            };
            let order = CustomerToMake {
                created_on,
                mfa: mfa.map(Into::into),
                admin_password,
                ..CustomerToMake::new(handle)
            };
            create(&operator, order)
        }
        CustomerCommand::Update { handle, mfa, .. } => update(&operator, handle.as_ref(), mfa.into()),
        CustomerCommand::List { json } => list(&operator, json),
        CustomerCommand::Show { handle, json } => show(&operator, &handle, json),
        CustomerCommand::Delete { handle, yes } => delete(&operator, &handle, yes),
    }
}

pub(super) fn create(operator: &Operator, order: CustomerToMake) -> Result<()> {
    let handle = order.handle.clone();
    let password = match order.admin_password {
        FirstPassword::Chosen(_) => "",
        FirstPassword::Link => ", who chooses a password by this link within 24 hours",
        FirstPassword::None => ", who has no password yet (`latchkey user set-password`)",
    };
    let made = operator.run(operator.control.create_customer(order))?;
    let text = format!("made customer {handle} (MFA {}) with {}{password}", made.mfa.as_str(), made.admin);
    operator.announce(&text, made.revision)?;
    made.link.map_or(Ok(()), |link| operator.show_link(&link))
}

fn update(operator: &Operator, handle: Option<&CustomerHandle>, mfa: MfaRequirement) -> Result<()> {
    let Some(handle) = handle else {
        let (changed, revision) = operator.run(operator.control.set_every_customers_mfa(mfa))?;
        let customers = output::count(changed.len(), "customer");
        return operator
            .announce(&format!("MFA is {} everywhere; {customers} changed", mfa.as_str()), revision);
    };
    let revision = operator.run(operator.control.set_customer_mfa(handle, mfa))?;
    operator.announce(&format!("MFA is {} at {handle}", mfa.as_str()), revision)
}

fn list(operator: &Operator, json: bool) -> Result<()> {
    let customers = operator.run(operator.control.customers())?;
    if json {
        return output::data(&customers.iter().map(as_json).collect::<Value>().to_string());
    }
    let rows = customers.iter().map(|customer| {
        [
            customer.handle.to_string(),
            customer.mfa.as_str().to_owned(),
            customer.created_at.to_string(),
            output::or_dash(&customer.allow_list.to_string()),
        ]
    });
    output::table(["CUSTOMER", "MFA", "CREATED", "ALLOW-LIST"], rows.collect())
}

fn show(operator: &Operator, handle: &CustomerHandle, json: bool) -> Result<()> {
    let (customer, users) = operator.run(operator.control.customer(handle))?;
    if json {
        let mut shown = as_json(&customer);
        let users: Vec<String> = users.iter().map(|user| user.name.to_string()).collect();
        if let Some(members) = shown.as_object_mut() {
            members.insert(String::from("users"), json!(users));
        }
        return output::data(&shown.to_string());
    }
    output::data(&format!(
        "customer    {}\nMFA         {}\ncreated     {}\nallow-list  {}",
        customer.handle,
        customer.mfa.as_str(),
        customer.created_at,
        output::or_dash(&customer.allow_list.to_string())
    ))?;
    users.iter().try_for_each(|user| output::data(&format!("user        {}", user.name)))
}

fn delete(operator: &Operator, handle: &CustomerHandle, yes: bool) -> Result<()> {
    let (_, users) = operator.run(operator.control.customer(handle))?;
    let users = output::count(users.len(), "user");
    prompt::require_consent(
        &format!("this deletes customer {handle}, {users} and all their keys, for good"),
        yes,
    )?;
    let deleted = operator.run(operator.control.delete_customer(handle))?;
    let (users, keys) = (output::count(deleted.users, "user"), output::count(deleted.keys, "key"));
    operator.announce(&format!("deleted customer {handle}, {users} and {keys}"), deleted.revision)
}

fn as_json(customer: &CustomerRecord) -> Value {
    let list: Vec<String> = customer.allow_list.networks().iter().map(ToString::to_string).collect();
    json!({
        "handle": customer.handle.as_str(),
        "mfa": customer.mfa.as_str(),
        "created_at": customer.created_at.to_string(),
        "allow_list": list,
    })
}
