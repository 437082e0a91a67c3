//! `postrider webhooks test`: one sample through the whole way out, and everything that was transmitted.

use std::collections::BTreeMap;

use clap::Args;
use postrider_types::{EventType, WebhookId, status};
use serde_json::{Value, json};

use super::told;
use crate::api::Call;
use crate::cli::End;
use crate::cli::remote::Remote;
use crate::cli::text::{indented, plain, text_at};
use crate::visible::visible;

#[derive(Debug, Args)]
#[command(after_help = "\
Passes on a status 200 to 299 with a JSON response, or on 204. Ends with 1 otherwise.

Example: postrider webhooks test wh_01J… --event order_error")]
pub(crate) struct Test {
    /// The webhook's id
    #[arg(value_parser = WebhookId::new)]
    id: WebhookId,
    /// Which sample: order_shipped, order_error or tracking_update [default: the webhook's first event type]
    #[arg(long, value_name = "TYPE")]
    event: Option<EventType>,
    #[command(flatten)]
    remote: Remote,
}

impl Test {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let wanted = self
            .event
            .map_or_else(|| json!({}), |event| json!({ "event": event.as_str() }));
        let call = Call::post(&["webhooks", self.id.as_str(), "test"], Some(wanted));
        self.remote.run(variables, async |session| {
            let answer = session.tell(call, transmission).await?;
            let passed = answer["passed"] == true;
            Ok(if passed { End::Done } else { End::Differs })
        })
    }
}

fn transmission(answer: &Value) -> String {
    [verdict(answer), request(&answer["request"]), response(answer)].join("\n\n")
}

fn verdict(answer: &Value) -> String {
    let word = if answer["passed"] == true { "passed" } else { "FAILED" };
    let message = visible(text_at(answer, "/message"));
    let first = match &*message {
        "" => word.to_owned(),
        message => format!("{word}: {message}"),
    };
    let spent = format!("  time spent: {} ms", plain(&answer["time_spent_ms"]));
    let lines = [Some(first), told::hint(answer), Some(spent)];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn request(request: &Value) -> String {
    let first = format!("{} {}", plain(&request["method"]), plain(&request["url"]));
    message(first, request)
}

fn response(answer: &Value) -> String {
    let response = &answer["response"];
    if !response.is_object() {
        return match text_at(answer, "/error/message") {
            "" => "no response".to_owned(),
            why => format!("no response: {}", visible(why)),
        };
    }
    let first = status::line(plain(&response["status"]), &plain(&response["text"]));
    let whole = message(first, response);
    if response["truncated"] == true {
        format!("{whole}\n  (there was more)")
    } else {
        whole
    }
}

/// A first line, the headers and the body.
fn message(first: String, message: &Value) -> String {
    let mut lines = vec![first];
    for (name, value) in message["headers"].as_object().into_iter().flatten() {
        lines.push(format!("  {}: {}", visible(name), plain(value)));
    }
    let body = text_at(message, "/body");
    if !body.is_empty() {
        lines.push(String::new());
        lines.push(indented(body));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_transmitted_is_laid_out() {
        let answer = json!({
            "passed": false, "message": "HTTP response code is 403, it must be 200. Please Retry!", "hint": "a firewall",
            "time_spent_ms": 12.5, "error": null,
            "request": {"method": "POST", "url": "https://h/x?k=***", "headers": {"a": "1"}, "body": "{}"},
            "response": {"status": 403, "text": "Forbidden", "headers": {"b": "\u{1b}[1m"}, "body": "<p>\nno\u{7}",
                         "truncated": true},
        });
        let lines = [
            "FAILED: HTTP response code is 403, it must be 200. Please Retry!",
            "  hint: a firewall",
            "  time spent: 12.5 ms",
            "",
            "POST https://h/x?k=***",
            "  a: 1",
            "",
            "  {}",
            "",
            "403 Forbidden",
            "  b: \\u{1b}[1m",
            "",
            "  <p>",
            "  no\\u{7}",
            "  (there was more)",
        ];
        assert_eq!(transmission(&answer), lines.join("\n"));
    }

    #[test]
    fn no_response_is_told_with_its_reason() {
        let answer = json!({"passed": false, "response": null, "error": {"kind": "dns", "message": "no such name"}});
        assert!(
            transmission(&answer).ends_with("\n\nno response: no such name"),
            "{}",
            transmission(&answer)
        );
    }
}
