//! What a client presents at a door.

use crate::model::{ClientIp, Secret, Service};

/// A credential as it was presented, read but not judged.
#[derive(Debug)]
pub enum Credential<'a> {
    /// `Authorization: ApiKey …`, `LOGIN <apikey>`, or the key of a one-shot `IS`.
    ApiKey(PresentedKey<'a>),
    /// `Authorization: Session …`.
    Session(PresentedKey<'a>),
    /// `Authorization: Basic …` or `LOGIN <customer/user> <password>`.
    Password {
        /// `customer/login` as it was sent; may be no user's name at all.
        user: &'a str,
        /// The password as it was sent.
        password: Secret<String>,
    },
}

/// The text of a presented key, of a user or of a session, borrowed from what was read; prints nothing.
#[derive(Clone, Copy)]
pub struct PresentedKey<'a>(pub &'a [u8]);

impl std::fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresentedKey(…)")
    }
}

/// One try to come in.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What was presented.
    pub credential: Credential<'a>,
    /// At which door.
    pub service: Service,
    /// From where.
    pub client_ip: ClientIp,
}
