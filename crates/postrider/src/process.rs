//! What the daemon asks of the system for its own process.

use std::num::NonZero;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

/// The runtime of the daemon, on half of the processors: reading, committing and the Kafka client have threads of their
/// own, and each request that moves between two workers costs more than the second one gains.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(processors.div_ceil(2))
        .enable_all()
        .build()
}

/// Keeps secrets in memory out of core files and debuggers of the same user, and takes as many descriptors as the
/// system gives: each request in flight and each idle connection needs one.
pub(crate) fn prepare() {
    // Neither is worth not running for.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "Core files cannot be switched off; they would hold secrets");
    }
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        warn!(%error, "The limit of open descriptors cannot be raised; connections may fail");
    }
}
