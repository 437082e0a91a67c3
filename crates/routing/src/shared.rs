//! The table of the moment: read by every event, replaced whole by whoever watches the webhooks.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::metrics::Metrics;
use crate::table::Table;

/// A handle on the current table. Clones share it.
#[derive(Debug, Clone)]
pub struct SharedTable(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: ArcSwap<Table>,
    metrics: OnceLock<Metrics>,
}

impl SharedTable {
    /// Shares a first table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self(Arc::new(Shared {
            table: ArcSwap::from_pointee(table),
            metrics: OnceLock::new(),
        }))
    }

    /// The table of this moment. It stays as it is while it is held.
    #[must_use]
    pub fn load(&self) -> Arc<Table> {
        self.0.table.load_full()
    }

    /// Puts another table in its place. Events routed from now on see it. Of several writers the last
    /// one wins, so the table has to be built by one.
    pub fn replace(&self, table: Table) {
        self.0.table.store(Arc::new(table));
        self.report();
    }

    /// Shows this table's counts on the gauge, now and after every replacement. The first caller's stay.
    pub(crate) fn reported_by(&self, metrics: &Metrics) {
        self.0.metrics.get_or_init(|| metrics.clone());
        self.report();
    }

    fn report(&self) {
        if let Some(metrics) = self.0.metrics.get() {
            metrics.table_changed(&self.load());
        }
    }
}
