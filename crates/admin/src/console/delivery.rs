//! One delivery: its attempts, what was sent, what came back, and what it waits for.

use askama::Template;
use axum::extract::{Extension, Path};
use postrider_types::{DeliveryId, Outcome, Timestamp};

use super::attempt::Attempt;
use super::door::Visit;
use super::fields::{Asked, query};
use super::logs::not_kept;
use super::page::{Shown, Viewer, page};
use super::text::{Moment, Text};
use crate::api::Desk;
use crate::api::logs::no_delivery;
use crate::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "delivery.html")]
struct Delivery {
    viewer: Viewer,
    first: Attempt,
    /// The query of all attempts of its order.
    order: Option<String>,
    runs: Vec<Run>,
    body: Sent,
}

/// The delivery itself, or a replay of it.
#[derive(Debug)]
struct Run {
    replay: Option<Text>,
    attempts: Vec<Attempt>,
    waits_for: Option<Next>,
}

#[derive(Debug)]
struct Next {
    attempt: u32,
    at: Moment,
    is_due: bool,
}

/// What the requests of a delivery carried.
#[derive(Debug)]
pub(super) enum Sent {
    Body(Text),
    Missing(Text),
}

#[derive(Debug, Template)]
#[template(path = "peek.html")]
struct Peek {
    attempt: Attempt,
    body: Sent,
}

pub(super) async fn one(Extension(visit): Extension<Visit>, Path(text): Path<String>) -> Shown {
    if visit.desk.api.logs.is_none() {
        return not_kept(visit.viewer.within("logs"));
    }
    let outcomes = outcomes(&visit.desk, &text).await?;
    let first = outcomes.first().ok_or_else(no_delivery)?;
    let body = sent(&visit.desk, first).await;
    let runs = outcomes.chunk_by(|one, other| one.replay == other.replay);
    page(&Delivery {
        viewer: visit.viewer.within("logs"),
        order: first.order_id.as_deref().map(|order| query([("order_id", order)])),
        first: Attempt::of(first),
        runs: runs.map(|run| Run::of(run, visit.now)).collect(),
        body,
    })
}

/// What a row of the log opens: what was sent, and what came back.
pub(super) async fn peek(Extension(visit): Extension<Visit>, Path(text): Path<String>, Asked(asked): Asked) -> Shown {
    let outcomes = outcomes(&visit.desk, &text).await?;
    let attempts = outcomes.iter().map(|outcome| (Attempt::of(outcome), outcome));
    let mut asked_for = attempts.filter(|(attempt, _)| attempt.anchor == asked.text("attempt"));
    let (attempt, outcome) = asked_for.next().ok_or_else(no_delivery)?;
    let body = sent(&visit.desk, outcome).await;
    page(&Peek { attempt, body })
}

async fn outcomes(desk: &Desk, text: &str) -> Result<Vec<Outcome>, Problem> {
    let id: DeliveryId = serde_json::from_value(text.into()).map_err(|_| no_delivery())?;
    let entries = desk.logs()?.delivery(id, desk.caller.accounts(None)).await?;
    Ok(entries.iter().filter_map(postrider_logs::Entry::outcome).collect())
}

async fn sent(desk: &Desk, outcome: &Outcome) -> Sent {
    match desk.api.bodies.body(outcome).await {
        Ok(body) => Sent::Body(Text::body(&String::from_utf8_lossy(&body))),
        Err(why) => Sent::Missing(Text::of(&why)),
    }
}

impl Run {
    fn of(outcomes: &[Outcome], now: Timestamp) -> Self {
        let last = outcomes.last();
        let next = last.and_then(|last| Some((last.attempt + 1, last.next_attempt_at?)));
        Self {
            replay: last.and_then(|last| last.replay.as_deref()).map(Text::of),
            attempts: outcomes.iter().map(Attempt::of).collect(),
            waits_for: next.map(|(attempt, at)| Next {
                attempt,
                at: Moment::of(at),
                is_due: at <= now,
            }),
        }
    }
}
