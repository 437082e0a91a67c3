//! Adding a webhook, and editing one.

use askama::Template;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use postrider_types::{Webhook, WebhookId};
use serde_json::json;

use super::door::Visit;
use super::errors::Errors;
use super::fields::Fields;
use super::form::{Form, patch};
use super::hooks::{Saved, id, path_of, saved};
use super::page::{Shown, Viewer, page, page_as};
use super::text::Text;
use crate::api::Desk;
use crate::api::work::Done;
use crate::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "editor.html")]
struct Editor {
    viewer: Viewer,
    /// The webhook that is edited; none for one that is added.
    edited: Option<Edited>,
    /// The id that a new webhook gets, so that a form that is sent twice adds one webhook.
    new_id: String,
    form: Form,
    errors: Errors,
    /// What is wrong, where it is about no field.
    refused: Option<Text>,
}

#[derive(Debug)]
struct Edited {
    id: Text,
    endpoint: Text,
    version: u64,
}

impl Edited {
    fn of(webhook: &Webhook) -> Self {
        Self {
            id: Text::of(webhook.id.as_str()),
            endpoint: Text::of(&webhook.endpoint()),
            version: webhook.version,
        }
    }
}

/// What was refused: its fields, and in words what is about none of them.
fn judged(problem: &Problem) -> (Errors, Option<Text>) {
    let errors = Errors::new(problem.errors().to_vec());
    let refused = errors.is_empty().then(|| Text::of(problem.detail()));
    (errors, refused)
}

pub(super) async fn blank(Extension(visit): Extension<Visit>) -> Shown {
    if !visit.viewer.writes {
        return Err(Problem::read_only().into());
    }
    let account = visit.desk.caller.default_account();
    page(&Editor {
        viewer: visit.viewer,
        edited: None,
        new_id: format!("wh_{}", ulid::Ulid::new()),
        form: Form::blank(account.as_ref().map_or("", |account| account.as_str())),
        errors: Errors::default(),
        refused: None,
    })
}

pub(super) async fn add(Extension(visit): Extension<Visit>, fields: Fields) -> Shown {
    let Visit { desk, viewer, .. } = visit;
    let problem = match patch(&fields) {
        Err(faults) => Problem::faults(faults),
        Ok(mut document) => {
            document["id"] = json!(fields.text("id"));
            if fields.has("account_id") {
                document["account_id"] = json!(fields.text("account_id").trim());
            }
            let added = desk.clone().add(document).await;
            match added {
                Ok(done) => return added_to(viewer, done),
                Err(problem) => problem,
            }
        }
    };
    if let Some(known) = sent_before(&desk, &fields, &problem) {
        return Ok(Redirect::to(&format!("{}?done=exists", path_of(&known))).into_response());
    }
    let (errors, refused) = judged(&problem);
    let editor = Editor {
        viewer,
        edited: None,
        new_id: fields.text("id").to_owned(),
        form: Form::again(&fields, false),
        errors,
        refused,
    };
    page_as(problem.status(), &editor)
}

/// The webhook that the same form had added before.
fn sent_before(desk: &Desk, fields: &Fields, problem: &Problem) -> Option<WebhookId> {
    let known = id(fields.text("id")).ok()?;
    let is_taken = problem.status() == StatusCode::CONFLICT && desk.webhook(&known).is_ok();
    is_taken.then_some(known)
}

fn added_to(viewer: Viewer, done: Done) -> Shown {
    let told = Saved {
        headline: "The webhook is saved.",
        secret: secret(&done),
        first_connection: done.first_connection.clone(),
        lost_credentials: false,
    };
    saved(viewer, done, told)
}

fn secret(done: &Done) -> Option<String> {
    let generated = done.changed.generated.as_ref();
    generated.map(|secret| secret.expose().to_owned())
}

pub(super) async fn open(Extension(visit): Extension<Visit>, Path(text): Path<String>) -> Shown {
    let webhook = visit.desk.webhook(&id(&text)?)?.webhook;
    if !visit.viewer.writes {
        return Err(Problem::read_only().into());
    }
    page(&Editor {
        viewer: visit.viewer,
        edited: Some(Edited::of(&webhook)),
        new_id: String::new(),
        form: Form::of(&webhook),
        errors: Errors::default(),
        refused: None,
    })
}

pub(super) async fn edit(Extension(visit): Extension<Visit>, Path(text): Path<String>, fields: Fields) -> Shown {
    let Visit { desk, viewer, .. } = visit;
    let id = id(&text)?;
    let before = desk.webhook(&id)?.webhook;
    let version = fields.text("version").parse().ok();
    let edited = match patch(&fields) {
        Ok(patch) => desk.edit(id, patch, version).await,
        Err(faults) => Err(Problem::faults(faults)),
    };
    let problem = match edited {
        Ok(done) => {
            let told = Saved {
                headline: "The changes are saved.",
                secret: secret(&done),
                first_connection: done.first_connection.clone(),
                lost_credentials: lost_credentials(&fields, &done.changed.webhook),
            };
            return saved(viewer, done, told);
        }
        Err(problem) => problem,
    };
    let (errors, refused) = judged(&problem);
    let editor = Editor {
        viewer,
        edited: Some(Edited::of(&before)),
        new_id: String::new(),
        form: Form::again(&fields, before.signing.is_some()),
        errors,
        refused,
    };
    page_as(problem.status(), &editor)
}

/// Whether credentials that the form kept are there no more.
fn lost_credentials(fields: &Fields, webhook: &Webhook) -> bool {
    (fields.has("auth") && webhook.auth.is_none())
        || (fields.has("header") && webhook.header.is_none())
        || (fields.has("tls") && webhook.tls.is_none())
}
