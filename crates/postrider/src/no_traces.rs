//! What stands in for traces in a build without them; the configuration refuses to ask for any.

use std::path::Path;

use postrider_types::{Clock, Settled};
use prometheus::IntCounter;
use tokio::sync::mpsc::{Receiver, Sender};

/// Nothing makes one.
#[derive(Debug)]
pub(crate) enum Traces {}

impl Traces {
    pub(crate) fn start(
        _endpoint: &str,
        _ca_file: Option<&Path>,
        _instance: &str,
        _clock: Clock,
        _lost: IntCounter,
    ) -> anyhow::Result<Self> {
        anyhow::bail!("this build sends no traces; leave telemetry.otlp_endpoint null")
    }

    pub(crate) async fn run(self, _settled: Receiver<Settled>, _onward: Sender<Settled>) {
        match self {}
    }
}
