//! What was typed into the form of a user, and what was wrong with it.

use http::StatusCode;
use serde::{Deserialize, Deserializer};

use super::super::super::failure::Failure;
use super::super::super::frame::FieldError;
use super::super::super::pages::error::sentence;
use super::super::super::pages::user_form::{PasswordBy, UserValues};
use super::super::networks::read_networks;
use crate::auth::ControlError;
use crate::model::{AccessPoints, AllowList, Login, Permission, Secret};

/// A part of the form that was sent with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Profile,
    Access,
    Rights,
    Mfa,
    AllowList,
}

impl Part {
    pub(super) const ALL: [Self; 5] = [Self::Profile, Self::Access, Self::Rights, Self::Mfa, Self::AllowList];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Access => "access",
            Self::Rights => "rights",
            Self::Mfa => "mfa",
            Self::AllowList => "allow_list",
        }
    }
}

/// The fields of the form.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    pub(super) form_token: String,
    pub(super) version: String,
    #[serde(deserialize_with = "secret")]
    pub(super) password: Secret<String>,
    parts: Vec<String>,
    login: String,
    full_name: String,
    email: String,
    language: String,
    administrator: String,
    permission: Vec<String>,
    access: Vec<String>,
    require_mfa: String,
    allow_list: String,
    password_by: String,
}

fn secret<'de, D: Deserializer<'de>>(field: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(field).map(Secret::new)
}

impl Typed {
    /// The parts that were sent.
    pub(super) fn parts(&self) -> Vec<Part> {
        let was_sent = |part: &Part| self.parts.iter().any(|sent| sent == part.as_str());
        Part::ALL.into_iter().filter(was_sent).collect()
    }

    /// `before` with what was typed in the parts that were sent.
    pub(super) fn values(&self, before: UserValues, faults: &mut Faults) -> UserValues {
        let mut values = before;
        for part in self.parts() {
            match part {
                Part::Profile => self.put_profile(&mut values, faults),
                Part::Access => self.put_access(&mut values, faults),
                Part::Rights => self.put_rights(&mut values, faults),
                Part::Mfa => values.require_mfa = self.require_mfa == "yes",
                Part::AllowList => values.allow_list.clone_from(&self.allow_list),
            }
        }
        if self.password_by == PasswordBy::Typed.as_str() {
            values.password_by = PasswordBy::Typed;
        }
        values
    }

    fn put_profile(&self, values: &mut UserValues, faults: &mut Faults) {
        if values.login.is_empty() {
            self.login.trim().clone_into(&mut values.login);
        }
        self.full_name.trim().clone_into(&mut values.full_name);
        self.email.trim().clone_into(&mut values.email);
        if !self.language.is_empty() {
            self.language.clone_into(&mut values.language);
        }
        let is_address = |text: &str| match text.split_once('@') {
            Some((name, host)) => {
                !name.is_empty()
                    && !host.is_empty()
                    && !host.contains('@')
                    && !text.contains(char::is_whitespace)
            }
            None => false,
        };
        if !values.email.is_empty() && !is_address(&values.email) {
            faults.add("email", "Write an e-mail address such as name@example.org, or leave it empty.");
        }
    }

    fn put_access(&self, values: &mut UserValues, faults: &mut Faults) {
        let ticked = self.access.join(",");
        let text = if ticked.is_empty() { "none" } else { &ticked };
        match text.parse::<AccessPoints>() {
            Ok(access) => values.access = access,
            Err(_) => faults.add("access-console", "Choose among Console, API and IsProxy."),
        }
    }

    fn put_rights(&self, values: &mut UserValues, faults: &mut Faults) {
        values.administrator = self.administrator == "yes";
        let named: Result<Vec<Permission>, _> = self.permission.iter().map(|name| name.parse()).collect();
        match named {
            Ok(named) => values.permissions = named.into_iter().collect(),
            Err(_) => faults.add("administrator", "Choose among the permissions that are listed."),
        }
    }

    /// The login name of a new user; `None`: a fault.
    pub(super) fn new_login(&self, faults: &mut Faults) -> Option<Login> {
        let login = self.login.trim();
        if login.is_empty() {
            faults.add("login", "Enter a login name.");
            return None;
        }
        let parsed = login.parse::<Login>();
        parsed.map_err(|fault| faults.add("login", &sentence(&fault.to_string()))).ok()
    }

    /// The list that was typed, an empty one where none was sent; `None`: a fault.
    pub(super) fn networks(&self, faults: &mut Faults) -> Option<AllowList> {
        if !self.parts().contains(&Part::AllowList) {
            return Some(AllowList::default());
        }
        let typed = read_networks(&self.allow_list);
        for fault in &typed.faults {
            faults.add("allow_list", &format!("Line {}: {}", fault.line, fault.message));
        }
        typed.faults.is_empty().then_some(typed.list)
    }

    /// What is told once the form is saved: that it is, and what of it was read otherwise than it was typed.
    pub(super) fn saved_text(&self) -> String {
        let rounded = read_networks(&self.allow_list).rounded;
        std::iter::once(String::from("The changes were saved.")).chain(rounded).collect::<Vec<_>>().join(" ")
    }
}

/// What was wrong with a form.
#[derive(Debug, Default)]
pub(super) struct Faults {
    errors: Vec<FieldError>,
    is_conflict: bool,
}

impl Faults {
    pub(super) fn add(&mut self, field: &str, text: &str) {
        self.errors.push(FieldError::new(field, text));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    /// 409 where something stored is in the way, 422 where what was typed is at fault.
    pub(super) const fn status(&self) -> StatusCode {
        if self.is_conflict { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY }
    }

    /// Takes what a use case found wrong, with the field that is to blame; fails with what no field can mend.
    pub(super) fn take(&mut self, error: ControlError) -> Result<(), Failure> {
        let (field, text) = match &error {
            ControlError::UserExists(_) => {
                ("login", String::from("A user of this account has this login name already."))
            }
            ControlError::Text { what: "the name", .. } => ("full_name", sentence(&error.to_string())),
            ControlError::Text { what: "the e-mail address", .. } => ("email", sentence(&error.to_string())),
            ControlError::Text { what: "the language", .. } => ("language", sentence(&error.to_string())),
            ControlError::Password(fault) => ("password", sentence(&fault.to_string())),
            ControlError::LastAdministrator(_) => {
                self.is_conflict = true;
                (
                    "administrator",
                    String::from(
                        "This is the last active administrator, and one always remains. Make another user an administrator first.",
                    ),
                )
            }
            _ => return Err(error.into()),
        };
        self.add(field, &text);
        Ok(())
    }
}
