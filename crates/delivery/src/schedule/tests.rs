use proptest::prelude::*;

use super::*;
use postrider_types::jitter::MAX_JITTER;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn schedule(config: RetryConfig) -> Schedule {
    Schedule::new(&config).unwrap()
}

fn defaults() -> Schedule {
    schedule(RetryConfig::default())
}

/// `initial × multiplier^(n-1)`, at most `max_interval`, for whole multipliers.
fn formula(config: &RetryConfig, attempt: u32) -> Duration {
    let factor = (config.multiplier as u128).saturating_pow(attempt.saturating_sub(1));
    let millis = config.initial.as_millis().saturating_mul(factor);
    Duration::from_millis(u64::try_from(millis.min(config.max_interval.as_millis())).unwrap())
}

#[test]
fn the_defaults_give_the_documented_steps() {
    let steps = [5, 20, 80, 320, 1_280, 5_120, 18_000].map(secs);
    assert_eq!(defaults().steps(), steps);
    let waits: Vec<Duration> = (1..=10).map(|attempt| defaults().step(attempt)).collect();
    assert_eq!(waits[..7], steps);
    assert!(waits[7..].iter().all(|wait| *wait == secs(18_000)));
}

#[test]
fn half_seconds_stay_half_seconds() {
    let constant = schedule(RetryConfig {
        initial: Duration::from_millis(500),
        multiplier: 1.0,
        ..RetryConfig::default()
    });
    assert_eq!(constant.steps(), [Duration::from_millis(500)]);
    assert_eq!(constant.step(9), Duration::from_millis(500));
    let doubling = schedule(RetryConfig {
        initial: Duration::from_millis(500),
        multiplier: 2.0,
        max_interval: secs(4),
        ..RetryConfig::default()
    });
    let steps = [500, 1_000, 2_000, 4_000].map(Duration::from_millis);
    assert_eq!(doubling.steps(), steps);
}

#[test]
fn steps_need_not_be_whole_seconds() {
    let config = |multiplier| RetryConfig {
        initial: Duration::from_millis(500),
        multiplier,
        max_interval: secs(2),
        ..RetryConfig::default()
    };
    let millis = |multiplier| -> Vec<u128> {
        schedule(config(multiplier))
            .steps()
            .iter()
            .map(Duration::as_millis)
            .collect()
    };
    assert_eq!(millis(3.0), [500, 1_500, 2_000]);
    assert_eq!(millis(1.5), [500, 750, 1_125, 1_688, 2_000]);
}

#[test]
fn fewer_retries_need_fewer_topics_but_never_none() {
    for (max_retries, topics) in [(0, 1), (1, 1), (3, 3), (7, 7), (10, 7)] {
        let config = RetryConfig {
            max_retries,
            ..RetryConfig::default()
        };
        assert_eq!(schedule(config).steps().len(), topics, "{max_retries}");
    }
}

#[test]
fn jitter_is_bounded_by_thirty_seconds() {
    assert_eq!(defaults().next(1, 1.0, None), Duration::from_millis(5_500));
    assert_eq!(defaults().next(7, 1.0, None), secs(18_030));
    assert_eq!(defaults().next(7, f64::NAN, None), secs(18_000));
}

#[test]
fn retry_after_postpones_but_never_hastens() {
    let asked = |seconds| defaults().next(2, 0.0, Some(secs(seconds)));
    assert_eq!(asked(1), secs(20));
    assert_eq!(asked(600), secs(600));
    assert_eq!(asked(1_000_000), secs(18_000));
}

#[test]
fn what_remains_takes_the_longest_topic_that_fits() {
    for (remaining, tier) in [
        (0, 5),
        (4, 5),
        (5, 5),
        (19, 5),
        (20, 20),
        (600, 320),
        (18_030, 18_000),
        (99_999, 18_000),
    ] {
        assert_eq!(defaults().tier(secs(remaining)), secs(tier), "{remaining}");
    }
}

fn configs() -> impl Strategy<Value = RetryConfig> {
    (1..4_000_u64, 1..=100_u32, 1..2_592_000_u64, 0.0..=1.0, 0..=10_u32).prop_map(
        |(initial, multiplier, max, jitter, max_retries)| RetryConfig {
            initial: secs(initial.min(max)),
            multiplier: f64::from(multiplier),
            max_interval: secs(max),
            jitter,
            max_retries,
            permanent_statuses: Vec::new(),
        },
    )
}

proptest! {
    #[test]
    fn every_step_follows_the_closed_formula(config in configs(), attempt in 0..=MAX_RETRIES) {
        prop_assert_eq!(schedule(config.clone()).step(attempt), formula(&config, attempt));
    }

    #[test]
    fn sub_second_steps_follow_it_too(millis in 1..1_000_u64, attempt in 0..=MAX_RETRIES) {
        let config = RetryConfig { initial: Duration::from_millis(millis), multiplier: 1.0, ..RetryConfig::default() };
        prop_assert_eq!(schedule(config.clone()).step(attempt), formula(&config, attempt));
    }

    #[test]
    fn a_wait_lies_between_its_interval_and_the_jitter_bound(
        config in configs(), attempt in any::<u32>(), jitter in any::<f64>(),
    ) {
        let schedule = schedule(config);
        let (interval, wait) = (schedule.step(attempt), schedule.next(attempt, jitter, None));
        prop_assert!(wait >= interval);
        prop_assert!(wait <= interval + MAX_JITTER.min(interval));
    }

    #[test]
    fn retry_after_is_a_lower_bound_up_to_the_longest_interval(
        config in configs(), attempt in any::<u32>(), asked in any::<u64>(),
    ) {
        let schedule = schedule(config.clone());
        let (plain, asked) = (schedule.next(attempt, 0.5, None), secs(asked));
        let wait = schedule.next(attempt, 0.5, Some(asked));
        prop_assert_eq!(wait, plain.max(asked.min(config.max_interval)));
    }

    #[test]
    fn a_tier_is_a_step_that_is_not_too_long(config in configs(), remaining in 0..3_000_000_u64) {
        let schedule = schedule(config);
        let (steps, remaining) = (schedule.steps(), secs(remaining));
        let tier = schedule.tier(remaining);
        prop_assert!(steps.contains(&tier));
        prop_assert!(tier <= remaining || tier == steps[0]);
        prop_assert!(steps.iter().all(|step| *step <= tier || *step > remaining));
    }
}
