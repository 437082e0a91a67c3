//! How the stages end: in order when asked to, all together when one of them fails.

use std::time::Duration;

use anyhow::{Context, anyhow};
use postrider_admin::Health;
use postrider_consumer::ConsumerError;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::thread;

/// The stages under way.
pub(crate) struct Stages {
    running: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Stages {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            stop,
        }
    }

    /// Runs a stage as a task.
    pub(crate) fn task(&mut self, name: &'static str, stage: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.running.spawn(async move {
            stage.await;
            unless_asked(name, &stop)
        });
    }

    /// Runs a stage on a thread of its own.
    pub(crate) fn thread<E>(
        &mut self,
        name: &'static str,
        stage: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> anyhow::Result<()>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let ended = thread::run(name, stage)?;
        let stop = self.stop.clone();
        self.running.spawn(async move {
            ended.await??;
            unless_asked(name, &stop)
        });
        Ok(())
    }

    /// Waits until every stage has ended. A fault of one stops all; what drains longer than `patience`
    /// is given up.
    pub(crate) async fn end(
        mut self,
        health: &Health,
        patience: Duration,
        give_up: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut faults = Vec::new();
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.running.join_next() => faults.extend(fault(ended)),
        }
        stop.cancel();
        health.drain();
        info!("Stopping: finishing what is in flight");
        if timeout(patience, self.join_all(&mut faults)).await.is_err() {
            error!("Stopping took too long; what was not committed is delivered again");
            give_up.cancel();
            faults.push(anyhow!("not everything in flight could be committed in time"));
        }
        first(faults)
    }

    async fn join_all(&mut self, faults: &mut Vec<anyhow::Error>) {
        while let Some(ended) = self.running.join_next().await {
            faults.extend(fault(Some(ended)));
        }
    }
}

fn unless_asked(name: &'static str, stop: &CancellationToken) -> anyhow::Result<()> {
    if stop.is_cancelled() {
        Ok(())
    } else {
        Err(anyhow!("the {name} ended before it was asked to"))
    }
}

fn fault(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> Option<anyhow::Error> {
    ended?.context("a stage panicked").and_then(|ended| ended).err()
}

/// The cause, rather than what followed from it.
fn first(mut faults: Vec<anyhow::Error>) -> anyhow::Result<()> {
    let follows = |fault: &anyhow::Error| matches!(fault.downcast_ref(), Some(ConsumerError::Abandoned));
    let cause = faults.iter().position(|fault| !follows(fault)).unwrap_or(0);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.swap_remove(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ended(stages: Stages) -> anyhow::Result<()> {
        stages
            .end(&Health::new(), Duration::from_secs(5), &CancellationToken::new())
            .await
    }

    #[tokio::test]
    async fn stages_that_end_when_asked_end_well() {
        let stop = CancellationToken::new();
        let mut stages = Stages::new(stop.clone());
        let asked = stop.clone();
        stages.task("a", async move { asked.cancelled().await });
        stages.thread("b", || Ok::<(), ConsumerError>(())).unwrap();
        stop.cancel();
        ended(stages).await.unwrap();
    }

    #[tokio::test]
    async fn a_stage_that_ends_by_itself_stops_the_others() {
        let stop = CancellationToken::new();
        let mut stages = Stages::new(stop.clone());
        let asked = stop.clone();
        stages.task("a", async move { asked.cancelled().await });
        stages.thread("b", || Ok::<(), ConsumerError>(())).unwrap();
        assert_eq!(
            ended(stages).await.unwrap_err().to_string(),
            "the b ended before it was asked to"
        );
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_cause_is_told_rather_than_what_followed_from_it() {
        let faults = vec![ConsumerError::Abandoned.into(), ConsumerError::Lost(1).into()];
        let told = first(faults).unwrap_err();
        assert!(matches!(told.downcast_ref(), Some(ConsumerError::Lost(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_drains_too_long_is_given_up() {
        let (stop, give_up) = (CancellationToken::new(), CancellationToken::new());
        let mut stages = Stages::new(stop.clone());
        stages.task("a", std::future::pending());
        stop.cancel();
        let ended = stages.end(&Health::new(), Duration::from_secs(5), &give_up).await;
        assert!(ended.is_err() && give_up.is_cancelled());
    }
}
