//! The webhooks of this moment, and routing's table made of them.

use parking_lot::Mutex;
use postrider_routing::{SharedTable, Table};
use postrider_types::{Fault, Webhook};
use tracing::{error, info};

use crate::status::StatusTable;

#[derive(Debug)]
struct Sources {
    file: Vec<Webhook>,
    statuses: StatusTable,
}

/// Lays what the topic says over what the file says. The one writer of routing's table.
#[derive(Debug)]
pub struct Directory {
    sources: Mutex<Sources>,
    table: SharedTable,
}

impl Directory {
    /// Of the file's webhooks, with nothing said of them yet.
    ///
    /// # Errors
    /// The faults of filters and ids.
    pub fn new(file: Vec<Webhook>) -> Result<Self, Vec<Fault>> {
        let table = SharedTable::new(Table::build(file.clone())?);
        let statuses = StatusTable::default();
        Ok(Self {
            sources: Mutex::new(Sources { file, statuses }),
            table,
        })
    }

    /// Routing's table, which follows.
    #[must_use]
    pub fn table(&self) -> SharedTable {
        self.table.clone()
    }

    /// Puts other webhooks of the file in place, whole or not at all; returns how many there are.
    ///
    /// # Errors
    /// The faults of filters and ids; then everything stays as it was.
    pub fn replace_file(&self, file: Vec<Webhook>) -> Result<usize, Vec<Fault>> {
        let mut sources = self.sources.lock();
        let table = Table::build(sources.statuses.over(&file))?;
        let count = file.len();
        sources.file = file;
        self.table.replace(table);
        Ok(count)
    }

    /// Takes in a record of the webhooks topic.
    pub fn take_in(&self, key: &[u8], value: Option<&[u8]>) {
        let mut sources = self.sources.lock();
        if !sources.statuses.take_in(key, value) {
            return;
        }
        match Table::build(sources.statuses.over(&sources.file)) {
            Ok(table) => {
                self.table.replace(table);
                info!(webhook.id = %String::from_utf8_lossy(key), "A webhook's status changed");
            }
            Err(faults) => error!(?faults, "The webhooks cannot be taken; going on with the old ones"),
        }
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
        let directory = Directory::new(vec![webhook("a"), webhook("b")]).unwrap();
        let record = json!({ "record": "status", "webhook_id": "a", "status": "disabled", "reason": "gone", "at": "2026-01-01T00:00:00.000Z" });
        directory.take_in(b"a", Some(record.to_string().as_bytes()));
        assert_eq!(active(&directory), ["b"]);
        assert_eq!(directory.replace_file(vec![webhook("a"), webhook("c")]), Ok(2));
        assert_eq!(active(&directory), ["c"]);
    }

    #[test]
    fn faulty_webhooks_change_nothing() {
        let directory = Directory::new(vec![webhook("a")]).unwrap();
        let faulty = Webhook {
            filter: Some(json!({ "x": {} })),
            ..webhook("b")
        };
        assert!(directory.replace_file(vec![faulty]).is_err());
        assert_eq!(active(&directory), ["a"]);
    }
}
