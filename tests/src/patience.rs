//! Waiting for something to come true, with a limit that only a broken program reaches.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long tests wait for what should take a moment. Generous, because machines differ.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until there is an answer.
///
/// # Errors
/// When `limit` passes without one; the error says what was waited for.
pub async fn until<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        anyhow::ensure!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        sleep(PAUSE).await;
    }
}
