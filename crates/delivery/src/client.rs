//! One webhook's HTTP client: its own pool, one deadline, bounds on everything that comes back.
//!
//! A pooled connection may have ended while it was idle. When nothing of a request was written to it, or HTTP/2
//! says that nothing was done with it, the request goes out once more over a connection made for it; a request that
//! may have been seen is never repeated here. Redirects, cookies, decompression and proxies of the environment do
//! not exist: nothing below knows them.

mod connection;
mod failure;
mod pool;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hickory_resolver::net::NetError;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use postrider_types::ErrorKind;
use rustls::ClientConfig;
use tokio::time::{Instant, Sleep, sleep_until};

use self::connection::{Answered, Connection, Exclusive, Shared};
use self::failure::{Unanswered, closed, failure, too_large};
use self::pool::Pool;
use crate::connector::Connector;
use crate::egress::{Metrics, Policy};
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::reply::{Failure, Reply, Timed};
use crate::response::{Received, read_into};

/// Bytes of a response's head.
const MAX_HEAD: u32 = 32 * 1024;
/// Fields of a response's head.
const MAX_FIELDS: usize = 100;
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
            connector,
            pool: Pool::new(self.limits.idle_timeout, self.limits.max_idle),
        }
    }
}

/// One webhook's client.
#[derive(Debug)]
pub struct Client {
    connector: Connector,
    pool: Pool,
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
        let end = pin!(sleep_until(start + timeout));
        let outgoing = Outgoing {
            client: self,
            endpoint,
            headers,
            body,
        };
        let received = outgoing.answer(end).await;
        (received.map_err(Unanswered::into_failure), start.elapsed())
    }
}

/// A request that can be written again as long as it was not written.
struct Outgoing<'a, H> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    headers: H,
    body: Bytes,
}

impl<H: Fn() -> HeaderMap> Outgoing<'_, H> {
    async fn answer(&self, mut end: Pin<&mut Sleep>) -> Result<Received, Unanswered> {
        let mut idle = self.client.pool.take(self.endpoint.uri());
        loop {
            let is_new = idle.is_none();
            let connection = match idle.take() {
                Some(idle) => idle,
                // Apart, because it is rare and large.
                None => Box::pin(self.connect(end.as_mut())).await?,
            };
            let received = self.over(connection, end.as_mut()).await;
            if is_new || !matches!(received, Err(Unanswered::NotSent(_))) {
                return received;
            }
        }
    }

    async fn connect(&self, end: Pin<&mut Sleep>) -> Result<Connection, Unanswered> {
        tokio::select! {
            biased;
            opened = self.open() => opened,
            () = end => Err(Unanswered::Failed(not_connected())),
        }
    }

    async fn open(&self) -> Result<Connection, Unanswered> {
        let Client { connector, pool } = self.client;
        let uri = self.endpoint.uri();
        let tap = connector.connect(uri.clone()).await;
        let tap = tap.map_err(|error| Unanswered::of(&error))?;
        let opened = Connection::open(tap, uri.clone()).await;
        let opened = opened.map_err(|error| Unanswered::of(&error))?;
        if let Connection::Shared(opened) = &opened {
            pool.share(opened);
        }
        Ok(opened)
    }

    /// Sends over a connection, which is used again only after a whole answer. At HTTP/1 this has to be a success
    /// too, so that what a broken server says late is never taken for the next request's answer; HTTP/2 tells whose
    /// an answer is.
    async fn over(&self, connection: Connection, end: Pin<&mut Sleep>) -> Result<Received, Unanswered> {
        let pool = &self.client.pool;
        match connection {
            Connection::Exclusive(mut connection) => {
                let received = self.alone(&mut connection, end).await;
                if received
                    .as_ref()
                    .is_ok_and(|answer| answer.complete && answer.status.is_success())
                {
                    pool.keep(connection);
                }
                received
            }
            Connection::Shared(mut connection) => {
                let received = self.among_others(&mut connection, end).await;
                if !received.as_ref().is_ok_and(|answer| answer.complete) {
                    pool.part_with(&connection);
                }
                received.map_err(|unanswered| unanswered.because(connection.refusal()))
            }
        }
    }

    async fn alone(&self, connection: &mut Exclusive, mut end: Pin<&mut Sleep>) -> Result<Received, Unanswered> {
        let is_ready = within(|cx| connection.poll_ready(cx), |_| (), end.as_mut()).await;
        if !is_ready.ok_or_else(unanswered)? {
            return Err(Unanswered::NotSent(closed()));
        }
        let answer = pin!(connection.send(self.addressed()));
        let mut drive = |cx: &mut Context<'_>| connection.drive(cx);
        let mut response = head(answer, &mut drive, end.as_mut()).await?;
        let content = read(&mut response, drive, end).await?;
        Ok(received(response, content))
    }

    async fn among_others(&self, connection: &mut Shared, mut end: Pin<&mut Sleep>) -> Result<Received, Unanswered> {
        if !connection.ready().await {
            return Err(Unanswered::NotSent(closed()));
        }
        let answer = pin!(connection.send(self.request(self.endpoint.uri())));
        let mut response = head(answer, |_| (), end.as_mut()).await?;
        connection.grant();
        let content = read(&mut response, |_| (), end).await?;
        Ok(received(response, content))
    }

    /// A request of HTTP/1.
    fn addressed(&self) -> Request<Full<Bytes>> {
        let mut request = self.request(self.endpoint.path());
        request.headers_mut().insert(HOST, self.endpoint.host().clone());
        request
    }

    fn request(&self, uri: &Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = (self.headers)();
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, as_it_is());
        request
    }
}

