//! One-time links in the store; a newer link takes the place of the one before (S102).

use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Mutation, Store, StoreError, Subject};
use crate::model::{LinkPurpose, Timestamp, TokenDigest, UserId};

/// A link that was given out and not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// Whose it is.
    pub user: UserId,
    /// What it is for.
    pub purpose: LinkPurpose,
    /// From then on it is good for nothing.
    pub expires_at: Timestamp,
}

impl Store {
    /// The link of that digest, whatever its age.
    pub async fn link(&self, digest: TokenDigest) -> Result<Option<LinkRecord>, StoreError> {
        link(&mut *self.readers.acquire().await?, digest).await
    }

    /// Forgets links that were good until then.
    pub async fn clear_links(&self, expired_until: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM links WHERE expires_at <= $1")
            .bind(expired_until.unix_milliseconds())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

impl Mutation {
    /// The link of that digest, as it stands inside this change.
    pub async fn link(&mut self, digest: TokenDigest) -> Result<Option<LinkRecord>, StoreError> {
        link(self.connection(), digest).await
    }

    /// Gives a user a link, in the place of an earlier one.
    pub async fn put_link(&mut self, digest: TokenDigest, link: &LinkRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO links (user_id, digest, purpose, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) \
             DO UPDATE SET digest = excluded.digest, purpose = excluded.purpose, expires_at = excluded.expires_at",
        )
        .bind(link.user.0)
        .bind(digest.0.as_slice())
        .bind(link.purpose.as_str())
        .bind(link.expires_at.unix_milliseconds())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Takes a user's link away.
    pub async fn delete_link_of(&mut self, user: UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM links WHERE user_id = $1").bind(user.0).execute(self.connection()).await?;
        Ok(())
    }

    /// Does the user's next sign-in take a link beside the password?
    pub async fn require_link(&mut self, user: UserId, required: LinkDemand) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET link_required = $1 WHERE id = $2")
            .bind(required == LinkDemand::NextSignIn)
            .bind(user.0)
            .execute(self.connection())
            .await?;
        self.touch(Subject::User(user));
        Ok(())
    }
}

/// Whether a sign-in takes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDemand {
    /// It takes none.
    None,
    /// The next one does.
    NextSignIn,
}

async fn link(connection: &mut AnyConnection, digest: TokenDigest) -> Result<Option<LinkRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM links WHERE digest = $1")
        .bind(digest.0.as_slice())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(from_row).transpose()
}

fn from_row(row: &AnyRow) -> Result<LinkRecord, StoreError> {
    let purpose = match row.try_get("purpose")? {
        "password" => LinkPurpose::Password,
        "sign_in" => LinkPurpose::SignIn,
        _ => return Err(StoreError::Corrupt("one-time link")),
    };
    Ok(LinkRecord {
        user: UserId(row.try_get("user_id")?),
        purpose,
        expires_at: Timestamp::from_unix_milliseconds(row.try_get("expires_at")?),
    })
}
