//! Servers that follow a script, and clients that may call them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use postrider_delivery::client::{Client, Clients, Limits};
use postrider_delivery::egress::{Config, Metrics, Policy};
use postrider_delivery::endpoint::Endpoint;
use postrider_delivery::reply::{Answer, Failure, Reply};
use postrider_delivery::tls::client_config;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Long enough for anything on loopback, however loaded the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A listener on loopback whose connections all follow one script.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start<F, S>(script: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(script(stream));
            }
        });
        Self {
            address,
            accepted,
            task,
        }
    }

    /// Answers every request of every connection with the same bytes.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move { while read_request(&mut stream).await.is_some() && stream.write_all(&answer).await.is_ok() {} }
        })
        .await
    }

    /// Answers one request of every connection with the same bytes, and closes it.
    pub(crate) async fn answering_once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                read_request(&mut stream).await;
                // The client may have had enough already.
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks?x=1", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request with a content length: its head and its body. `None` at the end of the connection.
pub(crate) async fn read_request<S: AsyncReadExt + Unpin>(stream: &mut S) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What lets a test call loopback.
pub(crate) fn open() -> Config {
    Config {
        allow: vec!["127.0.0.0/8".into()],
        // Nobody listens there: a test that needs names starts its own name server.
        dns: postrider_delivery::egress::Dns::One("127.0.0.1:9".into()),
        ..Config::default()
    }
}

/// A client, what it was made from, and what it counts.
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) clients: Clients,
    pub(crate) policy: Arc<Policy>,
    pub(crate) registry: Registry,
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self::with(&open(), Limits::default())
    }

    pub(crate) fn with(config: &Config, limits: Limits) -> Self {
        Self::of_policy(config, Policy::from_config(config).unwrap(), limits)
    }

    pub(crate) fn of_policy(config: &Config, policy: Policy, limits: Limits) -> Self {
        let policy = Arc::new(policy);
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let tls = client_config(config.ca_file.as_deref()).unwrap();
        let clients = Clients::new(Arc::clone(&policy), tls, limits, metrics).unwrap();
        Self {
            client: clients.client(None),
            clients,
            policy,
            registry,
        }
    }

    pub(crate) fn endpoint(&self, url: &str) -> Endpoint {
        Endpoint::parse(url, &self.policy).unwrap()
    }

    pub(crate) async fn post(&self, url: &str) -> Reply {
        self.post_within(url, PATIENCE).await
    }

    pub(crate) async fn post_within(&self, url: &str, timeout: Duration) -> Reply {
        post(&self.client, &self.endpoint(url), timeout).await
    }

    pub(crate) async fn answer(&self, url: &str) -> Answer {
        answered(self.post(url).await)
    }

    pub(crate) async fn failure(&self, url: &str) -> Failure {
        failed(self.post(url).await)
    }
}

pub(crate) async fn post(client: &Client, endpoint: &Endpoint, timeout: Duration) -> Reply {
    let body = Bytes::from_static(b"{\"code\":6}");
    client.post(endpoint, HeaderMap::new, body, timeout).await.reply
}

#[track_caller]
pub(crate) fn answered(reply: Reply) -> Answer {
    match reply {
        Reply::Answered(answer) => answer,
        Reply::Failed(failure) => panic!("no answer: {failure:?}"),
    }
}

#[track_caller]
pub(crate) fn failed(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => failure,
        Reply::Answered(answer) => panic!("an answer: {answer:?}"),
    }
}
