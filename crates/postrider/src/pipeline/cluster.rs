//! Before the start: the cluster has to be there, with the topics that are written to.

use std::time::Duration;

use postrider_kafka::Connection;
use postrider_kafka::topics::{Layout, Survey, Topics, TopicsError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::probes::Conditions;
use super::thread;
use crate::config::Config;

/// How long one look waits for a broker before it says that there is none.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits until the cluster can be reached and has what is needed; says why as long as it has not.
/// `None` when stopped before that.
pub(crate) async fn await_ready(
    config: &Config,
    connection: &Connection,
    conditions: &Conditions,
    stop: &CancellationToken,
) -> Result<Option<Survey>, anyhow::Error> {
    conditions.kafka_unmet(format!("connecting to {}", connection.brokers()));
    let mut wait = FIRST_WAIT;
    loop {
        let looked = tokio::select! {
            looked = look(connection.clone(), config.layout()) => looked?,
            () = stop.cancelled() => return Ok(None),
        };
        let reason = match looked {
            Ok(survey) if survey.missing.is_empty() => {
                warn_of_missing_sources(&survey);
                return Ok(Some(survey));
            }
            Ok(survey) => format!(
                "topics are missing: {}; run `postrider topics create`",
                survey.missing.join(", ")
            ),
            Err(error) => error.sentence(),
        };
        warn!(reason, "Not ready to read; trying again");
        conditions.kafka_unmet(reason);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(None),
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// On a thread of its own, because asking for metadata blocks.
async fn look(connection: Connection, layout: Layout) -> anyhow::Result<Result<Survey, TopicsError>> {
    let runtime = tokio::runtime::Handle::current();
    let survey = move || {
        let topics = Topics::new(&connection.admin(), connection.brokers(), PATIENCE)?;
        runtime.block_on(topics.survey(&layout))
    };
    thread::run("survey", survey)?.await
}

fn warn_of_missing_sources(survey: &Survey) {
    for topic in &survey.missing_sources {
        warn!(
            topic,
            "A source topic does not exist; reading it once upstream has created it"
        );
    }
}
