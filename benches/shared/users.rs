//! Users to measure with, as two benches import them: ten to a customer.

use latchkey::model::UserId;
use latchkey::store::{ImportedUser, KeyImport, ROWS_PER_BATCH};

/// Adds so many users by `import`, and answers them in their order.
pub async fn import_users(import: &KeyImport, count: usize) -> Vec<UserId> {
    let handles: Vec<_> = (0..count.div_ceil(10)).map(|n| format!("customer{n}").parse().unwrap()).collect();
    let mut customers = Vec::new();
    for batch in handles.chunks(ROWS_PER_BATCH) {
        customers.extend(import.add_customers(batch).await.unwrap());
    }
    let wanted: Vec<ImportedUser> = (0..count)
        .map(|n| ImportedUser {
            customer: customers[n / 10],
            login: format!("user{n}").parse().unwrap(),
            administrator: false,
            has_key: true,
        })
        .collect();
    let mut users = Vec::new();
    for batch in wanted.chunks(ROWS_PER_BATCH) {
        users.extend(import.add_users(batch).await.unwrap());
    }
    users
}
