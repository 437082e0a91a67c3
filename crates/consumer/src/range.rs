//! Where reading goes on when the offset it would go on at is none that the partition has. Pure.

/// Why the partition does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// Kafka's retention, or somebody by hand, removed what was there.
    Removed,
    /// The topic was deleted and made anew: its first offsets are there, and mean other records.
    MadeAnew,
    /// The end was cut off: a broker that was behind became the partition's leader.
    CutOff,
}

/// Tells whether `next` lies outside of a partition's offsets, and where to go on then. `low` is the first offset it
/// has, `high` the one after the last.
pub(crate) const fn outside(next: i64, low: i64, high: i64) -> Option<(Outside, i64)> {
    if next < low {
        Some((Outside::Removed, low))
    } else if next <= high {
        None
    } else if low == 0 {
        Some((Outside::MadeAnew, 0))
    } else {
        Some((Outside::CutOff, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_with_the_first_record_that_is_owed() {
        for (next, low, high, told) in [
            (5, 0, 10, None),
            (10, 10, 10, None),
            (5, 5, 10, None),
            (4, 5, 10, Some((Outside::Removed, 5))),
            (11, 0, 10, Some((Outside::MadeAnew, 0))),
            (11, 0, 0, Some((Outside::MadeAnew, 0))),
            (11, 3, 10, Some((Outside::CutOff, 10))),
        ] {
            assert_eq!(outside(next, low, high), told, "{next} in {low}..{high}");
        }
    }
}
