//! A running `postrider run`: started with a configuration of the test's, asked over its admin port, signalled
//! by its pid. What it says on standard error is kept, and shown when the test fails.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::binary;
use crate::patience::{PATIENCE, until};
use crate::request;

/// How much of the log is shown when a test fails, in lines.
const SHOWN: usize = 60;

/// A daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    config: PathBuf,
    child: Child,
    admin: SocketAddr,
    token: Option<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts the daemon on a configuration file and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; the error ends with what it said.
    pub async fn start(config: &Path) -> anyhow::Result<Self> {
        let mut daemon = Self::spawn(config).await?;
        daemon.ready().await?;
        Ok(daemon)
    }

    /// Starts the daemon and does not wait. Call it from the test's own thread.
    ///
    /// # Errors
    /// When the file is not there, or the binary does not build.
    pub async fn spawn(config: &Path) -> anyhow::Result<Self> {
        Self::spawn_with(config, None).await
    }

    /// The same, to abort by itself at a failpoint: `k4=2` at the second time it comes to `k4`.
    ///
    /// # Errors
    /// When the file is not there, or the binary does not build.
    pub async fn spawn_to_abort(config: &Path, failpoint: &str) -> anyhow::Result<Self> {
        Self::spawn_with(config, Some(failpoint)).await
    }

    async fn spawn_with(config: &Path, failpoint: Option<&str>) -> anyhow::Result<Self> {
        let document: Value = serde_json::from_slice(&std::fs::read(config)?)?;
        let listen = document["admin"]["listen"].as_str().context("admin.listen is set")?;
        let mut command = binary::command(["run".as_ref(), "--config".as_ref(), config.as_os_str()]).await?;
        command.envs(failpoint.map(|failpoint| ("POSTRIDER_FAILPOINTS", failpoint)));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().expect("standard error is piped");
        Ok(Self {
            config: config.to_owned(),
            admin: listen.parse()?,
            token: None,
            log: kept(stderr),
            child,
        })
    }

    /// Waits for `/readyz` to say yes.
    ///
    /// # Errors
    /// When the daemon ends, or stays unready.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let admin = self.admin;
        let mut ended = || self.child.try_wait();
        let ready = until("/readyz", PATIENCE, || {
            let ended = ended();
            async move {
                if let Some(status) = ended? {
                    anyhow::bail!("the daemon ended: {status}");
                }
                let answer = request::get(admin, "/readyz").await;
                Ok(matches!(answer, Ok((200, _))).then_some(()))
            }
        });
        let ready = ready.await;
        ready.with_context(|| self.log_tail())
    }

    /// The answer of the admin port to a GET.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        request::get(self.admin, path).await
    }

    /// The answer of the API to a request with or without a JSON body.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn api(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        request::send(
            self.admin,
            method,
            &format!("/api/v1{path}"),
            body,
            self.token.as_deref(),
        )
        .await
    }

    /// From now on the API is asked with a token.
    pub fn authorize(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    /// The words it was started with.
    ///
    /// # Errors
    /// When the daemon is no more.
    pub fn command_line(&self) -> anyhow::Result<String> {
        let words = std::fs::read(format!("/proc/{}/cmdline", self.child.id()))?;
        Ok(String::from_utf8_lossy(&words).replace('\0', " "))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the admin port is.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The sum of a metric's series whose labels hold all of `labels`, each written `name="value"`.
    ///
    /// # Errors
    /// When `/metrics` does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let (status, text) = self.get("/metrics").await?;
        ensure!(status == 200, "/metrics answered {status}");
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (known, rest) = series.split_once('{').unwrap_or((series, ""));
            let wanted = known == name && labels.iter().all(|label| rest.contains(label));
            wanted.then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// What of its memory is in RAM, in bytes.
    ///
    /// # Errors
    /// When the daemon is no more.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("VmRSS is told in kB")?;
        Ok(kibibytes.trim().parse::<u64>()? * 1024)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the daemon is no more.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(binary::pid(&self.child), signal)?)
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it had ended before.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.exit(PATIENCE).await.map(drop)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn exit(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let ended = until("the daemon's end", limit, || {
            let ended = self.child.try_wait();
            async move { Ok(ended?) }
        });
        let ended = ended.await;
        ended.with_context(|| self.log_tail())
    }

    /// How it ended, when it has.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Starts it again on its configuration, as a supervisor does, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        *self = Self::start(&self.config.clone()).await?;
        Ok(())
    }

    /// Asks it to stop by SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.exit(PATIENCE).await
    }

    /// Waits until it has said something.
    ///
    /// # Errors
    /// When it does not say it in time.
    pub async fn says(&self, words: &str) -> anyhow::Result<String> {
        let said = || async { Ok(self.log().into_iter().find(|line| line.contains(words))) };
        let line = until(&format!("`{words}` in the log"), PATIENCE, said).await;
        line.with_context(|| self.log_tail())
    }

    /// What it said so far, in lines.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    fn log_tail(&self) -> String {
        let log = self.log.lock();
        let mut tail = String::from("the daemon said:");
        for line in &log[log.len().saturating_sub(SHOWN)..] {
            // Writing to a String does not fail.
            let _ = write!(tail, "\n  {line}");
        }
        tail
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

fn kept(stderr: ChildStderr) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            kept.lock().push(line);
        }
    });
    log
}
