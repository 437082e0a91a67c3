//! Before the start: the cluster has to be there, with the topics that are written to.

use std::time::Duration;

use postrider_kafka::rights::{Needs, Right, denial};
use postrider_kafka::topics::{Survey, Topics, TopicsError};
use postrider_kafka::{Connection, access};
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
            looked = look(connection.clone(), config.needs()) => looked?,
            () = stop.cancelled() => return Ok(None),
        };
        let reason = match looked {
            Ok((survey, denied)) if survey.missing.is_empty() && denied.is_empty() => {
                warn_of_missing_sources(&survey);
                return Ok(Some(survey));
            }
            Ok((survey, _)) if !survey.missing.is_empty() => format!(
                "topics are missing: {}; run `postrider topics create`",
                survey.missing.join(", ")
            ),
            Ok((_, denied)) => denial(&denied),
            // Trying again with the same settings comes to the same.
            Err(error @ TopicsError::Client(_)) => return Err(error.into()),
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
async fn look(connection: Connection, needs: Needs) -> anyhow::Result<Result<(Survey, Vec<Right>), TopicsError>> {
    let runtime = tokio::runtime::Handle::current();
    let survey = move || {
        let topics = Topics::new(&connection.admin(), connection.brokers(), PATIENCE)?;
        let survey = runtime.block_on(topics.survey(&needs.layout))?;
        let mut denied = survey.closed.clone();
        denied.extend(survey.hidden.iter().flat_map(|topic| needs.on(topic)));
        if survey.missing.is_empty() {
            denied.extend(access::missing(&connection, &needs, &survey.partitions, &runtime));
        }
        Ok((survey, denied))
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
