//! Wall time, as an argument. Anchored once and carried on by the monotonic clock, so that small steps of the system's
//! clock are none here, and a paused test clock moves it too. Where the system's clock was set to quite another time since
//! (a machine that started before it knew the time, or slept), that time counts: signatures have to bear the true one.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::time::Instant;

/// A moment in milliseconds since the Unix epoch, as Kafka counts them.
///
/// Serialised as RFC 3339 in UTC with milliseconds, and read with any offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `wait` more; saturates. Anything below a millisecond is rounded up, so that
    /// nothing becomes due early.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
    }
}

impl Timestamp {
    /// The text that is shown, as ASCII. What lies before 1970 or after 9999 is shown as the nearest that does not: such
    /// a record timestamp is nonsense, but not ours to judge.
    #[must_use]
    pub fn text(self) -> [u8; 24] {
        const LAST: i64 = 253_402_300_799_999;
        let millis = self.0.clamp(0, LAST).unsigned_abs();
        let (year, month, day) = date_of(millis / 86_400_000);
        let time = millis % 86_400_000;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, len, number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, time / 3_600_000),
            (14, 2, time / 60_000 % 60),
            (17, 2, time / 1_000 % 60),
            (20, 3, time % 1_000),
        ] {
            write_digits(&mut text[at..at + len], number);
        }
        text
    }
}

/// Year, month and day of so many days after 1970-01-01, in the Gregorian calendar. Years are counted from March,
/// so that the day that leap years have is their last.
const fn date_of(days: u64) -> (u64, u64, u64) {
    const TO_MARCH_OF_YEAR_0: u64 = 719_468;
    const OF_400_YEARS: u64 = 146_097;
    let days = days + TO_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / OF_400_YEARS, days % OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) = if month_from_march < 10 {
        (month_from_march + 3, 0)
    } else {
        (month_from_march - 9, 1)
    };
    (era * 400 + year_of_era + next_year, month, day)
}

fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).expect("digits and marks are ASCII"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).expect("digits and marks are ASCII"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The text is no time of RFC 3339, or one before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is like 2026-11-22T10:00:00Z or 2026-11-22T12:00:00+02:00")]
pub struct NoTimestamp;

impl FromStr for Timestamp {
    type Err = NoTimestamp;

    /// Reads RFC 3339: any offset, any number of decimals, `t` and `z` too, and a space in place of the `T`.
    fn from_str(text: &str) -> Result<Self, NoTimestamp> {
        let (local, offset) = split_offset(text).ok_or(NoTimestamp)?;
        // The reader is lenient: it takes an offset, of which there was one already, and a point without decimals.
        if local.contains('+') || !local.ends_with(|last: char| last.is_ascii_digit()) {
            return Err(NoTimestamp);
        }
        let time = humantime::parse_rfc3339_weak(&local.replace('t', "T")).map_err(|_| NoTimestamp)?;
        Ok(Self(Self::from(time).0.saturating_sub(offset)))
    }
}

/// A time's text without its offset, and the offset from UTC in milliseconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':')?;
    let minutes = below(hours, 24)? * 60 + below(minutes, 60)?;
    Some((local, sign * minutes * 60_000))
}

/// A number of two digits, below a limit.
fn below(text: &str, limit: i64) -> Option<i64> {
    let is_number = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number < limit)
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// How far the system's clock may be from what the monotonic one has carried on before it is followed: more than a leap
/// second, and far less than what receivers of signatures allow for.
const APART: Duration = Duration::from_secs(2);

/// Tells the wall time. Cheap to copy; made once and passed down. It goes back where the system's clock is set back by
/// more than two seconds, so durations are measured by [`Instant`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    anchor: Instant,
    system: Option<fn() -> Timestamp>,
}

impl Clock {
    /// A clock that tells the system's time.
    #[must_use]
    pub fn system() -> Self {
        Self::following(system_time)
    }

