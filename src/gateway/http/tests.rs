//! The door over real sockets, with an upstream that records every byte.
use super::HttpDoor;
use crate::auth::{Attempt, AuthMethod, Credential, Decision, Permit};
use crate::model::KeyId;
impl HttpDoor {
    /// Lets the test's key in, and leaves everything else to the authenticator.
    pub(super) fn judged_by_test(&self, attempt: &Attempt<'_>) -> Option<Decision> {
        let Credential::ApiKey(key) = &attempt.credential else { return None };
        (self.test_key.map(str::as_bytes) == Some(key.0)).then(|| {
            let method = AuthMethod::ApiKey(KeyId::from_random(7));
            Decision::Allow(Permit::for_test("acme", "alex", method, attempt.client_ip))
        })
    }
}
