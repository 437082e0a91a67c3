//! The attempts under way: one task each, and which place each takes, so that a task that panics gives
//! its place back too.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::attempt::Made;
use crate::traffic::Seat;

/// The place of an attempt that has ended, and what it made, if it came to that.
pub(crate) type Ended = (Seat, Option<Made>);

/// How many there are, and the ends of those that nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct Running {
    count: usize,
    max_in_flight: usize,
    ends: Arc<Ends>,
    /// Ends that were taken together.
    taken: VecDeque<Ended>,
}

/// Where tasks leave what they made. They are many and end one by one, and who looks takes all at once: so a lock is held for
/// a moment by each, and nobody is woken but for the first.
#[derive(Debug, Default)]
struct Ends {
    left: Mutex<VecDeque<Ended>>,
    news: Notify,
}

impl Ends {
    fn leave(&self, ended: Ended) {
        let is_first = {
            let mut left = self.left.lock();
            left.push_back(ended);
            left.len() == 1
        };
        if is_first {
            self.news.notify_one();
        }
    }
}

impl Running {
    /// Room for as many as `delivery.max_in_flight`, which whoever starts them keeps to.
    pub(crate) fn new(max_in_flight: usize) -> Self {
        Self {
            count: 0,
            max_in_flight,
            ends: Arc::default(),
            taken: VecDeque::new(),
        }
    }

    /// Starts a task on a place.
    pub(crate) fn spawn(&mut self, seat: Seat, task: impl Future<Output = Option<Made>> + Send + 'static) {
        debug_assert!(self.count < self.max_in_flight, "more than may be in flight");
        self.count += 1;
        let ends = Arc::clone(&self.ends);
        let leave = move |made: std::thread::Result<Option<Made>>| {
            ends.leave((seat, made.unwrap_or_else(|_| panicked())));
        };
        // Whatever is half done is dropped with the task. It is boxed because the runtime moves what it is given several
        // times, and a request takes some 3 KB.
        tokio::spawn(AssertUnwindSafe(Box::pin(task)).catch_unwind().map(leave));
    }

    /// Waits for a task to end. Pends while there is none.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.already_ended() {
                return ended;
            }
            self.ends.news.notified().await;
        }
    }

    /// A task that has ended already; `None` when there is none.
    pub(crate) fn already_ended(&mut self) -> Option<Ended> {
        if self.taken.is_empty() {
            std::mem::swap(&mut self.taken, &mut *self.ends.left.lock());
        }
        let ended = self.taken.pop_front()?;
        self.count -= 1;
        Some(ended)
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Waits until all of them are gone, and gives away each end.
    pub(crate) async fn end(&mut self, mut each: impl FnMut(Ended)) {
        while self.count > 0 {
            each(self.ended().await);
        }
    }
}

// The payload may quote what was sent, so it stays out of the log.
fn panicked() -> Option<Made> {
    tracing::error!("An attempt panicked; its record is read again");
    None
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
        let mut running = Running::new(2);
        running.spawn(seat(), async { panic!("on purpose") });
        let (place, made) = running.ended().await;
        assert!(place == seat() && made.is_none());
        assert_eq!(running.len(), 0);
    }

    #[tokio::test]
    async fn the_end_of_all_waits_for_the_slowest() {
        let mut running = Running::new(2);
        let (go, may_go) = tokio::sync::oneshot::channel::<()>();
        running.spawn(seat(), async { None });
        running.spawn(seat(), async move {
            let _ = may_go.await;
            None
        });
        let waits = futures_util::poll!(std::pin::pin!(running.end(drop)));
        assert!(waits.is_pending());
        go.send(()).unwrap();
        running.end(drop).await;
        assert_eq!((running.len(), running.already_ended().is_none()), (0, true));
    }
}
