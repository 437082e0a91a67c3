//! What was measured: a line as soon as a part ends, a table against the targets at the end, and a file.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bare::Kind;
use crate::drain::{Beside, Drained};
use crate::options::Options;
use crate::steady::Steady;

/// What is aimed at.
const LEAST_RATIO: f64 = 0.5;
const MOST_CPU_MS_PER_1000: f64 = 25.0;
const MOST_MIB: f64 = 100.0;
const MOST_P50_US: f64 = 1_000.0;
const MOST_P99_US: f64 = 5_000.0;
/// The drain whose ratio is aimed at.
const JUDGED: &str = "drain-256";
/// Above this the machine was not ours, and numbers are worth little.
const MOST_OTHERS_PERCENT: f64 = 5.0;

/// Everything that was measured, as the file has it.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    machine: Machine,
    profile: &'a str,
    binary: Option<String>,
    bare: Kind,
    drains: Vec<Beside>,
    steady: Vec<Steady>,
    growth: Vec<Drained>,
    peers: Vec<Drained>,
    #[serde(skip)]
    options: &'a Options,
}

#[derive(Debug, Serialize)]
struct Machine {
    processors: usize,
    model: String,
    kernel: String,
    /// When the benchmark began.
    load_average: String,
}

impl Machine {
    fn look() -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
        let cpus = read("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        Ok(Self {
            processors: std::thread::available_parallelism()?.get(),
            model: model
                .unwrap_or_default()
                .trim_start_matches(['\t', ':', ' '])
                .to_owned(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: read("/proc/loadavg")?.trim().to_owned(),
        })
    }
}

impl<'a> Report<'a> {
    pub(crate) fn begin(options: &'a Options) -> Result<Self> {
        let machine = Machine::look()?;
        say(&format!(
            "{} processors ({}), load {}; daemon built with: {}",
            machine.processors, machine.model, machine.load_average, options.profile
        ))?;
        Ok(Self {
            machine,
            profile: &options.profile,
            binary: std::env::var("POSTRIDER_BIN").ok(),
            bare: options.bare,
            drains: Vec::new(),
            steady: Vec::new(),
            growth: Vec::new(),
            peers: Vec::new(),
            options,
        })
    }

    pub(crate) fn drain(&mut self, run: Beside) -> Result<()> {
        say(&format!(
            "{}  bare {:.0}/s and {:.0}/s ({:.1} ms/1000)  ratio {:.2}",
            line(&run.drained),
            run.bare_before.per_second,
            run.bare_after.per_second,
            run.bare_before.cpu_ms_per_1000,
            run.ratio
        ))?;
        self.drains.push(run);
        self.write()
    }

    pub(crate) fn steady(&mut self, run: Steady) -> Result<()> {
        let (answered, acknowledged) = (run.answered, run.acknowledged);
        say(&format!(
            "{:16} answered p50 {} p90 {} p99 {} p99.9 {} max {} µs  (acknowledged p50 {} p99 {} µs)  daemon {:.1} broker {:.1} ms/1000  \
             {:.0} MiB  others {:.0} %",
            run.name,
            answered.p50,
            answered.p90,
            answered.p99,
            answered.p999,
            answered.max,
            acknowledged.p50,
            acknowledged.p99,
            run.daemon_cpu_ms_per_1000,
            run.broker_cpu_ms_per_1000,
            run.peak_mib,
            run.others_percent
        ))?;
        self.steady.push(run);
        self.write()
    }

    pub(crate) fn growth(&mut self, run: Drained) -> Result<()> {
        say(&line(&run))?;
        self.growth.push(run);
        self.write()
    }

    pub(crate) fn peer(&mut self, run: Drained) -> Result<()> {
        say(&line(&run))?;
        self.peers.push(run);
        self.write()
    }

    pub(crate) fn absent(&self, peer: &str) -> Result<()> {
        say(&format!("{peer:16} is not on the PATH: not measured"))
    }

    /// The table, and where the file is.
    pub(crate) fn end(&self) -> Result<()> {
        let rows = self.rows();
        if !rows.is_empty() {
            say(&format!("\n{:34} {:>12} {:>14}", "", "measured", "target"))?;
        }
        for row in &rows {
            say(&row.text())?;
        }
        if self.others() > MOST_OTHERS_PERCENT {
            say(&format!(
                "\nThe machine was not quiet: up to {:.0} % of its busy time was others'. Do not quote these numbers.",
                self.others()
            ))?;
        }
        say(&format!("\n{}", self.options.out.join("results.json").display()))
    }

    fn rows(&self) -> Vec<Row> {
        let drains = self.drains.iter().flat_map(|run| {
            let name = &run.drained.name;
            let ratio = (name == JUDGED).then(|| Row::least(format!("{name}: ratio to bare"), run.ratio, LEAST_RATIO));
            let cpu = run.drained.daemon_cpu_ms_per_1000;
            let most = [
                Row::most(format!("{name}: CPU ms/1000"), cpu, MOST_CPU_MS_PER_1000),
                Row::most(format!("{name}: peak MiB"), run.drained.peak_mib, MOST_MIB),
            ];
            ratio.into_iter().chain(most)
        });
        let steady = self.steady.iter().flat_map(|run| {
            let (name, answered) = (run.name, run.answered);
            [
                Row::most(format!("{name}: p50 µs"), micros(answered.p50), MOST_P50_US),
                Row::most(format!("{name}: p99 µs"), micros(answered.p99), MOST_P99_US),
                Row::most(format!("{name}: peak MiB"), run.peak_mib, MOST_MIB),
            ]
        });
        drains.chain(steady).collect()
    }

    fn others(&self) -> f64 {
        let drains = self.drains.iter().map(|run| run.drained.others_percent);
        let steady = self.steady.iter().map(|run| run.others_percent);
        let growth = self.growth.iter().chain(&self.peers).map(|run| run.others_percent);
        drains.chain(steady).chain(growth).fold(0.0, f64::max)
    }

    /// After each part, so that what was measured is not lost with what fails later.
    fn write(&self) -> Result<()> {
        std::fs::create_dir_all(&self.options.out)?;
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(self.options.out.join("results.json"), text + "\n")?;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "no time is that long")]
fn micros(time: u64) -> f64 {
    time as f64
}

fn line(run: &Drained) -> String {
    let committed = run.committed_per_second.map(|rate| format!(" ({rate:.0}/s committed)"));
    format!(
        "{:16} {:6.0}/s{}  CPU ms/1000: daemon {:.1} broker {:.1} receiver {:.1}  {:.0} MiB  parked {}  others {:.0} %",
        run.name,
        run.per_second,
        committed.unwrap_or_default(),
        run.daemon_cpu_ms_per_1000,
        run.broker_cpu_ms_per_1000,
        run.receiver_cpu_ms_per_1000,
        run.peak_mib,
        run.parked,
        run.others_percent
    )
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("writing to standard output")
}

struct Row {
    what: String,
    measured: f64,
    target: String,
    is_met: bool,
}

impl Row {
    fn least(what: String, measured: f64, target: f64) -> Self {
        Self {
            what,
            measured,
            target: format!("≥ {target}"),
            is_met: measured >= target,
        }
    }

    fn most(what: String, measured: f64, target: f64) -> Self {
        Self {
            what,
            measured,
            target: format!("≤ {target}"),
            is_met: measured <= target,
        }
    }

    fn text(&self) -> String {
        let verdict = if self.is_met { "met" } else { "MISSED" };
        format!("{:34} {:12.2} {:>14}  {verdict}", self.what, self.measured, self.target)
    }
}
