//! The names that a user's password must not be made of: whose it is, and what it opens (NIST SP 800-63B §3.1.1.2).
//!
//! Pure. Made by whoever sets a password, asked by `passwords`.

use zeroize::Zeroizing;

use super::patterns::{is_common, is_pattern};
use crate::model::UserName;
use crate::store::UserRecord;

const SERVICE: &str = "latchkey";
/// Shorter names are found in any text.
const LEAST_CHARACTERS: usize = 3;
/// So many letters and digits beside names do not make a password.
const FEW_CHARACTERS: usize = 4;

/// What an account is called: customer, login, the person's name, the front of the e-mail address, and this service.
#[derive(Clone, Debug)]
pub struct OwnNames {
    /// Lower-cased, the longest first.
    names: Vec<String>,
}

impl OwnNames {
    /// The names of the user `name`, who is called `full_name` and has the address `email`; both may be empty.
    pub fn new(name: &UserName, full_name: &str, email: &str) -> Self {
        let mailbox = email.rsplit_once('@').map_or(email, |(mailbox, _)| mailbox);
        let whole = [SERVICE, &name.customer.to_string(), &name.login.to_string(), full_name, mailbox]
            .map(str::to_lowercase);
        let words = whole.iter().flat_map(|name| name.split(|letter: char| !letter.is_alphanumeric()));
        let mut names: Vec<String> =
            whole.iter().map(String::as_str).chain(words).map(str::to_owned).collect();
        names.retain(|name| name.chars().count() >= LEAST_CHARACTERS);
        names.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        names.dedup();
        Self { names }
    }

    /// The names of a user that exists.
    pub fn of(user: &UserRecord) -> Self {
        Self::new(&user.name, &user.full_name, &user.email)
    }

    /// Is `text`, lower-cased, one or more of the names with little or something common beside them?
    pub(super) fn make_up(&self, text: &str) -> bool {
        let mut rest = Zeroizing::new(text.to_owned());
        for name in &self.names {
            // A blank keeps apart what stood before and behind the name.
            rest = Zeroizing::new(rest.replace(name, " "));
        }
        if *rest == text {
            return false;
        }
        let added = rest.trim_matches(|letter: char| !letter.is_alphanumeric());
        let few = added.chars().filter(|letter| letter.is_alphanumeric()).count() <= FEW_CHARACTERS;
        few || is_common(added) || is_pattern(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> OwnNames {
        OwnNames::new(
            &"acme/alex".parse().unwrap(),
            "Alexandra Ö. Müller-Lüdenscheidt",
            "a.mueller@example.com",
        )
    }

    #[test]
    fn s42_a_password_of_the_accounts_own_names_is_recognised() {
        for text in [
            "latchkey-acme-alex",
            "latchkeylatchkey",
            "acme alex 2026!",
            "alexandra müller",
            "müller-lüdenscheidt99",
            "a.mueller.acme.1",
            "acme/alex@latchkey",
            "alexpassword123",
            "latchkey123456789",
            "alexandra ö. müller-lüdenscheidt",
        ] {
            assert!(names().make_up(text), "{text}");
        }
    }

    #[test]
    fn a_name_within_enough_other_text_does_no_harm() {
        for text in
            ["correct horse battery", "alex rides horses", "my acme rockets fly", "", "läuft bei mir so"]
        {
            assert!(!names().make_up(text), "{text}");
        }
        let short = OwnNames::new(&"ab/c".parse().unwrap(), "", "");
        assert!(!short.make_up("c ab c ab c ab c"));
    }
}
