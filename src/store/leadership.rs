//! Which of the gateways of a shared store does what only one of them is to do.

use sqlx::AnyConnection;

use super::open::Place;
use super::records::flag;
use super::{Store, StoreError};

/// Held by one process at a time; let go with its connection. Beside an embedded store every gateway has it.
#[derive(Debug, Default)]
pub struct Leadership {
    connection: Option<AnyConnection>,
}

impl Store {
    /// Is this the gateway that tells security events? Takes the place if nobody has it.
    pub async fn tells_security_events(&self, leadership: &mut Leadership) -> Result<bool, StoreError> {
        if matches!(&*self.place, Place::File(_)) {
            return Ok(true);
        }
        // Out of its place while it is asked: a connection that fails has let the place go.
        let held = leadership.connection.take();
        let question = if held.is_some() { "SELECT TRUE" } else { "SELECT pg_try_advisory_lock(7311005)" };
        let mut connection = match held {
            Some(connection) => connection,
            None => self.pinned_connection().await?,
        };
        let row = sqlx::query(question).fetch_one(&mut connection).await?;
        let is_ours = flag(&row, 0)?;
        if is_ours {
            leadership.connection = Some(connection);
        }
        Ok(is_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_the_gateways_of_a_shared_store_one_tells_and_another_after_it() {
        let (_folder, store) = crate::store::testing::empty_store().await;
        let (mut one, mut other) = (Leadership::default(), Leadership::default());
        for _ in 0..2 {
            assert!(store.tells_security_events(&mut one).await.unwrap());
            let both = store.tells_security_events(&mut other).await.unwrap();
            assert_eq!(both, !store.is_shared());
        }
        if let Some(connection) = one.connection.take() {
            sqlx::Connection::close(connection).await.unwrap();
        }
        assert!(store.tells_security_events(&mut other).await.unwrap());
    }
}
