//! Who asks for a change or a look: the operator at the command line, a person at the console, an automation with a key.
//!
//! A plain value that says who it was when the question was asked. What it may do is looked up in the store for each
//! question, in the same transaction as the change: see `change` and `rights`.

use crate::model::{ClientIp, KeyId, Timestamp, UserId, UserName};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever may read the master key and write the store; the name of the operating system's user (S100).
    Operator(String),
    /// A user of a customer.
    User(UserActor),
    /// The gateway itself, for what nobody asked it for.
    Gateway,
}

/// A user who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserActor {
    /// The user's row.
    pub id: UserId,
    /// The user's name when the question was asked.
    pub name: UserName,
    /// What the user came in with.
    pub means: Means,
    /// Where from.
    pub client_ip: ClientIp,
}

/// What a user came in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A console session.
    Console {
        /// When password, and second factor where MFA is on, were last shown (S96).
        authenticated_at: Timestamp,
    },
    /// A half sign-in, which lets its user show a second factor and nothing else (S28).
    HalfSignIn,
    /// A one-time link, which lets its user choose a password and nothing else.
    Link,
    /// A key of scope `manage`.
    ManageKey(KeyId),
}

impl Actor {
    /// The operator: whoever runs the process, by the operating system's word and not by an environment variable.
    pub fn operator() -> Self {
        let name =
            whoami::username().unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()));
        Self::Operator(name)
    }

    /// The name that the audit trail keeps.
    pub fn name(&self) -> String {
        match self {
            Self::Operator(name) => format!("operator:{name}"),
            Self::User(user) => match user.means {
                Means::Console { .. } | Means::HalfSignIn | Means::Link => user.name.to_string(),
                Means::ManageKey(key) => format!("{} by {key}", user.name),
            },
            Self::Gateway => String::from("gateway"),
        }
    }

    /// Where the actor stands, in the audit trail's words.
    pub const fn entrance(&self) -> &'static str {
        match self {
            Self::Operator(_) => "command line",
            Self::User(user) => match user.means {
                Means::Console { .. } | Means::HalfSignIn | Means::Link => "console",
                Means::ManageKey(_) => "management",
            },
            Self::Gateway => "gateway",
        }
    }

    /// The user who asks, if one does.
    pub const fn user(&self) -> Option<&UserActor> {
        match self {
            Self::User(user) => Some(user),
            Self::Operator(_) | Self::Gateway => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s100_the_audit_trail_names_operators_users_and_keys_apart() {
        let by = |means| {
            Actor::User(UserActor {
                id: UserId(1),
                name: "acme/alex".parse().unwrap(),
                means,
                client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
            })
        };
        let console = by(Means::Console { authenticated_at: Timestamp::from_unix_milliseconds(0) });
        assert_eq!((console.name().as_str(), console.entrance()), ("acme/alex", "console"));
        let key = by(Means::ManageKey("key_0c1x8n4t7q2vz".parse().unwrap()));
        assert_eq!((key.name().as_str(), key.entrance()), ("acme/alex by key_0c1x8n4t7q2vz", "management"));
        let operator = Actor::Operator("root".into());
        assert_eq!((operator.name().as_str(), operator.entrance()), ("operator:root", "command line"));
        assert!(operator.user().is_none() && key.user().is_some());
    }
}
