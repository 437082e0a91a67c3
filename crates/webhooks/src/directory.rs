//! The webhooks of this moment, and routing's table made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use postrider_routing::{SharedTable, Table};
use postrider_types::notice::STATUS_SUFFIX;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{AccountId, Fault, Webhook, WebhookId};
use tracing::{error, info, warn};

use crate::document::{self, BadDocument};
use crate::keys::Keyring;
use crate::status::StatusTable;

/// Why a webhook gets nothing whose secrets cannot be opened here.
pub(crate) const UNREADABLE: &str = "secrets_unreadable";

/// Who changes a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File,
    /// The API.
    Managed,
}

impl Origin {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Managed => "managed",
        }
    }
}

/// A webhook and who changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The webhook, as it stands with what postrider made of it.
    pub webhook: Arc<Webhook>,
    /// Who changes it.
    pub origin: Origin,
}

#[derive(Debug)]
struct Sources {
    file: Vec<Webhook>,
    managed: BTreeMap<WebhookId, Webhook>,
    /// The records of those that have secrets, as they were sealed.
    records: BTreeMap<WebhookId, Vec<u8>>,
    /// Managed webhooks with a secret that is sealed with another key than today's.
    outdated: BTreeSet<WebhookId>,
    statuses: StatusTable,
}

/// Lays what the topic says over what the file says. The one writer of routing's table.
#[derive(Debug)]
pub struct Directory {
    sources: Mutex<Sources>,
    keys: RwLock<Arc<Keyring>>,
    table: SharedTable,
}

impl Directory {
    /// Of the file's webhooks, with nothing said of them yet.
    ///
    /// # Errors
    /// The faults of filters and ids.
    pub fn new(file: Vec<Webhook>, keys: Keyring) -> Result<Self, Vec<Fault>> {
        let table = SharedTable::new(Table::build(file.clone())?);
        let sources = Sources {
            file,
            managed: BTreeMap::new(),
            records: BTreeMap::new(),
            outdated: BTreeSet::new(),
            statuses: StatusTable::default(),
        };
        Ok(Self {
            sources: Mutex::new(sources),
            keys: RwLock::new(Arc::new(keys)),
            table,
        })
    }

    /// Routing's table, which follows.
    #[must_use]
    pub fn table(&self) -> SharedTable {
        self.table.clone()
    }

