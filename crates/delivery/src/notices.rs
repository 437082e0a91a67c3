//! Notices about a webhook, in words that hold no secret.

use std::borrow::Cow;
use std::time::Duration;

use postrider_types::notice::SCHEMA;
use postrider_types::{DeliveryId, Notice, NoticeKind, Timestamp, Webhook};

/// What a notice is about, and who noticed it when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) webhook: &'a Webhook,
    pub(crate) at: Timestamp,
    pub(crate) instance: &'a str,
}

impl About<'_> {
    fn notice(&self, notice: NoticeKind, delivery_id: Option<DeliveryId>, message: String) -> Notice {
        Notice {
            schema: Cow::Borrowed(SCHEMA),
            notice,
            account_id: self.webhook.account_id.clone(),
            webhook_id: self.webhook.id.clone(),
            delivery_id,
            message,
            at: self.at,
            instance: self.instance.to_owned(),
        }
    }

    pub(crate) fn circuit_opened(&self, failures: u32, open: Duration) -> Notice {
        let open = in_words(open);
        let message = format!(
            "{failures} attempts in a row failed; deliveries are parked, and the next probe is sent in {open} at the earliest"
        );
        self.notice(NoticeKind::CircuitOpened, None, message)
    }

    pub(crate) fn circuit_closed(&self) -> Notice {
        let message = "An attempt succeeded; deliveries are sent again".to_owned();
        self.notice(NoticeKind::CircuitClosed, None, message)
    }

    pub(crate) fn disabled(&self, why: &str) -> Notice {
        let message = format!("The webhook was disabled: {why}");
        self.notice(NoticeKind::WebhookDisabled, None, message)
    }

    pub(crate) fn exhausted(&self, delivery: DeliveryId, message: String) -> Notice {
        self.notice(NoticeKind::DeliveryExhausted, Some(delivery), message)
    }
}

/// A time in the largest unit that it is a whole number of.
pub(crate) fn in_words(time: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let millis = time.as_millis();
    let whole = UNITS
        .iter()
        .find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{} {name}", millis / unit),
        None => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_whole_units() {
        let told = [432_000_000, 3_600_000, 90_000, 30_000, 1_500, 0].map(|ms| in_words(Duration::from_millis(ms)));
        assert_eq!(told, ["5 d", "1 h", "90 s", "30 s", "1500 ms", "0 ms"]);
    }
}
