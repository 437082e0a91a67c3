//! `postrider logs`: what became of deliveries, through the admin API.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use postrider_logs::{BadRetry, Retry};
use postrider_types::outcome::OutcomeResult;
use postrider_types::{AccountId, EventType};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::End;
use super::moment::Moment;
use super::output::say;
use super::remote::{Remote, Session, say_json};
use super::text::{plain, table, text_at};
use crate::api::{Answer, ApiError, Call};
use crate::visible::visible;

/// How often more is asked for.
const POLL: Duration = Duration::from_secs(1);
/// Outcomes of an answer while more is followed.
const STRIDE: u16 = 500;
const HEAD: [&str; 9] = [
    "DATE", "ORDER", "TRACKING", "EVENT", "RESULT", "STATUS", "RETRY", "MS", "ENDPOINT",
];
/// How wide a column is when nobody knows what follows.
const WIDTHS: [usize; 9] = [24, 12, 14, 15, 8, 6, 5, 8, 0];

const EXAMPLES: &str = "\
Examples:
  postrider logs --result failed --from 2h
  postrider logs --order-id 24957298
  postrider logs --follow --webhook wh_1 --json | jq .status_code";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Logs {
    /// Goes on with what comes, oldest first, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// How many to show, the newest; with --follow, how many to begin with
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
struct Filters {
    /// Only of an account
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Only of a webhook
    #[arg(long, value_name = "ID")]
    webhook: Option<String>,
    /// Only to an endpoint, written as the logs have it
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Only of an event type: order_shipped, order_error or tracking_update
    #[arg(long, value_name = "TYPE")]
    event: Option<EventType>,
    /// Only with a result: success, retrying, failed or skipped
    #[arg(long, value_parser = result)]
    result: Option<OutcomeResult>,
    /// Only the retry of a number (0 is the first attempt), or true: only retries
    #[arg(long, value_name = "N", value_parser = retry)]
    retry: Option<String>,
    /// Only with a status code
    #[arg(long, value_name = "CODE")]
    status_code: Option<u16>,
    /// Only of an order
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// Only of a transaction
    #[arg(long, value_name = "ID")]
    transaction_id: Option<String>,
    /// Only of a tracking number
    #[arg(long, value_name = "NUMBER")]
    tracking: Option<String>,
    /// Not before a time, such as 2026-11-22T10:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Before a time
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
}

/// As it was written, once it can be read.
fn retry(text: &str) -> Result<String, BadRetry> {
    text.parse::<Retry>().map(|_| text.to_owned())
}

fn result(text: &str) -> Result<OutcomeResult, String> {
    let known = OutcomeResult::ALL.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| "one of success, retrying, failed, skipped".to_owned())
}

impl Filters {
    fn call(self) -> Call {
        Call::get(&["logs"])
            .with("account", self.account)
            .with("webhook", self.webhook)
            .with("endpoint", self.endpoint)
            .with("event", self.event)
            .with("result", self.result.map(OutcomeResult::as_str))
            .with("retry", self.retry)
            .with("status_code", self.status_code)
            .with("order_id", self.order_id)
            .with("transaction_id", self.transaction_id)
            .with("tracking", self.tracking)
            .with("from", self.from.map(|Moment(from)| from))
            .with("to", self.to.map(|Moment(to)| to))
    }
}

impl Logs {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let (call, limit) = (self.filters.call(), self.limit);
        if self.follow {
            self.remote
                .run(variables, async |session| follow(&session, call, limit).await)
        } else {
            self.remote
                .run(variables, async |session| show(&session, call, limit).await)
        }
    }
}

/// An answer with outcomes.
#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    after: String,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    indexed: Value,
}

async fn ask(session: &Session, call: Call) -> anyhow::Result<(Answer, Page)> {
    let answer = session.api.call(call).await?;
    let page = answer.read().ok_or_else(|| session.api.strange())?;
    Ok((answer, page))
}

async fn show(session: &Session, call: Call, limit: u16) -> anyhow::Result<End> {
    let (answer, page) = ask(session, call.with("limit", Some(limit))).await?;
    if session.json {
        say_json(answer.text())?;
        return Ok(End::Done);
    }
    if page.items.is_empty() {
        say("no such outcomes")?;
    } else {
        let rows: Vec<[String; 9]> = page.items.iter().map(|item| row(item)).collect();
        say(&table(HEAD, &rows))?;
    }
    if let Some(behind) = behind(&page.indexed) {
        eprintln!("{behind}");
    }
    Ok(End::Done)
}

/// What to know of an index that is not up to date.
fn behind(indexed: &Value) -> Option<String> {
    let lag = indexed["lag"].as_u64().filter(|lag| *lag > 0)?;
    let until = visible(text_at(indexed, "/until")).into_owned();
    Some(format!(
        "the index is behind: it has everything until {until}, about {lag} records are missing"
    ))
}

/// Shows the newest, and then what comes, each once: the API says with every answer what to ask with next.
async fn follow(session: &Session, call: Call, limit: u16) -> anyhow::Result<End> {
    let following = async {
        let (_, mut page) = ask(session, call.clone().with("limit", Some(limit))).await?;
        if !session.json {
            say(&line(&HEAD.map(str::to_owned)))?;
        }
        // A page is newest first, what follows is not.
        page.items.reverse();
        // Whether there are older ones does not matter here.
        page.has_more = false;
        loop {
            for item in &page.items {
                tell(session, item)?;
            }
            if !page.has_more {
                tokio::time::sleep(POLL).await;
            }
            let next = call
                .clone()
                .with("limit", Some(STRIDE))
                .with("after", Some(&page.after));
            match ask(session, next).await {
                Ok((_, more)) => page = more,
                Err(error) if is_passing(&error) => {
                    page.items.clear();
                    page.has_more = false;
                    eprintln!("{error:#}; trying again");
                }
                Err(error) => return Err(error),
            }
        }
    };
    tokio::select! {
        ended = following => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted.map(|()| End::Done)?),
    }
}

/// Whether the same question may be answered later: what comes meanwhile is not missed.
fn is_passing(error: &anyhow::Error) -> bool {
    let api = error.downcast_ref::<ApiError>();
    api.is_some_and(|error| error.is_unreachable() || error.is_unavailable())
}

fn tell(session: &Session, item: &RawValue) -> std::io::Result<()> {
    if session.json {
        say_json(item.get())
    } else {
        say(&line(&row(item)))
    }
}

fn line(cells: &[String; 9]) -> String {
    let padded = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| format!("{:width$}", visible(cell)));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn row(item: &RawValue) -> [String; 9] {
    let outcome: Value = serde_json::from_str(item.get()).unwrap_or_default();
    let cell = |name: &str| match &outcome[name] {
        Value::Null => "-".to_owned(),
        value => plain(value),
    };
    let date = if outcome["date_start"].is_null() {
        cell("event_time")
    } else {
        cell("date_start")
    };
    let spent = outcome["time_spent_ms"]
        .as_f64()
        .map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    [
        date,
        cell("order_id"),
        cell("tracking"),
        cell("event"),
        cell("result"),
        status(&outcome),
        cell("retry"),
        spent,
        cell("endpoint"),
    ]
}

/// The status, or in words why there is none.
fn status(outcome: &Value) -> String {
    let code = &outcome["status_code"];
    let kind = outcome.pointer("/error/kind").map(plain);
    if code.is_null() {
        kind.unwrap_or_else(|| "-".to_owned())
    } else {
        plain(code)
    }
}
