//! The real `postrider` binary: where it is, and single runs of it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::timeout;

static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// How long a single run may take.
const RUN: Duration = Duration::from_secs(60);

/// The binary: `POSTRIDER_BIN`, else built once per process by cargo, with failpoints.
///
/// # Errors
/// When it does not build.
pub async fn path() -> anyhow::Result<&'static PathBuf> {
    let found = || PATH.get_or_init(|| located().map_err(|error| format!("{error:#}")));
    let found = tokio::task::spawn_blocking(found).await?;
    found.as_ref().map_err(|error| anyhow!("the postrider binary: {error}"))
}

fn located() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("POSTRIDER_BIN") {
        return std::fs::canonicalize(&path).with_context(|| format!("POSTRIDER_BIN is {}", path.display()));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--package",
            "postrider",
            "--features",
            "failpoints",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        built.status.success(),
        "cargo build --package postrider: {}",
        built.status
    );
    let messages = String::from_utf8(built.stdout)?;
    let executable = messages.lines().filter_map(executable_of).next_back();
    executable.context("cargo names no executable")
}

fn executable_of(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    Some(message.get("executable")?.as_str()?.into())
}

/// A command for the binary that inherits none of its settings, and that the kernel kills when the thread
/// that spawned it ends: spawn it from the test's own thread.
///
/// # Errors
/// When the binary does not build.
pub async fn command(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<Command> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(path().await?)
        .args(arguments)
        .stdin(Stdio::null())
        .env("NO_COLOR", "1");
    let inherited = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTRIDER_"));
    for (name, _) in inherited {
        command.env_remove(name);
    }
    Ok(command)
}

/// What a run that ended by itself came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the binary to its end.
///
/// # Errors
/// When it does not end by itself in a minute.
pub async fn run(arguments: &[&str]) -> anyhow::Result<Ran> {
    run_command(command(arguments).await?).await
}

/// Runs a prepared command to its end.
///
/// # Errors
/// When it does not end by itself in a minute.
pub async fn run_command(mut command: Command) -> anyhow::Result<Ran> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = pid(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(output) = timeout(RUN, ended).await else {
        kill_process(pid, Signal::KILL)?;
        return Err(anyhow!("{command:?} did not end in {RUN:?}"));
    };
    let output = output??;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The pid of a child, as signals want it.
#[must_use]
pub fn pid(child: &Child) -> Pid {
    let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    raw.expect("a child has a positive pid")
}