    /// A clock that starts at a given time and follows no other, for tests.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self {
            wall,
            anchor: Instant::now(),
            system: None,
        }
    }

    fn following(system: fn() -> Timestamp) -> Self {
        Self {
            system: Some(system),
            ..Self::starting_at(system())
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(i64::MAX);
        let carried = Timestamp(self.wall.0.saturating_add(elapsed));
        self.system.map_or(carried, |system| unless_set(carried, system()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the system's clock is read"
)]
fn system_time() -> Timestamp {
    SystemTime::now().into()
}

/// The time that was carried on, unless the system's clock was set to another meanwhile.
fn unless_set(carried: Timestamp, system: Timestamp) -> Timestamp {
    let apart = carried.since(system).max(system.since(carried));
    if apart > APART { system } else { carried }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_moment_is_written_as_humantime_does(millis in 0..253_402_300_800_000_i64) {
            let expected = humantime::format_rfc3339_millis(SystemTime::from(Timestamp(millis))).to_string();
            prop_assert_eq!(Timestamp(millis).to_string(), expected);
        }
    }

    #[test]
    fn every_day_is_written_as_humantime_does() {
        for day in 0..2_932_897 {
            let moment = Timestamp(day * 86_400_000 + 86_399_999);
            let expected = humantime::format_rfc3339_millis(SystemTime::from(moment)).to_string();
            assert_eq!(moment.to_string(), expected);
        }
    }

    #[test]
    fn is_written_in_utc_with_milliseconds() {
        assert_eq!(
            Timestamp::from_millis(1_763_805_600_137).to_string(),
            "2025-11-22T10:00:00.137Z"
        );
    }

    #[test]
    fn every_form_of_rfc_3339_is_read() {
        for (text, shown) in [
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000Z"),
            ("2026-11-22t10:00:00.5z", "2026-11-22T10:00:00.500Z"),
            ("2026-11-22 10:00:00Z", "2026-11-22T10:00:00.000Z"),
            ("2026-11-22T10:00:00.1234567+00:00", "2026-11-22T10:00:00.123Z"),
            ("2026-11-22T10:00:00-00:00", "2026-11-22T10:00:00.000Z"),
            ("2026-11-22T01:30:00+02:00", "2026-11-21T23:30:00.000Z"),
            ("2026-11-22T10:00:00.25-23:59", "2026-11-23T09:59:00.250Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), shown, "{text}");
            let read: Timestamp = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "+02:00",
            "2026-11-22",
            "2026-11-22T10:00Z",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00ZZ",
            "2026-11-22T10:00:00Z+02:00",
            "2026-11-22T10:00:00+00:00Z",
            "2026-11-22T10:00:00.5+00:00Z",
            "2026-11-22T10:00:00+24:00",
            "2026-11-22T10:00:00+02:60",
            "2026-11-22T10:00:00+0200",
            "2026-11-22T10:00:00+2:000",
            "2026-11-22T10:00:00++2:00",
            "2026-11-22T10:00:00+02:+1",
            "2026-11-22T10:00:00ä2:00",
            "2026-13-22T10:00:00Z",
            "1969-12-31T23:59:59Z",
            "äääääääääääääääääää0Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NoTimestamp), "{text}");
        }
    }

    #[test]
    fn nonsense_timestamps_are_shown_without_a_panic() {
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1970-01-01T00:00:00.000Z");
        assert!(Timestamp::from_millis(i64::MAX).to_string().starts_with("9999-12-31"));
    }

    #[test]
    fn a_fraction_of_a_millisecond_never_makes_due_early() {
        let due = Timestamp::from_millis(10).after(Duration::from_micros(1));
        assert_eq!(due, Timestamp::from_millis(11));
    }

    #[tokio::test(start_paused = true)]
    async fn follows_a_paused_clock() {
        let clock = Clock::starting_at(Timestamp::from_millis(1_000));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(6_000));
    }

    #[tokio::test(start_paused = true)]
    async fn small_steps_of_the_systems_clock_are_none_and_large_ones_are_followed() {
        static SYSTEM: AtomicI64 = AtomicI64::new(1_000);
        let clock = Clock::following(|| Timestamp(SYSTEM.load(Ordering::Relaxed)));
        tokio::time::advance(Duration::from_secs(5)).await;
        for (system, told) in [
            (6_000, 6_000),
            (8_000, 6_000),
            (4_000, 6_000),
            (1_763_805_600_137, 1_763_805_600_137),
            (3_999, 3_999),
            (6_001, 6_000),
        ] {
            SYSTEM.store(system, Ordering::Relaxed);
            assert_eq!(clock.now(), Timestamp(told), "{system}");
        }
    }

    proptest! {
        #[test]
        fn the_time_told_is_never_far_from_the_systems(carried in any::<i64>(), system in any::<i64>()) {
            let told = unless_set(Timestamp(carried), Timestamp(system));
            let apart = told.since(Timestamp(system)).max(Timestamp(system).since(told));
            prop_assert!(apart <= APART);
            prop_assert!(told.0 == carried || told.0 == system);
        }
    }
}
