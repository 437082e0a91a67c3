//! The sending of spans, in batches, beside everything else.

use std::time::Duration;

use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prometheus::IntCounter;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// Spans of one call.
const BATCH: usize = 512;
/// How long a span waits for others.
const WAIT: Duration = Duration::from_secs(1);

/// Sends what comes until no more does. What the collector does not take is lost, and counted.
pub(super) async fn export(mut spans: Receiver<SpanData>, exporter: impl SpanExporter, lost: IntCounter) {
    let mut is_away = false;
    while let Some(batch) = gather(&mut spans).await {
        let count = batch.len();
        let taken = exporter.export(batch).await;
        match &taken {
            Ok(()) if is_away => info!("The collector takes traces again"),
            Err(error) if !is_away => {
                warn!(%error, "The collector of telemetry.otlp_endpoint takes no traces; they are lost until it does");
            }
            _ => {}
        }
        is_away = taken.is_err();
        if is_away {
            lost.inc_by(count as u64);
        }
    }
}

/// The next batch: full, or as much as comes soon after its first; `None` at the end.
async fn gather(spans: &mut Receiver<SpanData>) -> Option<Vec<SpanData>> {
    let mut batch = vec![spans.recv().await?];
    let end = Instant::now() + WAIT;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        match timeout_at(end, spans.recv_many(&mut batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Some(batch)
}
