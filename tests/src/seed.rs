//! Chance that can be had again: a test's random choices all come from one number, which it prints.

use std::time::Duration;

/// The variable that sets the number.
pub const VARIABLE: &str = "CHAOS_SEED";

/// A stream of numbers that its seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seed {
    first: u64,
    state: u64,
}

impl Seed {
    /// The stream of a number.
    #[must_use]
    pub const fn new(first: u64) -> Self {
        Self { first, state: first }
    }

    /// The stream of a test: the variable's, else always the same one for the same name.
    ///
    /// # Panics
    /// When the variable holds no number.
    #[must_use]
    pub fn of(test: &str) -> Self {
        let set = std::env::var(VARIABLE).ok();
        let first = set.map_or_else(
            || mixed(test.bytes().fold(0, |sum, byte| mixed(sum ^ u64::from(byte)))) % 1_000_000,
            |text| text.parse().expect("CHAOS_SEED is a number"),
        );
        Self::new(first)
    }

    /// What to set the variable to for the same choices.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.state) % end
    }

    /// A time between two others, by the millisecond.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest).as_millis();
        shortest + Duration::from_millis(self.below(u64::try_from(span).unwrap_or(u64::MAX).saturating_add(1)))
    }
}

/// A number that looks unlike the one it is made of.
#[must_use]
pub const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let drawn = |mut seed: Seed| -> Vec<u64> { (0..20).map(|_| seed.below(1_000)).collect() };
        assert_eq!(drawn(Seed::new(7)), drawn(Seed::new(7)));
        assert_ne!(drawn(Seed::new(7)), drawn(Seed::new(8)));
    }

    #[test]
    fn times_stay_between_their_ends() {
        let mut seed = Seed::new(1);
        let (shortest, longest) = (Duration::from_millis(200), Duration::from_millis(203));
        let drawn: Vec<Duration> = (0..100).map(|_| seed.between(shortest, longest)).collect();
        assert_eq!(drawn.iter().min(), Some(&shortest));
        assert_eq!(drawn.iter().max(), Some(&longest));
    }
}