/// Answers are not unpacked, so they are to come unpacked.
const fn as_it_is() -> HeaderValue {
    HeaderValue::from_static("identity")
}

/// Adds what an HTTP/1 request has beside its own headers when it is on the wire; the length is hyper's.
pub(crate) fn complete(headers: &mut HeaderMap, endpoint: &Endpoint, body: &Bytes) {
    headers.insert(ACCEPT_ENCODING, as_it_is());
    headers.insert(HOST, endpoint.host().clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
}

/// Waits for something, until `end`. It is asked for first, because a body is read only when it is wanted; then the
/// connection is driven, so that what it has read is there for whoever waits for it.
async fn within<T>(
    mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    mut drive: impl FnMut(&mut Context<'_>),
    mut end: Pin<&mut Sleep>,
) -> Option<T> {
    poll_fn(|cx| {
        if let Poll::Ready(there) = wanted(cx) {
            return Poll::Ready(Some(there));
        }
        drive(cx);
        match wanted(cx) {
            Poll::Ready(there) => Poll::Ready(Some(there)),
            Poll::Pending => end.as_mut().poll(cx).map(|()| None),
        }
    })
    .await
}

/// The answer's head, when it comes in time.
async fn head(
    mut answer: Pin<&mut impl Future<Output = Answered>>,
    drive: impl FnMut(&mut Context<'_>),
    end: Pin<&mut Sleep>,
) -> Result<Response<Incoming>, Unanswered> {
    let answered = within(|cx| answer.as_mut().poll(cx), drive, end).await;
    answered.ok_or_else(unanswered)?.map_err(|error| Unanswered::of(&error))
}

/// What is read of a body, and whether that is all of it.
type Content = (BytesMut, bool);

/// Reads what follows the head, as much as may be and comes in time.
async fn read(
    response: &mut Response<Incoming>,
    drive: impl FnMut(&mut Context<'_>),
    end: Pin<&mut Sleep>,
) -> Result<Content, Unanswered> {
    if is_over(response.headers()) {
        return Err(Unanswered::Failed(too_large()));
    }
    let mut body = BytesMut::new();
    let complete = {
        let mut reading = pin!(read_into(&mut body, response.body_mut()));
        within(|cx| reading.as_mut().poll(cx), drive, end).await
    };
    Ok((body, complete.unwrap_or(false)))
}

fn received(response: Response<Incoming>, (body, complete): Content) -> Received {
    let (head, _) = response.into_parts();
    Received {
        status: head.status,
        headers: head.headers,
        body: body.freeze(),
        complete,
    }
}

/// Whether a head is over the limits. The parser's own limit is that of its buffer, which grows in steps,
/// and HTTP/2 does not count fields.
fn is_over(headers: &HeaderMap) -> bool {
    const SEPARATORS: usize = 4;
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + SEPARATORS;
    headers.len() > MAX_FIELDS || headers.iter().map(line).sum::<usize>() > MAX_HEAD as usize
}

fn unanswered() -> Unanswered {
    Unanswered::Failed(failure(ErrorKind::Timeout, "The endpoint did not answer in time"))
}

fn not_connected() -> Failure {
    failure(ErrorKind::ConnectTimeout, "The endpoint could not be connected in time")
}
