//! What the probes answer. A [`Condition`] must hold for the process to be ready; a [`Heartbeat`] must
//! tick for it to be alive. Whoever knows the truth holds the handle; the server only reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a heartbeat may be silent after its first tick before the process counts as stuck.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// The condition that [`Health::drain`] makes false.
const DRAINING: &str = "draining";

/// The state of the process, as the probes see it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Why each condition does not hold; `None` where it does.
    conditions: BTreeMap<&'static str, Option<String>>,
    ticks: BTreeMap<&'static str, Instant>,
}

/// Why probes fail, by the name of what fails; empty when they pass.
pub type Reasons = BTreeMap<&'static str, String>;

impl Health {
    /// Without conditions it is ready, without heartbeats it is alive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A condition of readiness; unmet until told otherwise.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            health: self.clone(),
        };
        condition.unmet("not yet known; starting");
        condition
    }

    /// A heartbeat of liveness; it counts from its first tick on.
    #[must_use]
    pub fn heartbeat(&self, name: &'static str) -> Heartbeat {
        Heartbeat {
            name,
            health: self.clone(),
        }
    }

    /// Makes the process unready for good, because it is stopping.
    pub fn drain(&self) {
        self.set(DRAINING, Some("stopping; finishing what is in flight".to_owned()));
    }

    /// The conditions that do not hold, with why.
    #[must_use]
    pub fn unready(&self) -> Reasons {
        let state = self.state.lock();
        let unmet = |(name, reason): (&&'static str, &Option<String>)| Some((*name, reason.clone()?));
        state.conditions.iter().filter_map(unmet).collect()
    }

    /// The heartbeats that have been silent for too long.
    #[must_use]
    pub fn stuck(&self) -> Reasons {
        let state = self.state.lock();
        let silent = |(name, tick): (&&'static str, &Instant)| {
            let silence = tick.elapsed();
            (silence >= LONGEST_SILENCE).then(|| (*name, format!("no progress for {} s", silence.as_secs())))
        };
        state.ticks.iter().filter_map(silent).collect()
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        self.state.lock().conditions.insert(name, reason);
    }
}

/// One condition of readiness, held by whoever knows whether it holds.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    health: Health,
}

impl Condition {
    /// It holds.
    pub fn met(&self) {
        self.health.set(self.name, None);
    }

    /// It does not hold, and why. The reason is shown to whoever can reach the port: no secrets.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.health.set(self.name, Some(reason.into()));
    }
}

/// Progress of one loop, ticked by the loop itself.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    name: &'static str,
    health: Health,
}

impl Heartbeat {
    /// The loop went round once more.
    pub fn tick(&self) {
        self.health.state.lock().ticks.insert(self.name, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(pairs: &[(&'static str, &str)]) -> Reasons {
        pairs.iter().map(|(name, why)| (*name, (*why).to_owned())).collect()
    }

    #[test]
    fn is_ready_when_every_condition_is_met() {
        let health = Health::new();
        assert_eq!(health.unready(), reasons(&[]));
        let kafka = health.condition("kafka");
        let group = health.condition("group");
        kafka.met();
        assert_eq!(health.unready(), reasons(&[("group", "not yet known; starting")]));
        group.met();
        assert_eq!(health.unready(), reasons(&[]));
        kafka.unmet("cannot reach 127.0.0.1:9092");
        assert_eq!(health.unready(), reasons(&[("kafka", "cannot reach 127.0.0.1:9092")]));
    }

    #[test]
    fn is_not_ready_while_it_drains() {
        let health = Health::new();
        health.condition("kafka").met();
        health.drain();
        assert_eq!(
            health.unready(),
            reasons(&[("draining", "stopping; finishing what is in flight")])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn is_alive_until_a_heartbeat_that_has_begun_falls_silent() {
        let health = Health::new();
        let poll = health.heartbeat("poll");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(health.stuck(), reasons(&[]));
        poll.tick();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(health.stuck(), reasons(&[]));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.stuck(), reasons(&[("poll", "no progress for 60 s")]));
        poll.tick();
        assert_eq!(health.stuck(), reasons(&[]));
    }
}
