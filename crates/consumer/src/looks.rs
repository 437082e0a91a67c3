//! Threads that look at something of Kafka's now and then, because asking blocks.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::ConsumerError;

/// Between two looks.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
pub(crate) const CALL: Duration = Duration::from_secs(5);

/// Begins a thread that looks.
pub(crate) fn begin(name: &str, looks: impl FnOnce() + Send + 'static) -> Result<(), ConsumerError> {
    let began = std::thread::Builder::new().name(name.to_owned()).spawn(looks);
    began.map(drop).map_err(ConsumerError::NoThread)
}

/// Waits for the next look; `false` when stopped.
pub(crate) fn rest(runtime: &Handle, stop: &CancellationToken, time: Duration) -> bool {
    runtime.block_on(async { tokio::time::timeout(time, stop.cancelled()).await.is_err() })
}
