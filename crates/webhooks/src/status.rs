//! What the webhooks topic says of the file's webhooks.

use std::collections::HashMap;

use postrider_kafka::encode::{STATUS_RECORD, StatusRecord};
use postrider_types::webhook::WebhookStatus;
use postrider_types::{StatusChange, Webhook, WebhookId};
use tracing::warn;

/// The last status record of each webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusTable(HashMap<WebhookId, StatusChange>);

impl StatusTable {
    /// Takes in a record of the topic; tells whether anything changed. What cannot be read is reported
    /// and passed over.
    pub fn take_in(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let Some(id) = std::str::from_utf8(key).ok().and_then(|key| WebhookId::new(key).ok()) else {
            warn!("A record of the webhooks topic has no webhook's id as its key; passed over");
            return false;
        };
        let Some(value) = value else {
            return self.0.remove(&id).is_some();
        };
        match serde_json::from_slice::<StatusRecord>(value) {
            Ok(record) if record.record == STATUS_RECORD => {
                self.0.insert(id, record.change.clone()) != Some(record.change)
            }
            Ok(_) => false,
            Err(error) => {
                warn!(webhook.id = %id, %error, "A record of the webhooks topic cannot be read; passed over");
                false
            }
        }
    }

    /// The webhooks with what is said of them. Their owner's own switch stays as it is.
    #[must_use]
    pub fn over(&self, webhooks: &[Webhook]) -> Vec<Webhook> {
        webhooks.iter().map(|webhook| self.over_one(webhook)).collect()
    }

    fn over_one(&self, webhook: &Webhook) -> Webhook {
        let mut webhook = webhook.clone();
        if let Some(change) = self
            .0
            .get(&webhook.id)
            .filter(|_| webhook.status == WebhookStatus::Active)
        {
            webhook.status = change.status;
            webhook.disabled_reason.clone_from(&change.reason);
            webhook.updated_at = Some(change.at);
        }
        webhook
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::{EventType, Timestamp};

    use super::*;

    fn webhook() -> Webhook {
        Webhook::new(
            WebhookId::new("wh").unwrap(),
            "https://m.example/",
            vec![EventType::OrderShipped],
        )
    }

    fn record(status: WebhookStatus, reason: Option<&str>) -> Vec<u8> {
        let change = StatusChange {
            webhook_id: webhook().id,
            status,
            reason: reason.map(str::to_owned),
            at: Timestamp::from_millis(5),
        };
        serde_json::to_vec(&StatusRecord {
            record: STATUS_RECORD.into(),
            change,
        })
        .unwrap()
    }

    #[test]
    fn what_postrider_disabled_stays_disabled_until_it_is_enabled() {
        let mut table = StatusTable::default();
        assert!(table.take_in(b"wh", Some(&record(WebhookStatus::Disabled, Some("gone")))));
        let over = table.over(&[webhook()]);
        assert_eq!(
            (over[0].is_active(), over[0].disabled_reason.as_deref()),
            (false, Some("gone"))
        );
        assert!(!table.take_in(b"wh", Some(&record(WebhookStatus::Disabled, Some("gone")))));
        assert!(table.take_in(b"wh", Some(&record(WebhookStatus::Active, None))));
        assert!(table.over(&[webhook()])[0].is_active());
        assert!(table.take_in(b"wh", None));
        assert_eq!(table, StatusTable::default());
    }

    #[test]
    fn the_owners_own_switch_is_not_overruled() {
        let mut table = StatusTable::default();
        table.take_in(b"wh", Some(&record(WebhookStatus::Active, None)));
        let off = Webhook {
            enabled: false,
            ..webhook()
        };
        assert!(!table.over(&[off])[0].is_active());
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let mut table = StatusTable::default();
        assert!(!table.take_in(b"\xff", Some(b"{}")));
        assert!(!table.take_in(b"wh", Some(b"[")));
        assert!(!table.take_in(b"wh", Some(b"{\"id\":\"wh\"}")));
    }
}
