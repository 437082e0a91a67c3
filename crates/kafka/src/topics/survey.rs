//! What the daemon has to know of the cluster before it begins.

use super::cluster::{max_record, partition_counts};
use super::plan::{DEFAULT_MAX_RECORD, Layout};
use super::{Topics, TopicsError};
use crate::encode::Limits;
use crate::publisher::Partitions;
use crate::rights::Right;

/// What the daemon learned of the cluster before it began.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What each topic takes.
    pub limits: Limits,
    /// Partitions of every topic of the cluster.
    pub partitions: Partitions,
    /// Topics postrider writes to that do not exist.
    pub missing: Vec<String>,
    /// Source topics that do not exist.
    pub missing_sources: Vec<String>,
    /// Topics that may not be seen.
    pub hidden: Vec<String>,
    /// Rights that are missing to see how topics are configured.
    pub closed: Vec<Right>,
}

impl Topics {
    /// What the daemon has to know before it publishes: the topics' limits and partitions.
    ///
    /// # Errors
    /// [`TopicsError`] when Kafka is away, refuses, or a topic that is written to does not exist.
    pub async fn survey(&self, layout: &Layout) -> Result<Survey, TopicsError> {
        let cluster = self.cluster()?;
        let partitions = partition_counts(&cluster);
        let retry: Vec<String> = layout.retry_topics().into_iter().map(|(name, _)| name).collect();
        let names = &layout.results;
        let mut written = vec![
            names.topic.clone(),
            names.dead_letters.clone(),
            names.pending.clone(),
            names.notices.clone(),
        ];
        written.push(layout.webhooks.clone());
        written.extend(retry.iter().cloned());
        let absent = |names: &[String]| -> Vec<String> {
            let absent = names.iter().filter(|name| !partitions.contains_key(*name));
            absent.cloned().collect()
        };
        let (mut missing, mut sources) = (absent(&written), absent(&layout.sources));
        let hidden = self.hidden(missing.iter().chain(&sources))?;
        missing.retain(|name| !hidden.contains(name));
        sources.retain(|name| !hidden.contains(name));
        let limited = [&names.topic, &names.dead_letters].into_iter().chain(&retry);
        let limited: Vec<&str> = limited
            .filter(|name| partitions.contains_key(*name))
            .map(|name| &**name)
            .collect();
        let (configs, closed) = self.describe_allowed(&limited).await?;
        let limit = |name: &str| configs.get(name).map_or(DEFAULT_MAX_RECORD, max_record);
        let limits = Limits {
            results: usize::try_from(limit(&layout.results.topic)).unwrap_or(usize::MAX),
            dead_letters: usize::try_from(limit(&layout.results.dead_letters)).unwrap_or(usize::MAX),
            retry: retry
                .iter()
                .map(|name| limit(name))
                .min()
                .map_or(usize::MAX, |min| usize::try_from(min).unwrap_or(usize::MAX)),
        };
        Ok(Survey {
            limits,
            partitions,
            missing,
            missing_sources: sources,
            hidden,
            closed,
        })
    }
}
