//! `postrider demo`: see it work.

use clap::Args;

use super::End;
use crate::config::{LogFormat, TelemetryConfig};
use crate::demo::{Length, run};
use crate::process;
use crate::telemetry;

#[derive(Debug, Args)]
#[command(after_help = "\
An embedded broker, a receiver on loopback that stands for three merchants, and sample events. Nothing
is installed, kept, or sent off this machine. Ends with Ctrl-C, or by itself with --exit.

Example: postrider demo --count 12 --exit")]
pub(crate) struct Demo {
    /// How many events to produce [default: no end, or 12 with --exit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    count: Option<u64>,
    /// Leave when every delivery has ended
    #[arg(long)]
    exit: bool,
    /// What to log beside it
    #[arg(long, value_name = "FILTER", default_value = "warn,postrider::pipeline::ending=off")]
    log: String,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let telemetry = TelemetryConfig {
            log: self.log,
            log_format: LogFormat::Text,
            ..TelemetryConfig::default()
        };
        telemetry::start(&telemetry)?;
        let count = self.count.or(self.exit.then_some(12));
        let runtime = process::runtime()?;
        runtime.block_on(run(Length { count, exit: self.exit }))?;
        Ok(End::Done)
    }
}
