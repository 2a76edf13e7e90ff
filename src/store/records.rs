//! Rows of the store as values.

use sqlx::any::AnyRow;
use sqlx::{ColumnIndex, Row};

use super::StoreError;
use crate::crypto::PasswordHash;
use crate::model::{
    AccessPoints, AllowList, ApiKeyRecord, CustomerHandle, CustomerId, KeyDigest, KeyId, Login,
    MfaRequirement, Permissions, ServiceScope, SessionDigest, Timestamp, UserId, UserName,
};

/// A customer to be made.
#[derive(Clone, Debug)]
pub struct NewCustomer {
    /// Its handle, unique.
    pub handle: CustomerHandle,
    /// Is MFA demanded of all its users?
    pub mfa: MfaRequirement,
    /// When it became a customer.
    pub created_at: Timestamp,
}

/// A customer.
#[derive(Clone, Debug)]
pub struct CustomerRecord {
    /// Its row.
    pub id: CustomerId,
    /// Its handle, unique.
    pub handle: CustomerHandle,
    /// Is MFA demanded of all its users?
    pub mfa: MfaRequirement,
    /// Narrows where its users may come from.
    pub allow_list: AllowList,
    /// When it became a customer.
    pub created_at: Timestamp,
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Whose user it is.
    pub customer: CustomerId,
    /// The login name, unique within the customer.
    pub login: Login,
    /// The person's name; may be empty.
    pub full_name: String,
    /// The person's address; may be empty.
    pub email: String,
    /// The language that the person reads, as a BCP 47 tag such as `en`.
    pub language: String,
    /// Holds every permission.
    pub administrator: bool,
    /// Permissions of a user who is no administrator.
    pub permissions: Permissions,
    /// Entrances that are open.
    pub access_points: AccessPoints,
    /// `None`: no password opens anything.
    pub password_hash: Option<PasswordHash>,
    /// The password opens nothing from then on, unless its owner replaces it; `None`: it lasts.
    pub password_ends_at: Option<Timestamp>,
    /// Does an administrator demand MFA?
    pub mfa: MfaRequirement,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A user.
#[expect(clippy::struct_excessive_bools, reason = "a row of the store, column by column")]
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// Its row.
    pub id: UserId,
    /// Whose user it is.
    pub customer: CustomerId,
    /// Its name in full.
    pub name: UserName,
    /// The person's name; may be empty.
    pub full_name: String,
    /// The person's address; may be empty.
    pub email: String,
    /// The language that the person reads, as a BCP 47 tag such as `en`.
    pub language: String,
    /// Holds every permission.
    pub administrator: bool,
    /// Permissions of a user who is no administrator.
    pub permissions: Permissions,
    /// Entrances that are open.
    pub access_points: AccessPoints,
    /// `false` once deactivated.
    pub active: bool,
    /// `None`: no password opens anything.
    pub password_hash: Option<PasswordHash>,
    /// Grows with every change of the password.
    pub password_version: i64,
    /// The password opens nothing from then on, unless its owner replaces it; `None`: it lasts.
    pub password_ends_at: Option<Timestamp>,
    /// After a reset of MFA: the next sign-in takes a one-time link beside the password.
    pub link_required: bool,
    /// The user has, or ever had, a key.
    pub password_off_by_key: bool,
    /// Does an administrator demand MFA?
    pub mfa: MfaRequirement,
    /// Does the customer demand MFA?
    pub customer_mfa: MfaRequirement,
    /// Is at least one method active?
    pub mfa_active: bool,
    /// Grows with every change of the methods.
    pub mfa_generation: i64,
    /// Narrows where the user may come from.
    pub allow_list: AllowList,
    /// Narrows where the customer's users may come from.
    pub customer_allow_list: AllowList,
    /// When it was made.
    pub created_at: Timestamp,
}

/// When, where and from where a key was last used.
#[derive(Clone, Debug)]
pub struct LastUse {
    /// Exact to about a minute.
    pub at: Timestamp,
    /// `api` or `isproxy`.
    pub service: String,
    /// The client's address.
    pub address: String,
}

/// A key with what a list shows beside it.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// The key.
    pub key: ApiKeyRecord,
    /// Whose it is.
    pub user: UserName,
    /// Its last use, where one was noted.
    pub last_use: Option<LastUse>,
    /// Who made it, as the audit trail names actors; empty: not known any more.
    pub created_by: String,
}

pub(super) const fn stored_requirement(mfa: MfaRequirement) -> bool {
    matches!(mfa, MfaRequirement::Required)
}

pub(super) const fn requirement(stored: bool) -> MfaRequirement {
    if stored { MfaRequirement::Required } else { MfaRequirement::Optional }
}

/// A flag, which `PostgreSQL` has as such and the embedded engine as 0 or 1.
pub(super) fn flag<I: ColumnIndex<AnyRow> + Copy>(row: &AnyRow, column: I) -> Result<bool, sqlx::Error> {
    row.try_get::<bool, _>(column).or_else(|_| Ok(row.try_get::<i64, _>(column)? != 0))
}

