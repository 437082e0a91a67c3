//! One connection, driven by the request that has it.
//!
//! An HTTP/1 connection has no task of its own: what reads and writes it is polled by whoever waits for the
//! answer, so a request costs no hand-over from task to task. While it is idle nobody polls it; what came
//! meanwhile, or that the peer is gone, shows before the next request is written. An HTTP/2 connection is
//! shared, so it does have a task.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{CONNECTION_WINDOW, MAX_FIELDS, MAX_HEAD, SEND_BUFFER, STREAM_WINDOW};
use crate::connector::{Tap, Watch};
use crate::tls::Refusal;

type Body = Full<Bytes>;
type Io = TokioIo<Tap>;

/// What hyper's answer is, once it has come.
pub(super) type Answered = hyper::Result<Response<Incoming>>;

/// A connection that takes a request.
#[derive(Debug)]
pub(super) enum Connection {
    /// HTTP/1: one request at a time.
    Exclusive(Box<Exclusive>),
    /// HTTP/2.
    Shared(Shared),
}

impl Connection {
    /// Begins to speak HTTP, by the version that the two sides agreed upon.
    pub(super) async fn open(tap: Tap, uri: Uri) -> hyper::Result<Self> {
        match tap.watch() {
            Some(watch) => Shared::open(tap, watch, uri).await.map(Self::Shared),
            None => Exclusive::open(tap, uri)
                .await
                .map(|opened| Self::Exclusive(Box::new(opened))),
        }
    }
}

/// Whether two URLs have scheme, host and port in common.
fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

/// An HTTP/1 connection.
pub(super) struct Exclusive {
    sender: http1::SendRequest<Body>,
    driver: http1::Connection<Io, Body>,
    is_over: bool,
    /// What it was made for.
    uri: Uri,
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_over = &self.is_over;
        f.debug_struct("Exclusive")
            .field("is_over", is_over)
            .finish_non_exhaustive()
    }
}

impl Exclusive {
    async fn open(tap: Tap, uri: Uri) -> hyper::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD as usize).max_headers(MAX_FIELDS);
        let (sender, driver) = builder.handshake(TokioIo::new(tap)).await?;
        Ok(Self {
            sender,
            driver,
            is_over: false,
            uri,
        })
    }

    pub(super) fn leads_to(&self, uri: &Uri) -> bool {
        is_same_origin(&self.uri, uri)
    }

    /// Reads and writes what can be. Why it ended is told to whoever waits for the answer.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.is_over {
            self.is_over = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
    }

    /// Whether a request can be written to it, as far as is known.
    fn is_ready(&self) -> bool {
        !self.is_over && self.sender.is_ready()
    }

    /// Whether it can wait for another request: not when it has ended, or is still busy with the one before. What came
    /// after that one's answer is not looked for: before the next is written, it is.
    pub(super) fn can_wait(&mut self) -> bool {
        self.is_ready() || self.is_open()
    }

    /// The same, with a look at what came meanwhile.
    pub(super) fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.is_ready()
    }

    /// Whether it takes a request: once it does, or has ended.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // Most are ready at once. Looked at for nobody, they wake nobody when they are handed a request.
        if self.can_wait() {
            return Poll::Ready(true);
        }
        self.drive(cx);
        match self.sender.poll_ready(cx) {
            Poll::Pending if !self.is_over => Poll::Pending,
            ready => Poll::Ready(matches!(ready, Poll::Ready(Ok(()))) && !self.is_over),
        }
    }

    /// Hands a request over; the answer comes while the connection is driven.
    pub(super) fn send(&mut self, request: Request<Body>) -> impl Future<Output = Answered> + use<> {
        self.sender.send_request(request)
    }
}

/// An HTTP/2 connection, or one of several hands on it: the pool's, and one for each request.
#[derive(Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<Body>,
    watch: Watch,
    /// Counts the hands.
    hand: Arc<()>,
    /// What it was made for.
    uri: Uri,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    async fn open(tap: Tap, watch: Watch, uri: Uri) -> hyper::Result<Self> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .max_send_buf_size(SEND_BUFFER);
        let (sender, driver) = builder.handshake(TokioIo::new(tap)).await?;
        // It ends by itself when its last hand is gone, and tells those who wait for answers why it ended before.
        tokio::spawn(driver);
        Ok(Self {
            sender,
            watch,
            hand: Arc::default(),
            uri,
        })
    }

    /// Whether two hands are on one connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hand, &other.hand)
    }

    /// Whether it is open, and to the URL's host.
    pub(super) fn leads_to(&self, uri: &Uri) -> bool {
        !self.has_ended() && is_same_origin(&self.uri, uri)
    }

    /// Whether the endpoint takes one more request beside those that are under way. To be asked of the pool's hand:
    /// what is handed to a connection beyond that waits in it, and its time passes.
    pub(super) fn has_room(&self) -> bool {
        let requests = Arc::strong_count(&self.hand) - 1;
        u32::try_from(requests).is_ok_and(|requests| requests < self.watch.streams())
    }

    /// Why TLS ended it, if it did.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.watch.refusal()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.sender.is_closed()
    }

    /// Lets another answer's bytes in.
    pub(super) fn grant(&self) {
        self.watch.grant();
    }

    /// Waits until it takes a request; false when it has ended.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(super) fn send(&mut self, request: Request<Body>) -> impl Future<Output = Answered> + use<> {
        self.sender.send_request(request)
    }
}
