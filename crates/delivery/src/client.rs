//! One webhook's HTTP client: its own pool, one deadline, bounds on everything that comes back.
//!
//! A pooled connection may have ended while it was idle. When nothing of a request was written to it, the
//! request goes out once more over a connection made for it alone; a request that may have been seen is
//! never repeated here. Redirects, cookies, decompression and proxies of the environment do not exist:
//! nothing below knows them.

mod failure;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::net::NetError;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Version};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, capture_connection};
use hyper_util::client::legacy::{Builder, Client as Pool};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use postrider_types::ErrorKind;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::failure::{Unanswered, failure, too_large};
use crate::connector::{Allowance, Connector};
use crate::egress::{Metrics, Policy};
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::reply::{Failure, Reply, Timed};
use crate::response::Received;

/// Bytes of a response's head.
const MAX_HEAD: u32 = 32 * 1024;
/// Fields of a response's head.
const MAX_FIELDS: usize = 100;
/// Informational answers before the final one.
const MAX_INFORMATIONAL: u32 = 10;
/// What an HTTP/2 stream may send ahead: one body that is read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What all streams of a connection may send ahead together.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What an HTTP/2 stream buffers of a request.
const SEND_BUFFER: usize = 256 * 1024;

/// What a client may hold and how long it may try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `delivery.connect_timeout`: name and TCP; a TLS handshake gets as much again.
    pub connect_timeout: Duration,
    /// How long a connection stays open unused.
    pub idle_timeout: Duration,
    /// Connections kept open unused.
    pub max_idle: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            max_idle: 32,
        }
    }
}

/// Names cannot be resolved on this system.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up name resolution; name servers can be given in egress.dns")]
pub struct SetupError(#[source] NetError);

/// Makes clients. They share names, TLS settings and policy, and never a connection.
#[derive(Debug, Clone)]
pub struct Clients {
    connector: Connector,
    limits: Limits,
}

impl Clients {
    /// Sets up what all clients share. `tls` comes from [`crate::tls::client_config`].
    ///
    /// # Errors
    /// [`SetupError`] when `egress.dns` is `system` and the system names no servers.
    pub fn new(
        policy: Arc<Policy>,
        tls: Arc<ClientConfig>,
        limits: Limits,
        metrics: Metrics,
    ) -> Result<Self, SetupError> {
        let connector = Connector::new(policy, tls, metrics, limits.connect_timeout).map_err(SetupError)?;
        Ok(Self { connector, limits })
    }

    /// A client for one webhook, with a pool of its own; it shows the identity to an endpoint that asks for one.
    #[must_use]
    pub fn client(&self, identity: Option<&Identity>) -> Client {
        let connector = match identity {
            Some(identity) => self.connector.showing(identity),
            None => self.connector.clone(),
        };
        Client {
            pooled: self.pool(connector.clone(), self.limits.max_idle),
            fresh: self.pool(connector, 0),
        }
    }

    fn pool(&self, connector: Connector, max_idle: usize) -> Pool<Connector, Full<Bytes>> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.limits.idle_timeout)
            .pool_max_idle_per_host(max_idle)
            .retry_canceled_requests(false)
            .http1_max_buf_size(MAX_HEAD as usize)
            .http1_max_headers(MAX_FIELDS)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(MAX_HEAD)
            .http2_max_send_buf_size(SEND_BUFFER);
        builder.build(connector)
    }
}

/// One webhook's client.
#[derive(Debug, Clone)]
pub struct Client {
    pooled: Pool<Connector, Full<Bytes>>,
    /// Keeps no connection: each request gets its own.
    fresh: Pool<Connector, Full<Bytes>>,
}

