//! The flags that are fields of a webhook. Secrets are never flags: other users of the machine can read those.

use std::path::PathBuf;

use clap::Args;
use postrider_types::{AccountId, EventType};
use serde_json::{Map, Value, json};

use super::document::{content, is_stdin};
use crate::cli::Misused;

/// What of a webhook is said by flags.
#[derive(Debug, Args)]
#[group(id = "fields", multiple = true, conflicts_with = "file")]
pub(super) struct Fields {
    /// Where to POST: http or https
    #[arg(long)]
    url: Option<String>,
    /// The event types it wants, with commas: order_shipped, order_error, tracking_update
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    events: Vec<EventType>,
    /// The account whose events it gets; a webhook stays with its account
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Conditions on the payload, as JSON [example: {"code": {"gte": 5}}]
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Value>,
    /// Basic auth: who
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Basic auth: a file with the password; `-` is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A header of your own: its name
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// A header of your own: a file with its value; `-` is standard input
    #[arg(long, value_name = "FILE")]
    header_value_file: Option<PathBuf>,
    /// How often a failed delivery is tried again, 0 to 10
    #[arg(long, value_name = "N", conflicts_with = "no_retry", value_parser = clap::value_parser!(u32).range(..=10))]
    max_retries: Option<u32>,
    /// Tries no failed delivery again
    #[arg(long)]
    no_retry: bool,
    /// Makes a signing secret and shows it once
    #[arg(long)]
    generate_signing: bool,
    /// mTLS: a file with the certificate that its endpoint is shown, as PEM, and those that lead to its authority
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// mTLS: a file with the certificate's private key, as PEM without a passphrase; `-` is standard input
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How long an answer may take, in milliseconds
    #[arg(long, value_name = "N")]
    timeout_ms: Option<u64>,
    /// Requests at once, at most
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// Requests per second, at most
    #[arg(long, value_name = "N")]
    rate_limit: Option<u32>,
}

fn filter(text: &str) -> Result<Value, String> {
    let filter: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let shape = "is a JSON object such as {\"code\": {\"gte\": 5}}".to_owned();
    filter.is_object().then_some(filter).ok_or(shape)
}

impl Fields {
    /// The fields as the API has them; what was not said is left out.
    pub(super) fn document(self) -> anyhow::Result<Map<String, Value>> {
        self.check()?;
        let events = (!self.events.is_empty()).then(|| self.events.iter().map(|event| event.as_str()).collect());
        let (auth, header, tls) = (self.auth()?, self.header()?, self.tls()?);
        let fields: [(&str, Option<Value>); 12] = [
            ("retry", self.retry()),
            ("auth", auth),
            ("header", header),
            ("tls", tls),
            ("url", self.url.map(Value::from)),
            ("events", events),
            ("account_id", self.account.map(|account| account.as_str().into())),
            ("description", self.description.map(Value::from)),
            ("filter", self.filter),
            ("signing", self.generate_signing.then(|| json!({ "generate": true }))),
            ("timeout_ms", self.timeout_ms.map(Value::from)),
            ("max_in_flight", self.max_in_flight.map(Value::from)),
        ];
        let rate_limit = ("rate_limit_per_second", self.rate_limit.map(Value::from));
        Ok(given(fields.into_iter().chain([rate_limit])))
    }

    fn check(&self) -> Result<(), Misused> {
        const TOLD: &str = "only one of --password-file, --header-value-file, --tls-certificate and --tls-key can be \
                            standard input";
        let files = [
            &self.password_file,
            &self.header_value_file,
            &self.tls_certificate,
            &self.tls_key,
        ];
        let from_stdin = files.into_iter().flatten().filter(|file| is_stdin(file));
        (from_stdin.count() <= 1)
            .then_some(())
            .ok_or_else(|| Misused(TOLD.to_owned()))
    }

    fn auth(&self) -> anyhow::Result<Option<Value>> {
        let password = self.password_file.as_deref().map(content).transpose()?;
        Ok(object([("username", self.username.clone()), ("password", password)]))
    }

    fn header(&self) -> anyhow::Result<Option<Value>> {
        let value = self.header_value_file.as_deref().map(content).transpose()?;
        Ok(object([("name", self.header.clone()), ("value", value)]))
    }

    fn tls(&self) -> anyhow::Result<Option<Value>> {
        let certificate = self.tls_certificate.as_deref().map(content).transpose()?;
        let key = self.tls_key.as_deref().map(content).transpose()?;
        Ok(object([("certificate", certificate), ("key", key)]))
    }

    fn retry(&self) -> Option<Value> {
        if self.no_retry {
            return Some(json!({ "enabled": false }));
        }
        self.max_retries
            .map(|most| json!({ "enabled": true, "max_retries": most }))
    }
}

/// An object of those fields that have a value, if any has.
fn object(fields: [(&str, Option<String>); 2]) -> Option<Value> {
    let fields = given(fields.map(|(name, value)| (name, value.map(Value::from))));
    (!fields.is_empty()).then_some(Value::Object(fields))
}

fn given<'a>(fields: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Map<String, Value> {
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}
