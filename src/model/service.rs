//! What can be entered (services, access points) and what may be done (permissions).

use std::fmt;
use std::str::FromStr;

/// A door of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The HTTP API.
    Api,
    /// The `IsProxy` line protocol.
    IsProxy,
}

impl Service {
    /// The name used in logs, metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::IsProxy => "isproxy",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Service {
    type Err = InvalidServiceScope;

    fn from_str(text: &str) -> Result<Self, InvalidServiceScope> {
        match text {
            "api" => Ok(Self::Api),
            "isproxy" => Ok(Self::IsProxy),
            _ => Err(InvalidServiceScope::Unknown(text.chars().take(40).collect(), "`api`, `isproxy`")),
        }
    }
}

/// Why a text is no scope, service or list of access points.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidServiceScope {
    /// Nothing was named.
    #[error("nothing is named; allowed are {0}, separated by commas")]
    Empty(&'static str),
    /// Something unknown was named.
    #[error("`{0}` is unknown; allowed are {1}")]
    Unknown(String, &'static str),
}

/// What an API key opens; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceScope(u8);

impl ServiceScope {
    const API: u8 = 1;
    const ISPROXY: u8 = 2;
    const MANAGE: u8 = 4;
    const ALLOWED: &str = "`api`, `isproxy`, `manage`";

    /// The scope that opens `service` and nothing else.
    pub const fn of(service: Service) -> Self {
        match service {
            Service::Api => Self(Self::API),
            Service::IsProxy => Self(Self::ISPROXY),
        }
    }

    /// Does the scope open `service`?
    pub const fn holds(self, service: Service) -> bool {
        match service {
            Service::Api => self.0 & Self::API != 0,
            Service::IsProxy => self.0 & Self::ISPROXY != 0,
        }
    }

    /// Does the scope open the management API?
    pub const fn manages(self) -> bool {
        self.0 & Self::MANAGE != 0
    }

    /// The scope as the store keeps it: 1 API, 2 `IsProxy`, 4 management, added up.
    pub const fn to_stored(self) -> u8 {
        self.0
    }

    /// The scope of a stored row; `None` where it is empty or has unknown bits.
    pub const fn from_stored(stored: u8) -> Option<Self> {
        if stored == 0 || stored > 7 { None } else { Some(Self(stored)) }
    }
}

impl FromStr for ServiceScope {
    type Err = InvalidServiceScope;

    fn from_str(text: &str) -> Result<Self, InvalidServiceScope> {
        let mut bits = 0;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            bits |= match part {
                "api" => Self::API,
                "isproxy" => Self::ISPROXY,
                "manage" => Self::MANAGE,
                _ => {
                    return Err(InvalidServiceScope::Unknown(part.chars().take(40).collect(), Self::ALLOWED));
                }
            };
        }
        Self::from_stored(bits).ok_or(InvalidServiceScope::Empty(Self::ALLOWED))
    }
}

impl fmt::Display for ServiceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_set(f, self.0, &["api", "isproxy", "manage"])
    }
}

/// One of the entrances that can be closed for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessPoint {
    /// The web console (and the management API).
    Console,
    /// The API door.
    Api,
    /// The `IsProxy` door.
    IsProxy,
}

impl AccessPoint {
    /// The name used in logs, metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Api => Service::Api.as_str(),
            Self::IsProxy => Service::IsProxy.as_str(),
        }
    }

    /// The door of the data plane that it is; `None`: the console.
    pub const fn service(self) -> Option<Service> {
        match self {
            Self::Console => None,
            Self::Api => Some(Service::Api),
            Self::IsProxy => Some(Service::IsProxy),
        }
    }
}

impl From<Service> for AccessPoint {
    fn from(service: Service) -> Self {
        match service {
            Service::Api => Self::Api,
            Service::IsProxy => Self::IsProxy,
        }
    }
}

/// The entrances open to a user; may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessPoints(u8);

impl AccessPoints {
    /// Every entrance.
    pub const ALL: Self = Self(7);
    const ALLOWED: &str = "`console`, `api`, `isproxy`, `none`";

    /// Is `point` open?
    pub const fn holds(self, point: AccessPoint) -> bool {
        let bit = match point {
            AccessPoint::Console => 1,
            AccessPoint::Api => 2,
            AccessPoint::IsProxy => 4,
        };
        self.0 & bit != 0
    }

    /// The set as the store keeps it: 1 console, 2 API, 4 `IsProxy`, added up.
    pub const fn to_stored(self) -> u8 {
        self.0
    }

