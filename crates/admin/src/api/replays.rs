//! Replays: asking for one, and how far they have come.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_replay::{Refusal, Replay, Wanted};
use postrider_types::Fault;
use serde::Deserialize;
use tracing::info;
use utoipa::IntoParams;

use super::answer;
use super::ask::{Document, Limit, Nothing, Params, from_text};
use super::desk::Desk;
use super::work::to_the_end;
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// The most replays to answer with.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Limit>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Asks for deliveries to be made again.
///
/// The deliveries are those whose event happened within `from` and `to`, whose last outcome is final and as `result`
/// says. They get attempts from 1 again, under the same `webhook-id`s. A dry run counts them and sends nothing.
#[utoipa::path(post, path = "/api/v1/replays", operation_id = "add_replay", tag = "replays",
    request_body = ref("#/components/schemas/NewReplay"),
    responses(
    (status = 202, description = "The replay, which goes on by itself.", body = ref("#/components/schemas/Replay"),
     headers(("Location" = String, description = "Where it is read."))),
    (status = 409, description = "As many replays are under way as may be."),
    (status = 422, description = "Some fields cannot be taken."),
))]
pub(super) async fn add(
    Extension(desk): Extension<Desk>,
    _: Params<Nothing>,
    Document(document): Document,
) -> Result<Response, Problem> {
    let wanted = desk.api.replays.read(&document)?;
    let wanted = desk.settle_scope(wanted)?;
    to_the_end(async move {
        let replay = desk.api.replays.ask(wanted).await?;
        info!(
            action = "replay.add",
            replay.id = replay.id,
            account = replay.wanted.account.as_ref().map_or("-", |account| account.as_str()),
            token = &*desk.caller.name,
            dry_run = replay.wanted.dry_run,
            "A replay was asked for through the API"
        );
        let location = [(header::LOCATION, format!("/api/v1/replays/{}", replay.id))];
        Ok((StatusCode::ACCEPTED, location, Json(replay.shown())).into_response())
    })
    .await
}

/// Lists replays, newest first.
#[utoipa::path(get, path = "/api/v1/replays", operation_id = "list_replays", tag = "replays", params(Listing), responses(
    (status = 200, description = "A page of the list.", body = ref("#/components/schemas/ReplayList")),
))]
pub(super) async fn list(Extension(desk): Extension<Desk>, Params(ask): Params<Listing>) -> Result<Response, Problem> {
    let Limit(limit) = ask.limit.unwrap_or_default();
    let mut page = desk.replays()?;
    if let Some(cursor) = &ask.cursor {
        let at = page.iter().position(|replay| replay.id == *cursor);
        let at = at.ok_or_else(|| Problem::bad_request("cursor is of no list; start again without one"))?;
        page.drain(..=at);
    }
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|replay| replay.id.clone());
    let items: Vec<Replay> = page.iter().map(|replay| replay.shown()).collect();
    Ok(answer::list(items, next))
}

/// Reads a replay: where it stands and what it has come to.
#[utoipa::path(get, path = "/api/v1/replays/{id}", operation_id = "read_replay", tag = "replays", responses(
    (status = 200, description = "The replay.", body = ref("#/components/schemas/Replay")),
    (status = 404, description = "There is no such replay, or none that the token may know of."),
))]
pub(super) async fn one(
    Extension(desk): Extension<Desk>,
    ReplayOf(id): ReplayOf,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let found = desk.api.replays.get(&id)?.filter(|replay| desk.sees(replay));
    found
        .map(|replay| Json(replay.shown()).into_response())
        .ok_or_else(no_replay)
}

/// The replay's id in the path. A text that cannot be read is the id of nothing.
#[derive(Debug)]
pub(super) struct ReplayOf(String);

impl<S: Send + Sync> FromRequestParts<S> for ReplayOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        text.map(|Path(text)| Self(text)).map_err(|_| no_replay())
    }
}

fn no_replay() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such replay")
}

impl Desk {
    /// One of all accounts is for those who see all.
    fn sees(&self, replay: &Replay) -> bool {
        let account = replay.wanted.account.as_ref();
        account.map_or_else(|| self.caller.sees_all(), |account| self.caller.sees(account))
    }

    fn replays(&self) -> Result<Vec<Arc<Replay>>, Problem> {
        let mut all = self.api.replays.list()?;
        all.retain(|replay| self.sees(replay));
        Ok(all)
    }

    /// A token that is bound to accounts replays theirs only.
    fn settle_scope(&self, wanted: Wanted) -> Result<Wanted, Problem> {
        if self.caller.sees_all() {
            return Ok(wanted);
        }
        let named = wanted.account.clone().or_else(|| self.caller.default_account());
        let account = named.ok_or_else(|| {
            let reason = "is missing; this token is for more than one account";
            Problem::faults(vec![Fault::new("account", reason)])
        })?;
        if !self.caller.sees(&account) {
            return Err(Problem::forbidden("this token is not for that account"));
        }
        Ok(Wanted {
            account: Some(account),
            ..wanted
        })
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Faults(faults) => Self::faults(faults),
            Refusal::Full => Self::new(StatusCode::CONFLICT, detail),
            Refusal::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}
