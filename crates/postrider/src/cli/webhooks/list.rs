//! `postrider webhooks list`.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use postrider_types::{AccountId, EventType};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::Call;
use crate::cli::End;
use crate::cli::remote::{Remote, Session};
use crate::cli::text::plain;

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider webhooks list --account acme --status disabled")]
pub(crate) struct List {
    /// Only those of an account
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Only those of a status
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only those that want an event type: order_shipped, order_error or tracking_update
    #[arg(long, value_name = "TYPE")]
    event: Option<EventType>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Active,
    Disabled,
    Cancelled,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Cancelled => "cancelled",
        }
    }
}

impl List {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let call = Call::get(&["webhooks"])
            .with("account", self.account)
            .with("status", self.status.map(Status::as_str))
            .with("event", self.event);
        self.remote.run(variables, async |session| list(&session, &call).await)
    }
}

async fn list(session: &Session, call: &Call) -> anyhow::Result<End> {
    let items = session.list(call).await?;
    let head = ["ID", "ACCOUNT", "STATUS", "EVENTS", "URL"];
    session.show(items, "no webhooks", head, row)?;
    Ok(End::Done)
}

fn row(item: &RawValue) -> [String; 5] {
    let webhook: Value = serde_json::from_str(item.get()).unwrap_or_default();
    let cell = |name: &str| plain(&webhook[name]);
    let events = webhook["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let events = events.iter().map(plain).collect::<Vec<_>>().join(",");
    [cell("id"), cell("account_id"), cell("status"), events, cell("url")]
}
