//! The receiver of everything: bare hyper on one thread, in a process of its own, so that what it uses can be told
//! apart. It is steered by lines on its standard input, and ends with whoever started it.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use postrider_benches::sample::stamp;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use crate::RECEIVER;
use crate::usage::now_nanos;

/// What came since it began to count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Requests, their bodies read.
    pub(crate) requests: u64,
    /// The first, in nanoseconds of the machine's clock.
    pub(crate) first: u64,
    /// The latest.
    pub(crate) last: u64,
}

impl Counted {
    /// Requests a second between the first and the latest.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn rate(&self) -> f64 {
        let nanos = self.last.saturating_sub(self.first).max(1);
        self.requests.saturating_sub(1) as f64 * 1e9 / nanos as f64
    }
}

/// A running receiver, as the benchmark holds it.
#[derive(Debug)]
pub(crate) struct Receiver {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Receiver {
    /// # Errors
    /// When this program cannot be started once more.
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(RECEIVER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("standard input is piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        Ok(Self {
            address: line.trim().parse().context("the receiver tells its address")?,
            child,
            orders,
            answers,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Counts from nothing; from now on each answer waits.
    pub(crate) fn begin(&mut self, wait: Duration) -> Result<()> {
        self.ask::<()>(&format!("begin {}", wait.as_millis()))
    }

    pub(crate) fn counted(&mut self) -> Result<Counted> {
        self.ask("count")
    }

    /// Microseconds from stamp to answer of each stamped request, sorted.
    pub(crate) fn latencies(&mut self) -> Result<Vec<u64>> {
        self.ask("latencies")
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, order: &str) -> Result<T> {
        writeln!(self.orders, "{order}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the receiver answered {order} with `{line}`"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Counts {
    wait_ms: AtomicU64,
    requests: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    /// Stamps before this are of an earlier count.
    begun: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

impl Counts {
    fn begin(&self, wait_ms: u64) {
        self.wait_ms.store(wait_ms, Ordering::Relaxed);
        for count in [&self.requests, &self.first, &self.last] {
            count.store(0, Ordering::Relaxed);
        }
        self.latencies.lock().clear();
        self.begun.store(now_nanos(), Ordering::Relaxed);
    }

    fn came(&self) {
        let now = now_nanos();
        // Only one thread serves.
        if self.requests.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.last.store(now, Ordering::Relaxed);
    }

    fn answered(&self, sent: Option<u64>) {
        let begun = self.begun.load(Ordering::Relaxed);
        if let Some(sent) = sent.filter(|sent| *sent >= begun) {
            self.latencies.lock().push(now_nanos().saturating_sub(sent) / 1_000);
        }
    }

    fn counted(&self) -> Counted {
        Counted {
            requests: self.requests.load(Ordering::Relaxed),
            first: self.first.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
        }
    }

    fn sorted(&self) -> Vec<u64> {
        let mut latencies = self.latencies.lock().clone();
        latencies.sort_unstable();
        latencies
    }

    fn obey(&self, order: &str) -> Result<String> {
        Ok(match order.split_once(' ').unwrap_or((order, "")) {
            ("begin", wait_ms) => {
                self.begin(wait_ms.parse()?);
                "null".to_owned()
            }
            ("count", _) => serde_json::to_string(&self.counted())?,
            ("latencies", _) => serde_json::to_string(&self.sorted())?,
            _ => bail!("no such order: {order}"),
        })
    }
}

/// Serves until standard input ends.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counts = Arc::<Counts>::default();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let steered = Arc::clone(&counts);
    std::thread::spawn(move || {
        if let Err(error) = steer(address, &steered) {
            eprintln!("the receiver: {error:#}");
        }
        std::process::exit(0);
    });
    runtime.block_on(accept(listener, counts))
}

fn steer(address: SocketAddr, counts: &Counts) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    for order in std::io::stdin().lines() {
        writeln!(out, "{}", counts.obey(&order?)?)?;
    }
    Ok(())
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream, Arc::clone(&counts)));
    }
}

async fn connection(stream: TcpStream, counts: Arc<Counts>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&counts)));
    // A client that goes away is no error here.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, counts: Arc<Counts>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    let mut sent = None;
    while let Some(Ok(frame)) = body.frame().await {
        sent = sent.or_else(|| stamp(frame.data_ref()?));
    }
    counts.came();
    let wait = counts.wait_ms.load(Ordering::Relaxed);
    if wait > 0 {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"received":true}"#)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    counts.answered(sent);
    Ok(response)
}
