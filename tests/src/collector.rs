//! A collector of traces: takes OTLP over HTTP and tells the spans that came.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::patience::{PATIENCE, until};
use crate::receiver::{Answer, Receiver, Request};

const PATH: &str = "/v1/traces";

/// A span as it came, its ids in hexadecimal digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The trace.
    pub trace: String,
    /// The span.
    pub id: String,
    /// The span above it; empty for a root.
    pub parent: String,
    /// What it is of.
    pub name: String,
    /// When it began, in nanoseconds since the epoch.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// What it says, as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub is_error: bool,
}

/// A collector on loopback. Dropping it closes it.
#[derive(Debug)]
pub struct Collector(Receiver);

impl Collector {
    /// Starts one that takes everything.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let receiver = Receiver::start().await?;
        // An answer without bytes is one that says that all was taken.
        receiver.answer(PATH, [Answer::page(200, "application/x-protobuf", "")]);
        Ok(Self(receiver))
    }

    /// For `telemetry.otlp_endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.0.url("")
    }

    /// All calls, for what must not be in any.
    #[must_use]
    pub fn calls(&self) -> Vec<Request> {
        self.0.requests(PATH)
    }

    /// Waits until at least `count` spans of a trace came.
    ///
    /// # Errors
    /// When they do not come in time, or what comes is no OTLP.
    pub async fn spans(&self, trace: &str, count: usize) -> anyhow::Result<Vec<Told>> {
        let ask = || async {
            let mut spans = Vec::new();
            for call in self.calls() {
                spans.extend(read(&call)?.into_iter().filter(|span| span.trace == trace));
            }
            Ok((spans.len() >= count).then_some(spans))
        };
        until(&format!("{count} spans of {trace}"), PATIENCE, ask).await
    }
}

fn read(call: &Request) -> anyhow::Result<Vec<Told>> {
    let kind = call.header("content-type");
    ensure!(kind == "application/x-protobuf", "traces came as {kind}");
    let request = ExportTraceServiceRequest::decode(call.body.clone()).context("the call is no OTLP")?;
    let resources = request.resource_spans.into_iter();
    let spans = resources
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans);
    Ok(spans.map(told).collect())
}

fn told(span: Span) -> Told {
    const FAILED: i32 = 2;
    Told {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        is_error: span.status.is_some_and(|status| status.code == FAILED),
    }
}

fn attribute(attribute: KeyValue) -> (String, String) {
    let text = match attribute.value.and_then(|AnyValue { value }| value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key, text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
