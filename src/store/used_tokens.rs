//! Tokens of forms and calls that make something, so that one sent twice makes it once (S97).

use super::{Mutation, Store, StoreError};
use crate::model::{Timestamp, TokenDigest};

/// What a token has been used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing before; it is used now.
    First,
    /// It has made this before.
    Again(String),
}

impl Mutation {
    /// What a token has made before, if it was used.
    pub async fn made_with(&mut self, token: TokenDigest) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT made FROM used_tokens WHERE digest = $1")
            .bind(token.0.as_slice())
            .fetch_optional(self.connection())
            .await?)
    }

    /// Uses a token to make `made`, an id and never a secret.
    pub async fn use_token(
        &mut self,
        token: TokenDigest,
        made: &str,
        now: Timestamp,
    ) -> Result<Use, StoreError> {
        if let Some(made) = self.made_with(token).await? {
            return Ok(Use::Again(made));
        }
        sqlx::query("INSERT INTO used_tokens (digest, made, used_at) VALUES ($1, $2, $3)")
            .bind(token.0.as_slice())
            .bind(made)
            .bind(now.unix_milliseconds())
            .execute(self.connection())
            .await?;
        Ok(Use::First)
    }
}

impl Store {
    /// Forgets tokens that were used until then.
    pub async fn clear_used_tokens(&self, used_until: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM used_tokens WHERE used_at <= $1")
            .bind(used_until.unix_milliseconds())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
