//! How old the oldest delivery of each webhook is that has not ended: asked when it is scraped, so that it grows
//! while nothing happens.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use postrider_types::{Named, Undelivered, WebhookId};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts};

/// The collector.
#[derive(Debug)]
pub(super) struct Oldest {
    undelivered: Undelivered,
    named: Named,
    gauges: GaugeVec,
    /// The labels there are series of.
    shown: Mutex<HashSet<String>>,
}

impl Oldest {
    pub(super) fn new(undelivered: Undelivered, named: Named) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "postrider_webhook_oldest_undelivered_seconds",
            "Age of the oldest event that waits, is under way or is parked for a webhook, replays left out",
        );
        Ok(Self {
            undelivered,
            named,
            gauges: GaugeVec::new(opts, &["webhook"])?,
            shown: Mutex::default(),
        })
    }

    fn show(&self, ages: &[(WebhookId, Duration)]) {
        let oldest = oldest_by(|webhook| self.named.label(webhook), ages);
        let mut shown = self.shown.lock();
        shown.extend(self.named.all().iter().map(|webhook| webhook.as_str().to_owned()));
        shown.extend(oldest.keys().map(|label| (*label).to_owned()));
        for label in &*shown {
            let age = oldest.get(&**label).copied().unwrap_or_default();
            self.gauges.with_label_values(&[label]).set(age.as_secs_f64());
        }
    }
}

/// The greatest age of each label.
fn oldest_by<'a>(
    label: impl Fn(&'a WebhookId) -> &'a str,
    ages: &'a [(WebhookId, Duration)],
) -> HashMap<&'a str, Duration> {
    let mut oldest: HashMap<&str, Duration> = HashMap::new();
    for (webhook, age) in ages {
        let known = oldest.entry(label(webhook)).or_default();
        *known = (*known).max(*age);
    }
    oldest
}

impl Collector for Oldest {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.show(&self.undelivered.ages());
        self.gauges.collect()
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::{Clock, Timestamp};
    use prometheus::{Registry, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[tokio::test(start_paused = true)]
    async fn an_age_grows_while_nothing_happens_and_is_zero_once_all_ended() {
        let undelivered = Undelivered::new(Clock::starting_at(Timestamp::from_millis(100_000)));
        let registry = Registry::new();
        let names = Named::new(1);
        let oldest = Oldest::new(undelivered.clone(), names.clone()).unwrap();
        registry.register(Box::new(oldest)).unwrap();
        let webhook = WebhookId::new("a").unwrap();
        assert_eq!((text(&registry).as_str(), names.label(&webhook)), ("", "a"));
        assert_eq!(
            text(&registry),
            r#"postrider_webhook_oldest_undelivered_seconds{webhook="a"} 0"#
        );
        let hold = |id: &str, millis| undelivered.hold(&WebhookId::new(id).unwrap(), Timestamp::from_millis(millis));
        let first = hold("a", 90_000);
        assert_eq!(
            text(&registry),
            r#"postrider_webhook_oldest_undelivered_seconds{webhook="a"} 10"#
        );
        let _others = [hold("b", 95_000), hold("c", 80_000)];
        drop(first);
        tokio::time::advance(Duration::from_secs(5)).await;
        let lines = [
            r#"postrider_webhook_oldest_undelivered_seconds{webhook="a"} 0"#,
            r#"postrider_webhook_oldest_undelivered_seconds{webhook="other"} 25"#,
        ];
        assert_eq!(text(&registry), lines.join("\n"));
    }
}
