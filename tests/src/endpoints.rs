//! The merchants of a long run: each path conducts itself by a rule, and of every request only what the laws
//! need is kept, so that a million of them fit into memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_types::{Clock, Timestamp};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::history::Seen;
use crate::receiver::Answer;

/// How an endpoint answers what it sees.
type Conduct = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

#[derive(Default)]
struct Memory {
    conducts: HashMap<String, Conduct>,
    requests: Vec<Seen>,
    /// Requests and answers by path.
    counts: HashMap<String, Count>,
}

/// What a path has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests that came.
    pub requests: usize,
    /// Answers that were given.
    pub answers: usize,
}

struct Merchants {
    memory: Mutex<Memory>,
    clock: Clock,
}

/// Endpoints on loopback. Dropping them closes them.
pub struct Endpoints {
    address: SocketAddr,
    merchants: Arc<Merchants>,
    serving: JoinHandle<()>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Endpoints {
    /// Opens them on a port of their own. A path without a rule answers 200 at once.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let merchants = Arc::new(Merchants {
            memory: Mutex::default(),
            clock: Clock::system(),
        });
        let routes = Router::new().fallback(receive).with_state(Arc::clone(&merchants));
        let serving = tokio::spawn(async move {
            // Ends only by being aborted; axum's server reports no errors.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            merchants,
            serving,
        })
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on a path answers by this rule.
    pub fn conduct(&self, path: &str, conduct: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        let mut memory = self.merchants.memory.lock();
        memory.conducts.insert(path.to_owned(), Arc::new(conduct));
    }

    /// From now on a path gives the same answer to everything, after `wait`.
    pub fn always(&self, path: &str, status: u16, wait: Duration) {
        let answer = Answer::status(status).after(wait);
        self.conduct(path, move |_| answer.clone());
    }

    /// What a path has come to.
    #[must_use]
    pub fn count(&self, path: &str) -> Count {
        let memory = self.merchants.memory.lock();
        memory.counts.get(path).copied().unwrap_or_default()
    }

    /// How many requests came, to all paths.
    #[must_use]
    pub fn total(&self) -> usize {
        self.merchants.memory.lock().requests.len()
    }

    /// Every request, in the order they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.merchants.memory.lock().requests.clone()
    }

    /// The time, as requests are stamped with it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.merchants.clock.now()
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    State(merchants): State<Arc<Merchants>>,
    uri: Uri,
    headers: HeaderMap,
    // Taken so that a request counts only once its body has arrived.
    _body: Bytes,
) -> Response<Body> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let seen = Seen {
        message: header("webhook-id").to_owned(),
        attempt: header("x-postrider-attempt").parse().unwrap_or(0),
        at: merchants.clock.now(),
    };
    let conduct = {
        let mut memory = merchants.memory.lock();
        memory.requests.push(seen.clone());
        memory.counts.entry(uri.path().to_owned()).or_default().requests += 1;
        memory.conducts.get(uri.path()).map(Arc::clone)
    };
    let answer = conduct.map_or_else(Answer::ok, |conduct| conduct(&seen));
    let response = answer.given().await;
    let mut memory = merchants.memory.lock();
    memory.counts.entry(uri.path().to_owned()).or_default().answers += 1;
    response
}
