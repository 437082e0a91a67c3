//! `postrider replay`: deliveries that are made again, through the admin API.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Subcommand};
use postrider_replay::config::FASTEST;
use postrider_replay::request::Ended;
use postrider_types::{AccountId, EventType, Timestamp, WebhookId};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::moment::Moment;
use super::output::say;
use super::remote::{Remote, Session, say_json};
use super::text::plain;
use super::{End, Misused};
use crate::api::Call;

/// How often a replay is asked for how far it has come.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A delivery is made again when its event happened within --from and --to and its last outcome is final and as --result
says. It keeps its webhook-id, so that a receiver can tell. It is counted first; --dry-run stops there.

Examples:
  postrider replay --from 2h --dry-run
  postrider replay --from 2026-11-22T10:00:00Z --to 2026-11-22T11:00:00Z --webhook wh_01J… --result failed --rate 100
  postrider replay list"
)]
pub(crate) struct Replay {
    #[command(subcommand)]
    look: Option<Look>,
    /// Events at this time or later: a time such as 2026-11-22T10:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// And before this time; now, unless said
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Only deliveries to a webhook
    #[arg(long, value_parser = WebhookId::new)]
    webhook: Option<WebhookId>,
    /// Only those of an account
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Only those of an event type: order_shipped, order_error or tracking_update
    #[arg(long, value_name = "TYPE")]
    event: Option<EventType>,
    /// What their last outcome has to be: failed (unless said), skipped or any; or dead_letter, for records that could
    /// not be read as events and can be now
    #[arg(long, value_parser = ended)]
    result: Option<Ended>,
    /// How many are put on their way a second; replay.rate_per_second, unless said
    #[arg(long, visible_alias = "rate-per-second", value_name = "PER_SECOND", value_parser = rates())]
    rate: Option<u32>,
    /// Only counts them
    #[arg(long)]
    dry_run: bool,
    /// Does not follow it to its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Look {
    /// Lists replays, newest first
    List(List),
    /// Shows a replay
    Show(Show),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
struct Show {
    /// The replay's id
    id: String,
    #[command(flatten)]
    remote: Remote,
}

fn ended(text: &str) -> Result<Ended, String> {
    let known = Ended::ALL.into_iter().find(|ended| ended.as_str() == text);
    known.ok_or_else(|| "one of failed, skipped, any, dead_letter".to_owned())
}

fn rates() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(FASTEST))
}

impl Replay {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        match self.look {
            Some(Look::List(List { remote })) => remote.run(variables, async |session| list(&session).await),
            Some(Look::Show(Show { id, remote })) => remote.run(variables, async |session| {
                session.tell(Call::get(&["replays", &id]), described).await?;
                Ok(End::Done)
            }),
            None => self.begin(variables),
        }
    }

    fn begin(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let Some(Moment(from)) = self.from else {
            return Err(Misused("--from is missing: when the first of the events happened".to_owned()).into());
        };
        let call = Call::post(&["replays"], Some(self.request(from)));
        let no_wait = self.no_wait;
        self.remote.run(variables, async |session| {
            if no_wait {
                session.tell(call, described).await?;
                return Ok(End::Done);
            }
            follow(&session, call).await
        })
    }

    fn request(&self, from: Timestamp) -> Value {
        let mut request = Map::new();
        let fields = [
            ("from", Some(json!(from))),
            ("to", self.to.map(|Moment(to)| json!(to))),
            ("webhook", self.webhook.as_ref().map(|webhook| json!(webhook))),
            ("account", self.account.as_ref().map(|account| json!(account))),
            ("event", self.event.map(|event| json!(event))),
            ("result", self.result.map(|result| json!(result))),
            ("rate_per_second", self.rate.map(|rate| json!(rate))),
            ("dry_run", self.dry_run.then_some(json!(true))),
        ];
        request.extend(
            fields
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
        Value::Object(request)
    }
}

async fn list(session: &Session) -> anyhow::Result<End> {
    let items = session.list(&Call::get(&["replays"])).await?;
    let head = ["ID", "STATE", "MATCHED", "ON THEIR WAY", "LOST", "ASKED FOR"];
    session.show(items, "no replays", head, row)?;
    Ok(End::Done)
}

fn row(item: &RawValue) -> [String; 6] {
    let replay: Value = serde_json::from_str(item.get()).unwrap_or_default();
    let names = ["id", "state", "matched", "parked", "lost_source", "created_at"];
    names.map(|name| plain(&replay[name]))
}

/// Tells of a replay until it has come to its end.
async fn follow(session: &Session, call: Call) -> anyhow::Result<End> {
    let mut answer = session.api.call(call).await?;
    let mut replay = answer.value();
    let id = plain(&replay["id"]);
    let tell = |text: &str| if session.json { Ok(()) } else { say(text) };
    tell(&format!("{id} counts"))?;
    let mut told = String::from("counting");
    loop {
        let state = plain(&replay["state"]);
        if told == "counting" && state != "counting" && state != "failed" {
            tell(&counted(&replay))?;
            told.clone_from(&state);
        }
        if state == "done" || state == "failed" {
            break;
        }
        let line = on_their_way(&replay);
        if state == "running" && told != line {
            tell(&line)?;
            told = line;
        }
        tokio::time::sleep(LOOK).await;
        answer = session.api.call(Call::get(&["replays", &id])).await?;
        replay = answer.value();
    }
    if session.json {
        say_json(answer.text())?;
    } else {
        say(&described(&replay))?;
    }
    Ok(if replay["state"] == "done" {
        End::Done
    } else {
        End::Differs
    })
}

fn counted(replay: &Value) -> String {
    let matched = match replay["matched"].as_u64() {
        Some(1) => "1 delivery matches".to_owned(),
        _ => format!("{} deliveries match", plain(&replay["matched"])),
    };
    match replay["unreadable"].as_u64() {
        None | Some(0) => matched,
        Some(unreadable) => format!("{matched}, {unreadable} dead letters still cannot be read"),
    }
}

fn on_their_way(replay: &Value) -> String {
    let [parked, matched, lost] = ["parked", "matched", "lost_source"].map(|name| plain(&replay[name]));
    let lost = if lost == "0" {
        String::new()
    } else {
        format!(", {lost} lost: kept nowhere any more")
    };
    format!("{parked} of {matched} on their way{lost}")
}

fn described(replay: &Value) -> String {
    let [id, state] = ["id", "state"].map(|name| plain(&replay[name]));
    let rest = match &*state {
        "failed" => plain(&replay["reason"]),
        "counting" => counted(replay) + " so far",
        _ if replay["dry_run"] == true => counted(replay) + ", nothing was sent",
        _ => on_their_way(replay),
    };
    format!("{id} {state}: {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_told_of_in_one_line() {
        let mut replay = json!({
            "id": "rp_1", "state": "running", "matched": 3, "parked": 1, "lost_source": 1, "dry_run": false,
        });
        assert_eq!(
            described(&replay),
            "rp_1 running: 1 of 3 on their way, 1 lost: kept nowhere any more"
        );
        replay["dry_run"] = json!(true);
        replay["state"] = json!("done");
        assert_eq!(described(&replay), "rp_1 done: 3 deliveries match, nothing was sent");
        replay["state"] = json!("failed");
        replay["reason"] = json!("too many");
        assert_eq!(described(&replay), "rp_1 failed: too many");
    }
}
