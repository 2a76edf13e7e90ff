//! The end of a turn: one pass of a door thread's runtime through the tasks that are ready.
//!
//! Called by whoever is about to send little to an upstream, so that what all tasks of a turn send leaves back to back.
//! An upstream on the same machine is then woken once for many messages, where it would fall asleep between two of
//! them, and waking it is the sender's work (docs/decisions/0020). Who is alone in a turn waits for nobody.

use std::future::poll_fn;
use std::task::Poll;

/// Waits until the tasks that are ready now have had their turn.
pub async fn end_of_turn() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_goes_on_behind_those_who_are_ready() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks = LocalSet::new();
        for name in ["one", "two", "three"] {
            let order = Rc::clone(&order);
            tasks.spawn_local(async move {
                order.borrow_mut().push(format!("{name} judges"));
                end_of_turn().await;
                order.borrow_mut().push(format!("{name} sends"));
            });
        }
        tasks.await;
        assert_eq!(
            *order.borrow(),
            ["one judges", "two judges", "three judges", "one sends", "two sends", "three sends"]
        );
    }
}
