//! What the hot path reads: every key and user, in memory.

/// A user as the hot path sees it.
#[derive(Debug)]
pub struct UserEntry {
    customer_handle: Box<str>,
    login: Box<str>,
}

impl UserEntry {
    /// The customer's handle.
    pub fn customer_handle(&self) -> &str {
        &self.customer_handle
    }

    /// The login name.
    pub fn login(&self) -> &str {
        &self.login
    }
}
