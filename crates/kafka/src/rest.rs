//! Waiting on a thread of its own, by the runtime's clock.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

/// Blocks this thread for a while. It has to be none of the runtime's.
pub fn rest(runtime: &Handle, time: Duration) {
    // A timer can be made inside of a runtime only.
    runtime.block_on(async { sleep(time).await });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_is_none_of_the_runtimes_can_rest() {
        let runtime = Handle::current();
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            rest(&runtime, Duration::from_millis(1));
            tell.send(()).unwrap();
        });
        told.await.unwrap();
    }
}
