//! The bare client: hyper with nothing around it. As many connections as requests may be in flight, the same body,
//! the same headers but the signature, and no thought given to any answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use postrider_benches::sample::tracking_update;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::receiver::Receiver;
use crate::usage::Usage;

/// What the bare client came to.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bare {
    /// Requests a second, as the receiver counts them.
    pub(crate) per_second: f64,
    /// Processor time of the client for a thousand requests.
    pub(crate) cpu_ms_per_1000: f64,
}

impl Bare {
    /// The mean of two runs.
    pub(crate) fn mean(one: Self, other: Self) -> Self {
        Self {
            per_second: f64::midpoint(one.per_second, other.per_second),
            cpu_ms_per_1000: f64::midpoint(one.cpu_ms_per_1000, other.cpu_ms_per_1000),
        }
    }
}

/// POSTs `requests` times over `connections`.
///
/// # Errors
/// When one of them fails.
pub(crate) async fn run(receiver: &mut Receiver, connections: u64, requests: u64, wait: Duration) -> Result<Bare> {
    receiver.begin(wait)?;
    let before = Usage::of(std::process::id())?;
    let begun = Arc::<AtomicU64>::default();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(work(receiver.address, Arc::clone(&begun), requests));
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let after = Usage::of(std::process::id())?;
    let counted = receiver.counted()?;
    ensure!(counted.requests == requests, "{} of {requests} came", counted.requests);
    Ok(Bare {
        per_second: counted.rate(),
        cpu_ms_per_1000: per_1000(after.cpu_ms - before.cpu_ms, requests),
    })
}

/// Milliseconds for a thousand.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub(crate) fn per_1000(millis: u64, of: u64) -> f64 {
    millis as f64 * 1_000.0 / of.max(1) as f64
}

async fn work(address: SocketAddr, begun: Arc<AtomicU64>, requests: u64) -> Result<()> {
    let headers = headers(address)?;
    let mut sender = connect(address).await?;
    let body = Bytes::from(tracking_update(begun.load(Ordering::Relaxed)));
    while begun.fetch_add(1, Ordering::Relaxed) < requests {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/hooks".parse()?;
        *request.headers_mut() = headers.clone();
        sender.ready().await?;
        let mut response = sender.send_request(request).await?.into_body();
        while let Some(frame) = response.frame().await {
            frame.context("the receiver's answer")?;
        }
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its errors come out at the sender.
        let _ = connection.await;
    });
    Ok(sender)
}

fn headers(address: SocketAddr) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(&address.to_string())?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static("postrider/0.1.0"));
    for (name, value) in [
        ("webhook-id", "msg_0123456789abcdef0123456789abcdef"),
        ("webhook-timestamp", "1763805600"),
        ("x-postrider-event", "tracking_update"),
        ("x-postrider-attempt", "1"),
        ("x-postrider-event-time", "2025-11-22T10:00:00.000Z"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(headers)
}
