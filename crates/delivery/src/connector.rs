//! Connections: the guard and TCP below, TLS above them, and the tap on top, which the HTTP client reads.

mod dialer;
mod error;
mod frames;
mod heads;
mod metered;
mod tap;
mod tunnel;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hyper::Uri;
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector};
use rustls::ClientConfig;
use tokio::time::timeout;
use tower_service::Service;

use self::dialer::{Dialer, Parts};
pub(crate) use self::error::{ConnectError, RESET};
pub(crate) use self::tap::{OVER_BUDGET, OverBudget, Stale, Tap, Watch};
use crate::egress::{Metrics, Policy};
use crate::identity::Identity;
use crate::resolver::Names;
use crate::tls::{self, Refusal};

/// Makes connections; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Dialer>,
    dialer: Dialer,
    tls: Arc<ClientConfig>,
    connect_timeout: Duration,
}

impl Connector {
    /// Sets up name resolution once for all clones.
    pub(crate) fn new(
        policy: Arc<Policy>,
        tls: Arc<ClientConfig>,
        metrics: Metrics,
        connect_timeout: Duration,
    ) -> Result<Self, NetError> {
        let dialer = Dialer::new(Parts {
            names: Names::new(policy.dns.as_deref())?,
            policy,
            metrics,
            connect_timeout,
        });
        Ok(Self::over(dialer, tls, connect_timeout))
    }

    fn over(dialer: Dialer, tls: Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        let names = Arc::new(DefaultServerNameResolver::default());
        Self {
            https: HttpsConnector::new(dialer.clone(), Arc::clone(&tls), false, names),
            dialer,
            tls,
            connect_timeout,
        }
    }

    /// The same, for connections that show a client certificate where they are asked for one.
    pub(crate) fn showing(&self, identity: &Identity) -> Self {
        let tls = tls::showing(&self.tls, identity);
        Self::over(self.dialer.clone(), tls, self.connect_timeout)
    }

    // The dialer keeps its own time, so what is left over the second half is TLS.
    pub(crate) async fn connect(&self, uri: Uri) -> Result<Tap, ConnectError> {
        let secured = timeout(self.connect_timeout * 2, self.https.clone().call(uri)).await;
        let stream = secured.map_err(|_| ConnectError::Tls(Refusal::TimedOut))?;
        stream.map(Tap::new).map_err(recognised)
    }
}

/// The TLS layer boxes what the dialer said; everything else it says is its own.
fn recognised(error: Box<dyn Error + Send + Sync>) -> ConnectError {
    match error.downcast::<ConnectError>() {
        Ok(ours) => *ours,
        Err(other) => ConnectError::Tls(Refusal::found_in(&*other)),
    }
}
