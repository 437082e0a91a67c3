//! What the webhooks topic says of the file's webhooks.

use std::collections::HashMap;

use postrider_kafka::encode::{STATUS_RECORD, StatusRecord};
use postrider_types::notice::STATUS_SUFFIX;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{StatusChange, Webhook, WebhookId};

/// The key of what is said of a webhook beside its document. It is read in the topic's order with what stands under the
/// id itself: the last word counts.
pub(crate) fn key(id: &WebhookId) -> String {
    format!("{id}{STATUS_SUFFIX}")
}

/// The record that says this.
pub(crate) fn record(change: StatusChange) -> Vec<u8> {
    let record = StatusRecord {
        record: STATUS_RECORD.into(),
        change,
    };
    serde_json::to_vec(&record).expect("a status is JSON")
}

/// The last status record of each webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusTable(HashMap<WebhookId, StatusChange>);

impl StatusTable {
    /// Takes in a record of a webhook; tells whether anything changed, or `None` when it is no status record.
    pub fn take_in(&mut self, id: &WebhookId, value: &[u8]) -> Option<bool> {
        let record: StatusRecord = serde_json::from_slice(value).ok()?;
        let is_status = record.record == STATUS_RECORD && record.change.webhook_id == *id;
        is_status.then(|| self.0.insert(id.clone(), record.change.clone()) != Some(record.change))
    }

    /// Nothing is said of a webhook any more; tells whether anything was.
    pub fn forget(&mut self, id: &WebhookId) -> bool {
        self.0.remove(id).is_some()
    }

    /// A webhook with what is said of it. Its owner's own switch stays as it is, and a document that is younger
    /// than what is said knows of it.
    #[must_use]
    pub fn over(&self, webhook: &Webhook) -> Webhook {
        let mut webhook = webhook.clone();
        let younger = |change: &&StatusChange| webhook.updated_at.is_none_or(|at| change.at > at);
        let said = self.0.get(&webhook.id).filter(younger);
        if let Some(change) = said.filter(|_| webhook.status == WebhookStatus::Active) {
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
        super::record(StatusChange {
            webhook_id: webhook().id,
            status,
            reason: reason.map(str::to_owned),
            at: Timestamp::from_millis(5),
            version: 0,
        })
    }

    #[test]
    fn what_postrider_disabled_stays_disabled_until_it_is_enabled() {
        let (mut table, id) = (StatusTable::default(), webhook().id);
        let gone = record(WebhookStatus::Disabled, Some("gone"));
        assert_eq!(table.take_in(&id, &gone), Some(true));
        let over = table.over(&webhook());
        assert_eq!(
            (over.is_active(), over.disabled_reason.as_deref()),
            (false, Some("gone"))
        );
        assert_eq!(table.take_in(&id, &gone), Some(false));
        assert_eq!(table.take_in(&id, &record(WebhookStatus::Active, None)), Some(true));
        assert!(table.over(&webhook()).is_active());
        assert!(table.forget(&id) && !table.forget(&id));
    }

    #[test]
    fn a_younger_document_knows_better() {
        let mut table = StatusTable::default();
        table.take_in(&webhook().id, &record(WebhookStatus::Disabled, Some("gone")));
        let edited = |millis| Webhook {
            updated_at: Some(Timestamp::from_millis(millis)),
            ..webhook()
        };
        assert!(!table.over(&edited(4)).is_active());
        assert!(table.over(&edited(5)).is_active());
    }

    #[test]
    fn the_owners_own_switch_is_not_overruled() {
        let mut table = StatusTable::default();
        table.take_in(&webhook().id, &record(WebhookStatus::Active, None));
        let off = Webhook {
            enabled: false,
            ..webhook()
        };
        assert!(!table.over(&off).is_active());
    }

    #[test]
    fn what_is_no_status_record_of_the_webhook_is_none() {
        let mut table = StatusTable::default();
        let other = WebhookId::new("other").unwrap();
        assert_eq!(table.take_in(&webhook().id, b"["), None);
        assert_eq!(table.take_in(&webhook().id, b"{\"id\":\"wh\"}"), None);
        assert_eq!(table.take_in(&other, &record(WebhookStatus::Active, None)), None);
    }
}
