//! The stage: arrivals in, deliveries and settled records out. It acts on what [`plan`](crate::plan) decides.

use std::num::NonZeroUsize;
use std::sync::Arc;

use postrider_types::delivery::TraceParent;
use postrider_types::outcome::{Ending, Issuer};
use postrider_types::{Arrival, Carrier, Delivery, DeliveryId, Event, Resolution, Settled};
use tokio::sync::mpsc::{Receiver, Sender};
use tracing::{debug, warn};

use crate::metrics::Metrics;
use crate::plan::{Plan, Skip, plan};
use crate::shared::SharedTable;

/// Routes arrivals by the table of the moment. Events and due retries come to routers of their own, so that
/// neither kind waits behind the other.
#[derive(Debug, Clone)]
pub struct Router {
    table: SharedTable,
    issuer: Issuer,
    record_skipped: bool,
    metrics: Metrics,
    traced: bool,
}

/// A later stage has ended, and nothing can be handed on.
struct PeerGone;

impl Router {
    /// Makes the stage, and has `metrics` show the table's counts from now on.
    ///
    /// Without `record_skipped` a source event that a disabled webhook misses leaves no outcome. A
    /// parked delivery always does, because an earlier outcome promised another attempt.
    #[must_use]
    pub fn new(table: SharedTable, issuer: Issuer, record_skipped: bool, metrics: Metrics) -> Self {
        table.reported_by(&metrics);
        Self {
            table,
            issuer,
            record_skipped,
            metrics,
            traced: false,
        }
    }

    /// The same, which says of what ends here which trace it belongs to.
    #[must_use]
    pub const fn traced(mut self, traced: bool) -> Self {
        self.traced = traced;
        self
    }

    /// Routes until `arrivals` ends or a later stage is gone. In the latter case the records it holds
    /// are dropped unsettled, which counts as a loss.
    pub async fn run(self, mut arrivals: Receiver<Arrival>, deliveries: Sender<Delivery>, settled: Sender<Settled>) {
        loop {
            let arrival = tokio::select! {
                biased;
                () = deliveries.closed() => break,
                () = settled.closed() => break,
                arrival = arrivals.recv() => arrival,
            };
            let Some(arrival) = arrival else { return };
            if self.route(arrival, &deliveries, &settled).await.is_err() {
                break;
            }
        }
        warn!("A later stage is gone; routing ends");
    }

    async fn route(
        &self,
        arrival: Arrival,
        deliveries: &Sender<Delivery>,
        settled: &Sender<Settled>,
    ) -> Result<(), PeerGone> {
        let plan = self.plan(&arrival);
        let Arrival { event, record, .. } = arrival;
        let resolutions: Vec<_> = plan.skipped.iter().map(|skip| self.skip(&event, skip)).collect();
        let Some(shares) = NonZeroUsize::new(plan.owed.len()) else {
            if resolutions.is_empty() {
                self.metrics.unmatched(event.event_type);
            }
            let sent = settled.send(record.settle(resolutions)).await;
            return sent.map_err(|_| PeerGone);
        };
        for (owed, share) in plan.owed.into_iter().zip(record.split(shares, resolutions)) {
            let delivery = Delivery {
                event: Arc::clone(&event),
                webhook: owed.webhook,
                progress: owed.progress,
                due: owed.due,
                share,
            };
            deliveries.send(delivery).await.map_err(|_| PeerGone)?;
        }
        Ok(())
    }

    fn plan(&self, arrival: &Arrival) -> Plan {
        let mut plan = plan(&self.table.load(), arrival);
        if !self.record_skipped && arrival.carrier == Carrier::Source {
            plan.skipped.clear();
        }
        if plan.unreadable {
            warn!(event.origin = %arrival.event.origin, "A body cannot be read; no webhook with a filter gets the event");
        }
        plan
    }

    fn skip(&self, event: &Event, skip: &Skip) -> Resolution {
        let id = DeliveryId::new(&event.origin, &skip.webhook.id);
        debug!(delivery.id = %id, error.kind = skip.why.kind.as_str(), "Delivery skipped");
        self.metrics.skipped(event.event_type);
        let ending = Ending::skipped(skip.why.clone());
        Resolution {
            outcome: Some(self.issuer.outcome(event, &skip.webhook, &skip.progress, ending)),
            parent: self.traced.then(|| TraceParent::of_record(event)).flatten(),
            ..Resolution::default()
        }
    }
}

#[cfg(test)]
mod tests;
