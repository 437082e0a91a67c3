//! How many instructions each step of an event takes, counted by valgrind: the same number on a busy machine as on a
//! quiet one, so that a step that became dearer is found without measuring time.
//!
//! `make bench-instructions` compares with `instructions.json` and fails when a step takes over a twentieth more.
//! `BENCH_ACCEPT=1` writes the new numbers there.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use postrider_benches::operations;
use serde::{Deserialize, Serialize};

/// The word that makes this program do one step a number of times.
const STEP: &str = "step";
/// How often a step is done in the shorter run. The longer one's surplus is counted, so that what comes before and
/// after the steps is not.
const SHORT: u64 = 100;
const LONG: u64 = 600;
/// By how much a step may become dearer, in hundredths.
const TOLERANCE_PERCENT: f64 = 5.0;
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// The numbers that were accepted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Table {
    /// What they were counted with: other compilers and processors give other numbers.
    counted_with: String,
    /// Step → instructions.
    instructions: BTreeMap<String, u64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [STEP, name, times] => step(name, times.parse()?),
        _ => compare(),
    }
}

fn step(name: &str, times: u64) -> Result<()> {
    let found = operations::all()?.into_iter().find(|known| known.name == name);
    let mut operation = found.with_context(|| format!("there is no step {name}"))?;
    for _ in 0..times {
        (operation.run)();
    }
    Ok(())
}

fn compare() -> Result<()> {
    let accepted = read()?;
    let counted_with = counted_with()?;
    let mut counted = BTreeMap::new();
    for operation in operations::all()? {
        let instructions = count(operation.name)?;
        let before = accepted.instructions.get(operation.name).copied();
        say(&row(operation.name, instructions, before))?;
        counted.insert(operation.name.to_owned(), instructions);
    }
    if std::env::var("BENCH_ACCEPT").is_ok_and(|given| !given.is_empty()) {
        return write(&Table {
            counted_with,
            instructions: counted,
        });
    }
    judge(&accepted, &counted, &counted_with)
}

fn judge(accepted: &Table, counted: &BTreeMap<String, u64>, counted_with: &str) -> Result<()> {
    let dearer: Vec<&str> = counted
        .iter()
        .filter(|(name, now)| {
            let before = accepted.instructions.get(*name);
            before.is_none_or(|before| change(*before, **now) > TOLERANCE_PERCENT)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    ensure!(
        dearer.is_empty(),
        "over {TOLERANCE_PERCENT} % dearer than accepted, or not accepted yet: {}. If that is meant: make \
         bench-instructions BENCH_ACCEPT=1, and commit benches/instructions.json. What is there was counted with `{}`; this is `{counted_with}`",
        dearer.join(", "),
        accepted.counted_with
    );
    say("no step is dearer than accepted")
}

fn row(name: &str, now: u64, before: Option<u64>) -> String {
    let told = before.map_or_else(
        || "not accepted yet".to_owned(),
        |before| format!("{before:>10} accepted  {:+.1} %", change(before, now)),
    );
    format!("{name:22} {now:>10} instructions  {told}")
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before.max(1) as f64 - 1.0) * 100.0
}

/// Instructions of one step.
fn count(name: &str) -> Result<u64> {
    let (short, long) = (collected(name, SHORT)?, collected(name, LONG)?);
    Ok(long.saturating_sub(short) / (LONG - SHORT))
}

fn collected(name: &str, times: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([STEP, name, &times.to_string()]);
    let output = command
        .output()
        .context("valgrind cannot be started (Debian: apt-get install valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, number)) = line else {
        bail!("valgrind tells no number:\n{said}")
    };
    Ok(number.trim().parse()?)
}

fn counted_with() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("rustc")?;
    let version = String::from_utf8(output.stdout)?;
    Ok(format!("{} on {}", version.trim(), std::env::consts::ARCH))
}

fn read() -> Result<Table> {
    if !Path::new(TABLE).exists() {
        return Ok(Table::default());
    }
    serde_json::from_slice(&std::fs::read(TABLE)?).context(TABLE)
}

fn write(table: &Table) -> Result<()> {
    std::fs::write(TABLE, serde_json::to_string_pretty(table)? + "\n")?;
    say(&format!("accepted: {TABLE}"))
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("writing to standard output")
}
