//! Traces, sent to a collector by OTLP over HTTP: a span for each delivery, and one below it for each attempt.
//!
//! Spans are made of what settles, on its way to the committer: an outcome says all that they tell, and their ids follow
//! from it, so a delivery that moves through retry topics from instance to instance stays one span. The stages before
//! know nothing of this; an attempt only names its own span in its request. What a collector does not take in time is
//! lost and counted, and holds nothing up.

mod exporter;
mod spans;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use postrider_types::outcome::Written;
use postrider_types::{Clock, Resolution, Settled};
use prometheus::IntCounter;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::telemetry::VERSION;

/// Spans that wait for the collector.
const QUEUE: usize = 8_192;
/// How long one call of the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last spans may take when all else has ended.
const ENDING: Duration = Duration::from_secs(2);

/// What makes spans and sends them.
#[derive(Debug)]
pub(crate) struct Traces {
    queue: Sender<SpanData>,
    clock: Clock,
    lost: IntCounter,
    exporting: JoinHandle<()>,
}

impl Traces {
    /// Begins to send to the collector at `endpoint`; `ca_file` names authorities beside the system's.
    pub(crate) fn start(
        endpoint: &str,
        ca_file: Option<&Path>,
        instance: &str,
        clock: Clock,
        lost: IntCounter,
    ) -> anyhow::Result<Self> {
        let mut exporter = exporter_to(endpoint, ca_file)?;
        exporter.set_resource(&resource(instance));
        Ok(Self::sending(exporter, clock, lost, QUEUE))
    }

    fn sending(
        exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static,
        clock: Clock,
        lost: IntCounter,
        queue: usize,
    ) -> Self {
        let (queue, spans) = mpsc::channel(queue);
        Self {
            queue,
            clock,
            exporting: tokio::spawn(exporter::export(spans, exporter, lost.clone())),
            lost,
        }
    }

    /// Hands on what settled, and tells of it, until its input ends.
    pub(crate) async fn run(self, mut settled: Receiver<Settled>, onward: Sender<Settled>) {
        loop {
            let record = tokio::select! {
                record = settled.recv() => record,
                () = onward.closed() => return,
            };
            let Some(record) = record else { break };
            record.resolutions.iter().for_each(|resolution| self.tell(resolution));
            if onward.send(record).await.is_err() {
                return;
            }
        }
        drop((onward, self.queue));
        // What is not sent by then is lost with the process.
        let _ = timeout(ENDING, self.exporting).await;
    }

    fn tell(&self, resolution: &Resolution) {
        let outcome = resolution.outcome.as_ref().map(Written::read);
        let Some(Ok(outcome)) = outcome else { return };
        for span in spans::of(&outcome, resolution.parent.as_ref(), self.clock.now()) {
            if self.queue.try_send(span).is_err() {
                self.lost.inc();
            }
        }
    }
}

/// Where traces go below a collector's address.
fn address(endpoint: &str) -> String {
    const PATH: &str = "/v1/traces";
    let base = endpoint.trim_end_matches('/');
    if base.ends_with(PATH) {
        base.to_owned()
    } else {
        format!("{base}{PATH}")
    }
}

fn exporter_to(endpoint: &str, ca_file: Option<&Path>) -> anyhow::Result<SpanExporter> {
    let mut tls = rustls::ClientConfig::clone(&*postrider_delivery::tls::client_config(ca_file)?);
    // The connector offers what it speaks itself.
    tls.alpn_protocols.clear();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector, PATIENCE, None))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address(endpoint))
        .with_timeout(PATIENCE)
        .build()
        .context("traces cannot be sent to telemetry.otlp_endpoint")
}

fn resource(instance: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "postrider"),
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ])
        .build()
}

#[cfg(test)]
mod tests;
