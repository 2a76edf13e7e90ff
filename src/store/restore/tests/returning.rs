//! What comes back, and that nothing does so unnamed.

use super::*;

#[tokio::test]
async fn what_is_missing_and_was_never_deleted_comes_back_and_is_named() {
    let world = World::new().await;
    world.back_up().await;
    let damage = "DELETE FROM api_keys; DELETE FROM users WHERE login = 'bo'";
    sqlx::raw_sql(damage).execute(&world.store.writer).await.unwrap();
    let found = world.restore(Revival::Refused).await.differences;
    let back = |kind: DifferenceKind| {
        found.iter().filter(move |found| found.kind == kind).map(|found| found.subject.clone())
    };
    assert_eq!(back(DifferenceKind::UserBack).collect::<Vec<_>>(), ["acme/bo"]);
    assert_eq!(back(DifferenceKind::KeyBack).count(), 5);
    assert!(found.iter().all(|found| found.customer == Some(world.acme)), "{found:?}");
    assert_eq!(world.keys().await, [1, 2, 3, 4, 5]);

    let damage = "DELETE FROM api_keys; DELETE FROM users; DELETE FROM customers";
    sqlx::raw_sql(damage).execute(&world.store.writer).await.unwrap();
    let found = world.restore(Revival::Refused).await.differences;
    assert_eq!(found[0].kind, DifferenceKind::CustomerBack);
    assert_eq!((found[0].subject.as_str(), found.len()), ("acme", 8));
}

#[tokio::test]
async fn s98_what_is_deleted_after_somebody_has_agreed_does_not_come_back() {
    let world = World::new().await;
    world.back_up().await;
    let image = world.image().await;
    let agreed = image.compare(&world.store, Present::Kept).await.unwrap();
    let mut change = world.store.mutate().await.unwrap();
    change.delete_key(&key(1, world.alex), NOW).await.unwrap();
    change.commit().await.unwrap();
    let accepted = RestoreOrder { agreed: Some(&agreed), ..order(Revival::Accepted, Present::Kept) };
    let refused = image.put_into(&world.store, accepted).await.unwrap_err();
    assert!(matches!(refused, RestoreError::MoreComesBack), "{refused}");
    assert_eq!(world.keys().await, [2, 3, 4, 5]);
    // What stays dead needs nobody's consent.
    let order = RestoreOrder { agreed: Some(&agreed), ..order(Revival::Refused, Present::Kept) };
    image.put_into(&world.store, order).await.unwrap();
    assert_eq!(world.keys().await, [2, 3, 4, 5]);
    image.remove().await;
}
