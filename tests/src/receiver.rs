//! A merchant's server: answers as scripted for each path, and keeps every request with its exact bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::patience::{PATIENCE, until};

/// Holds answers back until a test opens it, so that what happens meanwhile does not depend on the machine's speed.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// One that is shut.
    #[must_use]
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everything through, for good.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits until it is open.
    async fn pass(&self) {
        // There is nothing to acquire: waiting ends, with an error, once it is closed.
        let _ = self.0.acquire().await;
    }
}

/// What a receiver says to one request.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Bytes,
    wait: Duration,
    gate: Option<Gate>,
}

impl Answer {
    /// 200 with JSON.
    #[must_use]
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// A status with a small JSON body.
    ///
    /// # Panics
    /// When the number is no status.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self {
            status: StatusCode::from_u16(code).expect("a status is 100 to 999"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::from_static(b"{\"received\":true}"),
            wait: Duration::ZERO,
            gate: None,
        }
    }

    /// A status with a body of a type.
    ///
    /// # Panics
    /// When the number is no status.
    #[must_use]
    pub fn page(code: u16, content_type: &str, body: &str) -> Self {
        Self {
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..Self::status(code)
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, said only after `wait`.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The same, said only once `gate` is open.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The response, once its time has come.
    pub(crate) async fn given(self) -> Response<Body> {
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        self.response()
    }

    fn response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        response
            .body(self.body.into())
            .expect("a scripted answer is valid HTTP")
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST`
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's exact bytes.
    pub body: Bytes,
    /// When it had arrived whole.
    pub at: Instant,
}

impl Request {
    /// A header's value as text; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Script {
    next: usize,
    answers: Vec<Answer>,
}

impl Script {
    /// The next answer; the last one is repeated.
    fn answer(&mut self) -> Option<Answer> {
        let last = self.answers.len().checked_sub(1)?;
        let answer = self.answers[self.next.min(last)].clone();
        self.next += 1;
        Some(answer)
    }
}

#[derive(Debug, Default)]
struct Memory {
    scripts: HashMap<String, Script>,
    requests: Vec<Request>,
}

/// A receiver on loopback. Dropping it closes it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts one on a port of its own. Without a script it answers 200.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let memory = Arc::<Mutex<Memory>>::default();
        let routes = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&memory));
        let serving = tokio::spawn(async move {
            // Ends only by being aborted; axum's server reports no errors.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            memory,
            serving,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on, requests for `path` get these answers in turn, and the last one ever after.
    pub fn answer(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let script = Script {
            next: 0,
            answers: answers.into_iter().collect(),
        };
        self.memory.lock().scripts.insert(path.to_owned(), script);
    }

    /// All requests for a path so far, in the order they came.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<Request> {
        let memory = self.memory.lock();
        let wanted = memory
            .requests
            .iter()
            .filter(|request| path_of(&request.target) == path);
        wanted.cloned().collect()
    }

    /// Waits until at least `count` requests came for a path.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn wait_for(&self, path: &str, count: usize) -> anyhow::Result<Vec<Request>> {
        let ask = || async {
            let requests = self.requests(path);
            Ok((requests.len() >= count).then_some(requests))
        };
        until(&format!("{count} requests for {path}"), PATIENCE, ask).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

async fn receive(
    State(memory): State<Arc<Mutex<Memory>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let request = Request {
        method,
        target: uri.to_string(),
        headers,
        body,
        at: Instant::now(),
    };
    let answer = {
        let mut memory = memory.lock();
        memory.requests.push(request);
        let script = memory.scripts.get_mut(uri.path());
        script.and_then(Script::answer).unwrap_or_else(Answer::ok)
    };
    answer.given().await
}
