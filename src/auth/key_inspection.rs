//! What a presented text is, and what it would open: `latchkey key test`.

use super::control_plane::{ControlError, ControlPlane};
use super::policy::{Circumstances, Verdict};
use crate::crypto::{MalformedKey, recognise_key};
use crate::model::{ClientIp, Secret, Service};
use crate::store::{ListedKey, StoreError};

/// What a text turned out to be.
#[derive(Debug)]
pub enum KeyTest {
    /// No key by its form; told without any look-up.
    Malformed(MalformedKey),
    /// Could be a key, and is none here (any more).
    Unknown {
        /// It was one, and was deleted.
        deleted: bool,
    },
    /// A key of this installation.
    Known {
        /// The key.
        key: Box<ListedKey>,
        /// What each door would say to it.
        doors: [(Service, Verdict); 2],
    },
}

impl ControlPlane {
    /// Judges the text of a key as the doors would for a client at `from`; without it, regardless of addresses.
    pub async fn test_key(
        &self,
        text: &Secret<String>,
        from: Option<ClientIp>,
    ) -> Result<KeyTest, ControlError> {
        let text = text.expose().as_bytes();
        if let Err(malformed) = recognise_key(text, &self.key_ring.tag) {
            return Ok(KeyTest::Malformed(malformed));
        }
        let digest = self.key_ring.digest.digest(text);
        let Some(record) = self.store.key_by_digest(&digest).await? else {
            return Ok(KeyTest::Unknown { deleted: self.store.was_deleted(&digest).await? });
        };
        let key = self.key(record.id).await?;
        let user =
            self.store.user_by_id(record.user).await?.ok_or(StoreError::Corrupt("key without a user"))?;
        let at = Circumstances { client_ip: from, now: self.clock.now() };
        let doors = [Service::Api, Service::IsProxy]
            .map(|service| (service, self.judge_key(&user, &key, service, at)));
        Ok(KeyTest::Known { key: Box::new(key), doors })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::control_plane::tests::plane;
    use super::super::{DenialReason, KeyToMake, PasswordEnd};
    use super::*;

    #[tokio::test]
    async fn a_key_is_told_from_a_deleted_one_and_from_none() {
        let (_folder, plane) = plane().await;
        let order = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let made = plane.create_keys(&order, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
        let text = Secret::new(made.keys[0].text.expose().to_owned());
        let KeyTest::Known { key, doors } = plane.test_key(&text, None).await.unwrap() else { panic!() };
        assert_eq!(key.key.id, made.keys[0].id);
        assert_eq!(doors[0].1, Verdict::Allowed);
        assert_eq!(doors[1].1, Verdict::Refused(DenialReason::ScopeMissing));
        plane.delete_key(made.keys[0].id).await.unwrap();
        assert!(matches!(plane.test_key(&text, None).await.unwrap(), KeyTest::Unknown { deleted: true }));
        let opaque = Secret::new("x".repeat(40));
        assert!(matches!(plane.test_key(&opaque, None).await.unwrap(), KeyTest::Unknown { deleted: false }));
        let mistyped = Secret::new(text.expose().replace("lk1_", "lk1_A"));
        assert!(matches!(
            plane.test_key(&mistyped, None).await.unwrap(),
            KeyTest::Malformed(MalformedKey::WrongTag)
        ));
    }
}
