//! Signals. SIGTERM and SIGINT ask to stop, the second of them leaves at once with 128 and the
//! signal's number, as a shell would see it; SIGHUP reads the configuration again.

use std::io;
use std::process;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, ConfigError};

/// What a shell adds to a signal's number when the signal ended a process.
const ENDED_BY_SIGNAL: i32 = 128;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// What the outside asks of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// Fires when the daemon shall stop.
    pub(crate) stop: CancellationToken,
    /// The configuration as it is today. Changes when it was read again and is without fault.
    pub(crate) reload: watch::Receiver<Arc<Config>>,
}

impl Signals {
    /// Listens from now on; `load` reads the configuration again.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen<L>(config: &Config, load: L) -> io::Result<Self>
    where
        L: Fn() -> Result<Config, ConfigError> + Send + 'static,
    {
        let (today, reload) = watch::channel(Arc::new(config.clone()));
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(relay_reloads(hangup, today, load));
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

/// A configuration with a fault changes nothing: the one in use stays.
async fn relay_reloads<L>(mut hangup: Signal, today: watch::Sender<Arc<Config>>, load: L)
where
    L: Fn() -> Result<Config, ConfigError>,
{
    while hangup.recv().await.is_some() {
        match load() {
            Ok(config) => {
                info!("The configuration was read again");
                today.send_replace(Arc::new(config));
            }
            Err(error) => {
                let faults: Vec<String> = error.faults.iter().map(ToString::to_string).collect();
                error!(
                    ?faults,
                    "The configuration was read again and has faults; the old one stays"
                );
            }
        }
    }
}
