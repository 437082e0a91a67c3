//! The next version of a webhook: of which one it may be made, and what says so.

use std::time::Duration;

use postrider_types::notice::SCHEMA;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{Notice, NoticeKind, Timestamp, Webhook, WebhookId};

use super::Editor;
use crate::directory::Origin;
use crate::document;
use crate::journal::Entry;
use crate::refusal::Refusal;

impl Editor {
    pub(super) fn managed(&self, id: &WebhookId, if_match: Option<u64>) -> Result<Webhook, Refusal> {
        let one = self.directory.get(id).ok_or(Refusal::NotFound)?;
        if one.origin == Origin::File {
            return Err(Refusal::OfTheFile);
        }
        require_version(&one.webhook, if_match)?;
        Ok(Webhook::clone(&one.webhook))
    }

    pub(super) fn changeable(&self, id: &WebhookId, if_match: Option<u64>) -> Result<Webhook, Refusal> {
        let webhook = self.managed(id, if_match)?;
        match webhook.status {
            WebhookStatus::Cancelled => Err(Refusal::Cancelled),
            WebhookStatus::Active | WebhookStatus::Disabled => Ok(webhook),
        }
    }

    /// The next version. Its time is later than that of anything said of the one before, and a signing secret whose
    /// time is over is kept no longer.
    fn next(&self, mut webhook: Webhook) -> Webhook {
        let now = self.rules.clock.now();
        webhook.signing = webhook.signing.map(|signing| signing.without_expired(now));
        Webhook {
            version: webhook.version + 1,
            updated_at: Some(self.later_than(&webhook)),
            ..webhook
        }
    }

    /// Now, or right after the last change of a webhook where another clock is ahead of this one.
    pub(super) fn later_than(&self, webhook: &Webhook) -> Timestamp {
        let before = webhook.updated_at.map(|at| at.after(Duration::from_millis(1)));
        let now = self.rules.clock.now();
        before.map_or(now, |before| before.max(now))
    }

    pub(super) fn document(&self, webhook: &Webhook) -> Result<Entry, Refusal> {
        let sealed = document::sealed(webhook, &self.directory.keys()).map_err(Refusal::Faults)?;
        Ok(Entry::Document(webhook.id.clone(), Some(sealed)))
    }

    /// The notice of a webhook that was switched on or off.
    pub(super) fn switched(&self, before: &Webhook, after: &Webhook) -> Option<Entry> {
        let (kind, message) = match (before.is_active(), after.is_active()) {
            (false, true) => (NoticeKind::WebhookEnabled, "The webhook was switched on"),
            (true, false) if after.status == WebhookStatus::Cancelled => {
                (NoticeKind::WebhookDisabled, "The webhook was cancelled")
            }
            (true, false) => (NoticeKind::WebhookDisabled, "The webhook was switched off by its owner"),
            _ => return None,
        };
        Some(Entry::Notice(Notice {
            schema: SCHEMA.into(),
            notice: kind,
            account_id: after.account_id.clone(),
            webhook_id: after.id.clone(),
            delivery_id: None,
            message: message.to_owned(),
            at: after.updated_at.unwrap_or_default(),
            instance: self.rules.instance.clone(),
        }))
    }

    /// The next version of a webhook, and what says so.
    pub(super) fn drawn_up(&self, before: &Webhook, after: Webhook) -> Result<(Webhook, Vec<Entry>), Refusal> {
        let webhook = self.next(after);
        let mut entries = vec![self.document(&webhook)?];
        entries.extend(self.switched(before, &webhook));
        Ok((webhook, entries))
    }

    /// Whether this is what the topic says.
    pub(super) fn is_written(&self, webhook: &Webhook) -> bool {
        self.directory.document(&webhook.id).as_ref() == Some(webhook)
    }
}

pub(super) fn require_version(webhook: &Webhook, wanted: Option<u64>) -> Result<(), Refusal> {
    match wanted {
        Some(version) if version != webhook.version => Err(Refusal::Stale(webhook.version)),
        _ => Ok(()),
    }
}

pub(super) fn switch_on(webhook: &mut Webhook) {
    webhook.enabled = true;
    webhook.status = WebhookStatus::Active;
    webhook.disabled_reason = None;
}
