//! Everything known of one order, delivery or tracking number, put together from the topics themselves.
//!
//! 1. [`subject`] reads what was asked for: a place in a source topic, or a text that events carry.
//! 2. [`gather`] looks through sources, results, retry topics and dead letters for what concerns it.
//! 3. [`story`] makes one account of it. Pure.

mod gather;
mod story;
mod subject;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use postrider_admin::explained::{Explained, Explainer, Explaining, Question, Unexplained};
use postrider_kafka::Connection;
use postrider_routing::SharedTable;
use postrider_types::{Clock, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use gather::Places;
use subject::Subject;

/// How far back to look when nobody says: as long as outcomes are kept by default.
const USUALLY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Each reads every topic, so only this many go on at once.
const AT_ONCE: usize = 2;

/// Explains from the topics and from today's webhooks.
pub(crate) struct FromTopics {
    places: Places,
    table: SharedTable,
    clock: Clock,
    turns: Semaphore,
}

impl fmt::Debug for FromTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromTopics").finish_non_exhaustive()
    }
}

impl FromTopics {
    /// Of this configuration's topics.
    pub(crate) fn new(config: &Config, connection: Connection, table: SharedTable, clock: Clock) -> Self {
        Self {
            places: Places::new(config, connection),
            table,
            clock,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    fn since(&self, question: &Question, subject: &Subject) -> Timestamp {
        let usually = Timestamp::from_millis(self.clock.now().as_millis() - millis(USUALLY));
        question.from.or_else(|| subject.since()).unwrap_or(usually)
    }

    async fn look(&self, question: Question) -> Result<Explained, Unexplained> {
        let _turn = self.turns.try_acquire().map_err(|_| Unexplained::Busy)?;
        let subject = Subject::new(&question.subject);
        let from = self.since(&question, &subject);
        // Whoever asked may be gone before the answer.
        let asked = CancellationToken::new();
        let (places, looked_for, stop) = (self.places.clone(), subject.clone(), asked.clone());
        let _gone = asked.drop_guard();
        let gathered = tokio::task::spawn_blocking(move || places.gather(&looked_for, from, &stop)).await;
        let gathered = gathered
            .map_err(|_| Unexplained::Unreadable("the search panicked".to_owned()))?
            .map_err(|error| Unexplained::Unreadable(error.to_string()))?;
        let now = self.clock.now();
        Ok(story::tell(
            &question,
            &subject,
            from,
            gathered,
            &self.table.load(),
            now,
        ))
    }
}

impl Explainer for FromTopics {
    fn explain(&self, question: Question) -> Explaining<'_> {
        Box::pin(self.look(question))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