impl Client {
    /// Sends one request and tells what came of it. `headers` makes its headers, once more should nothing of it have
    /// been written. `timeout` covers everything from the name's resolution to the response's last byte.
    pub async fn post(
        &self,
        endpoint: &Endpoint,
        headers: impl Fn() -> HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Timed {
        let (received, spent) = self.send(endpoint, headers, body, timeout).await;
        let reply = match received {
            Ok(received) => Reply::Answered(received.answer()),
            Err(failure) => Reply::Failed(failure),
        };
        Timed { reply, spent }
    }

    /// As [`Client::post`], with the whole answer.
    ///
    /// # Errors
    /// A [`Failure`] when no status came; it stands beside the time that was spent in either case.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        headers: impl Fn() -> HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> (Result<Received, Failure>, Duration) {
        let start = Instant::now();
        let outgoing = Outgoing {
            endpoint,
            headers,
            body,
            deadline: start + timeout,
        };
        let mut received = outgoing.over(&self.pooled).await;
        if let Err(Unanswered::NotSent(_)) = received {
            received = outgoing.over(&self.fresh).await;
        }
        (received.map_err(Unanswered::into_failure), start.elapsed())
    }
}

/// A request that can be written again as long as it was not written.
struct Outgoing<'a, H> {
    endpoint: &'a Endpoint,
    headers: H,
    body: Bytes,
    deadline: Instant,
}

impl<H: Fn() -> HeaderMap> Outgoing<'_, H> {
    async fn over(&self, pool: &Pool<Connector, Full<Bytes>>) -> Result<Received, Unanswered> {
        let mut request = self.request();
        let connection = capture_connection(&mut request);
        let informational = Informational::watch(&mut request);
        let answered = tokio::select! {
            answered = pool.request(request) => answered.map_err(|error| Unanswered::of(&error)),
            () = informational.exceeded() => Err(Unanswered::Failed(too_large())),
            () = sleep_until(self.deadline) => Err(Unanswered::Failed(out_of_time(&connection))),
        };
        let received = match answered {
            Ok(response) => {
                if is_last(&response) {
                    poison(&connection);
                }
                self.read(response).await
            }
            Err(unanswered) => Err(unanswered),
        };
        if !received.as_ref().is_ok_and(|received| received.complete) {
            poison(&connection);
        }
        received
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Received, Unanswered> {
        if is_over(response.headers()) {
            return Err(Unanswered::Failed(too_large()));
        }
        if let Some(allowance) = response.extensions().get::<Allowance>() {
            allowance.grant();
        }
        Ok(Received::read(response, self.deadline).await)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.uri().clone();
        *request.headers_mut() = (self.headers)();
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request
    }
}

/// Whether a head is over the limits. The parser's own limit is that of its buffer, which grows in steps,
/// and HTTP/2 does not count fields.
fn is_over(headers: &HeaderMap) -> bool {
    const SEPARATORS: usize = 4;
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + SEPARATORS;
    headers.len() > MAX_FIELDS || headers.iter().map(line).sum::<usize>() > MAX_HEAD as usize
}

/// Whether no request may follow this answer on its connection. After a failure none does, so that what a broken
/// server says late is never taken for the next request's answer; HTTP/2 tells whose an answer is.
fn is_last(response: &Response<Incoming>) -> bool {
    response.version() < Version::HTTP_2 && !response.status().is_success()
}

/// A connection that is not to be used again.
fn poison(connection: &CaptureConnection) {
    if let Some(connected) = connection.connection_metadata().as_ref() {
        Connected::poison(connected);
    }
}

fn out_of_time(connection: &CaptureConnection) -> Failure {
    if connection.connection_metadata().is_some() {
        failure(ErrorKind::Timeout, "The endpoint did not answer in time")
    } else {
        failure(ErrorKind::ConnectTimeout, "The endpoint could not be connected in time")
    }
}

/// Counts informational answers, which hyper itself skips without end.
#[derive(Debug, Default)]
struct Informational {
    count: AtomicU32,
    exceeded: Notify,
}

impl Informational {
    fn watch<B>(request: &mut Request<B>) -> Arc<Self> {
        let watched = Arc::new(Self::default());
        let seen = Arc::clone(&watched);
        hyper::ext::on_informational(request, move |_| seen.count_one());
        watched
    }

    fn count_one(&self) {
        if self.count.fetch_add(1, Ordering::Relaxed) == MAX_INFORMATIONAL {
            self.exceeded.notify_one();
        }
    }

    async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}
