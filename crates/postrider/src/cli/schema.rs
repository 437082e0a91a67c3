//! `postrider schema`: the contracts, as they were when this binary was built.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::End;
use super::output::say;
use crate::config::Config;

/// Written from the types, so that it never differs from what is read.
const CONFIG: &str = "config.v1";

const SCHEMAS: [(&str, &str); 11] = [
    ("outcome.v1", include_str!("../../../../schemas/outcome.v1.json")),
    (
        "order_shipped.v1",
        include_str!("../../../../schemas/order_shipped.v1.json"),
    ),
    (
        "order_error.v1",
        include_str!("../../../../schemas/order_error.v1.json"),
    ),
    (
        "tracking_update.v1",
        include_str!("../../../../schemas/tracking_update.v1.json"),
    ),
    ("webhook.v1", include_str!("../../../../schemas/webhook.v1.json")),
    ("notice.v1", include_str!("../../../../schemas/notice.v1.json")),
    ("replay.v1", include_str!("../../../../schemas/replay.v1.json")),
    (
        "webhook-record.v1",
        include_str!("../../../../schemas/webhook-record.v1.json"),
    ),
    (
        "dead-letter-headers.v1",
        include_str!("../../../../schemas/dead-letter-headers.v1.json"),
    ),
    (
        "status-catalog",
        include_str!("../../../../schemas/status-catalog.json"),
    ),
    ("asyncapi", include_str!("../../../../schemas/asyncapi.yaml")),
];

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider schema outcome.v1 > outcome.v1.json")]
pub(crate) struct Schema {
    /// Which one; without it, the names are listed
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    name: Option<String>,
}

fn names() -> impl Iterator<Item = &'static str> {
    SCHEMAS.iter().map(|(name, _)| *name).chain([CONFIG])
}

impl Schema {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let Some(name) = self.name else {
            say(&names().collect::<Vec<_>>().join("\n"))?;
            return Ok(End::Done);
        };
        let found = SCHEMAS.iter().find(|(known, _)| *known == name);
        match found {
            Some((_, text)) => say(text)?,
            // The parser lets no other name through.
            None => say(&serde_json::to_string_pretty(&schemars::schema_for!(Config))?)?,
        }
        Ok(End::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> impl Iterator<Item = (&'static str, serde_json::Value)> {
        let json = SCHEMAS.iter().filter(|(name, _)| *name != "asyncapi");
        json.map(|(name, text)| (*name, serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn every_schema_is_json() {
        for (name, value) in schemas().filter(|(name, _)| *name != "status-catalog") {
            assert!(jsonschema::validator_for(&value).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_replay_has_the_fields_that_its_schema_has() {
        let made = schemars::schema_for!(postrider_replay::Replay).to_value();
        let (_, told) = schemas().find(|(name, _)| *name == "replay.v1").unwrap();
        let fields = |schema: &serde_json::Value| -> std::collections::BTreeSet<String> {
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(fields(&told), fields(&made));
    }
}
