//! A part of a customer's users with what a list shows beside each: searched, filtered and cut by the store, so that a
//! page costs the same however many users there are.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::records::{UserRecord, flag};
use super::{Store, StoreError};
use crate::model::{CustomerId, Timestamp, UserId};

/// Which users a list is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserSelection {
    /// Everybody.
    #[default]
    All,
    /// Whoever is active and has no MFA.
    MfaOff,
    /// Whoever has no key, and whose password a door has let in lately.
    PasswordInUse,
    /// Whoever is deactivated.
    Inactive,
}

impl UserSelection {
    /// The word in the statements below.
    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::MfaOff => "mfa off",
            Self::PasswordInUse => "password in use",
            Self::Inactive => "inactive",
        }
    }
}

/// Which users are wanted.
#[derive(Clone, Copy, Debug)]
pub struct WantedUsers<'a> {
    /// Whose users.
    pub customer: CustomerId,
    /// Part of a login name, a full name or an e-mail address; empty: any.
    pub search: &'a str,
    /// Which of them.
    pub selection: UserSelection,
    /// A use of a password counts from here on.
    pub used_since: Timestamp,
}

/// A user with what a list shows beside it.
#[derive(Clone, Debug)]
pub struct ListedUser {
    /// The user.
    pub user: UserRecord,
    /// How many keys it has.
    pub keys: usize,
    /// How many authenticator apps.
    pub apps: usize,
    /// How many security keys.
    pub security_keys: usize,
    /// Does a one-time link wait for the user?
    pub link_waits: bool,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserCounts {
    /// Users that are wanted.
    pub matching: usize,
    /// Active users of the customer who have no MFA, whatever is searched for.
    pub without_mfa: usize,
}

/// The condition of both statements; `$1` to `$5` are the customer, two patterns, the selection, and since when.
macro_rules! wanted {
    () => {
        "u.customer_id = $1 \
         AND (LOWER(u.login) LIKE $2 ESCAPE '\\' OR LOWER(u.full_name) LIKE $2 ESCAPE '\\' \
         OR LOWER(u.email) LIKE $2 ESCAPE '\\' OR UPPER(u.full_name) LIKE $3 ESCAPE '\\') \
         AND CASE $4 WHEN 'mfa off' THEN u.active AND NOT u.mfa_active \
         WHEN 'inactive' THEN NOT u.active \
         WHEN 'password in use' THEN NOT EXISTS (SELECT 1 FROM visible_keys k WHERE k.user_id = u.id) \
         AND EXISTS (SELECT 1 FROM usage_addresses a WHERE a.kind IN ('password', 'session') \
         AND a.subject_id = u.id AND a.entrance IN ('api', 'isproxy') AND a.used_at > $5) \
         ELSE TRUE END"
    };
}

impl Store {
    /// How many users are `wanted`.
    pub async fn count_users(&self, wanted: WantedUsers<'_>) -> Result<UserCounts, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT (SELECT COUNT(*) FROM visible_users u WHERE ",
            wanted!(),
            ") AS matching, (SELECT COUNT(*) FROM visible_users \
             WHERE customer_id = $1 AND active AND NOT mfa_active) AS without_mfa"
        ))
        .bind(wanted.customer.0)
        .bind(pattern(&wanted.search.to_lowercase()))
        .bind(pattern(&wanted.search.to_uppercase()))
        .bind(wanted.selection.as_str())
        .bind(wanted.used_since.unix_milliseconds())
        .fetch_one(&self.readers)
        .await?;
        Ok(UserCounts { matching: count(&row, "matching")?, without_mfa: count(&row, "without_mfa")? })
    }

    /// At most `limit` of the users that are `wanted`, by login name, behind the first `offset`. Links count that are
    /// good at `now`.
    pub async fn list_users(
        &self,
        wanted: WantedUsers<'_>,
        (offset, limit): (u32, u32),
        now: Timestamp,
    ) -> Result<Vec<ListedUser>, StoreError> {
        sqlx::query(concat!(
            "SELECT u.*, c.handle, c.mfa_required, c.allow_list AS customer_allow_list, \
             (SELECT COUNT(*) FROM visible_keys k WHERE k.user_id = u.id) AS keys, \
             (SELECT COUNT(*) FROM mfa_methods m WHERE m.user_id = u.id AND m.kind = 'app') AS apps, \
             (SELECT COUNT(*) FROM mfa_methods m WHERE m.user_id = u.id AND m.kind = 'key') AS security_keys, \
             EXISTS (SELECT 1 FROM links l WHERE l.user_id = u.id AND l.expires_at > $8) AS link_waits \
             FROM visible_users u JOIN visible_customers c ON c.id = u.customer_id WHERE ",
            wanted!(),
            " ORDER BY u.login LIMIT $6 OFFSET $7"
        ))
        .bind(wanted.customer.0)
        .bind(pattern(&wanted.search.to_lowercase()))
        .bind(pattern(&wanted.search.to_uppercase()))
        .bind(wanted.selection.as_str())
        .bind(wanted.used_since.unix_milliseconds())
        .bind(i64::from(limit))
        .bind(i64::from(offset))
        .bind(now.unix_milliseconds())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(|row| {
            Ok(ListedUser {
                user: UserRecord::from_row(row)?,
                keys: count(row, "keys")?,
                apps: count(row, "apps")?,
                security_keys: count(row, "security_keys")?,
                link_waits: flag(row, "link_waits")?,
            })
        })
        .collect()
    }
}

impl Store {
    /// Does a link that is good at `now` wait for `user`?
    pub async fn link_waits(&self, user: UserId, now: Timestamp) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM links WHERE user_id = $1 AND expires_at > $2)")
            .bind(user.0)
            .bind(now.unix_milliseconds())
            .fetch_one(&self.readers)
            .await?;
        Ok(flag(&row, 0)?)
    }
}

/// What `LIKE` finds `text` by, wherever it stands. The engine's letters are ASCII's: it makes `a` of `A`, and no `ö` of `Ö`,
/// so that both are asked for.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn count(row: &AnyRow, column: &str) -> Result<usize, StoreError> {
    let stored: i64 = row.try_get(column)?;
    usize::try_from(stored).map_err(|_| StoreError::Corrupt("count"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_stands_for_itself() {
        assert_eq!(pattern(""), "%%");
        assert_eq!(pattern("al_x 100%\\"), "%al\\_x 100\\%\\\\%");
    }
}
