//! The list of webhooks, one of them, and what is done with it by a button.

use askama::Template;
use axum::extract::{Extension, Path};
use axum::response::{IntoResponse, Redirect};
use postrider_types::webhook::WebhookStatus;
use postrider_types::{FirstConnection, WebhookId};
use postrider_webhooks::Listed;

use super::door::Visit;
use super::fields::{Asked, Fields};
use super::hook::{Hook, Retries};
use super::page::{Shown, Viewer, page};
use super::text::Text;
use crate::api::Desk;
use crate::api::read::Listing;
use crate::api::work::Done;
use crate::problem::Problem;

/// Webhooks of a list that need no narrowing.
const SHORT: usize = 5;

#[derive(Debug, Template)]
#[template(path = "webhooks.html")]
struct List {
    viewer: Viewer,
    hooks: Vec<Hook>,
    done: Option<&'static str>,
    asked: Narrowing,
    /// Whether there are too many to be seen at once.
    is_long: bool,
    next: Option<String>,
}

/// What the list is narrowed to.
#[derive(Debug)]
struct Narrowing {
    account: Text,
    status: Text,
    event: Text,
    is_any: bool,
}

#[derive(Debug, Template)]
#[template(path = "webhook.html")]
struct One {
    viewer: Viewer,
    hook: Hook,
    done: Option<&'static str>,
    saved: Option<Saved>,
}

/// What there is to say after a change.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) headline: &'static str,
    /// A signing secret that was made. Shown this once, to whoever asked for it.
    pub(super) secret: Option<String>,
    pub(super) first_connection: Option<FirstConnection>,
    /// Whether credentials are gone because the endpoint is at another place.
    pub(super) lost_credentials: bool,
}

#[derive(Debug, Template)]
#[template(path = "confirm.html")]
struct Confirm {
    viewer: Viewer,
    hook: Hook,
    question: &'static str,
    told: &'static [&'static str],
    action: &'static str,
    button: &'static str,
    is_dangerous: bool,
}

pub(super) fn id(text: &str) -> Result<WebhookId, Problem> {
    WebhookId::new(text).map_err(|_| Problem::no_webhook())
}

/// Where a webhook's page is.
pub(super) fn path_of(id: &WebhookId) -> String {
    format!("/webhooks/{id}")
}

fn done(word: &str) -> Option<&'static str> {
    Some(match word {
        "enabled" => "The webhook is enabled. It gets events from now on.",
        "disabled" => "The webhook is disabled. Events it misses are recorded as skipped.",
        "deleted" => "The webhook is deleted. It gets nothing more, and its logs stay.",
        "removed" => "The webhook is removed for good, and its place is free.",
        "exists" => "This webhook had been added already.",
        _ => return None,
    })
}

pub(super) async fn list(Extension(visit): Extension<Visit>, Asked(asked): Asked) -> Shown {
    let narrowing = Narrowing {
        account: Text::of(asked.text("account")),
        status: Text::of(asked.text("status")),
        event: Text::of(asked.text("event")),
        is_any: ["account", "status", "event"].iter().any(|name| asked.has(name)),
    };
    let (listed, next) = visit.desk.page(&listing(&asked)?)?;
    page(&List {
        viewer: visit.viewer,
        hooks: listed.iter().map(Hook::of).collect(),
        done: done(asked.text("done")),
        asked: narrowing,
        is_long: listed.len() > SHORT,
        next: next.map(|cursor| next_page(&asked, &cursor)),
    })
}

/// The API's own parameters; what is empty in a form was not asked for.
fn listing(asked: &Fields) -> Result<Listing, Problem> {
    let names = ["account", "status", "event", "cursor"];
    let given = names.iter().filter(|name| asked.has(name));
    let parameters: serde_json::Map<_, _> = given
        .map(|name| ((*name).to_owned(), asked.text(name).into()))
        .collect();
    serde_json::from_value(parameters.into()).map_err(|error| Problem::bad_request(error.to_string()))
}

fn next_page(asked: &Fields, cursor: &str) -> String {
    let names = ["account", "status", "event"];
    let kept = names.iter().map(|name| (*name, asked.text(name)));
    super::fields::query(kept.chain([("cursor", cursor)]))
}

pub(super) async fn one(Extension(visit): Extension<Visit>, Path(text): Path<String>, Asked(asked): Asked) -> Shown {
    let listed = visit.desk.webhook(&id(&text)?)?;
    page(&One {
        viewer: visit.viewer,
        hook: Hook::of(&listed),
        done: done(asked.text("done")),
        saved: None,
    })
}

