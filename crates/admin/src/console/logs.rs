//! Webhook Logs: the attempts that were asked for, newest first, and those that come while one looks.

use askama::Template;
use axum::extract::Extension;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use postrider_logs::{Cursor, Entry, Filter, Indexed, Mark};
use postrider_types::status::CATALOG;
use serde_json::{Map, Value};

use super::attempt::{Attempt, result_name};
use super::door::Visit;
use super::errors::Errors;
use super::fields::{Asked, Fields, query};
use super::page::{Shown, Viewer, page, page_as};
use super::text::{Text, grouped};
use crate::api::Desk;
use crate::api::ask::typed;
use crate::api::logs::Filtering;
use crate::problem::Problem;

/// Attempts of a page.
const PAGE: usize = 50;
/// Attempts that come at once while one looks.
const MOST_AT_ONCE: usize = 200;
/// What a log can be filtered by.
pub(super) const FILTERS: [&str; 12] = [
    "account",
    "webhook",
    "endpoint",
    "event",
    "result",
    "retry",
    "status_code",
    "order_id",
    "transaction_id",
    "tracking",
    "from",
    "to",
];

#[derive(Debug, Template)]
#[template(path = "logs.html")]
struct Logs {
    viewer: Viewer,
    filters: Filters,
    rows: Vec<Attempt>,
    /// The query of these filters, for other pages about the same.
    query: String,
    next: Option<String>,
    is_first: bool,
    /// Up to where the topic was indexed; none where nothing more is waited for.
    mark: Option<String>,
    behind: Option<String>,
    are_new: bool,
    errors: Errors,
}

#[derive(Debug, Template)]
#[template(path = "rows.html")]
struct Rows {
    rows: Vec<Attempt>,
    are_new: bool,
}

#[derive(Debug, Template)]
#[template(path = "no_logs.html")]
struct NoLogs {
    viewer: Viewer,
}

/// The form over the log, as it is filled in.
#[derive(Debug)]
pub(super) struct Filters {
    values: Vec<(&'static str, Text)>,
    endpoints: Vec<Text>,
}

impl Filters {
    fn of(asked: &Fields, endpoints: Vec<String>) -> Self {
        let values = FILTERS.map(|name| {
            let text = asked.text(name);
            let is_time = matches!(name, "from" | "to");
            (name, Text::of(if is_time { in_form(text) } else { text }))
        });
        let mut endpoints: Vec<Text> = endpoints.iter().map(|endpoint| Text::of(endpoint)).collect();
        let chosen = Text::of(asked.text("endpoint"));
        if !chosen.is_empty() && !endpoints.contains(&chosen) {
            endpoints.push(chosen);
        }
        Self {
            values: values.into(),
            endpoints,
        }
    }

    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.values.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, text)| text.as_str())
    }

    pub(super) fn is_any(&self) -> bool {
        self.values.iter().any(|(_, text)| !text.is_empty())
    }

    /// Whether anything stands in the part of the form that is folded away.
    pub(super) fn is_more(&self) -> bool {
        let folded = ["transaction_id", "status_code", "webhook", "account", "from", "to"];
        folded.iter().any(|name| !self.value(name).is_empty())
    }

    /// The choices of a list: what is sent, and what is shown.
    pub(super) fn choices(&self, name: &str) -> Vec<(String, String)> {
        let named = |name: &&str| ((*name).to_owned(), (*name).to_owned());
        match name {
            "endpoint" => {
                let endpoints = self.endpoints.iter().map(ToString::to_string);
                endpoints.map(|endpoint| (endpoint.clone(), endpoint)).collect()
            }
            "event" => ["order_shipped", "order_error", "tracking_update"]
                .iter()
                .map(named)
                .collect(),
            "result" => ["success", "retrying", "failed", "skipped"]
                .iter()
                .map(|word| ((*word).to_owned(), result_name(word).to_owned()))
                .collect(),
            "retry" => retries(),
            _ => CATALOG
                .iter()
                .map(|(status, meaning)| (status.to_string(), format!("{status} {meaning}")))
                .collect(),
        }
    }
}

fn retries() -> Vec<(String, String)> {
    let both =
        [("0", "First attempts"), ("true", "All retries")].map(|(value, name)| (value.to_owned(), name.to_owned()));
    let numbers = (1..=10).map(|number| (number.to_string(), format!("Retry {number}")));
    both.into_iter().chain(numbers).collect()
}

/// The query that asks for the same.
pub(super) fn query_of(asked: &Fields) -> String {
    query(FILTERS.iter().map(|name| (*name, asked.text(name))))
}

/// The API's own parameters, read as the API reads them. A time without a zone, as a browser's form has it, is UTC.
pub(super) fn filter(desk: &Desk, asked: &Fields) -> Result<Filter, Problem> {
    let given = FILTERS.iter().filter(|name| asked.has(name));
    let parameters: Map<String, Value> = given
        .map(|name| {
            let text = asked.text(name).trim();
            let is_time = matches!(*name, "from" | "to");
            let value = if is_time { moment(text) } else { text.to_owned() };
            ((*name).to_owned(), value.into())
        })
        .collect();
    let filtering: Filtering = typed(parameters.into())?;
    Ok(filtering.filter(desk))
}

