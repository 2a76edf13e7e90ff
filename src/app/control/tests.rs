//! What a gateway knows before it opens its doors, and what becomes of it when following fails.

use std::num::NonZeroU32;

use super::*;
use crate::app::testing::{TestInstallation, operator};
use crate::auth::{CustomerToMake, KeyToMake, PasswordEnd};

fn parts(opened: Opened, limits: &Limits) -> Parts {
    Parts {
        opened,
        collectors: watch::Sender::new(None).subscribe(),
        outdated: Arc::default(),
        limits: limits.clone(),
        readiness: watch::Sender::new(Readiness::Starting),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        broken: CancellationToken::new(),
    }
}

#[tokio::test]
async fn s20_a_key_that_was_deleted_while_the_index_was_loaded_is_dead_before_a_door_opens() {
    let installation = TestInstallation::new().await;
    let before = installation.open().await;
    let operator = operator(&before);
    operator.create_customer(CustomerToMake::new("acme".parse().unwrap())).await.unwrap();
    let key = KeyToMake::new("acme/admin".parse().unwrap(), "test", "api".parse().unwrap());
    let made = operator.create_keys(&key, NonZeroU32::MIN, PasswordEnd::Accepted).await.unwrap();
    let opened = installation.open().await;
    let index = Arc::clone(&opened.shared.index);
    assert_eq!(index.size().keys, 1);
    let revision = operator.delete_key(made.keys[0].id).await.unwrap();
    let parts = parts(opened, &installation.config.limits);
    let stop = parts.stop.clone().drop_guard();
    start(parts).await.unwrap();
    // Nothing is waited for: this is the moment in which the doors are opened.
    assert_eq!((index.size().keys, *index.applied().borrow()), (0, revision));
    drop(stop);
}

#[tokio::test]
async fn nobody_is_let_in_any_more_once_a_task_has_failed_that_hears_of_deletions() {
    let installation = TestInstallation::new().await;
    let opened = installation.open().await;
    let parts = parts(opened, &installation.config.limits);
    let (shared, broken) = (parts.opened.shared.clone(), parts.broken.clone());
    let readiness = parts.readiness.clone();
    let vital = Vital { shared: shared.clone(), readiness: readiness.clone(), broken, tasks: parts.tasks };
    vital.spawn("ending in order", async {});
    vital.spawn("following the change feed", async { panic!("as a fault of ours would") });
    parts.broken.cancelled().await;
    assert_eq!(shared.authenticator.index_age(), IndexAge::TooOld);
    let told = readiness.borrow().clone();
    let reason = "following the change feed has failed; the process ends";
    assert_eq!(told, Readiness::Unready(reason.to_owned()));
}
