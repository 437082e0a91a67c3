//! `postrider explain`: everything known of one delivery, order or tracking number.

use std::collections::BTreeMap;

use clap::Args;
use postrider_types::status;
use serde_json::Value;

use super::End;
use super::moment::Moment;
use super::remote::Remote;
use super::text::{plain, table, text_at};
use crate::api::Call;
use crate::visible::visible;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples: postrider explain 24957298                          an OrderID
          postrider explain WZ116539070 --from 2h             a tracking number, of the last two hours
          postrider explain tracking-3-1841-1763805600000.wh_01J…

It reads the topics themselves through the admin API, so it needs no index of the logs. Exit code 1 when nothing is known.")]
pub(crate) struct Explain {
    /// A delivery's id, an event's id, an OrderID, a TransactionID or a tracking number
    subject: String,
    /// Leaves out older records: a date, or how long ago [default: 7days]
    #[arg(long, value_name = "WHEN")]
    from: Option<Moment>,
    #[command(flatten)]
    remote: Remote,
}

impl Explain {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let call = Call::get(&["explain"])
            .with("subject", Some(self.subject))
            .with("from", self.from.map(|Moment(from)| from));
        self.remote.run(variables, async |session| {
            let told = session.tell(call, told).await?;
            let is_known = ["events", "unreadable"]
                .iter()
                .any(|kind| !items(&told[kind]).is_empty());
            Ok(if is_known { End::Done } else { End::Differs })
        })
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn told(explained: &Value) -> String {
    let events = items(&explained["events"]).iter().map(event);
    let unreadable = items(&explained["unreadable"]).iter().map(unreadable);
    let mut parts: Vec<String> = events.chain(unreadable).collect();
    if parts.is_empty() {
        parts.push(format!("Nothing is known of {}", text(explained, "/subject")));
    }
    parts.push(searched(&explained["searched"]));
    parts.join("\n\n")
}

fn searched(searched: &Value) -> String {
    let from = text(searched, "/from");
    let whole = format!("Looked at {} records since {from}", searched["records"]);
    if searched["is_complete"] == true {
        return whole;
    }
    let unread = items(&searched["unread"]);
    if !unread.is_empty() {
        let topics: Vec<String> = unread.iter().map(plain).collect();
        return format!(
            "{whole}, but not in {}: not there, or Kafka does not allow READ",
            topics.join(", ")
        );
    }
    format!(
        "{whole}, but not at all of them: time or room ran out, or a topic is missing. A later --from leaves less to look at"
    )
}

fn text(value: &Value, pointer: &str) -> String {
    visible(text_at(value, pointer)).into_owned()
}

fn place(source: &Value) -> String {
    format!(
        "{}[{}]@{}",
        text(source, "/topic"),
        source["partition"],
        source["offset"]
    )
}

fn event(event: &Value) -> String {
    let record = match text_at(event, "/record") {
        "settled" => "settled",
        "gone" => "gone from its topic",
        _ => "not settled yet: it waits to be read, or is being sent",
    };
    let mut lines = vec![
        format!(
            "{} {} of account {}",
            text(event, "/event"),
            text(event, "/event_id"),
            text(event, "/account_id")
        ),
        format!(
            "  record    {}, {}, {record}",
            place(&event["source"]),
            text(event, "/event_time")
        ),
    ];
    for (name, pointer) in [("order", "/order_id"), ("tracking", "/tracking")] {
        if let Some(id) = event.pointer(pointer).filter(|id| id.is_string()) {
            lines.push(format!("  {name:8}  {}", plain(id)));
        }
    }
    let legs = items(&event["deliveries"]);
    lines.extend(items(&event["webhooks"]).iter().map(|webhook| judged(webhook, legs)));
    lines.extend(legs.iter().map(delivery));
    lines.join("\n")
}

/// What a webhook, as it is now, makes of the event.
fn judged(webhook: &Value, legs: &[Value]) -> String {
    let verdict = if webhook["matches"] == true {
        "wanted by"
    } else {
        "not for  "
    };
    let has_one = legs.iter().any(|leg| leg["webhook_id"] == webhook["webhook"]);
    let late = if webhook["matches"] == true && !has_one {
        "; there is no delivery: it did not want the event when that was read, or did not exist"
    } else {
        ""
    };
    format!(
        "  {verdict} {}: {}{late}",
        text(webhook, "/webhook"),
        text(webhook, "/reason")
    )
}

fn delivery(leg: &Value) -> String {
    let replay = match text(leg, "/replay") {
        none if none.is_empty() => none,
        replay => format!(" (replay {replay})"),
    };
    let mut lines = vec![
        format!("  delivery  {}{replay}", text(leg, "/delivery_id")),
        format!(
            "    {}: {}",
            text(leg, "/state").replace('_', " "),
            text(leg, "/summary")
        ),
    ];
    if leg["parked"].is_object() {
        lines.push(format!("    parked in {}", place(&leg["parked"]["at"])));
    }
    let attempts: Vec<[String; 5]> = items(&leg["attempts"]).iter().map(attempt).collect();
    if !attempts.is_empty() {
        let shown = table(["ATTEMPT", "BEGAN", "ANSWER", "TIME SPENT", "RESULT"], &attempts);
        lines.extend(shown.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

fn attempt(outcome: &Value) -> [String; 5] {
    let error = text_at(outcome, "/error/message");
    let answer = match &outcome["status_code"] {
        Value::Null => error.to_owned(),
        code => {
            let met = status::line(code, text_at(outcome, "/status_text"));
            if error.is_empty() {
                met
            } else {
                format!("{met} ({error})")
            }
        }
    };
    let spent = outcome["time_spent_ms"].as_f64();
    [
        outcome["attempt"].to_string(),
        text_at(outcome, "/date_start").to_owned(),
        answer,
        spent.map(|spent| format!("{spent:.1} ms")).unwrap_or_default(),
        text_at(outcome, "/result").to_owned(),
    ]
}

fn unreadable(record: &Value) -> String {
    let kept = if record["is_dead_letter"] == true {
        "it is among the dead letters"
    } else {
        "it is not among the dead letters"
    };
    format!(
        "{} is no event: {}; {kept}",
        place(&record["source"]),
        text(record, "/reason")
    )
}
