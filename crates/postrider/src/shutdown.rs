//! Signals. SIGTERM and SIGINT ask to stop, the second of them leaves at once with 128 and the
//! signal's number, as a shell would see it; SIGHUP asks to read the configuration again.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a shell adds to a signal's number when the signal ended a process.
const ENDED_BY_SIGNAL: i32 = 128;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// What the outside asks of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// Fires when the daemon shall stop.
    pub(crate) stop: CancellationToken,
    /// Counts requests to read the configuration again. Requests that come while one is served are one.
    pub(crate) reload: watch::Receiver<u64>,
}

impl Signals {
    /// The same for one run of several: what ends it ends no other, and what ends the process ends it.
    pub(crate) fn of_one_run(&self) -> Self {
        Self {
            stop: self.stop.child_token(),
            reload: self.reload.clone(),
        }
    }

    /// Listens to the process' signals from now on.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let (reloads, reload) = watch::channel(0);
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(relay_reloads(hangup, reloads));
        let stop = stop_token()?;
        Ok(Self { stop, reload })
    }
}

/// A token that fires at the first SIGTERM or SIGINT; at the second the process leaves at once.
///
/// # Errors
/// When the system refuses a handler.
pub(crate) fn stop_token() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    tokio::spawn(relay_stops(interrupt, terminate, stop.clone()));
    Ok(stop)
}

async fn relay_stops(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    let number = next_stop(&mut interrupt, &mut terminate).await;
    info!(signal = number, "Stopping; a second signal leaves at once");
    stop.cancel();
    let number = next_stop(&mut interrupt, &mut terminate).await;
    warn!(
        signal = number,
        "Leaving at once; what is not committed will be done again"
    );
    process::exit(ENDED_BY_SIGNAL + number);
}

async fn next_stop(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! {
        _ = interrupt.recv() => SIGINT,
        _ = terminate.recv() => SIGTERM,
    }
}

async fn relay_reloads(mut hangup: Signal, reloads: watch::Sender<u64>) {
    while hangup.recv().await.is_some() {
        reloads.send_modify(|count| *count += 1);
    }
}
