//! The API under `/api/v1`: what it works with, and its routes. Whatever is added to `writing` needs a token that
//! may write.

mod answer;
pub(crate) mod ask;
pub(crate) mod catalog;
mod change;
pub(crate) mod desk;
mod door;
mod explain;
pub(crate) mod json;
pub(crate) mod logs;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod read;
mod replays;
mod reseal;
mod transmit;
mod what_if;
pub(crate) mod work;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, patch, post};
use parking_lot::RwLock;
use postrider_logs::Reader;
use postrider_replay::Replays;
use postrider_types::{EventType, Outcome, Transmission, Trigger, Webhook};
use postrider_webhooks::{Editor, Keyring};

use crate::config::Access;
use crate::explained::Explainer;
pub(crate) use desk::Desk;
pub(crate) use door::{Gate, is_of_another_page};

/// A Test or a first connection under way; the error says in words why it was not made.
pub type Transmitted<'a> = Pin<Box<dyn Future<Output = Result<Transmission, String>> + Send + 'a>>;

/// Reads the keys that seal secrets again; the error says in words why they cannot be read.
pub type Reseal = Arc<dyn Fn() -> Result<Keyring, String> + Send + Sync>;

/// Sends Tests and first connections.
pub trait Tester: Send + Sync + fmt::Debug {
    /// Sends the sample of an event type to a webhook, once, as a delivery would be sent, and publishes its outcome.
    fn transmit<'a>(&'a self, webhook: Arc<Webhook>, event: EventType, trigger: Trigger) -> Transmitted<'a>;
}

/// An event's body that is looked for; the error says in words why there is none.
pub type Body<'a> = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + 'a>>;

/// Finds the bodies of events.
pub trait Bodies: Send + Sync + fmt::Debug {
    /// What the requests of a delivery carried: read where the event came from, while it is kept there.
    fn body<'a>(&'a self, outcome: &'a Outcome) -> Body<'a>;
}

/// What the API works with.
#[derive(Clone)]
pub struct Api {
    /// Lists and changes webhooks.
    pub editor: Arc<Editor>,
    /// Sends Tests and first connections.
    pub tester: Arc<dyn Tester>,
    /// Reads the keys again, to seal all secrets with the first of them.
    pub reseal: Reseal,
    /// Finds out what is known of an order or a delivery.
    pub explainer: Arc<dyn Explainer>,
    /// Answers from the index of the results topic; `None` where there is no index.
    pub logs: Option<Reader>,
    /// Finds the bodies of events.
    pub bodies: Arc<dyn Bodies>,
    /// Takes replays on, and tells of them.
    pub replays: Arc<Replays>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("tester", &self.tester)
            .finish_non_exhaustive()
    }
}

/// Where the API is put once it can work: the port is bound before Kafka is reached, and until the webhooks were read
/// every route answers that postrider is still starting. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ApiSlot(Arc<RwLock<Option<Arc<Api>>>>);

impl ApiSlot {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on the API works.
    pub fn set(&self, api: Api) {
        *self.0.write() = Some(Arc::new(api));
    }

    fn api(&self) -> Option<Arc<Api>> {
        self.0.read().clone()
    }
}

type Routes = Vec<(&'static str, MethodRouter)>;

/// All routes, each behind the gate.
pub(crate) fn router(gate: &Arc<Gate>) -> Router {
    behind(gate, Access::Read, reading()).merge(behind(gate, Access::Write, writing()))
}

fn reading() -> Routes {
    vec![
        ("/api/v1/webhooks", get(read::list)),
        ("/api/v1/webhooks/{id}", get(read::one)),
        ("/api/v1/event-types", get(catalog::event_types)),
        ("/api/v1/statuses", get(catalog::statuses)),
        ("/api/v1/route", post(what_if::route)),
        ("/api/v1/explain", get(explain::explain)),
        ("/api/v1/logs", get(logs::list)),
        ("/api/v1/deliveries/{id}", get(logs::delivery)),
        ("/api/v1/stats", get(logs::stats)),
        ("/api/v1/replays", get(replays::list)),
        ("/api/v1/replays/{id}", get(replays::one)),
    ]
}

fn writing() -> Routes {
    vec![
        ("/api/v1/webhooks", post(change::add)),
        ("/api/v1/webhooks/{id}", patch(change::edit).delete(change::remove)),
        ("/api/v1/webhooks/{id}/test", post(transmit::test)),
        ("/api/v1/webhooks/{id}/enable", post(change::enable)),
        ("/api/v1/webhooks/{id}/disable", post(change::disable)),
        ("/api/v1/webhooks/{id}/rotate-secret", post(change::rotate_secret)),
        ("/api/v1/secrets/rotate", post(reseal::rotate)),
        ("/api/v1/replays", post(replays::add)),
    ]
}

fn behind(gate: &Arc<Gate>, access: Access, routes: Routes) -> Router {
    let door = door::Door::new(gate, access);
    let router = routes
        .into_iter()
        .fold(Router::new(), |router, (path, route)| router.route(path, route));
    router.route_layer(from_fn_with_state(door, door::admit))
}
