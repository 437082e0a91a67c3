//! The attempts under way: one task each, and which lane each came from, so that a task that panics
//! gives its place back too.

use std::collections::HashMap;
use std::future::Future;

use postrider_types::WebhookId;
use tokio::task::{Id, JoinError, JoinSet};

/// The tasks, and the lane of each.
#[derive(Debug, Default)]
pub(crate) struct Running {
    tasks: JoinSet<()>,
    lanes: HashMap<Id, WebhookId>,
}

impl Running {
    /// Starts a task for a lane.
    pub(crate) fn spawn(&mut self, lane: WebhookId, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.lanes.insert(id, lane);
    }

    /// Waits for a task to end, and tells its lane. Pends while there is none.
    pub(crate) async fn ended(&mut self) -> WebhookId {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => failed(&error),
            None => return std::future::pending().await,
        };
        self.lanes
            .remove(&id)
            .expect("every task was noted when it was started")
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Cuts all of them short and waits until they are gone.
    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
        self.lanes.clear();
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
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_gives_its_place_back() {
        let lane = WebhookId::new("wh_1").unwrap();
        let mut running = Running::default();
        running.spawn(lane.clone(), async { panic!("on purpose") });
        assert_eq!(running.ended().await, lane);
        assert_eq!((running.len(), running.lanes.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_drops_what_it_held() {
        let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
        let mut running = Running::default();
        running.spawn(WebhookId::new("wh_1").unwrap(), async move {
            let _held = held;
            std::future::pending().await
        });
        running.abort().await;
        assert!(
            dropped
                .try_recv()
                .is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Closed)
        );
        assert_eq!(running.len(), 0);
    }
}
