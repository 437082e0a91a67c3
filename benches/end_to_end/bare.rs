//! The bare client: hyper with nothing around it. As many requests in flight, the same body, the same headers but the
//! signature, and no thought given to any answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use postrider_benches::sample::tracking_update;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::drain::Plan;
use crate::stage::Stage;
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

/// POSTs `requests` times, as many at once as the plan has.
///
/// # Errors
/// When one of them fails.
pub(crate) async fn run(stage: &mut Stage<'_>, plan: &Plan, requests: u64) -> Result<Bare> {
    let (kind, address) = (stage.options.bare, stage.receiver.address);
    stage.receiver.begin(plan.wait)?;
    let template = template(kind, address)?;
    let begun = Arc::<AtomicU64>::default();
    let senders = Sender::open(kind, address, plan.concurrency).await?;
    let before = Usage::of(std::process::id())?;
    let mut workers = JoinSet::new();
    for sender in senders {
        workers.spawn(sender.work(template.clone(), Arc::clone(&begun), requests));
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let after = Usage::of(std::process::id())?;
    let counted = stage.receiver.counted()?;
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

/// How the bare client keeps its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One for each request in flight: nothing is looked for, nothing is shared.
    Own,
    /// hyper-util's pool, with which most programs send.
    Pool,
}

enum Sender {
    Own(SendRequest<Full<Bytes>>),
    Pool(Box<Pool<HttpConnector, Full<Bytes>>>),
}

impl Sender {
    async fn open(kind: Kind, address: SocketAddr, connections: u64) -> Result<Vec<Self>> {
        let mut senders = Vec::new();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        for _ in 0..connections {
            senders.push(match kind {
                Kind::Own => Self::Own(connect(address).await?),
                Kind::Pool => Self::Pool(Box::new(pool.clone())),
            });
        }
        Ok(senders)
    }

    async fn post(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        match self {
            Self::Own(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
            Self::Pool(pool) => Ok(pool.request(request).await?),
        }
    }

    async fn work(mut self, template: Request<Full<Bytes>>, begun: Arc<AtomicU64>, requests: u64) -> Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < requests {
            let mut response = self.post(template.clone()).await?.into_body();
            while let Some(frame) = response.frame().await {
                frame.context("the receiver's answer")?;
            }
        }
        Ok(())
    }
}

fn template(kind: Kind, address: SocketAddr) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(Bytes::from(tracking_update(1))));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = match kind {
        Kind::Own => "/hooks".parse()?,
        Kind::Pool => format!("http://{address}/hooks").parse()?,
    };
    *request.headers_mut() = headers(address)?;
    Ok(request)
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
