//! Success rate and time spent as pictures: where bars, lines and points are.

use postrider_logs::stats::{OfHour, TimeSpent};
use postrider_types::Timestamp;

use super::text::{Moment, grouped, share, spent};

/// Milliseconds of an hour.
pub(super) const HOUR: i64 = 3_600_000;
/// The size of a picture's inside.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 110.0;

/// What the pictures are drawn from.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Line>,
    /// Where the longest time is, in words.
    pub(super) top: String,
    pub(super) middle: String,
    pub(super) first: String,
    pub(super) last: String,
}

/// The share of each result within an hour.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) parts: Vec<Part>,
    pub(super) told: String,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) result: &'static str,
    pub(super) y: f64,
    pub(super) height: f64,
}

/// A line with its points; one hour alone is a point without a line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) strokes: Vec<String>,
    pub(super) points: Vec<(String, String)>,
}

impl Picture {
    /// Of these hours; from one moment to another, or as far as there are hours.
    pub(super) fn of(hours: &[OfHour], range: Option<(Timestamp, Timestamp)>) -> Self {
        let (Some(first), Some(last)) = (hours.first(), hours.last()) else {
            return Self::default();
        };
        let (first, last) = range.map_or((first.hour, last.hour), |(from, to)| (hour_of(from), hour_of(to)));
        let scale = Scale::new(first, last, longest(hours));
        Self {
            bars: hours.iter().filter_map(|hour| scale.bar(hour)).collect(),
            lines: vec![
                scale.line("half took less", hours, |times| times.p50),
                scale.line("95 of 100 took less", hours, |times| times.p95),
            ],
            top: spent(scale.longest),
            middle: spent(scale.longest / 2.0),
            first: label(first),
            last: label(last),
        }
    }

    /// Whether there is anything to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }
}

/// The hour that a moment is in.
const fn hour_of(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().div_euclid(HOUR) * HOUR)
}

fn label(hour: Timestamp) -> String {
    let moment = Moment::of(hour);
    format!("{}, {}", moment.date(), &moment.time()[..5])
}

fn longest(hours: &[OfHour]) -> f64 {
    let times = hours.iter().filter_map(|hour| hour.summary.time_spent_ms.p95);
    round_up(times.fold(1.0, f64::max))
}

/// The next number that reads well on an axis: 1, 2 or 5 and zeros.
fn round_up(number: f64) -> f64 {
    let ten = 10_f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * ten);
    steps.into_iter().find(|step| *step >= number).unwrap_or(number)
}

/// Where hours and times are in a picture.
#[derive(Debug)]
struct Scale {
    first: Timestamp,
    step: f64,
    longest: f64,
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred hours")]
    fn new(first: Timestamp, last: Timestamp, longest: f64) -> Self {
        let hours = (last.as_millis() - first.as_millis()) / HOUR + 1;
        Self {
            first,
            step: WIDTH / (hours.max(12)) as f64,
            longest,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred hours")]
    fn x(&self, hour: Timestamp) -> f64 {
        ((hour.as_millis() - self.first.as_millis()) / HOUR) as f64 * self.step
    }

    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn bar(&self, hour: &OfHour) -> Option<Bar> {
        let counts = hour.summary.counts;
        let sent = (counts.total - counts.skipped) as f64;
        if sent == 0.0 {
            return None;
        }
        let mut y = HEIGHT;
        let results = [
            ("success", counts.success),
            ("retrying", counts.retrying),
            ("failed", counts.failed),
        ];
        let parts = results
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(result, count)| {
                let height = count as f64 / sent * HEIGHT;
                y -= height;
                Part {
                    result,
                    y: tidy(y),
                    height: tidy(height),
                }
            });
        Some(Bar {
            parts: parts.collect(),
            x: tidy(self.x(hour.hour) + self.step * 0.1),
            width: tidy(self.step * 0.8),
            told: format!(
                "{}: {} of {} requests",
                label(hour.hour),
                share(hour.summary.success_rate),
                grouped(counts.total - counts.skipped)
            ),
        })
    }

    fn line(&self, name: &'static str, hours: &[OfHour], time: impl Fn(&TimeSpent) -> Option<f64>) -> Line {
        let point = |hour: &OfHour| {
            let time = time(&hour.summary.time_spent_ms)?;
            let x = tidy(self.x(hour.hour) + self.step / 2.0);
            Some((x, tidy(HEIGHT - time.min(self.longest) / self.longest * HEIGHT)))
        };
        let follows = |one: &OfHour, other: &OfHour| other.hour.as_millis() - one.hour.as_millis() == HOUR;
        let runs = hours.chunk_by(follows);
        let strokes = runs.map(|run| {
            let points = run.iter().filter_map(point);
            let written: Vec<String> = points.map(|(x, y)| format!("{x},{y}")).collect();
            written.join(" ")
        });
        let strokes = strokes.filter(|stroke| stroke.contains(' ')).collect();
        let points = hours
            .iter()
            .filter_map(point)
            .map(|(x, y)| (x.to_string(), y.to_string()));
        Line {
            name,
            strokes,
            points: points.collect(),
        }
    }
}

/// As many digits as a picture needs.
fn tidy(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_logs::stats::Summary;

    #[test]
    fn an_axis_ends_with_a_number_that_reads_well() {
        assert!((round_up(137.0) - 200.0).abs() < 1e-9 && (round_up(5.0) - 5.0).abs() < 1e-9);
    }

    fn hour(at: i64, success: u64, failed: u64, time: Option<f64>) -> OfHour {
        let mut summary = Summary::default();
        summary.counts.total = success + failed;
        summary.counts.success = success;
        summary.counts.failed = failed;
        summary.success_rate = summary.counts.success_rate();
        summary.time_spent_ms.p50 = time;
        summary.time_spent_ms.p95 = time;
        OfHour {
            hour: Timestamp::from_millis(at * HOUR),
            summary,
        }
    }

    #[test]
    fn every_hour_is_inside_the_picture_and_gaps_stay_gaps() {
        let hours = [
            hour(0, 3, 1, Some(10.0)),
            hour(1, 1, 0, Some(20.0)),
            hour(30, 0, 2, Some(90.0)),
            hour(31, 0, 0, None),
        ];
        let picture = Picture::of(&hours, None);
        assert_eq!(picture.bars.len(), 3, "an hour without requests has no bar");
        for bar in &picture.bars {
            assert!(bar.x >= 0.0 && bar.x + bar.width <= WIDTH, "{bar:?}");
            let height: f64 = bar.parts.iter().map(|part| part.height).sum();
            assert!((height - HEIGHT).abs() < 0.2, "{bar:?}");
        }
        assert_eq!(
            picture.lines[0].strokes.len(),
            1,
            "two hours beside each other are joined, a lone one is not"
        );
        assert_eq!(picture.lines[0].points.len(), 3);
        assert!(Picture::of(&[], None).is_empty());
    }
}
