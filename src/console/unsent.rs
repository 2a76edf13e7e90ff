//! What was typed into a form whose user had to confirm first who it is: kept until then, and sent by one press (CONSOLE
//! rule 6, WCAG 3.3.7).
//!
//! A form that is open for more than ten minutes is the usual case. Kept in memory, for a short while, and never what is
//! secret: whoever typed a password types it again.

use bytes::Bytes;

/// Fields that are each form's own, or of one page: they say nothing that was typed.
const NOT_TYPED: [&str; 2] = ["csrf", "form_token"];
/// Fields that hold secrets, in every form of the console.
const SECRET: [&str; 3] = ["password", "code", "credential"];

/// The console's largest form has some thirty; what has many more is no page's, and would take more memory than it says.
const FIELDS_MAX: usize = 200;

/// A form that is not sent yet.
#[derive(Clone)]
pub(super) struct Unsent {
    /// The address that it is sent to.
    pub(super) path: String,
    /// Its fields in their order, but for the proof of the session and what is secret.
    pub(super) fields: Vec<(String, String)>,
}

impl Unsent {
    /// The form with this body; `None`: nothing was typed, so that its page asks again as well, or it is no page's.
    pub(super) fn of(path: &str, body: &Bytes) -> Option<Self> {
        let fields: Vec<_> = url::form_urlencoded::parse(body)
            .into_owned()
            .filter(|(name, _)| name != "csrf" && !SECRET.contains(&name.as_str()))
            .take(FIELDS_MAX + 1)
            .collect();
        let is_typed = fields.iter().any(|(name, _)| !NOT_TYPED.contains(&name.as_str()));
        (is_typed && fields.len() <= FIELDS_MAX).then(|| Self { path: path.to_owned(), fields })
    }
}

impl std::fmt::Debug for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsent").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_kept_but_for_secrets_and_what_nobody_typed_is_not() {
        let body = "csrf=abc&form_token=once&login=kim&access=api&access=console&password=secret&code=123456";
        let kept = Unsent::of("/account/users/new", &Bytes::from_static(body.as_bytes())).unwrap();
        let fields: Vec<_> =
            kept.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("form_token", "once"), ("login", "kim"), ("access", "api"), ("access", "console")];
        assert_eq!(fields, expected);
        assert!(!format!("{kept:?}").contains("kim"));
        for nothing in ["", "csrf=abc", "csrf=abc&form_token=once", "csrf=abc&password=secret"] {
            assert!(Unsent::of("/", &Bytes::from_static(nothing.as_bytes())).is_none(), "{nothing}");
        }
        let form = |fields| Unsent::of("/", &Bytes::from("a=b&".repeat(fields)));
        assert!(form(FIELDS_MAX).is_some() && form(FIELDS_MAX + 1).is_none());
    }
}