/// A number that has 32 bits at most.
pub(super) fn small_count(row: &AnyRow, column: &str) -> Result<u32, sqlx::Error> {
    let stored: i64 = row.try_get(column)?;
    u32::try_from(stored)
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.into(), source: error.into() })
}

pub(super) fn allow_list(stored: &str) -> Result<AllowList, StoreError> {
    stored.parse().map_err(|_| StoreError::Corrupt("allow-list"))
}

pub(super) fn small_set(stored: i64) -> Result<u8, StoreError> {
    u8::try_from(stored).map_err(|_| StoreError::Corrupt("set"))
}

pub(super) fn scope(stored: i64) -> Result<ServiceScope, StoreError> {
    ServiceScope::from_stored(small_set(stored)?).ok_or(StoreError::Corrupt("scope"))
}

pub(super) fn digest(stored: &[u8]) -> Result<KeyDigest, StoreError> {
    Ok(KeyDigest(stored.try_into().map_err(|_| StoreError::Corrupt("digest"))?))
}

pub(super) fn session_digest(stored: &[u8]) -> Result<SessionDigest, StoreError> {
    Ok(SessionDigest(stored.try_into().map_err(|_| StoreError::Corrupt("digest of a session"))?))
}

impl CustomerRecord {
    pub(super) fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: CustomerId(row.try_get("id")?),
            handle: row
                .try_get::<&str, _>("handle")?
                .parse()
                .map_err(|_| StoreError::Corrupt("customer handle"))?,
            mfa: requirement(flag(row, "mfa_required")?),
            allow_list: allow_list(row.try_get("allow_list")?)?,
            created_at: Timestamp::from_unix_milliseconds(row.try_get("created_at")?),
        })
    }
}

impl UserRecord {
    pub(super) fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId(row.try_get("id")?),
            customer: CustomerId(row.try_get("customer_id")?),
            name: user_name(row)?,
            full_name: row.try_get("full_name")?,
            email: row.try_get("email")?,
            language: row.try_get("language")?,
            administrator: flag(row, "administrator")?,
            permissions: Permissions::from_stored(small_set(row.try_get("permissions")?)?),
            access_points: AccessPoints::from_stored(small_set(row.try_get("access_points")?)?),
            active: flag(row, "active")?,
            password_hash: row.try_get::<Option<String>, _>("password_hash")?.map(PasswordHash::from_stored),
            password_version: row.try_get("password_version")?,
            password_ends_at: row
                .try_get::<Option<i64>, _>("password_ends_at")?
                .map(Timestamp::from_unix_milliseconds),
            link_required: flag(row, "link_required")?,
            password_off_by_key: flag(row, "password_off_by_key")?,
            mfa_generation: row.try_get("mfa_generation")?,
            mfa: requirement(flag(row, "mfa_forced")?),
            customer_mfa: requirement(flag(row, "mfa_required")?),
            mfa_active: flag(row, "mfa_active")?,
            allow_list: allow_list(row.try_get("allow_list")?)?,
            customer_allow_list: allow_list(row.try_get("customer_allow_list")?)?,
            created_at: Timestamp::from_unix_milliseconds(row.try_get("created_at")?),
        })
    }
}

/// The name in the columns `handle` and `login`.
fn user_name(row: &AnyRow) -> Result<UserName, StoreError> {
    let customer = row.try_get::<&str, _>("handle")?.parse();
    let login = row.try_get::<&str, _>("login")?.parse();
    Ok(UserName {
        customer: customer.map_err(|_| StoreError::Corrupt("customer handle"))?,
        login: login.map_err(|_| StoreError::Corrupt("login name"))?,
    })
}

impl ListedKey {
    pub(super) fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let last_use = match row.try_get::<Option<i64>, _>("used_at")? {
            Some(at) => Some(LastUse {
                at: Timestamp::from_unix_milliseconds(at),
                service: row.try_get("service")?,
                address: row.try_get("address")?,
            }),
            None => None,
        };
        let created_by = row.try_get("created_by")?;
        Ok(Self { key: key_from_row(row)?, user: user_name(row)?, last_use, created_by })
    }
}

pub(super) fn key_from_row(row: &AnyRow) -> Result<ApiKeyRecord, StoreError> {
    Ok(ApiKeyRecord {
        id: KeyId::from_stored(row.try_get("id")?),
        user: UserId(row.try_get("user_id")?),
        digest: digest(row.try_get("digest")?)?,
        last_characters: row.try_get("last_characters")?,
        description: row.try_get("description")?,
        scope: scope(row.try_get("scope")?)?,
        enabled: flag(row, "enabled")?,
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_unix_milliseconds),
        allow_list: allow_list(row.try_get("allow_list")?)?,
        created_at: Timestamp::from_unix_milliseconds(row.try_get("created_at")?),
    })
}
