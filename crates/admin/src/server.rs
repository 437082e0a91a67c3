//! The listener. Everything a peer can make last is bounded: connections, the head, the request, writes.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::api::{ApiSlot, Gate};
use crate::config::Config;
use crate::health::Health;
use crate::host::Hosts;
use crate::routes::{Ends, router};
use crate::stall::Impatient;

/// Connections open at once; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 256;
/// How long a request's head may take, and how long a connection may be idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may take to read anything of an answer.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long requests may go on after the stop.
const GRACE: Duration = Duration::from_secs(5);
/// The largest head, with the request line.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// How long to wait after a connection could not be accepted, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (admin.listen)")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Server {
    /// Binds the address, so that a taken port ends the start. The API works once it is in its slot.
    ///
    /// # Errors
    /// [`BindError`] when the address cannot be listened on.
    pub async fn bind(config: &Config, health: Health, registry: Registry, api: ApiSlot) -> Result<Self, BindError> {
        let failed = |source| BindError {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let gate = Gate::new(&config.tokens, api);
        let router = router(health, registry, Hosts::new(&config.allowed_hosts), &gate);
        Ok(Self {
            listener,
            address,
            router,
        })
    }

    /// The address it listens on, with the port it was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` fires; requests in flight then have 5 s to end.
    pub async fn run(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        while let Some((stream, place)) = stop.run_until_cancelled(accept(&self.listener, &places)).await {
            connections.spawn(serve(stream, place, self.router.clone(), stop.clone()));
            while let Some(ended) = connections.try_join_next() {
                note(ended);
            }
        }
        drop(self.listener);
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                warn!(%error, "A connection to the admin port could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end. The place is given back with it.
async fn serve(stream: TcpStream, place: OwnedSemaphorePermit, router: Router, stop: CancellationToken) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return;
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Ends { local, peer });
        router.call(request)
    });
    let io = TokioIo::new(Impatient::new(stream, WRITE_STALL));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "A connection to the admin port ended early");
    }
    drop(place);
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        error!("Answering a request on the admin port panicked");
    }
}
