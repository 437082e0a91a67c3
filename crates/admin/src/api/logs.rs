//! Logs, deliveries and statistics, from the index of the results topic.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use postrider_logs::{Cursor, Entry, Filter, Indexed, LARGEST_PAGE, Mark, ReadError, Reader, Retry};
use postrider_types::{AccountId, DeliveryId, EventType, Outcome, OutcomeResult, Timestamp, WebhookId};
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::ask::{self, Limit, Nothing, Params, from_text};
use super::desk::Desk;
use super::openapi::schemas;
use crate::problem::Problem;

// A page that may be asked for is one that the index gives.
const _: () = assert!(ask::LARGEST_PAGE == LARGEST_PAGE);
/// What a delivery's id begins with its topic's name, which has at most 249 characters.
const LONGEST_ID: usize = 512;

/// Which outcomes are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filtering {
    /// Only of this account.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,128}$")]
    account: Option<AccountId>,
    /// Only of this webhook.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    webhook: Option<WebhookId>,
    /// Only to this endpoint, written as outcomes have it.
    endpoint: Option<String>,
    /// Only of this event.
    #[param(schema_with = schemas::events)]
    event: Option<EventType>,
    /// Only with this result.
    #[param(schema_with = schemas::results)]
    result: Option<OutcomeResult>,
    /// Only the retry of this number (0 is the first attempt), or `true`: only retries.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<String>, pattern = "^(true|[0-9]{1,9})$")]
    retry: Option<Retry>,
    /// Only with this status code.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<u16>, minimum = 100, maximum = 999)]
    status_code: Option<u16>,
    /// Only of the order of this id.
    order_id: Option<String>,
    /// Only of the transaction of this id.
    transaction_id: Option<String>,
    /// Only of this tracking number.
    tracking: Option<String>,
    /// Not before this time. An attempt counts by its start; what was not attempted, by when that was published.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The most outcomes to answer with.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Limit>,
    /// The `next_cursor` of the page before.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<String>, min_length = 1)]
    cursor: Option<Cursor>,
    /// The `after` of an earlier answer: only what came into the index since, oldest first.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<String>, min_length = 1)]
    after: Option<Mark>,
}

/// Nothing: what is left here is no parameter at all.
#[derive(Debug)]
struct NothingElse;

impl<'de> Deserialize<'de> for NothingElse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        let none = || de::Error::custom("is no parameter of this");
        left.is_empty().then_some(Self).ok_or_else(none)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Listing {
    #[serde(flatten)]
    filtering: Filtering,
    #[serde(flatten)]
    paging: Paging,
    #[serde(flatten)]
    _rest: NothingElse,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Counting {
    #[serde(flatten)]
    filtering: Filtering,
    #[serde(flatten)]
    _rest: NothingElse,
}

impl Filtering {
    pub(crate) fn filter(self, desk: &Desk) -> Filter {
        Filter {
            accounts: desk.caller.accounts(self.account),
            webhook: self.webhook,
            endpoint: self.endpoint,
            event: self.event,
            result: self.result,
            retry: self.retry,
            status_code: self.status_code,
            order_id: self.order_id,
            transaction_id: self.transaction_id,
            tracking: self.tracking,
            from: self.from,
            to: self.to,
        }
    }
}

impl Desk {
    /// The index, where there is one.
    pub(crate) fn logs(&self) -> Result<&Reader, Problem> {
        self.api.logs.as_ref().ok_or_else(|| {
            let detail = "this instance keeps no index of the logs: set admin.logs.path to a file";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let status = match error {
            ReadError::Unavailable(_) | ReadError::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            ReadError::StaleMark => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

#[derive(Debug, Serialize)]
struct Logs<'a> {
    items: Vec<&'a RawValue>,
    next_cursor: Option<String>,
    after: String,
    has_more: bool,
    indexed: Indexed,
}

/// Lists what attempts came to.
///
/// Newest first, each as it was published to the results topic; with `after`, in the order in which they came.
#[utoipa::path(get, path = "/api/v1/logs", operation_id = "list_logs", tag = "logs", params(Filtering, Paging), responses(
    (status = 200, description = "A page of them.", body = ref("#/components/schemas/Logs")),
))]
pub(super) async fn list(Extension(desk): Extension<Desk>, Params(ask): Params<Listing>) -> Result<Response, Problem> {
    let Limit(limit) = ask.paging.limit.unwrap_or_default();
    let filter = ask.filtering.filter(&desk);
    match (ask.paging.cursor, ask.paging.after) {
        (Some(_), Some(_)) => Err(Problem::bad_request(
            "cursor goes back and after goes on; name one of them",
        )),
        (_, Some(after)) => added(desk.logs()?, filter, after, limit).await,
        (cursor, None) => page(desk.logs()?, filter, cursor, limit).await,
    }
}

async fn page(logs: &Reader, filter: Filter, cursor: Option<Cursor>, limit: usize) -> Result<Response, Problem> {
    let page = logs.page(filter, cursor, limit).await?;
    let logs = Logs {
        items: documents(&page.entries),
        next_cursor: page.next.map(|next| next.to_string()),
        after: page.mark.to_string(),
        has_more: page.next.is_some(),
        indexed: page.indexed,
    };
    Ok(Json(logs).into_response())
}

async fn added(logs: &Reader, filter: Filter, after: Mark, limit: usize) -> Result<Response, Problem> {
    let added = logs.added(filter, after, limit).await?;
    let logs = Logs {
        items: documents(&added.entries),
        next_cursor: None,
        after: added.mark.to_string(),
        has_more: added.has_more,
        indexed: added.indexed,
    };
    Ok(Json(logs).into_response())
}

fn documents(entries: &[Entry]) -> Vec<&RawValue> {
    entries.iter().map(Entry::document).collect()
}

/// The delivery's id in the path. A text that can be no id is the id of nothing.
#[derive(Debug)]
pub(super) struct DeliveryOf(DeliveryId);

impl<S: Send + Sync> FromRequestParts<S> for DeliveryOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let text = text.ok().filter(|Path(text)| text.len() <= LONGEST_ID);
        let id = text.and_then(|Path(text)| serde_json::from_value(text.into()).ok());
        id.map(Self).ok_or_else(no_delivery)
    }
}

