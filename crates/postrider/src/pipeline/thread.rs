//! A thread of its own for what blocks, awaited like a task.

use anyhow::Context;
use tokio::sync::oneshot;

/// Runs `work` on a named thread; the future yields what it returned.
///
/// # Errors
/// When the system has no thread to give.
pub(crate) fn run<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<impl Future<Output = anyhow::Result<T>> + Send> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more when the process is leaving.
            let _ = done.send(work());
        })
        .context("the system gives no thread")?;
    Ok(async move { result.await.with_context(|| format!("the {name} thread panicked")) })
}
