//! How cost grows with webhooks, partitions and instances.

use anyhow::Result;

use crate::drain::{self, Drained, Plan};
use crate::stage::Stage;

const PARTITIONS: i32 = 6;
/// Enough that every one of several instances has some.
const SHARED_PARTITIONS: i32 = 12;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Webhooks, each of an account of its own; events go to all of them in turn.
    webhooks: u64,
    partitions: i32,
    instances: u64,
}

const fn webhooks(name: &'static str, webhooks: u64) -> Row {
    Row {
        name,
        webhooks,
        partitions: PARTITIONS,
        instances: 1,
    }
}

const fn partitions(name: &'static str, partitions: i32) -> Row {
    Row {
        name,
        webhooks: 1,
        partitions,
        instances: 1,
    }
}

const fn instances(name: &'static str, instances: u64) -> Row {
    Row {
        name,
        webhooks: 1,
        partitions: SHARED_PARTITIONS,
        instances,
    }
}

/// All rows.
pub(crate) const ROWS: [Row; 9] = [
    webhooks("webhooks-1", 1),
    webhooks("webhooks-10", 10),
    webhooks("webhooks-100", 100),
    webhooks("webhooks-10000", 10_000),
    partitions("partitions-6", 6),
    partitions("partitions-48", 48),
    instances("instances-1", 1),
    instances("instances-2", 2),
    instances("instances-4", 4),
];

/// Drains in one of these ways.
pub(crate) async fn run(stage: &mut Stage<'_>, row: &Row) -> Result<Drained> {
    let plan = Plan {
        accounts: row.webhooks,
        partitions: row.partitions,
        instances: row.instances,
        // The group is whole before the first event comes, so that no rebalance is measured.
        daemons_first: row.name.starts_with("instances"),
        ..Plan::plain(stage, row.name, stage.options.events)
    };
    eprintln!("{}: {} deliveries", plan.name, plan.deliveries);
    let scene = drain::prepare(stage, &plan).await?;
    drain::drain(stage, &scene, &plan).await
}