/// A time as a browser's form takes it, without its zone; nothing where the text is none.
fn in_form(text: &str) -> &str {
    const SHAPE: &str = "0000-00-00T00:00:00";
    let same = |(byte, shape): (u8, u8)| {
        if shape == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == shape
        }
    };
    let fits = text.len() >= 16 && text.bytes().zip(SHAPE.bytes()).all(same);
    if fits { text.get(..19).unwrap_or(text) } else { "" }
}

fn moment(text: &str) -> String {
    let zoned = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|rest| rest.contains(['+', '-']));
    match text.len() {
        _ if zoned => text.to_owned(),
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    }
}

pub(super) fn attempts(entries: &[Entry]) -> Vec<Attempt> {
    let outcomes = entries.iter().filter_map(Entry::outcome);
    outcomes.map(|outcome| Attempt::of(&outcome)).collect()
}

pub(super) async fn list(Extension(visit): Extension<Visit>, Asked(asked): Asked) -> Shown {
    let Visit { desk, viewer, .. } = visit;
    let viewer = viewer.within("logs");
    let Some(reader) = &desk.api.logs else {
        return not_kept(viewer);
    };
    let endpoints = reader
        .endpoints(desk.caller.accounts(None))
        .await
        .map_err(Problem::from)?;
    let filters = Filters::of(&asked, endpoints);
    let read = async {
        let filter = filter(&desk, &asked)?;
        let cursor = cursor(&asked)?;
        Ok::<_, Problem>((reader.page(filter, cursor, PAGE).await?, cursor.is_none()))
    };
    let (found, is_first) = match read.await {
        Ok(read) => read,
        Err(problem) if !problem.errors().is_empty() => return misread(viewer, filters, &problem),
        Err(problem) => return Err(problem.into()),
    };
    let query = query_of(&asked);
    page(&Logs {
        viewer,
        rows: attempts(&found.entries),
        next: found.next.map(|next| with(&query, "cursor", &next.to_string())),
        is_first,
        mark: (is_first && !asked.has("to")).then(|| found.mark.to_string()),
        behind: behind(&found.indexed),
        are_new: false,
        query,
        filters,
        errors: Errors::default(),
    })
}

/// What is shown in the place of logs where there is no index of them.
pub(super) fn not_kept(viewer: Viewer) -> Shown {
    page(&NoLogs { viewer })
}

fn misread(viewer: Viewer, filters: Filters, problem: &Problem) -> Shown {
    let logs = Logs {
        viewer,
        filters,
        rows: Vec::new(),
        query: String::new(),
        next: None,
        is_first: true,
        mark: None,
        behind: None,
        are_new: false,
        errors: Errors::new(problem.errors().to_vec()),
    };
    page_as(problem.status(), &logs)
}

fn cursor(asked: &Fields) -> Result<Option<Cursor>, Problem> {
    let given = asked.has("cursor").then(|| asked.text("cursor").parse());
    given
        .transpose()
        .map_err(|_| Problem::bad_request("the page that was asked for is none; start again with the first one"))
}

/// Records that are not in the index yet, when there are many.
fn behind(indexed: &Indexed) -> Option<String> {
    const NOTICEABLE: u64 = 1_000;
    indexed.lag.filter(|lag| *lag >= NOTICEABLE).map(grouped)
}

fn with(query: &str, name: &str, value: &str) -> String {
    let more = super::fields::query([(name, value)]);
    if query.is_empty() {
        more
    } else {
        format!("{query}&{more}")
    }
}

/// What came since a mark, as rows only. The answer tells the next mark.
pub(super) async fn rows(Extension(visit): Extension<Visit>, Asked(asked): Asked) -> Shown {
    let desk = &visit.desk;
    let mark: Mark = asked
        .text("after")
        .parse()
        .map_err(|_| Problem::bad_request("what came since cannot be told; load the page again"))?;
    let filter = filter(desk, &asked)?;
    let added = desk
        .logs()?
        .added(filter, mark, MOST_AT_ONCE)
        .await
        .map_err(Problem::from)?;
    let mut rows = attempts(&added.entries);
    rows.reverse();
    let told = format!("{{\"marked\": {{\"after\": \"{}\"}}}}", added.mark);
    let told = HeaderValue::try_from(told).expect("a mark is visible");
    let shown = page(&Rows { rows, are_new: true })?;
    Ok((StatusCode::OK, [("hx-trigger", told)], shown).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_given_what_it_can_show() {
        assert_eq!(in_form("2026-11-22T10:00"), "2026-11-22T10:00");
        assert_eq!(in_form("2026-11-22T10:00:30.5Z"), "2026-11-22T10:00:30");
        for none in ["", "<script>", "2026-11-22", "2026-11-22 10:00:00"] {
            assert_eq!(in_form(none), "", "{none}");
        }
    }

    #[test]
    fn a_time_of_a_form_is_utc() {
        for (typed, meant) in [
            ("2026-11-22T10:00", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:00:30", "2026-11-22T10:00:30Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2026-11-22T10:00:00.5Z", "2026-11-22T10:00:00.5Z"),
            ("2026-11-22T10:00:00+01:00", "2026-11-22T10:00:00+01:00"),
        ] {
            assert_eq!(moment(typed), meant);
        }
    }
}