    /// The keys that secrets are sealed and opened with.
    #[must_use]
    pub fn keys(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.read())
    }

    /// Seals and opens with other keys from now on, what is here already included.
    pub fn replace_keys(&self, keys: Keyring) {
        *self.keys.write() = Arc::new(keys);
        let mut sources = self.sources.lock();
        for (id, record) in std::mem::take(&mut sources.records) {
            self.take_document(&mut sources, &id, &record);
        }
        self.rebuild(&sources);
    }

    /// All webhooks, the file's first, the managed ones by id.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.sources.lock().listed()
    }

    /// The webhook of an id.
    #[must_use]
    pub fn get(&self, id: &WebhookId) -> Option<Listed> {
        self.sources.lock().one(id)
    }

    /// The file's webhook of an id as its owner wrote it, whatever postrider made of it.
    pub(crate) fn as_written(&self, id: &WebhookId) -> Option<Webhook> {
        self.sources.lock().in_file(id).cloned()
    }

    /// The managed webhook of an id as its last document says, whatever else is said of it and whether or not it is seen.
    pub(crate) fn document(&self, id: &WebhookId) -> Option<Webhook> {
        self.sources.lock().managed.get(id).cloned()
    }

    /// How many webhooks an account has, cancelled ones and the file's included.
    #[must_use]
    pub fn count(&self, account: &AccountId) -> usize {
        let all = self.list();
        all.iter().filter(|one| one.webhook.account_id == *account).count()
    }

    /// The managed webhooks whose secrets are sealed with another key than today's.
    #[must_use]
    pub fn outdated(&self) -> Vec<WebhookId> {
        self.sources.lock().outdated.iter().cloned().collect()
    }

    /// Puts other webhooks of the file in place, whole or not at all; returns how many there are.
    ///
    /// # Errors
    /// The faults of filters and ids; then everything stays as it was.
    pub fn replace_file(&self, file: Vec<Webhook>) -> Result<usize, Vec<Fault>> {
        let mut sources = self.sources.lock();
        Table::build(file.clone())?;
        let count = file.len();
        sources.file = file;
        self.rebuild(&sources);
        Ok(count)
    }

    /// Takes in a record of the webhooks topic.
    pub fn take_in(&self, key: &[u8], value: Option<&[u8]>) {
        let mut sources = self.sources.lock();
        if self.absorb_into(&mut sources, key, value) {
            info!(webhook.id = %String::from_utf8_lossy(key), "A webhook changed");
            self.rebuild(&sources);
        }
    }

    /// Takes in a record of the webhooks topic while it is read for the first time; nobody sees anything of it
    /// before [`settle`](Self::settle).
    pub fn absorb(&self, key: &[u8], value: Option<&[u8]>) {
        self.absorb_into(&mut self.sources.lock(), key, value);
    }

    /// Shows what was absorbed.
    pub fn settle(&self) {
        self.rebuild(&self.sources.lock());
    }

    /// Whether anything changed.
    fn absorb_into(&self, sources: &mut Sources, key: &[u8], value: Option<&[u8]>) -> bool {
        let name = std::str::from_utf8(key).unwrap_or_default();
        let (name, is_status) = name
            .strip_suffix(STATUS_SUFFIX)
            .map_or((name, false), |name| (name, true));
        let Ok(id) = WebhookId::new(name) else {
            warn!("A record of the webhooks topic has no webhook's id as its key; passed over");
            return false;
        };
        match value {
            None if is_status => sources.statuses.forget(&id),
            None => {
                let had_status = !sources.managed.contains_key(&id) && sources.statuses.forget(&id);
                sources.outdated.remove(&id);
                sources.records.remove(&id);
                sources.managed.remove(&id).is_some() || had_status
            }
            Some(value) => match sources.statuses.take_in(&id, value) {
                Some(changed) => changed,
                None => self.take_document(sources, &id, value),
            },
        }
    }

    fn take_document(&self, sources: &mut Sources, id: &WebhookId, value: &[u8]) -> bool {
        let keys = self.keys();
        let webhook = match document::opened(value, &keys) {
            Ok(webhook) => webhook,
            Err(BadDocument::Sealed { field, why, rest }) => {
                error!(webhook.id = %id, field, %why, "A webhook's secret cannot be read; it gets nothing until it can");
                locked(*rest)
            }
            Err(error @ BadDocument::Shape(_)) => {
                warn!(webhook.id = %id, error = %error, "A record of the webhooks topic cannot be read; passed over");
                return false;
            }
        };
        let sound = webhook.id == *id && Table::build(vec![webhook.clone()]).is_ok();
        if !sound {
            warn!(webhook.id = %id, "A record of the webhooks topic is of another webhook or has a bad filter; passed over");
            return false;
        }
        if document::is_current(value, &keys) {
            sources.outdated.remove(id);
        } else {
            sources.outdated.insert(id.clone());
        }
        if document::has_secrets(value) {
            sources.records.insert(id.clone(), value.to_vec());
        } else {
            sources.records.remove(id);
        }
        sources.managed.insert(id.clone(), webhook.clone()) != Some(webhook)
    }

    fn rebuild(&self, sources: &Sources) {
        let all = sources.listed().into_iter();
        match Table::build(all.map(|one| Webhook::clone(&one.webhook)).collect()) {
            Ok(table) => self.table.replace(table),
            Err(faults) => error!(?faults, "The webhooks cannot be taken; going on with the old ones"),
        }
    }
}

impl Sources {
    fn listed(&self) -> Vec<Listed> {
        let file = self.file.iter().map(|webhook| self.as_it_stands(webhook, Origin::File));
        let managed = self
            .managed
            .values()
            .filter(|webhook| self.in_file(&webhook.id).is_none());
        let managed = managed.map(|webhook| self.as_it_stands(webhook, Origin::Managed));
        file.chain(managed).collect()
    }

    fn one(&self, id: &WebhookId) -> Option<Listed> {
        let managed = || Some(self.as_it_stands(self.managed.get(id)?, Origin::Managed));
        self.in_file(id)
            .map(|webhook| self.as_it_stands(webhook, Origin::File))
            .or_else(managed)
    }

    /// The file is its owner's word: a managed webhook of the same id is not seen beside it.
    fn in_file(&self, id: &WebhookId) -> Option<&Webhook> {
        self.file.iter().find(|webhook| webhook.id == *id)
    }

    fn as_it_stands(&self, webhook: &Webhook, origin: Origin) -> Listed {
        Listed {
            webhook: Arc::new(self.statuses.over(webhook)),
            origin,
        }
    }
}

