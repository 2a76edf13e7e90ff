//! Any bytes as an `Authorization` header: what is read holds nothing that was not sent, and no control byte.

use latchkey::auth::Credential;
use latchkey::gateway::http::parse_credential;

/// Runs the target on one input.
pub fn run(field: &[u8]) {
    let Some(authorization) = parse_credential(field) else { return };
    match authorization.credential() {
        Credential::ApiKey(key) | Credential::Session(key) => {
            assert!(field.ends_with(key.0));
            assert!(!key.0.is_empty() && key.0.iter().all(u8::is_ascii_graphic));
        }
        Credential::Password { user, password } => {
            assert!(!user.contains(':') && !user.chars().any(char::is_control));
            assert!(!password.expose().chars().any(char::is_control));
            // Base64 makes four characters of three bytes.
            assert!(user.len() + password.expose().len() < field.len());
        }
    }
}
