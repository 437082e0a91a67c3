//! All webhooks, indexed by account and event type. Immutable: a change makes a new table, swapped in
//! whole, so an event is routed by one state of the world. What an event costs depends on the webhooks
//! of its own account and type alone.

use std::sync::Arc;

use foldhash::{HashMap, HashSet, HashSetExt};
use postrider_types::webhook::WebhookStatus;
use postrider_types::{AccountId, Event, EventType, Fault, Webhook, WebhookId};

use crate::judgement::{Entry, Refusal, read_filter};
use crate::payload::Payload;

/// Every webhook, ready to be asked.
#[derive(Debug, Default)]
pub struct Table {
    entries: Vec<Arc<Entry>>,
    by_id: HashMap<WebhookId, Arc<Entry>>,
    by_account: HashMap<AccountId, Account>,
}

#[derive(Debug, Default)]
struct Account {
    all: Vec<Arc<Entry>>,
    /// Active and disabled webhooks at their event type's place; cancelled ones never count.
    wanting: [Vec<Arc<Entry>>; EventType::ALL.len()],
}

/// What a table says of one event.
#[derive(Debug, Default)]
pub struct Matches {
    /// Active webhooks that get it, in the table's order.
    pub deliverable: Vec<Arc<Webhook>>,
    /// Disabled webhooks that would have got it.
    pub disabled: Vec<Arc<Webhook>>,
    /// How many webhooks were looked at to find these.
    pub examined: usize,
    /// Whether a filter asked for the body and it could not be read; such filters do not match.
    pub unreadable: bool,
}

impl Table {
    /// Reads the filters and builds the index.
    ///
    /// # Errors
    /// Every filter's faults under `[i].filter`, and every id that was there before under `[i].id`.
    /// Other fields are not judged.
    pub fn build(webhooks: Vec<Webhook>) -> Result<Self, Vec<Fault>> {
        let mut faults = duplicates(&webhooks);
        let mut table = Self::default();
        for (i, webhook) in webhooks.into_iter().enumerate() {
            match Entry::new(webhook) {
                Ok(entry) => table.insert(Arc::new(entry)),
                Err(found) => faults.extend(found.into_iter().map(|fault| fault.under(&format!("[{i}]")))),
            }
        }
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        let webhook = &entry.webhook;
        let account = self.by_account.entry(webhook.account_id.clone()).or_default();
        account.all.push(Arc::clone(&entry));
        if webhook.effective_status() != WebhookStatus::Cancelled {
            // Asked per type, so that a type named twice makes no second delivery.
            for event_type in EventType::ALL
                .into_iter()
                .filter(|known| webhook.events.contains(known))
            {
                account.wanting[event_type as usize].push(Arc::clone(&entry));
            }
        }
        self.by_id.insert(webhook.id.clone(), Arc::clone(&entry));
        self.entries.push(entry);
    }

    /// The webhooks that get an event, and the disabled ones that would have got it.
    #[must_use]
    pub fn matches(&self, event: &Event) -> Matches {
        let payload = Payload::new(&event.body);
        let candidates = self.candidates(&event.account, event.event_type);
        let mut matches = Matches {
            examined: candidates.len(),
            ..Matches::default()
        };
        for entry in candidates
            .iter()
            .filter(|entry| entry.filter_refusal(&payload).is_none())
        {
            let list = if entry.webhook.is_active() {
                &mut matches.deliverable
            } else {
                &mut matches.disabled
            };
            list.push(Arc::clone(&entry.webhook));
        }
        matches.unreadable = payload.is_unreadable();
        matches
    }

    fn candidates(&self, account: &AccountId, event_type: EventType) -> &[Arc<Entry>] {
        self.by_account
            .get(account)
            .map_or(&[], |account| &account.wanting[event_type as usize])
    }

    /// The webhook of an id, whatever its status.
    #[must_use]
    pub fn webhook(&self, id: &WebhookId) -> Option<&Arc<Webhook>> {
        self.by_id.get(id).map(|entry| &entry.webhook)
    }

    /// All webhooks, in the order they were given.
    pub fn webhooks(&self) -> impl ExactSizeIterator<Item = &Arc<Webhook>> {
        self.entries.iter().map(|entry| &entry.webhook)
    }

    /// How many webhooks have a status.
    #[must_use]
    pub fn count(&self, status: WebhookStatus) -> usize {
        self.webhooks()
            .filter(|webhook| webhook.effective_status() == status)
            .count()
    }

    /// All webhooks of an account, cancelled ones included, in the order they were given.
    pub(crate) fn account_entries(&self, account: &AccountId) -> &[Arc<Entry>] {
        self.by_account.get(account).map_or(&[], |account| &account.all)
    }

    /// The webhook of an id with why it does not get an event; `None` when there is no such webhook.
    pub(crate) fn judge(&self, id: &WebhookId, event: &Event) -> Option<(&Arc<Webhook>, Option<Refusal>)> {
        let entry = self.by_id.get(id)?;
        let refusal = entry.refusal(event, &Payload::new(&event.body));
        Some((&entry.webhook, refusal))
    }
}

/// What [`Table::build`] would refuse, without building.
pub(crate) fn faults(webhooks: &[Webhook]) -> Vec<Fault> {
    let mut faults = duplicates(webhooks);
    for (i, webhook) in webhooks.iter().enumerate() {
        let found = read_filter(webhook).err().unwrap_or_default();
        faults.extend(found.into_iter().map(|fault| fault.under(&format!("[{i}]"))));
    }
    faults
}

fn duplicates(webhooks: &[Webhook]) -> Vec<Fault> {
    let mut seen = HashSet::new();
    let doubled = webhooks
        .iter()
        .enumerate()
        .filter(|(_, webhook)| !seen.insert(&webhook.id));
    doubled
        .map(|(i, webhook)| {
            let reason = format!("`{}` is the id of an earlier webhook; ids are unique", webhook.id);
            Fault::new(format!("[{i}].id"), reason)
        })
        .collect()
}

#[cfg(test)]
mod tests;
