//! `latchkey user`.

mod showing;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::showing::{access, list, show};
use super::operator::{ConfigArgument, Operator};
use super::{output, prompt};
use crate::auth::{Activation, FirstPassword, MissingStore, UserChanges, UserToMake};
use crate::model::{
    AccessPoint, AccessPoints, CustomerHandle, LinkPurpose, MfaRequirement, Permission, Permissions, UserName,
};

/// Make, change, show and delete users
#[derive(Args, Debug)]
#[command(after_help = "Example: latchkey user create acme/alex --permission MANAGE_API_KEY")]
pub(super) struct UserArguments {
    #[command(subcommand)]
    command: UserCommand,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Make a user
    #[command(
        after_help = "Example: latchkey user create acme/alex --access api --password-file - < password"
    )]
    Create(CreateArguments),
    /// List users
    #[command(after_help = "Example: latchkey user list acme --json")]
    List {
        /// Of this customer only
        customer: Option<CustomerHandle>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a user and what its credentials did within 30 days
    #[command(after_help = "Example: latchkey user show acme/alex")]
    Show {
        /// CUSTOMER/LOGIN
        user: UserName,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a user
    #[command(after_help = "Example: latchkey user update acme/alex --force-mfa --access console,api")]
    Update(UpdateArguments),
    /// Set a user's password; what the old one opened ends
    #[command(after_help = "Example: latchkey user set-password acme/alex --password-file - < password")]
    SetPassword {
        /// CUSTOMER/LOGIN
        user: UserName,
        /// The first line of this file (`-`: stdin) is the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Let the password into the API again, once no key is left
    #[command(after_help = "Example: latchkey user allow-password acme/alex --yes")]
    AllowPassword {
        /// CUSTOMER/LOGIN
        user: UserName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// End every access of a user
    #[command(after_help = "Example: latchkey user deactivate acme/alex")]
    Deactivate {
        /// CUSTOMER/LOGIN
        user: UserName,
    },
    /// Give a deactivated user everything back
    #[command(after_help = "Example: latchkey user reactivate acme/alex")]
    Reactivate {
        /// CUSTOMER/LOGIN
        user: UserName,
    },
    /// Print a one-time link by which the user chooses a password
    #[command(after_help = "Example: latchkey user link acme/alex")]
    Link {
        /// CUSTOMER/LOGIN
        user: UserName,
    },
    /// Take a user's MFA methods, recovery codes and sessions away, for who has lost all of them
    ///
    /// MFA is required of the user from then on. The next sign-in takes the one-time link that is printed, beside the
    /// password.
    #[command(after_help = "Example: latchkey user reset-mfa acme/alex --yes")]
    ResetMfa {
        /// CUSTOMER/LOGIN
        user: UserName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// How this user gets in: where, with what, and why not
    #[command(after_help = "Example: latchkey user access acme/alex")]
    Access {
        /// CUSTOMER/LOGIN
        user: UserName,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a user and its keys
    #[command(after_help = "Example: latchkey user delete acme/alex --yes")]
    Delete {
        /// CUSTOMER/LOGIN
        user: UserName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
struct CreateArguments {
    /// CUSTOMER/LOGIN
    user: UserName,
    /// Holds every permission
    #[arg(long)]
    administrator: bool,
    /// `MANAGE_API_KEY`, `MANAGE_USER`, `MANAGE_IP_WHITELIST` or `VIEW_AUDIT`; may be given several times
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// The first line of this file (`-`: stdin) is the password; without it, a one-time link for choosing one is printed
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The person's e-mail address
    #[arg(long, value_name = "E", default_value = "")]
    email: String,
    /// The person's name
    #[arg(long, value_name = "N", default_value = "")]
    name: String,
    /// The person's language, such as `en`
    #[arg(long, value_name = "TAG", default_value = "en")]
    language: String,
    /// Nothing but keys works before MFA is set up
    #[arg(long)]
    force_mfa: bool,
    /// Entrances that are open: console, api, isproxy, or none
    #[arg(long, value_name = "LIST", default_value = "console,api,isproxy")]
    access: AccessPoints,
}

#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Holds every permission from now on
    #[arg(long)]
    administrator: bool,
    /// Is no administrator from now on
    #[arg(long, conflicts_with = "administrator")]
    no_administrator: bool,
    /// All permissions from now on; may be given several times
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// No permissions from now on
    #[arg(long, conflicts_with = "permissions")]
    no_permissions: bool,
    /// The person's e-mail address
    #[arg(long, value_name = "E")]
    email: Option<String>,
    /// The person's name
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// The person's language, such as `en`
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Nothing but keys works before MFA is set up
    #[arg(long)]
    force_mfa: bool,
    /// MFA is the user's choice again
    #[arg(long, conflicts_with = "force_mfa")]
    no_force_mfa: bool,
    /// All entrances that are open from now on: console, api, isproxy, or none
    #[arg(long, value_name = "LIST")]
    access: Option<AccessPoints>,
}

#[derive(Args, Debug)]
struct UpdateArguments {
    /// CUSTOMER/LOGIN
    user: UserName,
    #[command(flatten)]
    changes: Changes,
}

impl From<Changes> for UserChanges {
    fn from(changes: Changes) -> Self {
        let permissions = (changes.no_permissions || !changes.permissions.is_empty())
            .then(|| changes.permissions.into_iter().collect::<Permissions>());
        Self {
            full_name: changes.name,
            email: changes.email,
            language: changes.language,
            administrator: switched(changes.administrator, changes.no_administrator),
            permissions,
            access_points: changes.access,
            mfa: switched(changes.force_mfa, changes.no_force_mfa).map(requirement),
            ..Self::default()
        }
    }
}

/// What two flags that exclude each other say.
fn switched(on: bool, off: bool) -> Option<bool> {
    (on || off).then_some(on)
}

fn requirement(forced: bool) -> MfaRequirement {
    if forced { MfaRequirement::Required } else { MfaRequirement::Optional }
}

pub(super) fn run(arguments: UserArguments) -> Result<()> {
    let operator = Operator::open(&arguments.config, MissingStore::Refuse)?;
    let control = &operator.control;
    match arguments.command {
        UserCommand::Create(arguments) => create(&operator, arguments),
        UserCommand::List { customer, json } => list(&operator, customer.as_ref(), json),
        UserCommand::Show { user, json } => show(&operator, &user, json),
        UserCommand::Update(UpdateArguments { user, changes }) => {
            let revision = operator.run(control.update_user(&user, &changes.into()))?;
            operator.announce(&format!("changed {user}"), revision)
        }
        UserCommand::SetPassword { user, password_file } => {
            set_password(&operator, &user, password_file.as_ref())
        }
        UserCommand::AllowPassword { user, yes } => {
            prompt::require_consent(
                &format!("the password of {user} opens the API again until the next key"),
                yes,
            )?;
            let revision = operator.run(control.allow_password(&user))?;
            operator.announce(&format!("the password of {user} is allowed at the API again"), revision)
        }
        UserCommand::Deactivate { user } => {
            let revision = operator.run(control.set_activation(&user, Activation::Deactivated))?;
            operator.announce(&format!("deactivated {user}"), revision)
        }
        UserCommand::Reactivate { user } => {
            let revision = operator.run(control.set_activation(&user, Activation::Active))?;
            operator.announce(&format!("reactivated {user}"), revision)
        }
        UserCommand::Link { user } => link(&operator, &user),
        UserCommand::ResetMfa { user, yes } => {
            operator.run(control.user(&user))?;
            let text = format!("this takes {user} all MFA methods, recovery codes and sessions");
            prompt::require_consent(&text, yes)?;
            reset_mfa(&operator, &user)
        }
        UserCommand::Access { user, json } => access(&operator, &user, json),
        UserCommand::Delete { user, yes } => {
            operator.run(control.user(&user))?;
            prompt::require_consent(&format!("this deletes {user} and all its keys, for good"), yes)?;
            let deleted = operator.run(control.delete_user(&user))?;
            let keys = output::count(deleted.keys, "key");
            operator.announce(&format!("deleted {user} and {keys}"), deleted.revision)
        }
    }
}

fn create(operator: &Operator, arguments: CreateArguments) -> Result<()> {
    let enters_console = arguments.access.holds(AccessPoint::Console);
    let password = match prompt::read_password(arguments.password_file.as_ref())? {
        Some(password) => FirstPassword::Chosen(password),
        None if enters_console => operator.first_password(),
        None => FirstPassword::None,
    };
    let note = match password {
        FirstPassword::Chosen(_) => "",
        FirstPassword::Link => ", who chooses a password by this link within 24 hours",
        FirstPassword::None => ", who has no password yet (`latchkey user set-password`)",
    };
    let user = arguments.user.clone();
    let order = UserToMake {
        full_name: arguments.name,
        email: arguments.email,
        language: arguments.language,
        administrator: arguments.administrator,
        permissions: arguments.permissions.into_iter().collect(),
        access_points: arguments.access,
        mfa: requirement(arguments.force_mfa),
        password,
        ..UserToMake::new(arguments.user)
    };
    let made = operator.run(operator.control.create_user(order))?;
    operator.announce(&format!("made {user}{note}"), made.revision)?;
    made.link.map_or(Ok(()), |link| operator.show_link(&link))
}

/// A new link, for a password or for the sign-in after a reset.
fn link(operator: &Operator, user: &UserName) -> Result<()> {
    let made = operator.run(operator.control.issue_link(user))?;
    let what = match made.purpose {
        LinkPurpose::Password => "to choose a password by",
        LinkPurpose::SignIn => "to sign in by, with the password beside it",
    };
    operator.announce(&format!("a link for {user} {what}, once and within 24 hours"), made.revision)?;
    operator.show_link(&made.token)
}

fn reset_mfa(operator: &Operator, user: &UserName) -> Result<()> {
    let made = operator.run(operator.control.reset_mfa(user))?;
    let text = format!(
        "took the MFA methods, recovery codes and sessions of {user}; the next sign-in takes the password and this link \
         within 24 hours, and sets MFA up anew"
    );
    operator.announce(&text, made.revision)?;
    operator.show_link(&made.token)
}

fn set_password(operator: &Operator, user: &UserName, file: Option<&PathBuf>) -> Result<()> {
    operator.run(operator.control.user(user))?;
    let password = prompt::read_password(file)?.ok_or_else(|| {
        super::UsageError(String::from(
            "no password was given; --password-file takes a file, or `-` for stdin",
        ))
    })?;
    let revision = operator.run(operator.control.set_password(user, password))?;
    operator.announce(&format!("set the password of {user}"), revision)
}
