//! The file of `apply`: a list of webhooks, each with its id.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use postrider_types::WebhookId;
use serde_json::{Map, Value};

use crate::cli::webhooks::document;
use crate::visible::visible;

/// One webhook as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Its id.
    pub(super) id: WebhookId,
    /// The other fields.
    pub(super) fields: Map<String, Value>,
}

/// Reads a file.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Wanted>> {
    let document = document::read(file)?;
    wanted(document).with_context(|| format!("{} cannot be applied", document::name(file)))
}

fn wanted(document: Value) -> anyhow::Result<Vec<Wanted>> {
    let list = list(document).context("it has to be a list of webhooks, or `webhooks:` with one")?;
    let wanted = list.into_iter().enumerate().map(|(at, one)| {
        let read = one_of(one);
        read.with_context(|| format!("webhooks[{at}]"))
    });
    let wanted: Vec<Wanted> = wanted.collect::<anyhow::Result<_>>()?;
    let mut seen = BTreeSet::new();
    match wanted.iter().find(|one| !seen.insert(&one.id)) {
        Some(twice) => bail!("{} is there twice", twice.id),
        None => Ok(wanted),
    }
}

fn list(document: Value) -> Option<Vec<Value>> {
    match document {
        Value::Array(list) => Some(list),
        Value::Object(mut fields) if fields.len() == 1 => match fields.remove("webhooks")? {
            Value::Array(list) => Some(list),
            _ => None,
        },
        _ => None,
    }
}

fn one_of(value: Value) -> anyhow::Result<Wanted> {
    let Value::Object(mut fields) = value else {
        bail!("is no webhook; write its fields, at least `id`, `url` and `events`");
    };
    let id = fields
        .remove("id")
        .context("has no `id`; apply needs one to find it again")?;
    let text = id.as_str().unwrap_or_default();
    let id = WebhookId::new(text).map_err(|error| anyhow!("id `{}`: {error}", visible(text)))?;
    Ok(Wanted { id, fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_and_a_mapping_with_a_list_are_the_same() {
        let list = json!([{"id": "a", "url": "x"}, {"id": "b"}]);
        let read = wanted(list.clone()).unwrap();
        assert_eq!(read, wanted(json!({ "webhooks": list })).unwrap());
        assert_eq!(read[0].id.as_str(), "a");
        assert_eq!(json!(read[0].fields), json!({"url": "x"}));
    }

    #[test]
    fn what_cannot_be_applied_is_placed() {
        for (document, told) in [
            (json!(null), "it has to be a list"),
            (json!({"webhooks": {}}), "it has to be a list"),
            (json!({"webhooks": [], "more": 1}), "it has to be a list"),
            (json!([{"id": "a"}, 5]), "webhooks[1]: is no webhook"),
            (json!([{"url": "x"}]), "webhooks[0]: has no `id`"),
            (json!([{"id": "a b"}]), "webhooks[0]: id `a b`: a webhook id is"),
            (json!([{"id": "a"}, {"id": "a"}]), "a is there twice"),
        ] {
            let error = format!("{:#}", wanted(document).unwrap_err());
            assert!(error.starts_with(told), "{error}");
        }
    }
}
