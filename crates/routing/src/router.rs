//! The stage: arrivals in, deliveries and settled records out. It acts on what [`plan`](crate::plan) decides.

use std::num::NonZeroUsize;
use std::sync::Arc;

use postrider_types::outcome::{Ending, Issuer};
use postrider_types::room::place_with_room;
use postrider_types::{Arrival, Carrier, Delivery, DeliveryId, Event, Resolution, Settled};
use tokio::sync::mpsc::error::TrySendError;
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
}

/// How many arrivals are taken in at once.
const TOGETHER: usize = 64;

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
        }
    }

    /// Routes until `arrivals` ends or a later stage is gone. In the latter case the records it holds
    /// are dropped unsettled, which counts as a loss.
    pub async fn run(self, mut arrivals: Receiver<Arrival>, deliveries: Sender<Delivery>, settled: Sender<Settled>) {
        let mut arrived = Vec::with_capacity(TOGETHER);
        loop {
            let count = tokio::select! {
                biased;
                () = deliveries.closed() => break,
                () = settled.closed() => break,
                count = arrivals.recv_many(&mut arrived, TOGETHER) => count,
            };
            if count == 0 {
                return;
            }
            if self.route_all(arrived.drain(..), &deliveries, &settled).await.is_err() {
                break;
            }
        }
        warn!("A later stage is gone; routing ends");
    }

    async fn route_all(
        &self,
        arrived: impl Iterator<Item = Arrival>,
        deliveries: &Sender<Delivery>,
        settled: &Sender<Settled>,
    ) -> Result<(), PeerGone> {
        for arrival in arrived {
            self.route(arrival, deliveries, settled).await?;
        }
        Ok(())
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
            hand_on(deliveries, delivery).await?;
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
        let outcome = self.issuer.outcome(event, &skip.webhook, &skip.progress, ending);
        Resolution {
            outcome: Some(outcome.into()),
            parent: self.issuer.parent(event),
            ..Resolution::default()
        }
    }
}

/// Sends, once there is room.
async fn hand_on(deliveries: &Sender<Delivery>, delivery: Delivery) -> Result<(), PeerGone> {
    match deliveries.try_send(delivery) {
        Ok(()) => Ok(()),
        Err(TrySendError::Closed(_)) => Err(PeerGone),
        Err(TrySendError::Full(same)) => {
            let place = place_with_room(deliveries).await.map_err(|_| PeerGone)?;
            place.send(same);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
