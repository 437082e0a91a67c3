//! A Test: everything transmitted, on one page.

use askama::Template;
use axum::extract::{Extension, Path};
use postrider_types::{EventType, Transmission};

use super::door::Visit;
use super::fields::Fields;
use super::hook::Hook;
use super::hooks::id;
use super::page::{Shown, Viewer, page};
use super::text::{Text, spent};
use crate::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "test.html")]
struct Test {
    viewer: Viewer,
    hook: Hook,
    /// The event that is sent, or was.
    event: EventType,
    result: Option<Sent>,
}

/// What was sent and what came back.
#[derive(Debug)]
struct Sent {
    passed: bool,
    message: Text,
    hint: Option<Text>,
    spent: String,
    line: Text,
    headers: Vec<(Text, Text)>,
    body: Text,
    response: Option<Came>,
}

#[derive(Debug)]
struct Came {
    status: u16,
    text: Text,
    headers: Vec<(Text, Text)>,
    body: Text,
    truncated: bool,
}

impl Sent {
    fn of(transmission: &Transmission) -> Self {
        let request = &transmission.request;
        let pairs = |headers: &std::collections::BTreeMap<String, String>| {
            let pair = |(name, value): (&String, &String)| (Text::of(name), Text::of(value));
            headers.iter().map(pair).collect::<Vec<_>>()
        };
        Self {
            passed: transmission.passed,
            message: Text::of(&transmission.message),
            hint: transmission.hint.as_deref().map(Text::of),
            spent: spent(transmission.time_spent_ms),
            line: Text::of(&format!("{} {}", request.method, request.url)),
            headers: pairs(&request.headers),
            body: Text::body(&request.body),
            response: transmission.response.as_ref().map(|response| Came {
                status: response.status,
                text: Text::of(&response.text),
                headers: pairs(&response.headers),
                body: Text::body(&response.body),
                truncated: response.truncated,
            }),
        }
    }
}

pub(super) async fn ask(Extension(visit): Extension<Visit>, Path(text): Path<String>) -> Shown {
    let hook = Hook::of(&visit.desk.webhook(&id(&text)?)?);
    if !visit.viewer.writes {
        return Err(Problem::read_only().into());
    }
    page(&Test {
        viewer: visit.viewer,
        event: first(&hook),
        hook,
        result: None,
    })
}

pub(super) async fn send(Extension(visit): Extension<Visit>, Path(text): Path<String>, fields: Fields) -> Shown {
    let id = id(&text)?;
    let hook = Hook::of(&visit.desk.webhook(&id)?);
    let event = fields.text("event").parse().unwrap_or_else(|_| first(&hook));
    let transmission = visit.desk.test(&id, Some(event)).await?;
    page(&Test {
        viewer: visit.viewer,
        hook,
        event,
        result: Some(Sent::of(&transmission)),
    })
}

fn first(hook: &Hook) -> EventType {
    hook.events.first().copied().unwrap_or(EventType::OrderShipped)
}