/// A webhook's page after a change.
pub(super) fn saved(viewer: Viewer, done: Done, saved: Saved) -> Shown {
    let listed = Listed {
        webhook: done.changed.webhook,
        origin: done.changed.origin,
    };
    page(&One {
        viewer,
        hook: Hook::of(&listed),
        done: None,
        saved: Some(saved),
    })
}

pub(super) async fn enable(visit: Extension<Visit>, path: Path<String>, fields: Fields) -> Shown {
    switch(visit.0, &path, &fields, true).await
}

pub(super) async fn disable(visit: Extension<Visit>, path: Path<String>, fields: Fields) -> Shown {
    switch(visit.0, &path, &fields, false).await
}

async fn switch(visit: Visit, text: &str, fields: &Fields, on: bool) -> Shown {
    let id = id(text)?;
    let back = if fields.text("from") == "list" {
        "/".to_owned()
    } else {
        path_of(&id)
    };
    visit.desk.switch(id, on, None).await?;
    let word = if on { "enabled" } else { "disabled" };
    Ok(Redirect::to(&format!("{back}?done={word}")).into_response())
}

struct Question {
    question: &'static str,
    told: &'static [&'static str],
    action: &'static str,
    button: &'static str,
    is_dangerous: bool,
}

const ROTATION: Question = Question {
    question: "Rotate the signing secret?",
    told: &[
        "A new secret is made and shown once. Requests are signed with both for a while, so nothing is lost while you \
         put the new one into your endpoint.",
    ],
    action: "rotate-secret",
    button: "Rotate secret",
    is_dangerous: false,
};

const DELETION: Question = Question {
    question: "Delete this webhook?",
    told: &[
        "It gets nothing more, and what is waiting to be tried again is given up. This cannot be taken back.",
        "Its logs stay. It keeps its place among your webhooks until you remove it for good.",
    ],
    action: "delete",
    button: "Delete webhook",
    is_dangerous: true,
};

const REMOVAL: Question = Question {
    question: "Remove this webhook for good?",
    told: &["Its place is free for another one. Its logs stay."],
    action: "remove",
    button: "Remove for good",
    is_dangerous: true,
};

fn ask(visit: Visit, text: &str, question: Question) -> Shown {
    let hook = Hook::of(&visit.desk.webhook(&id(text)?)?);
    page(&Confirm {
        viewer: visit.viewer,
        hook,
        question: question.question,
        told: question.told,
        action: question.action,
        button: question.button,
        is_dangerous: question.is_dangerous,
    })
}

pub(super) async fn ask_rotation(visit: Extension<Visit>, path: Path<String>) -> Shown {
    ask(visit.0, &path, ROTATION)
}

pub(super) async fn rotate(Extension(visit): Extension<Visit>, Path(text): Path<String>) -> Shown {
    let Visit { desk, viewer, .. } = visit;
    let done = desk.rotate_secret(id(&text)?, None).await?;
    let told = Saved {
        headline: "The webhook has a new signing secret.",
        secret: done.changed.generated.as_ref().map(|secret| secret.expose().to_owned()),
        first_connection: None,
        lost_credentials: false,
    };
    saved(viewer, done, told)
}

pub(super) async fn ask_deletion(visit: Extension<Visit>, path: Path<String>) -> Shown {
    ask(visit.0, &path, DELETION)
}

pub(super) async fn delete(Extension(visit): Extension<Visit>, Path(text): Path<String>) -> Shown {
    visit.desk.cancel(id(&text)?, None).await?;
    Ok(Redirect::to("/?done=deleted").into_response())
}

pub(super) async fn ask_removal(visit: Extension<Visit>, path: Path<String>) -> Shown {
    ask(visit.0, &path, REMOVAL)
}

/// Removes what was deleted before; what still gets events has to be deleted first.
pub(super) async fn remove(Extension(visit): Extension<Visit>, Path(text): Path<String>) -> Shown {
    let id = id(&text)?;
    require_deleted(&visit.desk, &id)?;
    visit.desk.purge(id, None).await?;
    Ok(Redirect::to("/?done=removed").into_response())
}

fn require_deleted(desk: &Desk, id: &WebhookId) -> Result<(), Problem> {
    if desk.webhook(id)?.webhook.status == WebhookStatus::Cancelled {
        return Ok(());
    }
    let detail = "the webhook still gets events; delete it first";
    Err(Problem::new(axum::http::StatusCode::CONFLICT, detail))
}
