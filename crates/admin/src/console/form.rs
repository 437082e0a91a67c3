//! The form of a webhook: what it is filled with, and what was filled in as the API's own document. What can be taken
//! is judged by the API's rules; here only texts become the values they stand for.

use postrider_types::secret::MASK;
use postrider_types::{EventType, Fault, Webhook};
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::text::Text;
use crate::api::json;

/// The form as a page shows it. What was typed as a secret is not shown again.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) url: Text,
    pub(super) description: Text,
    pub(super) account: Text,
    pub(super) events: Vec<Choice>,
    pub(super) filter: Text,
    pub(super) signing: Text,
    pub(super) signs_already: bool,
    pub(super) auth: bool,
    pub(super) username: Text,
    /// The mask, where there is a password to keep.
    pub(super) password: &'static str,
    pub(super) header: bool,
    pub(super) header_name: Text,
    pub(super) header_value: &'static str,
    pub(super) retry: bool,
    pub(super) max_retries: Text,
    pub(super) tls: bool,
    pub(super) certificate: Text,
    pub(super) key: &'static str,
    pub(super) timeout_ms: Text,
    pub(super) max_in_flight: Text,
    pub(super) rate_limit_per_second: Text,
}

/// One event type to choose.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) event: EventType,
    pub(super) told: String,
    pub(super) chosen: bool,
}

fn choices(chosen: impl Fn(EventType) -> bool) -> Vec<Choice> {
    let choice = |event| Choice {
        event,
        told: crate::api::catalog::description(event).replace('`', ""),
        chosen: chosen(event),
    };
    EventType::ALL.into_iter().map(choice).collect()
}

fn number<T: ToString>(value: Option<T>) -> Text {
    Text::of(&value.map_or_else(String::new, |value| value.to_string()))
}

impl Form {
    /// An empty one.
    pub(super) fn blank(account: &str) -> Self {
        Self {
            account: Text::of(account),
            events: choices(|_| false),
            signing: Text::of("none"),
            retry: true,
            ..Self::default()
        }
    }

    /// Filled with a webhook as it is.
    pub(super) fn of(webhook: &Webhook) -> Self {
        let (auth, header, tls) = (&webhook.auth, &webhook.header, &webhook.tls);
        let mask = |has: bool| if has { MASK } else { "" };
        let filter = webhook.filter.as_ref().map(Value::to_string);
        Self {
            url: Text::kept(&webhook.url),
            description: Text::kept(&webhook.description),
            account: Text::of(webhook.account_id.as_str()),
            events: choices(|event| webhook.events.contains(&event)),
            filter: Text::body(&filter.unwrap_or_default()),
            signing: Text::of(if webhook.signing.is_some() { "keep" } else { "none" }),
            signs_already: webhook.signing.is_some(),
            auth: auth.is_some(),
            username: Text::kept(auth.as_ref().map_or("", |auth| &auth.username)),
            password: mask(auth.is_some()),
            header: header.is_some(),
            header_name: Text::kept(header.as_ref().map_or("", |header| &header.name)),
            header_value: mask(header.is_some()),
            retry: webhook.retry.enabled,
            max_retries: number(webhook.retry.max_retries),
            tls: tls.is_some(),
            certificate: Text::body(tls.as_ref().map_or("", |tls| &tls.certificate)),
            key: mask(tls.is_some()),
            timeout_ms: number(webhook.timeout_ms),
            max_in_flight: number(webhook.max_in_flight),
            rate_limit_per_second: number(webhook.rate_limit_per_second),
        }
    }

    /// As it was filled in.
    pub(super) fn again(fields: &Fields, signs_already: bool) -> Self {
        let text = |name| Text::kept(fields.text(name));
        let lines = |name| Text::typed(fields.text(name));
        let mask = |name| if fields.text(name) == MASK { MASK } else { "" };
        Self {
            url: text("url"),
            description: text("description"),
            account: text("account_id"),
            events: choices(|event| fields.all("events").any(|chosen| chosen == event.as_str())),
            filter: lines("filter"),
            signing: text("signing"),
            signs_already,
            auth: fields.has("auth"),
            username: text("auth.username"),
            password: mask("auth.password"),
            header: fields.has("header"),
            header_name: text("header.name"),
            header_value: mask("header.value"),
            retry: fields.has("retry"),
            max_retries: text("retry.max_retries"),
            tls: fields.has("tls"),
            certificate: lines("tls.certificate"),
            key: mask("tls.key"),
            timeout_ms: text("timeout_ms"),
            max_in_flight: text("max_in_flight"),
            rate_limit_per_second: text("rate_limit_per_second"),
        }
    }

    /// Whether anything stands in the part of the form that is folded away.
    pub(super) fn is_advanced(&self) -> bool {
        let texts = [&self.timeout_ms, &self.max_in_flight, &self.rate_limit_per_second];
        self.tls || texts.iter().any(|text| !text.is_empty())
    }
}

