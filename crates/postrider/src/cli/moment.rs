//! Moments as a person types them: a date, or how long ago.

use std::str::FromStr;
use std::time::SystemTime;

use postrider_types::{Clock, Timestamp};

/// A moment in the past or to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

/// The text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a moment is like 2026-11-22T10:00:00Z or 2026-11-22T12:00:00+02:00, or like 90m or 2h for as long ago")]
pub(crate) struct NoMoment;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        read(text, Clock::system().now()).map(Self)
    }
}

fn read(text: &str, now: Timestamp) -> Result<Timestamp, NoMoment> {
    // Without an offset it is in UTC.
    if let Ok(moment) = text.parse().or_else(|_| format!("{text}Z").parse()) {
        return Ok(moment);
    }
    let ago = humantime::parse_duration(text).map_err(|_| NoMoment)?;
    let then = SystemTime::from(now).checked_sub(ago).ok_or(NoMoment)?;
    Ok(then.max(SystemTime::UNIX_EPOCH).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_how_long_ago() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let read = |text| read(text, now).map(|moment| moment.to_string());
        assert_eq!(read("2026-11-22T10:00:00Z").unwrap(), "2026-11-22T10:00:00.000Z");
        assert_eq!(read("2026-11-22 10:00:00").unwrap(), "2026-11-22T10:00:00.000Z");
        assert_eq!(read("2026-11-22T10:00:00+02:00").unwrap(), "2026-11-22T08:00:00.000Z");
        assert_eq!(read("2026-11-22t10:00:00z").unwrap(), "2026-11-22T10:00:00.000Z");
        assert_eq!(read("90m").unwrap(), "2027-01-15T06:30:00.000Z");
        assert_eq!(read("9000 years"), Ok("1970-01-01T00:00:00.000Z".to_owned()));
        for bad in ["", "yesterday", "-2h", "10", "2026-11-22T10:00:00+25:00"] {
            assert_eq!(read(bad), Err(NoMoment), "{bad}");
        }
    }
}
