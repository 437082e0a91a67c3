//! How the stages end: in order when asked to, all together when one of them fails.

use std::time::Duration;

use anyhow::Context;
use postrider_admin::Health;
use postrider_consumer::ConsumerError;
use postrider_kafka::CommitterError;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::thread;

/// An end at the wrong time. Mostly it follows from another stage's fault.
#[derive(Debug, thiserror::Error)]
enum Untimely {
    #[error("the {0} ended before it was asked to")]
    Early(&'static str),
    #[error("not everything in flight could be committed in time")]
    Late,
}

/// How directly a fault tells what is wrong; the first is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// What others say of an instance whose place is taken may come of it too.
    Displaced,
    Cause,
    /// May come of another's fault: the consumer that can commit no more tells why itself, but leaves after the
    /// committer; and a stage that ends drops what it holds.
    Symptom,
    Untimely,
    Abandoned,
}

impl Rank {
    fn of(fault: &anyhow::Error) -> Self {
        match (fault.downcast_ref(), fault.downcast_ref()) {
            (Some(ConsumerError::Displaced(_)), _) => Self::Displaced,
            (Some(ConsumerError::Abandoned), _) => Self::Abandoned,
            (Some(ConsumerError::Lost(_)), _) | (_, Some(CommitterError::Consumer(_))) => Self::Symptom,
            _ if fault.is::<Untimely>() => Self::Untimely,
            _ => Self::Cause,
        }
    }
}

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
            faults.push(Untimely::Late.into());
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
        Err(Untimely::Early(name).into())
    }
}

fn fault(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> Option<anyhow::Error> {
    ended?.context("a stage panicked").and_then(|ended| ended).err()
}

/// The cause, rather than what followed from it; of several the one that came first.
fn first(faults: Vec<anyhow::Error>) -> anyhow::Result<()> {
    let told = faults.into_iter().min_by_key(Rank::of);
    told.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

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

    fn told(faults: impl IntoIterator<Item = anyhow::Error>) -> String {
        first(faults.into_iter().collect()).unwrap_err().to_string()
    }

    fn early() -> anyhow::Error {
        Untimely::Early("dispatcher").into()
    }

    fn of_consumer() -> anyhow::Error {
        CommitterError::Consumer(KafkaError::ConsumerCommit(RDKafkaErrorCode::Fatal)).into()
    }

    fn replaced() -> ConsumerError {
        ConsumerError::Replaced(KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId))
    }

    #[test]
    fn the_cause_is_told_rather_than_what_followed_from_it() {
        let cause = replaced().to_string();
        let followed = || {
            let lost = ConsumerError::Lost(1).into();
            [ConsumerError::Abandoned.into(), early(), lost, of_consumer()]
        };
        assert_eq!(told(followed().into_iter().chain([replaced().into()])), cause);
        assert_eq!(
            told([anyhow::Error::from(replaced())].into_iter().chain(followed())),
            cause
        );
    }

    #[test]
    fn an_instance_that_is_displaced_is_told_from_one_that_is_replaced_whoever_comes_first() {
        let fenced = || KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId);
        let displaced = || ConsumerError::Displaced(fenced()).into();
        for faults in [[replaced().into(), displaced()], [displaced(), replaced().into()]] {
            assert_eq!(told(faults), ConsumerError::Displaced(fenced()).to_string());
        }
    }

    #[test]
    fn what_follows_from_another_fault_is_told_when_that_one_is_not_known() {
        assert_eq!(
            told([ConsumerError::Abandoned.into(), early(), of_consumer()]),
            of_consumer().to_string()
        );
        assert_eq!(
            told([ConsumerError::Abandoned.into(), early(), Untimely::Late.into()]),
            early().to_string()
        );
        assert_eq!(
            told([ConsumerError::Abandoned.into()]),
            ConsumerError::Abandoned.to_string()
        );
    }

    #[tokio::test]
    async fn the_fault_of_a_stage_is_told_though_those_that_it_ended_are_gone_before() {
        let (ended_by_it, gone) = tokio::sync::oneshot::channel::<()>();
        let (left, has_left) = std::sync::mpsc::channel();
        let mut stages = Stages::new(CancellationToken::new());
        stages.task("dispatcher", async move {
            let _ = gone.await;
            left.send(()).unwrap();
        });
        let fails = move || {
            drop(ended_by_it);
            has_left.recv().unwrap();
            Err(replaced())
        };
        stages.thread("committer", fails).unwrap();
        assert_eq!(ended(stages).await.unwrap_err().to_string(), replaced().to_string());
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
