//! What is measured, and how much of it.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::bare::Kind;
use crate::{drain, growth, steady};

/// The words of the command line and the settings of the environment.
#[derive(Debug)]
pub(crate) struct Options {
    parts: Vec<String>,
    /// `BENCH_EVENTS`: deliveries of a drain.
    pub(crate) events: u64,
    /// `BENCH_WARM_UP`: deliveries of each drain before anything is measured.
    pub(crate) warm_up: u64,
    /// `BENCH_SECONDS`: how long a steady load goes on.
    pub(crate) seconds: u64,
    /// `BENCH_RATE`: events a second of a steady load.
    pub(crate) rate: u64,
    /// `BENCH_PARTITIONS`: of the source topic.
    pub(crate) partitions: i32,
    /// `BENCH_BARE`: how the bare client keeps its connections.
    pub(crate) bare: Kind,
    /// `BENCH_CONFIG`: a JSON document that is laid over the daemon's configuration.
    pub(crate) config: Option<String>,
    /// `BENCH_PROFILE`: what the daemon was built with, as whoever built it says.
    pub(crate) profile: String,
    /// `BENCH_OUT`: the folder for `results.json`.
    pub(crate) out: PathBuf,
}

impl Options {
    /// # Errors
    /// When a word names no part.
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        // Cargo adds `--bench` by itself.
        let parts: Vec<String> = arguments.iter().filter(|word| *word != "--bench").cloned().collect();
        let known = names();
        for part in &parts {
            ensure!(
                known.contains(&part.as_str()),
                "there is no part `{part}`; there are: {}",
                known.join(" ")
            );
        }
        Ok(Self {
            parts,
            events: number("BENCH_EVENTS", 500_000),
            warm_up: number("BENCH_WARM_UP", 500_000),
            seconds: number("BENCH_SECONDS", 30),
            rate: number("BENCH_RATE", 500),
            partitions: i32::try_from(number("BENCH_PARTITIONS", 6))?,
            bare: bare()?,
            config: std::env::var("BENCH_CONFIG").ok(),
            profile: std::env::var("BENCH_PROFILE").unwrap_or_else(|_| "not told".to_owned()),
            out: std::env::var_os("BENCH_OUT").map_or_else(|| "target/bench".into(), PathBuf::from),
        })
    }

    /// Whether a part is wanted: named itself or by its kind, or nothing was named.
    pub(crate) fn wants(&self, kind: &str, name: &str) -> bool {
        self.parts.is_empty() || self.names(kind) || self.names(name)
    }

    /// Whether a part was named.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part == name)
    }
}

fn names() -> Vec<&'static str> {
    let drains = drain::SHAPES.iter().map(|shape| shape.name);
    let steady = steady::ARRIVALS.iter().map(|arrivals| arrivals.name());
    let growth = growth::ROWS.iter().map(|row| row.name);
    let kinds = ["drain", "steady", "growth", "peers"];
    drains.chain(steady).chain(growth).chain(kinds).collect()
}

fn bare() -> Result<Kind> {
    match std::env::var("BENCH_BARE").as_deref() {
        Err(_) | Ok("own") => Ok(Kind::Own),
        Ok("pool") => Ok(Kind::Pool),
        Ok(other) => bail!("BENCH_BARE is own or pool, not `{other}`"),
    }
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}
