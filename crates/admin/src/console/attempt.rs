//! An outcome as pages show it: one attempt, or why there was none.

use postrider_types::{Outcome, OutcomeResult, Trigger};

use super::fields::percent_encoded;
use super::text::{Moment, Text, spent};

/// Characters of a response that a row shows.
const EXCERPT: usize = 80;

/// One attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) delivery: Text,
    /// Where the delivery's page is.
    pub(super) path: String,
    /// Tells the attempt from every other one on a page.
    pub(super) anchor: String,
    pub(super) number: u32,
    pub(super) retry: u32,
    pub(super) max_retries: u32,
    pub(super) started: Option<Moment>,
    pub(super) ended: Option<Moment>,
    pub(super) order: Text,
    pub(super) transaction: Text,
    pub(super) tracking: Text,
    pub(super) carrier: Text,
    pub(super) endpoint: Text,
    pub(super) webhook: Text,
    pub(super) account: Text,
    pub(super) event: &'static str,
    pub(super) is_return: bool,
    pub(super) trigger: &'static str,
    pub(super) result: &'static str,
    pub(super) status: Option<u16>,
    /// The status in words, or in its place what went wrong.
    pub(super) meaning: Text,
    /// Why there is no status, as a sentence.
    pub(super) error: Option<Text>,
    pub(super) spent: Option<String>,
    pub(super) event_time: Moment,
    pub(super) body_bytes: u64,
    pub(super) response: Option<Response>,
    pub(super) trace: Option<Text>,
    pub(super) instance: Text,
}

/// What is known of a response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) kind: Text,
    pub(super) excerpt: Text,
    pub(super) body: Text,
    pub(super) truncated: bool,
}

impl Attempt {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let text = |text: Option<&str>| Text::of(text.unwrap_or_default());
        let delivery = outcome.delivery_id.as_str();
        Self {
            delivery: Text::of(delivery),
            path: format!("/deliveries/{}", percent_encoded(delivery)),
            anchor: anchor(outcome),
            number: outcome.attempt,
            retry: outcome.retry,
            max_retries: outcome.max_retries,
            started: outcome.date_start.map(Moment::of),
            ended: outcome.date_end.map(Moment::of),
            order: text(outcome.order_id.as_deref()),
            transaction: text(outcome.transaction_id.as_deref()),
            tracking: text(outcome.tracking.as_deref()),
            carrier: text(outcome.carrier.as_deref()),
            endpoint: Text::of(&outcome.endpoint),
            webhook: Text::of(outcome.webhook_id.as_str()),
            account: Text::of(outcome.account_id.as_str()),
            event: outcome.event.as_str(),
            is_return: outcome.is_return,
            trigger: trigger(outcome.trigger),
            result: outcome.result.as_str(),
            status: outcome.status_code,
            meaning: meaning(outcome),
            error: outcome.error.as_ref().map(|error| Text::of(&error.message)),
            spent: outcome.time_spent_ms.map(spent),
            event_time: Moment::of(outcome.event_time),
            body_bytes: outcome.request.body_bytes,
            response: outcome.response.as_ref().map(|response| Response {
                kind: text(response.content_type.as_deref()),
                excerpt: excerpt(&response.body),
                body: Text::body(&response.body),
                truncated: response.truncated,
            }),
            trace: outcome.trace_id.as_deref().map(Text::of),
            instance: Text::of(&outcome.instance),
        }
    }

    /// Whether a sample was sent, which is in no topic.
    pub(super) fn is_sample(&self) -> bool {
        matches!(self.trigger, "Test" | "First connection")
    }

    /// Whether it ended on the day that it began on.
    pub(super) fn ends_same_day(&self) -> bool {
        self.started.map(Moment::date) == self.ended.map(Moment::date)
    }

    /// The result as a merchant calls it.
    pub(super) fn result_name(&self) -> &'static str {
        result_name(self.result)
    }
}

/// A result as a merchant calls it.
pub(super) fn result_name(result: &str) -> &'static str {
    match result {
        "success" => "Success",
        "retrying" => "Retrying",
        "failed" => "Failed",
        _ => "Skipped",
    }
}

fn anchor(outcome: &Outcome) -> String {
    let replay = outcome.replay.as_deref().unwrap_or_default();
    let whole = format!("{}-{replay}-{}", outcome.delivery_id, outcome.attempt);
    let plain = |char: char| {
        if char.is_ascii_alphanumeric() || char == '-' {
            char
        } else {
            '_'
        }
    };
    whole.chars().map(plain).collect()
}

/// What an outcome's status means; where nothing was attempted, that.
fn meaning(outcome: &Outcome) -> Text {
    match (&outcome.status_text, outcome.result) {
        (Some(text), _) => Text::of(without_number(text, outcome.status_code)),
        (None, OutcomeResult::Skipped) => Text::of("Not sent"),
        (None, _) => Text::of(outcome.error.as_ref().map_or("", |error| error.kind.as_str())),
    }
}

/// The number is shown before it. Outside the catalog the text begins with it too.
fn without_number(text: &str, code: Option<u16>) -> &str {
    let number = code.map_or_else(String::new, |code| code.to_string());
    text.strip_prefix(&number).unwrap_or(text).trim_start()
}

const fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Event => "",
        Trigger::FirstConnection => "First connection",
        Trigger::Test => "Test",
        Trigger::Replay => "Replay",
    }
}

/// The beginning of a response, on one line.
fn excerpt(body: &str) -> Text {
    let words: Vec<&str> = body.split_whitespace().collect();
    let line = words.join(" ");
    let mut short: String = line.chars().take(EXCERPT).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    Text::of(&short)
}

#[cfg(test)]
mod tests {
    use postrider_types::status::meaning;

    use super::without_number;

    #[test]
    fn a_status_outside_the_catalog_is_not_shown_with_its_number_twice() {
        for (code, told) in [
            (200, "OK"),
            (299, "Success"),
            (420, "Client Error"),
            (999, "Unknown Status"),
        ] {
            assert_eq!(without_number(&meaning(code), Some(code)), told);
        }
        assert_eq!(without_number("OK", None), "OK");
    }
}
