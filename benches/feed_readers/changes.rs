//! The changes that are measured: keys of one user, made and deleted.

use latchkey::model::{
    AccessPoints, AllowList, ApiKeyRecord, KeyDigest, KeyId, MfaRequirement, Permissions, Timestamp, UserId,
};
use latchkey::store::{NewCustomer, NewUser, Store};

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_800_000_000_000);

/// Whose keys they are.
pub async fn add_user(store: &Store) -> UserId {
    let mut change = store.mutate().await.unwrap();
    let new = NewCustomer { handle: "acme".parse().unwrap(), mfa: MfaRequirement::Optional, created_at: NOW };
    let customer = change.insert_customer(&new).await.unwrap();
    let new = NewUser {
        customer,
        login: "alex".parse().unwrap(),
        full_name: String::new(),
        email: String::new(),
        language: "en".into(),
        administrator: false,
        permissions: Permissions::default(),
        access_points: AccessPoints::ALL,
        password_hash: None,
        password_ends_at: None,
        mfa: MfaRequirement::Optional,
        created_at: NOW,
    };
    let user = change.insert_user(&new).await.unwrap();
    change.commit().await.unwrap();
    user
}

/// Makes a key, or deletes the one before; the revision of that.
pub async fn change(store: &Store, user: UserId, number: usize) -> i64 {
    let key = u64::try_from(number / 2).unwrap() + 1;
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&key.to_le_bytes());
    let key = ApiKeyRecord {
        id: KeyId::from_random(key),
        user,
        digest: KeyDigest(digest),
        last_characters: "abcd".into(),
        description: "bench".into(),
        scope: "api".parse().unwrap(),
        enabled: true,
        expires_at: None,
        allow_list: AllowList::default(),
        created_at: NOW,
    };
    let mut change = store.mutate().await.unwrap();
    if number.is_multiple_of(2) {
        change.insert_key(&key, "").await.unwrap();
    } else {
        change.delete_key(&key, NOW).await.unwrap();
    }
    change.commit().await.unwrap().0
}
