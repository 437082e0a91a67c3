//! The flags of every command that speaks to the admin API, and the conversation they open.

use std::collections::BTreeMap;
use std::future::Future;

use anyhow::bail;
use clap::Args;
use postrider_types::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::output::say;
use super::text::table;
use super::{End, Misused};
use crate::api::{Answer, Api, Call, SetupError};
use crate::visible::visible_json;

/// The most pages of a list that are read: an API that never comes to an end is not postrider's.
const MAX_PAGES: usize = 1_000;

/// Where the API is, and how to print what it answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// Where the admin API is; the variable POSTRIDER_TOKEN holds the token, where it asks for one
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// Prints the API's JSON as it came
    #[arg(long)]
    json: bool,
}

impl Remote {
    /// Opens the conversation and runs a command with it.
    pub(crate) fn run<F: Future<Output = anyhow::Result<End>>>(
        &self,
        variables: &BTreeMap<String, String>,
        command: impl FnOnce(Session) -> F,
    ) -> anyhow::Result<End> {
        let session = self.open(variables)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(command(session))
    }

    fn open(&self, variables: &BTreeMap<String, String>) -> anyhow::Result<Session> {
        let token = variables.get("POSTRIDER_TOKEN").map(|token| token.trim());
        let token = token.filter(|token| !token.is_empty()).map(Secret::new);
        let api = Api::new(&self.api, token.as_ref()).map_err(|error| match error {
            SetupError::Address => Misused(error.to_string()).into(),
            other => anyhow::Error::new(other),
        })?;
        Ok(Session { api, json: self.json })
    }
}

/// A conversation with the API.
#[derive(Debug)]
pub(crate) struct Session {
    /// The API.
    pub(crate) api: Api,
    /// Whether JSON is printed.
    pub(crate) json: bool,
}

impl Session {
    /// Asks, and prints the answer: as JSON, or what `told` makes of it.
    pub(crate) async fn tell(&self, call: Call, told: impl FnOnce(&Value) -> String) -> anyhow::Result<Value> {
        let answer = self.api.call(call).await?;
        let value = answer.value();
        if self.json {
            say_json(answer.text())?;
        } else {
            say(&told(&value))?;
        }
        Ok(value)
    }

    /// Reads a list to its end.
    pub(crate) async fn list(&self, call: &Call) -> anyhow::Result<Vec<Box<RawValue>>> {
        let (mut items, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let answer = self.api.call(call.clone().with("cursor", cursor.take())).await?;
            let page = self.page(&answer)?;
            items.extend(page.items);
            match page.next_cursor {
                None => return Ok(items),
                next => cursor = next,
            }
        }
        bail!("the list has no end after {MAX_PAGES} pages");
    }

    /// Prints a list: as JSON, or as a table; `none` stands for an empty one.
    pub(crate) fn show<const N: usize>(
        &self,
        items: Vec<Box<RawValue>>,
        none: &str,
        head: [&str; N],
        row: impl Fn(&RawValue) -> [String; N],
    ) -> anyhow::Result<()> {
        if self.json {
            let page = Page {
                items,
                next_cursor: None,
            };
            say_json(&serde_json::to_string(&page)?)?;
        } else if items.is_empty() {
            say(none)?;
        } else {
            let rows: Vec<[String; N]> = items.iter().map(|item| row(item)).collect();
            say(&table(head, &rows))?;
        }
        Ok(())
    }

    fn page(&self, answer: &Answer) -> anyhow::Result<Page> {
        Ok(answer.read().ok_or_else(|| self.api.strange())?)
    }
}

/// Prints JSON of the API. An answer without any is no line.
pub(crate) fn say_json(text: &str) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    say(&visible_json(text))
}

/// One page of a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    /// What is on it, as it came.
    pub(crate) items: Vec<Box<RawValue>>,
    /// Where the next one starts.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}
