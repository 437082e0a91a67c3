//! The time that a request has, and how it is shared out: to its body, to the write that it asks for, and to the first
//! connection that follows. Whatever they take, what became of the write is answered: nothing but the answer shows a
//! secret that was made.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use postrider_webhooks::LONGEST_WRITE;
use tokio::time::Instant;

use crate::problem::Problem;

/// How long a route may take to answer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// What is kept for the answer itself, and for a write that ends a little late.
const ANSWERING: Duration = Duration::from_secs(3);
/// A request that comes at once leaves a write its time, and some of it to the first connection.
const _: () = assert!(LONGEST_WRITE.as_secs() + 2 * ANSWERING.as_secs() <= REQUEST_TIMEOUT.as_secs());

/// When a request has to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Of a request whose head has come now.
    pub(crate) fn new() -> Self {
        Self(Instant::now() + REQUEST_TIMEOUT)
    }

    /// Of a request on its way to its route.
    pub(crate) fn of(request: &Request) -> Self {
        let noted = request.extensions().get().copied();
        noted.unwrap_or_else(Self::new)
    }

    pub(crate) const fn instant(self) -> Instant {
        self.0
    }

    /// What is left for the work.
    pub(crate) fn left(self) -> Duration {
        let left = self.0.saturating_duration_since(Instant::now());
        left.saturating_sub(ANSWERING)
    }

    /// Refuses to begin a write whose end may come after the deadline.
    pub(crate) fn require_time_to_write(self) -> Result<(), Problem> {
        if self.left() >= LONGEST_WRITE {
            return Ok(());
        }
        let detail = "the body took too long to come: too little time is left for the change; nothing was changed, try \
                      again";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_may_begin_ends_before_the_deadline_with_time_to_answer() {
        let deadline = Deadline::new();
        advance(REQUEST_TIMEOUT - LONGEST_WRITE - ANSWERING).await;
        assert!(deadline.require_time_to_write().is_ok());
        advance(Duration::from_millis(1)).await;
        assert!(deadline.require_time_to_write().is_err());
        advance(LONGEST_WRITE).await;
        assert!(deadline.left() < ANSWERING && deadline.instant() > Instant::now() + deadline.left());
    }
}
