//! What the demo tells: who wants what, a line for every attempt, and a sum.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use postrider_consumer::decode::{RawRecord, source};
use postrider_routing::Table;
use postrider_types::{EventType, Offset, Origin, Outcome, OutcomeResult, Partition, Timestamp, Webhook, status};

use super::events::Sample;

/// Counts what was produced and what became of it.
pub(crate) struct Story {
    table: Table,
    events: u64,
    owed: u64,
    requests: u64,
    ended: BTreeMap<&'static str, u64>,
}

impl Story {
    pub(crate) const fn new(table: Table) -> Self {
        Self {
            table,
            events: 0,
            owed: 0,
            requests: 0,
            ended: BTreeMap::new(),
        }
    }

    /// Notes an event and how many deliveries it is owed.
    pub(crate) fn produced(&mut self, sample: &Sample) {
        self.events += 1;
        let record = RawRecord {
            origin: Origin {
                topic: Arc::from(sample.topic),
                partition: Partition(0),
                offset: Offset(0),
                timestamp: Timestamp::default(),
            },
            key: None,
            headers: Vec::new(),
            value: Some(Bytes::copy_from_slice(sample.body.as_bytes())),
        };
        if let Ok(event) = source(&record, sample.event_type, sample.body.len()) {
            self.owed += self.table.matches(&event).deliverable.len() as u64;
        }
    }

    /// Whether every delivery has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.values().sum::<u64>() >= self.owed
    }

    pub(crate) fn opening(&self, webhooks: &[Webhook], broker: String, admin: SocketAddr) -> String {
        let mut text = format!(
            "postrider demo: everything in this process, nothing is kept and nothing leaves this machine.\n\
             \n\
             Kafka     {broker} (embedded, without transactions: the guarantee is at_least_once)\n\
             Console   http://{admin}/\n\
             Health    http://{admin}/readyz\n\
             Metrics   http://{admin}/metrics\n\
             \n\
             Webhooks\n"
        );
        for webhook in webhooks {
            let events: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
            let all = if webhook.events.len() == EventType::ALL.len() {
                "every event".to_owned()
            } else {
                events.join(", ")
            };
            writeln!(text, "  {:<10} {all}: {}", webhook.id, webhook.description).expect("writing to a string");
        }
        text.push_str(
            "\nForming the consumer group takes about 3 seconds; then an event comes every 0.4 s.\n\
             \nTIME          EVENT            ORDER      WEBHOOK     ATTEMPT  ANSWER                          RESULT",
        );
        text
    }

    /// The line of one attempt.
    pub(crate) fn outcome(&mut self, outcome: &Outcome) -> String {
        self.requests += u64::from(outcome.date_start.is_some());
        if outcome.result != OutcomeResult::Retrying {
            *self.ended.entry(outcome.result.as_str()).or_default() += 1;
        }
        format!(
            "{:<12}  {:<15}  {:<9}  {:<10}  {:>7}  {:<30}  {}",
            clock_time(outcome.date_end.unwrap_or(outcome.event_time)),
            event(outcome),
            outcome.order_id.as_deref().unwrap_or("-").escape_debug().to_string(),
            outcome.webhook_id.as_str(),
            outcome.attempt,
            answer(outcome),
            result(outcome),
        )
    }

    pub(crate) fn ending(&self) -> String {
        let ended: Vec<String> = self
            .ended
            .iter()
            .map(|(result, count)| format!("{count} {result}"))
            .collect();
        let ended = if ended.is_empty() {
            "none ended".to_owned()
        } else {
            ended.join(", ")
        };
        format!(
            "\n{} events, {} deliveries owed: {ended}, in {} requests",
            self.events, self.owed, self.requests
        )
    }
}

fn event(outcome: &Outcome) -> &'static str {
    if outcome.is_return {
        return "a return";
    }
    outcome.event.as_str()
}

fn answer(outcome: &Outcome) -> String {
    let spent = outcome
        .time_spent_ms
        .map_or_else(String::new, |spent| format!(", {spent:.0} ms"));
    match (&outcome.error, outcome.status_code) {
        (Some(error), _) => format!("{}{spent}", error.kind.as_str()),
        (None, Some(code)) => {
            let met = status::line(code, outcome.status_text.as_deref().unwrap_or(""));
            format!("{met}{spent}")
        }
        (None, None) => "-".to_owned(),
    }
}

fn result(outcome: &Outcome) -> String {
    match outcome.next_attempt_at {
        Some(next) => format!("{}, next at {}", outcome.result.as_str(), clock_time(next)),
        None => outcome.result.as_str().to_owned(),
    }
}

/// The time of day in UTC.
fn clock_time(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}
