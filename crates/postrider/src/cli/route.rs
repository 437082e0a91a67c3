//! `postrider route`: which webhooks would get an event.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use postrider_consumer::decode::{self, RawRecord};
use postrider_routing::{Explanation, Table, explain};
use postrider_types::visible::visible;
use postrider_types::{AccountId, Event, EventType, Header, Offset, Origin, Partition, Timestamp};

use super::End;
use super::output::say;
use super::settings::Settings;
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "\
Example: postrider route --config postrider.yaml --event event.json --type tracking_update
Looks at the webhooks of the file (routing.webhooks). `--event -` reads standard input.")]
pub(crate) struct Route {
    #[command(flatten)]
    settings: Settings,
    /// A file with the event's JSON, as it stands in Kafka
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// The event's type: order_shipped, order_error or tracking_update [default: the payload's `event`]
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<EventType>,
    /// The account [default: the payload's `account_id`, else `default`]
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Route {
    pub(crate) fn run(self, variables: BTreeMap<String, String>) -> anyhow::Result<End> {
        let config = self.settings.load(variables)?;
        let limit = config.consumer.max_event_bytes.as_usize();
        let body = read(&self.event, limit).with_context(|| format!("cannot read {}", self.event.display()))?;
        let event = self.decode(body, limit)?;
        let explanations = explain(&table(&config)?, &event);
        let text = match self.format {
            Format::Text => shown(&event, &explanations),
            Format::Json => serde_json::to_string_pretty(&explanations)?,
        };
        say(&text)?;
        Ok(End::Done)
    }

    /// Reads the file as the daemon would read a record.
    fn decode(&self, body: Bytes, limit: usize) -> anyhow::Result<Event> {
        let header = |name: &str, value: String| Header {
            name: name.into(),
            value: Some(value.into()),
        };
        let typed = self.event_type.map(|of| header("event-type", of.to_string()));
        let owned = self.account.as_ref().map(|of| header("account-id", of.to_string()));
        let record = RawRecord {
            origin: Origin {
                topic: Arc::from("file"),
                partition: Partition(0),
                offset: Offset(0),
                timestamp: Timestamp::from_millis(0),
            },
            key: None,
            headers: typed.into_iter().chain(owned).collect(),
            value: Some(body),
        };
        let decoded = |default| decode::source(&record, default, limit);
        let event = decoded(EventType::TrackingUpdate)
            .with_context(|| format!("{} is no event, it would go to the dead letters", self.event.display()))?;
        // An event that takes on any default type has named none.
        if decoded(EventType::OrderShipped).is_ok_and(|other| other.event_type != event.event_type) {
            bail!("the event does not say its type (`event`); say it with --type");
        }
        Ok(event)
    }
}

fn read(file: &Path, limit: usize) -> io::Result<Bytes> {
    // One byte more than is allowed, so that an event that is too large shows itself.
    let most = limit as u64 + 1;
    let mut body = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut body)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut body)?;
    }
    Ok(body.into())
}

fn table(config: &Config) -> anyhow::Result<Table> {
    let built = Table::build(config.routing.webhooks.clone());
    built.map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("routing.webhooks cannot be used: {}", faults.join("; "))
    })
}

fn shown(event: &Event, explanations: &[Explanation]) -> String {
    let mut lines = vec![format!("{} of account {}", event.event_type, event.account)];
    if explanations.is_empty() {
        lines.push("  the file has no webhook of this account".to_owned());
    }
    for explanation in explanations {
        let verdict = if explanation.matches { "yes" } else { "no " };
        lines.push(format!(
            "  {verdict} {}: {}",
            explanation.webhook,
            visible(&explanation.reason)
        ));
    }
    lines.join("\n")
}
