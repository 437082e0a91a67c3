//! A real Apache Kafka, run by `tests/kafka/kafka.sh`.
//!
//! The script serves a cluster for as long as its standard input stays open. The pipe's other end is held
//! here, so the cluster ends with this process, however that ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, anyhow, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::patience::{PATIENCE, until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/kafka.sh");

/// How far above a node's port its second listener is, as the script has it.
const PROXIED: u16 = 200;

static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running cluster. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Broker {
    cluster: String,
    bootstrap: String,
    serving: Child,
}

impl Broker {
    /// The single node that all tests of this process share; started by the first that asks.
    ///
    /// # Errors
    /// When it could not be started: then every test that needs it fails.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        let start = || SHARED.get_or_init(|| Self::start_blocking(1, &[]).map_err(|error| format!("{error:#}")));
        let shared = tokio::task::spawn_blocking(start).await?;
        shared.as_ref().map_err(|error| anyhow!("the shared broker: {error}"))
    }

    /// A cluster of 1 or 3 nodes for one test alone, which may break it.
    ///
    /// # Errors
    /// When it could not be started.
    pub async fn start(nodes: u32) -> anyhow::Result<Self> {
        Self::start_with(nodes, Vec::new()).await
    }

    /// The same with settings of `kafka.sh`'s.
    ///
    /// # Errors
    /// When it could not be started.
    pub async fn start_with(nodes: u32, settings: Vec<(&'static str, String)>) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(nodes, &settings)).await?
    }

    /// Three nodes that notice within seconds that one of them is gone.
    ///
    /// # Errors
    /// When they could not be started.
    pub async fn three_watchful() -> anyhow::Result<Self> {
        let extra = "broker.session.timeout.ms=3000;broker.heartbeat.interval.ms=500".to_owned();
        Self::start_with(3, vec![("KAFKA_EXTRA", extra), ("KAFKA_HEAP", "256m".to_owned())]).await
    }

    fn start_blocking(nodes: u32, settings: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("it-{}-{number}", std::process::id());
        let mut serving = script(&cluster)
            .args(["serve", &nodes.to_string()])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: Ctrl-C at the terminal ends the tests first, and the broker by them.
            .process_group(0)
            .spawn()
            .context("starting tests/kafka/kafka.sh")?;
        let stdout = serving.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let bootstrap = line.trim().strip_prefix("ready ").map(str::to_owned);
        Ok(Self {
            bootstrap: bootstrap.context("tests/kafka/kafka.sh could not start Kafka; its words are above")?,
            cluster,
            serving,
        })
    }

    /// Where it listens, as clients want to be told.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where a node's second listener is, the one behind a proxy. Nodes count from 1.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn proxied(&self, node: usize) -> anyhow::Result<SocketAddr> {
        let first = self.bootstrap.split(',').nth(node - 1).context("no such node")?;
        let mut address: SocketAddr = first.parse()?;
        address.set_port(address.port() + PROXIED);
        Ok(address)
    }

    /// The node that coordinates a group, counted from 1.
    ///
    /// # Errors
    /// When no node can tell.
    pub async fn coordinator(&self, group: &str) -> anyhow::Result<u32> {
        let any = self.bootstrap.split(',').next().context("a node")?.to_owned();
        let ask = || async { find_coordinator(&any, group).await };
        until("the group's coordinator", PATIENCE, ask).await
    }

    /// Asks the script for something, and returns what it says.
    ///
    /// # Errors
    /// When the script refuses; its words are on standard error.
    pub async fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = script(&self.cluster);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(output.status.success(), "kafka.sh {arguments:?}: {}", output.status);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The processes of its nodes that run.
    ///
    /// # Errors
    /// When the script does not tell.
    pub async fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let status = self.ask(&["status"]).await?;
        let told = status
            .lines()
            .filter_map(|line| line.split_once(": pid ")?.1.split_once(','));
        told.map(|(pid, _)| Ok(pid.parse()?)).collect()
    }

    /// Does something to one node: `kill9`, `restart`, `pause`, `cont`. Nodes count from 1.
    ///
    /// # Errors
    /// When the script refuses; its words are on standard error.
    pub async fn node(&self, verb: &'static str, node: u32) -> anyhow::Result<()> {
        let mut command = script(&self.cluster);
        command.args([verb, &node.to_string()]).stdin(Stdio::null());
        let status = tokio::task::spawn_blocking(move || command.status()).await??;
        ensure!(status.success(), "kafka.sh {verb} {node}: {status}");
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.serving.stdin.take());
        // Only fails when it was waited for already, and nobody else does.
        let _ = self.serving.wait();
    }
}

fn script(cluster: &str) -> Command {
    let mut command = Command::new(SCRIPT);
    command.env("KAFKA_CLUSTER", cluster).env("KAFKA_PORT", "auto");
    command
}

/// One FindCoordinator request of version 0, by hand: librdkafka does not tell whom it found.
async fn find_coordinator(node: &str, group: &str) -> anyhow::Result<Option<u32>> {
    const KIND: i16 = 10;
    let mut request = [&KIND.to_be_bytes()[..], &[0; 2], &[0; 4], &[0, 0]].concat();
    request.extend(u16::try_from(group.len())?.to_be_bytes());
    request.extend(group.as_bytes());
    let mut stream = TcpStream::connect(node).await?;
    stream.write_u32(u32::try_from(request.len())?).await?;
    stream.write_all(&request).await?;
    let (_length, _correlation) = (stream.read_u32().await?, stream.read_u32().await?);
    let (error, coordinator) = (stream.read_i16().await?, stream.read_i32().await?);
    Ok(if error == 0 {
        u32::try_from(coordinator).ok()
    } else {
        None
    })
}
