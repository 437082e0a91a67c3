//! How cost grows with webhooks, partitions and instances.

use std::time::Duration;

use anyhow::Result;

use crate::drain::{self, Drained, Plan};
use crate::stage::Stage;

const CONCURRENCY: u64 = 256;
const PARTITIONS: i32 = 6;
/// Enough that every one of several instances has some.
const SHARED_PARTITIONS: i32 = 12;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// So many webhooks, each of an account of its own, and events for all of them in turn.
    Webhooks(u64),
    /// So many partitions of the source topic.
    Partitions(i32),
    /// So many daemons in one group.
    Instances(u64),
}

/// All rows.
pub(crate) fn runs() -> impl Iterator<Item = Run> {
    let webhooks = [1, 10, 100, 10_000].map(Run::Webhooks);
    let partitions = [6, 48].map(Run::Partitions);
    let instances = [1, 2, 4].map(Run::Instances);
    webhooks.into_iter().chain(partitions).chain(instances)
}

/// Drains a quarter of the usual number of deliveries in one of these ways.
pub(crate) async fn run(stage: &mut Stage<'_>, run: Run) -> Result<Drained> {
    let plan = plan(run, stage.options.events / 4);
    eprintln!("{}: {} deliveries", plan.name, plan.deliveries);
    let scene = drain::prepare(stage, &plan).await?;
    drain::drain(stage, &scene, &plan).await
}

fn plan(run: Run, deliveries: u64) -> Plan {
    let base = Plan {
        name: String::new(),
        deliveries,
        concurrency: CONCURRENCY,
        per_event: 1,
        accounts: 1,
        partitions: PARTITIONS,
        instances: 1,
        wait: Duration::ZERO,
        daemons_first: false,
    };
    match run {
        Run::Webhooks(accounts) => Plan {
            name: format!("webhooks-{accounts}"),
            accounts,
            ..base
        },
        Run::Partitions(partitions) => Plan {
            name: format!("partitions-{partitions}"),
            partitions,
            ..base
        },
        // The group is whole before the first event comes, so that no rebalance is measured.
        Run::Instances(instances) => Plan {
            name: format!("instances-{instances}"),
            partitions: SHARED_PARTITIONS,
            instances,
            daemons_first: true,
            ..base
        },
    }
}
