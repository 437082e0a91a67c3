//! Events, webhooks, deliveries and a receiver for the tests of this crate.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::Response;
use bytes::Bytes;
use hyper::HeaderMap;
use postrider_types::delivery::Progress;
use postrider_types::settlement::HeldTotals;
use postrider_types::{
    AccountId, AssignmentNumber, Delivery, Event, EventId, EventType, Facts, Held, Losses, Offset, Origin, Partition,
    Position, Record, Timestamp, Webhook, WebhookId,
};
use tokio::sync::Semaphore;

use crate::client::{Clients, Limits};
use crate::egress::{self, Policy};
use crate::metrics::Metrics;
use crate::tls;

/// 2025-11-22T10:00:00Z
pub(crate) const EVENT_TIME: Timestamp = Timestamp::from_millis(1_763_805_600_000);
/// The body of every sample event.
pub(crate) const BODY: &[u8] = br#"{"tracking":"WZ116539070","OrderID":"24957298","code":6}"#;

/// A tracking update at an offset.
pub(crate) fn event(offset: i64) -> Event {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(offset),
        timestamp: EVENT_TIME,
    };
    Event {
        id: EventId::from(&origin),
        origin,
        event_type: EventType::TrackingUpdate,
        account: AccountId::default(),
        facts: Facts {
            order_id: Some("24957298".into()),
            ..Facts::default()
        },
        key: Some(Bytes::from_static(b"24957298")),
        headers: Vec::new(),
        body: Bytes::from_static(BODY),
    }
}

/// An active webhook that wants tracking updates.
pub(crate) fn webhook(id: &str, url: &str) -> Webhook {
    Webhook::new(WebhookId::new(id).unwrap(), url, vec![EventType::TrackingUpdate])
}

/// The only delivery of a record at `offset`.
pub(crate) fn delivery(webhook: &Arc<Webhook>, offset: i64, losses: &Losses) -> Delivery {
    deliveries(&[webhook], offset, losses).remove(0)
}

/// The deliveries of one record at `offset`, one for each webhook.
pub(crate) fn deliveries(webhooks: &[&Arc<Webhook>], offset: i64, losses: &Losses) -> Vec<Delivery> {
    let position = Position {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(offset),
        assignment: AssignmentNumber(1),
    };
    let held = Held::take(&Arc::<HeldTotals>::default(), BODY.len() as u64);
    let count = NonZeroUsize::new(webhooks.len()).unwrap();
    let shares = Record::new(position, held, losses).split(count, Vec::new());
    let event = Arc::new(event(offset));
    let delivery = |(webhook, share): (&&Arc<Webhook>, _)| Delivery {
        event: Arc::clone(&event),
        webhook: Arc::clone(webhook),
        progress: Progress::start(None),
        due: None,
        share,
    };
    webhooks.iter().zip(shares).map(delivery).collect()
}

/// A policy that lets loopback through.
pub(crate) fn policy() -> Arc<Policy> {
    let config = egress::Config {
        allow: vec!["127.0.0.0/8".into()],
        ..egress::Config::default()
    };
    Arc::new(Policy::from_config(&config).unwrap())
}

/// Clients under that policy.
pub(crate) fn clients(policy: &Arc<Policy>, metrics: &Metrics) -> Clients {
    let tls = tls::client_config(None).unwrap();
    Clients::new(Arc::clone(policy), tls, Limits::default(), metrics.egress()).unwrap()
}

/// One request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A real server on loopback. It notes what comes and how many requests are open at once.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Receiver {
    /// Starts it; `answer` gets the request's number, from 0, and the request.
    pub(crate) async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(usize, Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let seen = Arc::<Seen>::default();
        let noted = Arc::clone(&seen);
        let serve = move |headers: HeaderMap, body: Bytes| {
            let (noted, answer) = (Arc::clone(&noted), answer.clone());
            async move {
                let _open = Open::new(&noted);
                let request = Request { headers, body };
                let number = {
                    let mut requests = noted.requests.lock().unwrap();
                    requests.push(request.clone());
                    requests.len() - 1
                };
                answer(number, request).await
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(serve)).into_future());
        Self { url, seen }
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The most requests that were open at once.
    pub(crate) fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    /// The requests open now.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }
}

struct Open(Arc<Seen>);

impl Open {
    fn new(seen: &Arc<Seen>) -> Self {
        let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(open, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets requests wait until the test opens it.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate, and a receiver that answers 200 to each request it lets through.
    pub(crate) async fn receiver() -> (Self, Receiver) {
        Self::receiver_with(200).await
    }

    /// As [`Gate::receiver`], with another status.
    pub(crate) async fn receiver_with(status: u16) -> (Self, Receiver) {
        let gate = Self(Arc::new(Semaphore::new(0)));
        let passing = Arc::clone(&gate.0);
        let receiver = Receiver::start(move |_, _| {
            let passing = Arc::clone(&passing);
            async move {
                passing.acquire().await.unwrap().forget();
                answer(status, "")
            }
        });
        (gate, receiver.await)
    }

    /// Lets so many requests through.
    pub(crate) fn open(&self, requests: usize) {
        self.0.add_permits(requests);
    }
}

/// An answer with a status and a text.
pub(crate) fn answer(status: u16, body: impl Into<axum::body::Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}
