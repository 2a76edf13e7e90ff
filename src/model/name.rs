//! Names of customers and users: `acme` and `acme/alex`.

use std::fmt;
use std::str::FromStr;

/// The longest handle or login name, in bytes.
pub const NAME_MAX_BYTES: usize = 64;

/// Why a text is no customer handle, login name or user name.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a {what}: {allowed}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
    allowed: &'static str,
}

const HANDLE_ALLOWED: &str = "1 to 64 of the letters a-z and A-Z, digits, `.`, `_` and `-`";
const LOGIN_ALLOWED: &str = "1 to 64 of the letters a-z and A-Z, digits, `.`, `_`, `-`, `@` and `+`";
/// The console's address of a new user, and what every browser takes out of an address (RFC 3986 §5.2.4).
const NO_LOGINS: [&str; 3] = ["new", ".", ".."];
const NO_LOGINS_ALLOWED: &str = "`new`, `.` and `..` mean something else in the console's addresses";
const USER_ALLOWED: &str = "CUSTOMER/LOGIN, for example `acme/alex`";

fn invalid(text: &str, what: &'static str, allowed: &'static str) -> InvalidName {
    InvalidName { text: text.chars().take(80).flat_map(char::escape_default).collect(), what, allowed }
}

fn within(text: &str, extra: &[u8]) -> bool {
    (1..=NAME_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b) || extra.contains(&b))
}

/// A customer's handle, safe in a header, a path, a line and a shell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerHandle(Box<str>);

/// A user's login name, unique within the customer; safe where a handle is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Login(Box<str>);

/// A user named in full: `customer/login`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName {
    /// Whose user it is.
    pub customer: CustomerHandle,
    /// The user's name within the customer.
    pub login: Login,
}

impl CustomerHandle {
    /// The handle as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Login {
    /// The login name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CustomerHandle {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if within(text, b"") {
            Ok(Self(text.into()))
        } else {
            Err(invalid(text, "customer handle", HANDLE_ALLOWED))
        }
    }
}

impl FromStr for Login {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if NO_LOGINS.contains(&text) {
            Err(invalid(text, "login name", NO_LOGINS_ALLOWED))
        } else if within(text, b"@+") {
            Ok(Self(text.into()))
        } else {
            Err(invalid(text, "login name", LOGIN_ALLOWED))
        }
    }
}

impl FromStr for UserName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (customer, login) =
            text.split_once('/').ok_or_else(|| invalid(text, "user name", USER_ALLOWED))?;
        Ok(Self { customer: customer.parse()?, login: login.parse()? })
    }
}

impl fmt::Display for CustomerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.customer, self.login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_a_handle_and_a_login() {
        let name: UserName = "acme/alex.b@example.com".parse().unwrap();
        assert_eq!(name.customer.as_str(), "acme");
        assert_eq!(name.login.as_str(), "alex.b@example.com");
        assert_eq!(name.to_string(), "acme/alex.b@example.com");
    }

    #[test]
    fn a_login_name_is_never_another_address_of_the_console() {
        for text in ["new", ".", ".."] {
            let told = text.parse::<Login>().unwrap_err().to_string();
            assert!(told.contains("console's addresses"), "{told}");
        }
        for text in ["news", "...", "New", ".alex"] {
            assert!(text.parse::<Login>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_could_break_a_line_or_a_header_is_no_name() {
        for text in [
            "",
            "acme",
            "/alex",
            "acme/",
            "acme/al ex",
            "acme/a:b",
            "acme/a/b",
            "acme/a\r\nb",
            "ac me/a",
            "acmé/a",
        ] {
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
        }
        assert!("a".repeat(65).parse::<Login>().is_err());
    }
}
