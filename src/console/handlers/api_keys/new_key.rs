//! The form for a new key: what was typed, what is wrong with it, and what it asks for. Pure.

use serde::Deserialize;

use super::super::super::failure::Failure;
use super::super::super::frame::FieldError;
use super::super::super::pages::api_keys::KeyValues;
use super::super::networks::read_networks;
use crate::auth::{KeyToMake, PasswordEnd};
use crate::model::{AllowList, ServiceScope, Timestamp, UserName};

/// Characters of a description at most.
const DESCRIPTION_CHARACTERS: usize = 100;
const SECONDS_PER_DAY: i64 = 86_400;

/// The fields as they were sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NewKeyFields {
    form_token: String,
    description: String,
    access: Vec<String>,
    expires: String,
    expires_date: String,
    allow_list: String,
    understood: String,
}

impl NewKeyFields {
    /// What the page shows again.
    pub(super) fn values(&self) -> KeyValues {
        KeyValues {
            description: self.description.clone(),
            scope: self.scope(),
            expires: self.expires.clone(),
            expires_date: self.expires_date.clone(),
            allow_list: self.allow_list.clone(),
        }
    }

    /// What makes the form good for one key.
    pub(super) fn form_token(&self) -> Result<&str, Failure> {
        if self.form_token.is_empty() { Err(Failure::form()) } else { Ok(&self.form_token) }
    }

    /// Is the end of the password agreed to?
    pub(super) fn password_end(&self) -> PasswordEnd {
        if self.understood == "yes" { PasswordEnd::Accepted } else { PasswordEnd::NotAccepted }
    }

    /// What is asked for, or all that is wrong, in the order of the fields.
    pub(super) fn order(&self, user: &UserName, now: Timestamp) -> Result<KeyToMake, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, text: String| errors.push(FieldError::new(field, text));
        let description = self.description.trim();
        if let Some(text) = description_fault(description) {
            wrong("description", text.to_owned());
        }
        let scope = self.scope();
        if scope.is_none() {
            wrong("access", String::from("Choose API, IsProxy or both."));
        }
        let expires_at = self.expires_at(now).unwrap_or_else(|(field, text)| {
            wrong(field, text.to_owned());
            None
        });
        let typed = read_networks(&self.allow_list);
        for fault in &typed.faults {
            wrong("allow_list", format!("Line {}: {}", fault.line, fault.message));
        }
        if lacks_list(scope, &typed.list) && typed.faults.is_empty() {
            let text =
                "Enter at least one address: a key for the management API is accepted only from there.";
            wrong("allow_list", text.to_owned());
        }
        match scope {
            Some(scope) if errors.is_empty() => {
                let order = KeyToMake::new(user.clone(), description, scope);
                Ok(KeyToMake { expires_at, allow_list: typed.list, ..order })
            }
            _ => Err(errors),
        }
    }

    /// What is ticked; `None`: nothing, or something that is not there.
    fn scope(&self) -> Option<ServiceScope> {
        self.access.join(",").parse().ok()
    }

    fn expires_at(&self, now: Timestamp) -> Result<Option<Timestamp>, (&'static str, &'static str)> {
        match self.expires.as_str() {
            "" | "never" => Ok(None),
            "30" | "90" | "365" => {
                let days: i64 = self.expires.parse().map_err(|_| ("expires", "Choose when the key ends."))?;
                Ok(Some(now.plus_seconds(days * SECONDS_PER_DAY)))
            }
            "date" => match self.expires_date.trim().parse::<Timestamp>() {
                Ok(end) if end <= now => {
                    Err(("expires_date", "The date is in the past. Choose a later one."))
                }
                Ok(end) => Ok(Some(end)),
                Err(_) => Err(("expires_date", "Enter a date such as 2027-01-31.")),
            },
            _ => Err(("expires", "Choose when the key ends.")),
        }
    }
}

fn description_fault(description: &str) -> Option<&'static str> {
    if description.is_empty() {
        Some("Enter a description.")
    } else if description.chars().count() > DESCRIPTION_CHARACTERS {
        Some("The description is too long. Use at most 100 characters.")
    } else if description.chars().any(char::is_control) {
        Some("Use one line of plain text.")
    } else {
        None
    }
}

fn lacks_list(scope: Option<ServiceScope>, list: &AllowList) -> bool {
    list.is_empty() && scope.is_some_and(ServiceScope::manages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

    fn read(form: &str) -> NewKeyFields {
        serde_html_form::from_str(form).unwrap()
    }

    fn order(form: &str) -> Result<KeyToMake, Vec<(String, String)>> {
        let order = read(form).order(&"acme/alex".parse().unwrap(), NOW);
        order.map_err(|errors| errors.into_iter().map(|error| (error.field, error.text)).collect())
    }

    #[test]
    fn r12_each_fault_is_told_with_its_field() {
        let fields =
            |form: &str| order(form).unwrap_err().into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(fields(""), ["description", "access"]);
        assert_eq!(fields("description=%20&access=api&expires=date"), ["description", "expires_date"]);
        assert_eq!(fields("description=a&access=other"), ["access"]);
        assert_eq!(fields("description=a&access=api&expires=5"), ["expires"]);
        assert_eq!(fields("description=a&access=api&expires=date&expires_date=2020-01-31"), ["expires_date"]);
        assert_eq!(fields("description=a%0ab&access=api"), ["description"]);
        assert_eq!(fields(&format!("description={}&access=api", "x".repeat(101))), ["description"]);
        assert_eq!(fields("description=a&access=manage"), ["allow_list"]);
        let told = order("description=a&access=api&allow_list=192.0.2.0%2F24%0A192.0.2.300").unwrap_err();
        assert_eq!(told, [("allow_list".to_owned(), "Line 2: 192.0.2.300 is not an IP address.".to_owned())]);
    }

    #[test]
    fn what_is_typed_is_asked_for() {
        let form = "description=+Billing+server+&access=api&access=isproxy&expires=date&expires_date=2027-01-31\
                    &allow_list=192.0.2.7%2F24&understood=yes";
        let asked = order(form).unwrap();
        assert_eq!(
            (asked.description.as_str(), asked.scope.to_string().as_str()),
            ("Billing server", "api,isproxy")
        );
        assert_eq!(asked.expires_at.map(|end| end.to_string()).as_deref(), Some("2027-01-31T00:00:00Z"));
        assert_eq!(asked.allow_list.to_string(), "192.0.2.0/24");
        assert_eq!(read(form).password_end(), PasswordEnd::Accepted);
        assert_eq!(read("").password_end(), PasswordEnd::NotAccepted);
        let asked = order("description=a&access=api&expires=30").unwrap();
        assert_eq!(asked.expires_at, Some(NOW.plus_seconds(30 * 86_400)));
    }
}