/// Events for it are skipped, and can be replayed once its secrets can be read.
fn locked(webhook: Webhook) -> Webhook {
    let status = match webhook.status {
        WebhookStatus::Cancelled => WebhookStatus::Cancelled,
        WebhookStatus::Active | WebhookStatus::Disabled => WebhookStatus::Disabled,
    };
    Webhook {
        status,
        disabled_reason: Some(UNREADABLE.to_owned()),
        ..webhook
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::{EventType, WebhookId};
    use serde_json::json;

    use super::*;

    fn webhook(id: &str) -> Webhook {
        Webhook::new(
            WebhookId::new(id).unwrap(),
            "https://m.example/",
            vec![EventType::OrderShipped],
        )
    }

    fn active(directory: &Directory) -> Vec<String> {
        let table = directory.table().load();
        let mut ids: Vec<String> = table
            .webhooks()
            .filter(|webhook| webhook.is_active())
            .map(|webhook| webhook.id.to_string())
            .collect();
        ids.sort();
        ids
    }

    #[test]
    fn a_status_outlives_a_reload_of_the_file() {
        let directory = Directory::new(vec![webhook("a"), webhook("b")], Keyring::default()).unwrap();
        let record = json!({ "record": "status", "webhook_id": "a", "status": "disabled", "reason": "gone", "at": "2026-01-01T00:00:00.000Z" });
        directory.take_in(b"a", Some(record.to_string().as_bytes()));
        assert_eq!(active(&directory), ["b"]);
        assert_eq!(directory.replace_file(vec![webhook("a"), webhook("c")]), Ok(2));
        assert_eq!(active(&directory), ["c"]);
    }

    fn take(directory: &Directory, document: &serde_json::Value) {
        let id = document["id"].as_str().unwrap();
        directory.take_in(id.as_bytes(), Some(document.to_string().as_bytes()));
    }

    #[test]
    fn managed_webhooks_come_change_and_go_beside_the_files() {
        let directory = Directory::new(vec![webhook("a")], Keyring::default()).unwrap();
        let document = |id: &str, version: u64| {
            json!({ "id": id, "url": "https://m.example/", "events": ["order_error"], "version": version,
                    "updated_at": "2026-01-01T00:00:00.000Z" })
        };
        take(&directory, &document("m", 1));
        take(&directory, &document("a", 1));
        assert_eq!(active(&directory), ["a", "m"]);
        let origins: Vec<Origin> = directory.list().iter().map(|one| one.origin).collect();
        assert_eq!(
            origins,
            [Origin::File, Origin::Managed],
            "the file's word counts for its own id"
        );
        directory.take_in(b"m", None);
        assert_eq!(active(&directory), ["a"]);
    }

    #[test]
    fn what_postrider_made_of_a_managed_webhook_lasts_until_its_document_is_younger() {
        let directory = Directory::new(Vec::new(), Keyring::default()).unwrap();
        let document = |at: &str, version: u64| json!({ "id": "m", "url": "https://m.example/", "events": ["order_error"], "updated_at": at, "version": version });
        take(&directory, &document("2026-01-01T00:00:00.000Z", 1));
        let status = json!({ "record": "status", "webhook_id": "m", "status": "disabled", "reason": "gone", "at": "2026-01-02T00:00:00.000Z", "version": 1 });
        directory.take_in(b"m/status", Some(status.to_string().as_bytes()));
        assert_eq!(active(&directory), [""; 0]);
        take(&directory, &document("2026-01-03T00:00:00.000Z", 2));
        assert_eq!(active(&directory), ["m"]);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_what_was_there_stays() {
        let directory = Directory::new(Vec::new(), Keyring::default()).unwrap();
        take(
            &directory,
            &json!({ "id": "m", "url": "https://m.example/", "events": ["order_error"] }),
        );
        for bad in [
            "[",
            "{}",
            r#"{"id":"other","url":"https://m.example/","events":["order_error"]}"#,
        ] {
            directory.take_in(b"m", Some(bad.as_bytes()));
        }
        directory.take_in(b"\xff", Some(b"{}"));
        assert_eq!(active(&directory), ["m"]);
    }

    #[test]
    fn a_webhook_whose_secret_cannot_be_read_is_there_and_gets_nothing() {
        let directory = Directory::new(Vec::new(), Keyring::default()).unwrap();
        take(
            &directory,
            &json!({ "id": "m", "url": "https://m.example/", "events": ["order_error"],
            "auth": { "username": "u", "password": "sealed:v1:00000000:AAAA" } }),
        );
        let one = directory.get(&WebhookId::new("m").unwrap()).unwrap();
        assert_eq!(one.webhook.disabled_reason.as_deref(), Some(UNREADABLE));
        assert_eq!(active(&directory), [""; 0]);
    }

    #[test]
    fn faulty_webhooks_change_nothing() {
        let directory = Directory::new(vec![webhook("a")], Keyring::default()).unwrap();
        let faulty = Webhook {
            filter: Some(json!({ "x": {} })),
            ..webhook("b")
        };
        assert!(directory.replace_file(vec![faulty]).is_err());
        assert_eq!(active(&directory), ["a"]);
    }
}
