//! Lasting facts about the store that have a value.

use super::{Mutation, Store, StoreError};

/// A fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFact {
    /// The relying party that security keys were registered for (`WebAuthn` §4); fixed by the first registration.
    RelyingParty,
    /// The last row of the audit trail whose security event was told.
    SecurityEventsTold,
}

impl StoreFact {
    const fn name(self) -> &'static str {
        match self {
            Self::RelyingParty => "rp_id",
            Self::SecurityEventsTold => "security_events_told",
        }
    }
}

impl Store {
    /// The fact's value, if it was ever set.
    pub async fn fact(&self, fact: StoreFact) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT value FROM store_facts WHERE name = $1")
            .bind(fact.name())
            .fetch_optional(&self.readers)
            .await?)
    }
}

impl Store {
    /// Sets the fact, whatever it was.
    pub async fn set_fact(&self, fact: StoreFact, value: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO store_facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(fact.name())
            .bind(value)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

impl Mutation {
    /// Forgets the fact.
    pub async fn forget_fact(&mut self, fact: StoreFact) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM store_facts WHERE name = $1")
            .bind(fact.name())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Sets the fact, unless it is set; answers the value that stands.
    pub async fn fix_fact(&mut self, fact: StoreFact, value: &str) -> Result<String, StoreError> {
        sqlx::query("INSERT INTO store_facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(fact.name())
            .bind(value)
            .execute(self.connection())
            .await?;
        Ok(sqlx::query_scalar("SELECT value FROM store_facts WHERE name = $1")
            .bind(fact.name())
            .fetch_one(self.connection())
            .await?)
    }
}
