//! The attempts under way: one task each, and which place each takes, so that a task that panics gives
//! its place back too.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};

use crate::attempt::Made;
use crate::traffic::Seat;

/// The tasks, and the place of each.
#[derive(Debug, Default)]
pub(crate) struct Running {
    tasks: JoinSet<Option<Made>>,
    seats: HashMap<Id, Seat>,
}

impl Running {
    /// Starts a task on a place.
    pub(crate) fn spawn(&mut self, seat: Seat, task: impl Future<Output = Option<Made>> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.seats.insert(id, seat);
    }

    /// Waits for a task to end, and tells its place and what it made, if it came to that. Pends while
    /// there is none.
    pub(crate) async fn ended(&mut self) -> (Seat, Option<Made>) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.leave(ended),
            None => std::future::pending().await,
        }
    }

    /// The same for a task that has ended already; `None` when there is none.
    pub(crate) fn already_ended(&mut self) -> Option<(Seat, Option<Made>)> {
        let ended = self.tasks.try_join_next_with_id()?;
        Some(self.leave(ended))
    }

    fn leave(&mut self, ended: Result<(Id, Option<Made>), JoinError>) -> (Seat, Option<Made>) {
        let (id, made) = ended.unwrap_or_else(|error| (failed(&error), None));
        let seat = self.seats.remove(&id);
        (seat.expect("every task was noted when it was started"), made)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Cuts all of them short and waits until they are gone.
    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
        self.seats.clear();
    }
}

// The payload may quote what was sent, so it stays out of the log.
fn failed(error: &JoinError) -> Id {
    if error.is_panic() {
        tracing::error!("An attempt panicked; its record is read again");
    }
    error.id()
}

#[cfg(test)]
mod tests {
    use postrider_types::WebhookId;

    use super::*;
    use crate::lane::Kind;

    fn seat() -> Seat {
        Seat {
            webhook: WebhookId::new("wh_1").unwrap(),
            kind: Kind::Fresh,
            probe: None,
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_gives_its_place_back() {
        let mut running = Running::default();
        running.spawn(seat(), async { panic!("on purpose") });
        let (place, made) = running.ended().await;
        assert!(place == seat() && made.is_none());
        assert_eq!((running.len(), running.seats.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_drops_what_it_held() {
        let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
        let mut running = Running::default();
        running.spawn(seat(), async move {
            let _held = held;
            std::future::pending().await
        });
        running.abort().await;
        let closed = dropped.try_recv().unwrap_err();
        assert_eq!(closed, tokio::sync::oneshot::error::TryRecvError::Closed);
        assert_eq!(running.len(), 0);
    }
}
