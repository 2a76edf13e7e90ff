//! The end of a turn: one pass of a door thread's runtime through the tasks that are ready.
//!
//! Waited for by whoever is about to send little, to an upstream or to a client, so that what all tasks of a turn send
//! leaves back to back. Who receives it on the same machine is then woken once for many messages, where it would fall asleep
//! between two of them, and waking it is the sender's work (docs/decisions/0020). Who is alone in a turn waits for nobody.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Tasks that a door thread's runtime polls before it looks at its sockets and timers again: a turn of it, at the most. With
/// tokio's 61, a turn of 64 busy connections came in pieces, each of which woke whoever it sent to.
pub const TASKS_OF_A_TURN: u32 = 256;

/// Waits until the tasks that are ready now have had their turn.
pub fn end_of_turn() -> EndOfTurn {
    EndOfTurn::default()
}

/// Ready when the tasks that were ready at its first poll have had their turn, and from then on.
#[derive(Debug, Default)]
#[must_use]
pub struct EndOfTurn {
    has_waited: bool,
}

impl Future for EndOfTurn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
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