/// What was filled in as a merge patch, which is a whole document as well: every field of the form is in it.
///
/// # Errors
/// The fields that stand for no value.
pub(super) fn patch(fields: &Fields) -> Result<Value, Vec<Fault>> {
    let mut reader = Reader {
        fields,
        faults: Vec::new(),
    };
    let mut patch = Map::new();
    let mut put = |name: &str, value: Value| patch.insert(name.to_owned(), value);
    put("url", json!(fields.text("url").trim()));
    // A browser sends the ends of lines so.
    put(
        "description",
        json!(fields.text("description").trim().replace("\r\n", "\n")),
    );
    put("events", fields.all("events").collect());
    put("filter", reader.filter());
    put("retry", reader.retry());
    put("auth", reader.credentials("auth", ["username", "password"]));
    put("header", reader.credentials("header", ["name", "value"]));
    put("tls", reader.credentials("tls", ["certificate", "key"]));
    for name in ["timeout_ms", "max_in_flight", "rate_limit_per_second"] {
        put(name, reader.number(name));
    }
    match fields.text("signing") {
        "generate" => put("signing", json!({ "generate": true })),
        "own" => put("signing", json!({ "secret": fields.text("signing.secret").trim() })),
        "none" => put("signing", Value::Null),
        _ => None,
    };
    if reader.faults.is_empty() {
        Ok(patch.into())
    } else {
        Err(reader.faults)
    }
}

struct Reader<'a> {
    fields: &'a Fields,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn number(&mut self, name: &str) -> Value {
        let text = self.fields.text(name).trim();
        if text.is_empty() {
            return Value::Null;
        }
        text.parse::<u64>().map_or_else(
            |_| {
                self.faults.push(Fault::new(name, "must be a whole number"));
                Value::Null
            },
            Value::from,
        )
    }

    fn filter(&mut self) -> Value {
        let text = self.fields.text("filter").trim();
        if text.is_empty() {
            return Value::Null;
        }
        json::read(text.as_bytes()).unwrap_or_else(|error| {
            let reason = format!("cannot be read as JSON: {error}");
            self.faults.push(Fault::new("filter", reason));
            Value::Null
        })
    }

    fn retry(&mut self) -> Value {
        let most = self.number("retry.max_retries");
        json!({ "enabled": self.fields.has("retry"), "max_retries": most })
    }

    /// A pair that is sent when its box is ticked.
    fn credentials(&self, name: &str, parts: [&str; 2]) -> Value {
        if !self.fields.has(name) {
            return Value::Null;
        }
        let part = |part: &str| {
            let text = self.fields.text(&format!("{name}.{part}"));
            // Browsers send lines with carriage returns.
            (part.to_owned(), json!(text.replace("\r\n", "\n")))
        };
        Value::Object(parts.into_iter().map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::{EventType, WebhookId};

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Fields::of(pairs.iter().map(pair).collect())
    }

    #[test]
    fn a_form_that_is_sent_as_it_was_opened_changes_no_text() {
        let mut webhook = Webhook::new(
            WebhookId::new("wh_1").unwrap(),
            "https://m.example/",
            vec![EventType::OrderError],
        );
        webhook.description = "line 1\nline 2 \u{1f469}\u{200d}\u{1f4bb}".to_owned();
        let form = Form::of(&webhook);
        let sent = form.description.as_str().replace('\n', "\r\n");
        let patch = patch(&fields(&[("url", form.url.as_str()), ("description", &sent)])).unwrap();
        assert_eq!(patch["description"], webhook.description);
        assert_eq!(patch["url"], webhook.url);
    }

    #[test]
    fn a_form_is_a_merge_patch_with_every_field() {
        let filled = fields(&[
            ("url", " https://m.example/hooks "),
            ("description", ""),
            ("events", "order_error"),
            ("events", "tracking_update"),
            ("filter", r#"{"code": 6}"#),
            ("auth", "on"),
            ("auth.username", "u"),
            ("auth.password", "********"),
            ("retry", "on"),
            ("retry.max_retries", "3"),
            ("signing", "generate"),
            ("timeout_ms", ""),
        ]);
        assert_eq!(
            patch(&filled).unwrap(),
            json!({
                "url": "https://m.example/hooks", "description": "", "events": ["order_error", "tracking_update"],
                "filter": { "code": 6 }, "auth": { "username": "u", "password": "********" }, "header": null,
                "tls": null, "retry": { "enabled": true, "max_retries": 3 }, "signing": { "generate": true },
                "timeout_ms": null, "max_in_flight": null, "rate_limit_per_second": null,
            })
        );
    }

    #[test]
    fn a_secret_that_signs_already_is_left_alone() {
        assert!(patch(&fields(&[("signing", "keep")])).unwrap().get("signing").is_none());
        assert_eq!(patch(&fields(&[("signing", "none")])).unwrap()["signing"], Value::Null);
    }

    #[test]
    fn what_stands_for_no_value_is_named() {
        let filled = fields(&[("filter", "{'a'}"), ("timeout_ms", "soon"), ("retry.max_retries", "-1")]);
        let faults = patch(&filled).unwrap_err();
        let paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
        assert_eq!(paths, ["filter", "retry.max_retries", "timeout_ms"]);
    }
}
