//! Boots postrider and hands over to the command line.

mod api;
mod cli;
mod config;
mod demo;
mod explain;
#[cfg(feature = "failpoints")]
mod failpoints;
mod panics;
mod pipeline;
mod process;
mod receiver;
mod secrets;
mod shutdown;
mod telemetry;
#[cfg(feature = "otel")]
mod traces;
#[cfg(not(feature = "otel"))]
#[path = "no_traces.rs"]
mod traces;

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;

pub(crate) use postrider_types::visible;
use tikv_jemallocator::Jemalloc;

/// Most of what a delivery allocates is freed by another thread, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // More than one TLS implementation can be linked in; the first choice wins for the whole process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let variables = variables();
    #[cfg(feature = "failpoints")]
    failpoints::arm(variables.get("POSTRIDER_FAILPOINTS"));
    cli::run(env::args_os(), variables)
}

/// The environment, read once. What is not UTF-8 cannot be one of ours.
fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    env::vars_os().filter_map(text).collect()
}
