//! A section with what is known to be wrong taken out of it, so that the rest can be judged. Defaults stand in, and what
//! has no default is made up.

use postrider_types::EventType;
use serde_json::{Value, json};

use super::path::{Path, Step};

/// The document without the values at these paths.
pub(super) fn without(mut document: Value, faulty: impl Iterator<Item = Path>) -> Value {
    for path in faulty {
        take_out(&mut document, &path);
    }
    let webhooks = document.pointer_mut("/routing/webhooks").and_then(Value::as_array_mut);
    for (at, webhook) in webhooks.into_iter().flatten().enumerate() {
        complete(webhook, at);
    }
    document
}

/// Takes out the nearest field: the values of a list keep their places, so a list goes as a whole.
fn take_out(document: &mut Value, path: &Path) {
    let fields = path.0.iter().enumerate().rev();
    let field = fields.filter_map(|(at, step)| match step {
        Step::Key(key) => Some((&path.0[..at], key)),
        Step::Index(_) => None,
    });
    let Some((holder, key)) = field.into_iter().next() else {
        return;
    };
    let holder = holder.iter().try_fold(document, |at, step| match step {
        Step::Key(key) => at.get_mut(key),
        Step::Index(index) => at.get_mut(index),
    });
    if let Some(fields) = holder.and_then(Value::as_object_mut) {
        fields.remove(key);
    }
}

/// Gives a webhook what it needs and lacks: an id that no other has, an endpoint, an event.
fn complete(webhook: &mut Value, at: usize) {
    let Some(fields) = webhook.as_object_mut() else { return };
    for (name, made_up) in [
        ("id", json!(format!("postrider-stand-in-{at}"))),
        ("url", json!("https://stand-in.invalid/")),
        ("events", json!([EventType::OrderError])),
    ] {
        fields.entry(name).or_insert(made_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(document: Value, faulty: &[&str]) -> Value {
        let paths: Vec<Path> = faulty.iter().map(|path| Path::from_text(path, &document)).collect();
        without(document, paths.into_iter())
    }

    #[test]
    fn fields_are_taken_out_and_lists_as_a_whole() {
        let document = json!({"a": {"b": 1, "c": [1, 2], "d": [{"e": 1, "f": 2}]}});
        let faulty = ["a.b", "a.c[1]", "a.d[0].e", "a.missing.x", "nothing"];
        assert_eq!(mended(document, &faulty), json!({"a": {"d": [{"f": 2}]}}));
    }

    #[test]
    fn webhooks_get_what_they_lack() {
        let document =
            json!({"routing": {"webhooks": [{"id": "a", "events": ["foo"]}, {"id": "b", "url": "ftp://x"}]}});
        let mended = mended(document, &["routing.webhooks[0].events[0]"]);
        let expected = json!([
            {"id": "a", "url": "https://stand-in.invalid/", "events": ["order_error"]},
            {"id": "b", "url": "ftp://x", "events": ["order_error"]},
        ]);
        assert_eq!(mended["routing"]["webhooks"], expected);
    }
}
