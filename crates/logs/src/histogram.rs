//! Times spent, counted in classes of which each is 1/16 of an octave wide: a percentile is off by at most 3 %.

/// Classes of an octave.
const STEPS: u32 = 16;
const STEP_BITS: u32 = STEPS.ilog2();
/// Up to 2^32 µs, more than an hour; what is longer counts as that.
const OCTAVES: u32 = 32;
const CLASSES: usize = ((OCTAVES - STEP_BITS + 1) * STEPS) as usize;

/// How many took how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&mut self, micros: u64) {
        self.add_many(class(micros), 1);
    }

    fn add_many(&mut self, class: usize, count: u64) {
        if self.counts.is_empty() {
            self.counts.resize(CLASSES, 0);
        }
        self.counts[class.min(CLASSES - 1)] += count;
        self.total += count;
    }

    /// The time below which this share of all stays, in milliseconds; `None` of none.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        class.map(middle)
    }

    /// Adds what [`Self::bytes`] wrote. What it did not write adds nothing.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((class, count)) = varint(&mut rest).zip(varint(&mut rest)) {
            self.add_many(usize::try_from(class).unwrap_or(usize::MAX), count);
        }
    }

    /// The classes that are not empty, each with its count.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (class, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            push_varint(&mut bytes, class as u64);
            push_varint(&mut bytes, *count);
        }
        bytes
    }
}

const fn class(micros: u64) -> usize {
    let micros = if micros >> OCTAVES == 0 {
        micros
    } else {
        (1 << OCTAVES) - 1
    };
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let octave = micros.ilog2();
    let step = (micros >> (octave - STEP_BITS)) as u32 - STEPS;
    ((octave - STEP_BITS + 1) * STEPS + step) as usize
}

/// The middle of a class in milliseconds.
fn middle(class: usize) -> f64 {
    let class = u32::try_from(class).unwrap_or(u32::MAX);
    if class < STEPS {
        return f64::from(class) / 1000.0;
    }
    let (octave, step) = (class / STEPS - 1, class % STEPS);
    let lowest = f64::from(STEPS + step);
    (lowest + 0.5) * 2f64.powi(octave.cast_signed()) / 1000.0
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn bytes_that_were_never_written_do_no_harm() {
        let mut histogram = Histogram::default();
        histogram.add_bytes(&[0xff; 40]);
        histogram.add_bytes(&[0x80]);
        histogram.add_bytes(&[0xff, 0xff, 0x7f, 1]);
        assert!(histogram.quantile(0.5).is_some());
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_at_most_three_in_a_hundred(mut times in prop::collection::vec(0u64..100_000_000, 1..300), share in 0.01f64..1.0) {
            let mut histogram = Histogram::default();
            times.iter().for_each(|time| histogram.add(*time));
            let mut again = Histogram::default();
            again.add_bytes(&histogram.bytes());
            prop_assert_eq!(&again, &histogram);
            times.sort_unstable();
            let rank = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len());
            let exact = times[rank - 1] as f64 / 1000.0;
            let told = histogram.quantile(share).unwrap();
            prop_assert!((told - exact).abs() <= exact * 0.0313 + 0.001, "{} for {}", told, exact);
        }
    }
}