pub(crate) fn no_delivery() -> Problem {
    let detail = "the logs have no such delivery, or none that this token may see; what is older than admin.logs.max_age is gone";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

#[derive(Debug, Serialize)]
struct Delivery<'a> {
    delivery_id: &'a str,
    #[serde(flatten)]
    own: Run<'a>,
    replays: Vec<Replay<'a>>,
    request: Request,
    indexed: Indexed,
}

#[derive(Debug, Default, Serialize)]
struct Run<'a> {
    attempts: Vec<&'a RawValue>,
    waits_for: Option<Next>,
}

#[derive(Debug, Serialize)]
struct Replay<'a> {
    replay: String,
    #[serde(flatten)]
    run: Run<'a>,
}

#[derive(Debug, Serialize)]
struct Next {
    attempt: u32,
    due_at: Timestamp,
}

#[derive(Debug, Serialize)]
struct Request {
    body: Option<String>,
    missing: Option<String>,
}

/// Tells everything of one delivery.
///
/// All its attempts, its replays, what it waits for, and the body that its requests carried, read from the source
/// record while Kafka keeps it.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", operation_id = "read_delivery", tag = "logs",
    params(("id" = String, Path, description = "The delivery's id.", min_length = 1, max_length = 512)),
    responses((status = 200, description = "The delivery.", body = ref("#/components/schemas/Delivery"))))]
pub(super) async fn delivery(
    Extension(desk): Extension<Desk>,
    DeliveryOf(id): DeliveryOf,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let logs = desk.logs()?;
    let entries = logs.delivery(id.clone(), desk.caller.accounts(None)).await?;
    let read = |entry: &Entry| Some((entry.outcome()?, entry.clone()));
    let found: Vec<(Outcome, Entry)> = entries.iter().filter_map(read).collect();
    let (first, _) = found.first().ok_or_else(no_delivery)?;
    let request = request(&desk, first).await;
    let (own, replays) = runs(&found);
    let delivery = Delivery {
        delivery_id: id.as_str(),
        own,
        replays,
        request,
        indexed: logs.indexed(),
    };
    Ok(Json(delivery).into_response())
}

async fn request(desk: &Desk, outcome: &Outcome) -> Request {
    let body = desk.api.bodies.body(outcome).await;
    let text = body.map(|body| String::from_utf8_lossy(&body).into_owned());
    Request {
        missing: text.as_ref().err().cloned(),
        body: text.ok(),
    }
}

/// The delivery's own attempts, and those of each replay.
fn runs(found: &[(Outcome, Entry)]) -> (Run<'_>, Vec<Replay<'_>>) {
    let run = |of: &[(Outcome, Entry)]| of.last().and_then(|(last, _)| next(last));
    let mut own = Run::default();
    let mut replays = Vec::new();
    for attempts in found.chunk_by(|(one, _), (other, _)| one.replay == other.replay) {
        let made = Run {
            attempts: attempts.iter().map(|(_, entry)| entry.document()).collect(),
            waits_for: run(attempts),
        };
        match &attempts[0].0.replay {
            None => own = made,
            Some(replay) => replays.push(Replay {
                replay: replay.clone().into_owned(),
                run: made,
            }),
        }
    }
    (own, replays)
}

fn next(last: &Outcome) -> Option<Next> {
    let due_at = last.next_attempt_at?;
    Some(Next {
        attempt: last.attempt + 1,
        due_at,
    })
}

/// Counts what attempts came to, and tells how long they took.
///
/// The filters are those of the logs.
#[utoipa::path(get, path = "/api/v1/stats", operation_id = "read_stats", tag = "logs", params(Filtering), responses(
    (status = 200, description = "Counts, shares and times.", body = ref("#/components/schemas/Stats")),
))]
pub(super) async fn stats(
    Extension(desk): Extension<Desk>,
    Params(ask): Params<Counting>,
) -> Result<Response, Problem> {
    let filter = ask.filtering.filter(&desk);
    let stats = desk.logs()?.stats(filter).await?;
    Ok(Json(stats).into_response())
}
