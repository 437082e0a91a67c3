//! How many deliveries are put on their way now. Pure: moments are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// How often deliveries are put on their way: a transaction for each would cost more than they do.
const TICK: Duration = Duration::from_millis(250);

/// What a rest is longer by than it has to be: rounded down it would end just before a delivery is earned, and the next
/// look comes a tick later.
const SURELY: Duration = Duration::from_micros(1);

/// A replay's own rate. Nothing is saved up for longer than a tick, so that a replay that had to wait does not make
/// up for it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    rate: f64,
    credit: f64,
    at: Instant,
}

impl Pace {
    /// So many a second; the first of them at once.
    #[must_use]
    pub fn new(rate: u32, now: Instant) -> Self {
        Self {
            rate: f64::from(rate.max(1)),
            credit: 1.0,
            at: now,
        }
    }

    /// How many may go now.
    pub fn earned(&mut self, now: Instant) -> usize {
        let most = (self.rate * TICK.as_secs_f64() * 2.0).max(1.0);
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.credit = (self.credit + earned).min(most);
        self.at = now;
        self.credit as usize
    }

    /// So many went.
    pub fn spend(&mut self, count: usize) {
        self.credit -= count as f64;
    }

    /// How long until it is worth looking again.
    #[must_use]
    pub fn rest(&self) -> Duration {
        let until_earned = Duration::from_secs_f64(((1.0 - self.credit) / self.rate).max(0.0));
        (until_earned + SURELY).max(TICK)
    }

    /// How far apart two of them are.
    #[must_use]
    pub fn apart(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn within_any_time_no_more_go_than_the_rate_has_and_a_steady_look_gets_them_all(
            rate in 1..2_000_u32, pauses in prop::collection::vec(0..700_u64, 1..100),
        ) {
            let begun = Instant::now();
            let (mut pace, mut now, mut gone) = (Pace::new(rate, begun), begun, 0);
            for pause in pauses {
                now += Duration::from_millis(pause);
                let earned = pace.earned(now);
                pace.spend(earned);
                gone += earned;
                let most = f64::from(rate) * (now - begun).as_secs_f64() + 1.0;
                prop_assert!(gone as f64 <= most + 1e-6, "{gone} of {most}");
            }
        }
    }

    fn gone_in_a_minute(rate: u32) -> usize {
        let begun = Instant::now();
        let (mut pace, mut now, mut gone) = (Pace::new(rate, begun), begun, 0);
        while now - begun < Duration::from_secs(60) {
            let earned = pace.earned(now);
            pace.spend(earned);
            gone += earned;
            now += pace.rest();
        }
        gone
    }

    #[test]
    fn whoever_looks_after_each_rest_keeps_every_rate() {
        for rate in 1..=2_000 {
            let gone = gone_in_a_minute(rate);
            assert!(gone as f64 >= f64::from(rate) * 58.0, "{gone} at {rate}");
        }
    }
}
