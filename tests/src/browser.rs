//! A real Chromium that walks through the console. A walk is a script of `tests/browser`; it asks for what has to
//! happen outside of the browser, and pictures of what it saw stay in `target/console-screenshots`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;

/// What Chromium is called on the systems there are.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// Takes a walk through the console at an address. Whatever the walk asks for is done before it goes on.
///
/// # Errors
/// When something is not as the walk expects it, or there is no Chromium or Node.js.
pub async fn walk(
    name: &str,
    console: &str,
    facts: &Value,
    mut act: impl AsyncFnMut(&str) -> Result<()>,
) -> Result<()> {
    let folder = tokio::task::spawn_blocking(ready).await??;
    let mut child = Command::new("node")
        .arg(folder.join(format!("{name}.mjs")))
        .current_dir(&folder)
        .env("CONSOLE", console)
        .env("FACTS", facts.to_string())
        .env("CHROMIUM", chromium()?)
        .env("PICTURES", pictures(name)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("Node.js cannot be run: `.ci/setup browser` installs it")?;
    let mut answers = child.stdin.take().context("standard input is piped")?;
    let said = BufReader::new(child.stdout.take().context("standard output is piped")?);
    let (said_in, mut asked) = mpsc::channel(16);
    let reading = tokio::task::spawn_blocking(move || {
        for line in said.lines().map_while(Result::ok) {
            // Nobody reads on once an act has failed.
            if said_in.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut failed = None;
    while let Some(line) = asked.recv().await {
        let Some(what) = line.strip_prefix("please ") else {
            eprintln!("{name}: {line}");
            continue;
        };
        if let Err(error) = act(what).await {
            failed = Some(error.context(format!("{name} asked for: {what}")));
            child.kill()?;
            break;
        }
        writeln!(answers, "done")?;
    }
    drop((asked, answers));
    reading.await?;
    let status = tokio::task::spawn_blocking(move || child.wait()).await??;
    failed.map_or(Ok(()), Err)?;
    ensure!(status.success(), "the walk of {name}.mjs failed; it says why above");
    Ok(())
}

fn chromium() -> Result<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).find_map(|folder| {
        let paths = NAMES.iter().map(|name| folder.join(name));
        paths.into_iter().find(|path| path.is_file())
    });
    let missing = "there is no Chromium: `.ci/setup browser` installs it, or CHROMIUM names one";
    named.or(found).context(missing)
}

/// Where the pictures of a walk are; those of an earlier one are gone.
fn pictures(name: &str) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = target.join("console-screenshots").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// The scripts beside the packages they need, which are fetched when they are others than before.
fn ready() -> Result<PathBuf> {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock();
    if let Some(ready) = READY.get() {
        return Ok(ready.clone());
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/browser-tests");
    std::fs::create_dir_all(&folder)?;
    let locked = |folder: &Path| std::fs::read(folder.join("package-lock.json")).unwrap_or_default();
    let is_same = locked(&scripts) == locked(&folder) && folder.join("node_modules/.package-lock.json").is_file();
    for entry in std::fs::read_dir(&scripts)? {
        let path = entry?.path();
        let wanted = path.extension().is_some_and(|kind| kind == "mjs" || kind == "json");
        if let Some(name) = path.file_name().filter(|_| wanted) {
            std::fs::copy(&path, folder.join(name))?;
        }
    }
    if !is_same {
        fetch(&folder)?;
    }
    Ok(READY.get_or_init(|| folder).clone())
}

fn fetch(folder: &Path) -> Result<()> {
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    let ran = command.current_dir(folder).output();
    let ran = ran.context("npm cannot be run: `.ci/setup browser` installs it")?;
    if !ran.status.success() {
        bail!("npm ci: {}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(())
}