    /// The set of a stored row; unknown bits are dropped, so that they open nothing.
    pub const fn from_stored(stored: u8) -> Self {
        Self(stored & 7)
    }
}

impl FromStr for AccessPoints {
    type Err = InvalidServiceScope;

    fn from_str(text: &str) -> Result<Self, InvalidServiceScope> {
        if text == "none" {
            return Ok(Self(0));
        }
        let mut bits = 0;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            bits |= match part {
                "console" => 1,
                "api" => 2,
                "isproxy" => 4,
                _ => {
                    return Err(InvalidServiceScope::Unknown(part.chars().take(40).collect(), Self::ALLOWED));
                }
            };
        }
        if bits == 0 { Err(InvalidServiceScope::Empty(Self::ALLOWED)) } else { Ok(Self(bits)) }
    }
}

impl fmt::Display for AccessPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("none") } else { write_set(f, self.0, &["console", "api", "isproxy"]) }
    }
}

/// A right within the own customer (INTERFACE: Permissions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// The own API keys.
    ManageApiKey,
    /// Other users' data.
    ManageUser,
    /// Other users' IP whitelists.
    ManageIpWhitelist,
    /// The audit trail.
    ViewAudit,
}

impl Permission {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] =
        [Self::ManageApiKey, Self::ManageUser, Self::ManageIpWhitelist, Self::ViewAudit];

    /// The name used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ManageApiKey => "MANAGE_API_KEY",
            Self::ManageUser => "MANAGE_USER",
            Self::ManageIpWhitelist => "MANAGE_IP_WHITELIST",
            Self::ViewAudit => "VIEW_AUDIT",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::ManageApiKey => 1,
            Self::ManageUser => 2,
            Self::ManageIpWhitelist => 4,
            Self::ViewAudit => 8,
        }
    }
}

impl FromStr for Permission {
    type Err = InvalidServiceScope;

    fn from_str(text: &str) -> Result<Self, InvalidServiceScope> {
        Self::ALL.into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            InvalidServiceScope::Unknown(
                text.chars().take(40).collect(),
                "`MANAGE_API_KEY`, `MANAGE_USER`, `MANAGE_IP_WHITELIST`, `VIEW_AUDIT`",
            )
        })
    }
}

/// The permissions a user holds; an administrator holds all without any being listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Permissions(u8);

impl Permissions {
    /// Is `permission` held?
    pub const fn holds(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// The permissions as the store keeps them: 1, 2, 4, 8 in the order of [`Permission::ALL`], added up.
    pub const fn to_stored(self) -> u8 {
        self.0
    }

    /// The permissions of a stored row; unknown bits grant nothing.
    pub const fn from_stored(stored: u8) -> Self {
        Self(stored & 15)
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("none")
        } else {
            write_set(f, self.0, &Permission::ALL.map(Permission::as_str))
        }
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, bits: u8, names: &[&str]) -> fmt::Result {
    let mut separator = "";
    for (position, name) in names.iter().enumerate() {
        if bits & (1 << position) != 0 {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_parse_print_and_are_never_empty() {
        let both: ServiceScope = "isproxy, api".parse().unwrap();
        assert!(both.holds(Service::Api) && both.holds(Service::IsProxy) && !both.manages());
        assert_eq!(both.to_string(), "api,isproxy");
        assert_eq!(ServiceScope::of(Service::IsProxy).to_string(), "isproxy");
        assert!("".parse::<ServiceScope>().is_err());
        assert!("api,root".parse::<ServiceScope>().unwrap_err().to_string().contains("`root` is unknown"));
        assert_eq!(ServiceScope::from_stored(0), None);
        assert_eq!(ServiceScope::from_stored(8), None);
    }

    #[test]
    fn access_points_can_all_be_closed() {
        let none: AccessPoints = "none".parse().unwrap();
        assert!(!none.holds(AccessPoint::Api));
        assert_eq!("api,console".parse::<AccessPoints>().unwrap().to_string(), "console,api");
        assert!(AccessPoints::ALL.holds(Service::IsProxy.into()));
    }

    #[test]
    fn permissions_round_trip() {
        let some: Permissions = [Permission::ManageUser, Permission::ViewAudit].into_iter().collect();
        assert_eq!(Permissions::from_stored(some.to_stored()), some);
        assert_eq!(some.to_string(), "MANAGE_USER,VIEW_AUDIT");
        assert_eq!("manage_api_key".parse::<Permission>(), Ok(Permission::ManageApiKey));
    }
}
