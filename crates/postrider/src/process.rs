//! What the daemon asks of the system for its own process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

/// How often a worker that has nothing to do gives its processor away before it sleeps. Measured: `benches/README.md`.
const YIELDS: u32 = 4;

/// The runtime of the daemon, with a worker for each processor: what the threads of reading, committing and the Kafka
/// client leave of them, requests take.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(let_others_go_first)
        .build()
}

/// Under load what a worker waits for is mostly there once others had their turn. A worker that sleeps instead is woken on
/// the processor of whoever wakes it, and waits behind it while another processor may have nothing to do.
fn let_others_go_first() {
    for _ in 0..YIELDS {
        std::thread::yield_now();
    }
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
