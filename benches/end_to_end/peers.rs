//! The same drain by others, where they are installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use postrider_tests::Scene;
use postrider_tests::patience::until;

use crate::drain::{self, Drained, Measured, Plan};
use crate::receiver::Counted;
use crate::stage::{PATIENCE, Stage};

/// Another program that can POST what is in a topic.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its command.
    pub(crate) command: &'static str,
    words: &'static [&'static str],
    /// Of `peers/`.
    config: &'static str,
}

/// All that are known.
pub(crate) const PEERS: [Peer; 4] = [
    Peer {
        command: "bento",
        words: &["-c"],
        config: "bento.yaml",
    },
    Peer {
        command: "redpanda-connect",
        words: &["run"],
        config: "bento.yaml",
    },
    Peer {
        command: "rpk",
        words: &["connect", "run"],
        config: "bento.yaml",
    },
    Peer {
        command: "vector",
        words: &["--config"],
        config: "vector.yaml",
    },
];

impl Peer {
    /// Where it is installed.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        let candidates = std::env::split_paths(&folders).map(|folder| folder.join(self.command));
        candidates.into_iter().find(|path| path.is_file())
    }

    /// The kernel kills it when this program ends.
    fn start(&self, path: &Path, stage: &Stage<'_>, scene: &Scene) -> Result<Running> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(path)
            .args(self.words)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(self.config))
            .env("BENCH_BROKERS", scene.topic("tracking").bootstrap())
            .env("BENCH_TOPIC", scene.topic("tracking").name())
            .env("BENCH_GROUP", scene.group())
            .env("BENCH_URL", format!("http://{}/hooks", stage.receiver.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Ok(Running(child.with_context(|| format!("starting {}", self.command))?))
    }
}

/// Dropping it kills it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has a peer drain what postrider drains.
pub(crate) async fn run(stage: &mut Stage<'_>, peer: &Peer, path: &Path) -> Result<Drained> {
    let plan = Plan::plain(stage, peer.command, stage.options.events);
    eprintln!("{}: {} deliveries", plan.name, plan.deliveries);
    let scene = drain::prepare(stage, &plan).await?;
    stage.receiver.begin(plan.wait)?;
    let mut running = peer.start(path, stage, &scene)?;
    let pids = [running.0.id()];
    let begun = counted(stage, &mut running, 1).await?;
    let before = stage.used(&pids)?;
    stage.tell_pids(&pids);
    let ended = counted(stage, &mut running, plan.deliveries).await?;
    let after = stage.used(&pids)?;
    drop(running);
    scene.topic("tracking").delete().await?;
    let measured = Measured {
        committed_at: None,
        between: ended.requests - begun.requests,
        ended,
        before,
        after,
        parked: 0.0,
    };
    Ok(measured.told(&plan))
}

async fn counted(stage: &mut Stage<'_>, running: &mut Running, requests: u64) -> Result<Counted> {
    until("requests at the receiver", PATIENCE, || {
        let (counted, ended) = (stage.receiver.counted(), running.0.try_wait());
        async move {
            let ended = ended?;
            ensure!(ended.is_none(), "it ended: {ended:?}");
            let counted = counted?;
            Ok((counted.requests >= requests).then_some(counted))
        }
    })
    .await
}
