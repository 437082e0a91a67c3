//! Ends the process when the committer is stuck in a call that does not come back. Nothing committed is
//! lost by that, and a restart goes on where the last transaction ended; a call that hangs for ever would
//! hold everything.

use std::time::Duration;

use postrider_kafka::publisher::Pulse;
use tokio::task::JoinHandle;
use tracing::error;

const LOOK: Duration = Duration::from_secs(1);
/// A frozen cluster holds a call for 30 s and more, and lets go of it again.
const LONGEST_CALL: Duration = Duration::from_secs(75);

/// Watches until aborted.
pub(crate) fn watch(pulse: Pulse) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            if pulse.stuck_for() > LONGEST_CALL {
                error!("A call to Kafka does not come back; ending the process so that it is started anew");
                std::process::abort();
            }
        }
    })
}
