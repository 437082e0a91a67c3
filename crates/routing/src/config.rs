//! The section `routing` of the configuration.

use postrider_types::{Fault, LONGEST_TOPIC, Webhook};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::table;

/// Where webhooks come from, and what is kept of events that they miss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The compacted topic of the webhooks that the API manages.
    pub webhooks_topic: String,
    /// The file's own webhooks. The API can read them, not change them.
    pub webhooks: Vec<Webhook>,
    /// The most webhooks of one account, cancelled ones included; 0 is no limit. The file's count, but
    /// are never refused for it.
    pub max_webhooks_per_account: u32,
    /// Whether events that a disabled webhook misses become `skipped` outcomes.
    pub record_skipped: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            webhooks_topic: "postrider.webhooks".to_owned(),
            webhooks: Vec::new(),
            max_webhooks_per_account: 3,
            record_skipped: true,
        }
    }
}

impl Config {
    /// The faults of all fields, the webhooks' under `webhooks[i]`. URLs, signing keys and client certificates are not
    /// judged here.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !is_topic(&self.webhooks_topic) {
            let reason =
                "is no name Kafka takes for a topic (1 to 249 of A-Z a-z 0-9 . _ -), so no webhook could be kept";
            faults.push(Fault::new("webhooks_topic", reason));
        }
        let of_fields = self.webhooks.iter().enumerate().flat_map(|(i, webhook)| {
            let found = webhook.faults().into_iter();
            found.map(move |fault| fault.under(&format!("[{i}]")))
        });
        let of_table = table::faults(&self.webhooks);
        faults.extend(of_fields.chain(of_table).map(|fault| fault.under("webhooks")));
        faults
    }
}

fn is_topic(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=LONGEST_TOPIC).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_empty_section_is_the_default_and_has_no_fault() {
        let config = read(json!({}));
        assert_eq!(config, Config::default());
        assert_eq!(
            serde_json::to_value(&config).unwrap(),
            json!({"webhooks_topic": "postrider.webhooks", "webhooks": [], "max_webhooks_per_account": 3, "record_skipped": true})
        );
        assert_eq!(config.faults(), []);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let error = serde_json::from_value::<Config>(json!({"record_skiped": true})).unwrap_err();
        assert!(error.to_string().contains("record_skiped"), "{error}");
    }

    #[test]
    fn faults_of_all_webhooks_are_named_by_their_path() {
        let config = read(json!({"webhooks_topic": "a b", "webhooks": [
            {"id": "wh_1", "url": "https://m.example", "events": ["order_error"], "filter": {"any": [{}, {"code": {"gte": "x"}}]}},
            {"id": "wh_2", "url": "https://m.example", "events": []},
            {"id": "wh_1", "url": "https://m.example", "events": ["order_error"], "filter": null},
        ]}));
        let paths: Vec<String> = config.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(
            paths,
            [
                "webhooks_topic",
                "webhooks[1].events",
                "webhooks[2].id",
                "webhooks[0].filter.any[0]",
                "webhooks[0].filter.any[1].code.gte"
            ]
        );
    }

    #[test]
    fn the_files_webhooks_are_never_refused_for_the_limit() {
        let webhook = |i: u32| json!({"id": format!("wh_{i}"), "url": "https://m.example", "events": ["order_error"]});
        let webhooks: Vec<_> = (0..9).map(webhook).collect();
        assert_eq!(
            read(json!({"webhooks": webhooks, "max_webhooks_per_account": 1})).faults(),
            []
        );
    }
}
