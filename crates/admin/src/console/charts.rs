//! How it went, hour by hour: the share that succeeded and the time that was spent, as pictures and as a table.

use std::time::Duration;

use askama::Template;
use axum::extract::Extension;
use postrider_logs::Stats;
use postrider_logs::stats::{OfHour, Summary};
use postrider_types::Timestamp;

use super::door::Visit;
use super::fields::Asked;
use super::logs::{filter, not_kept, query_of};
use super::page::{Shown, Viewer, page};
use super::text::{Moment, spent};

const HOUR: i64 = 3_600_000;
/// What is shown where no time is asked for.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The most hours of a picture.
const MOST_HOURS: i64 = 168;
/// The size of a picture's inside.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 110.0;

#[derive(Debug, Template)]
#[template(path = "charts.html")]
struct Charts {
    viewer: Viewer,
    query: String,
    since: Option<Moment>,
    tiles: Vec<Tile>,
    hours: Vec<Hour>,
    picture: Picture,
}

/// A number that sums up.
#[derive(Debug)]
struct Tile {
    name: &'static str,
    value: String,
}

/// A row of the table.
#[derive(Debug)]
struct Hour {
    hour: Moment,
    sent: u64,
    success: u64,
    retrying: u64,
    failed: u64,
    skipped: u64,
    rate: String,
    p50: String,
    p95: String,
    p99: String,
}

/// What the pictures are drawn from.
#[derive(Debug, Default)]
pub(super) struct Picture {
    bars: Vec<Bar>,
    lines: Vec<Line>,
    /// Where the longest time is, in words.
    top: String,
    middle: String,
    first: String,
    last: String,
}

/// The share of each result within an hour.
#[derive(Debug)]
struct Bar {
    x: f64,
    width: f64,
    parts: Vec<Part>,
    told: String,
}

#[derive(Debug)]
struct Part {
    result: &'static str,
    y: f64,
    height: f64,
}

/// A line with its points; one hour alone is a point without a line.
#[derive(Debug)]
struct Line {
    name: &'static str,
    strokes: Vec<String>,
    points: Vec<(String, String)>,
}

pub(super) async fn show(Extension(visit): Extension<Visit>, Asked(asked): Asked) -> Shown {
    if visit.desk.api.logs.is_none() {
        return not_kept(visit.viewer.within("logs"));
    }
    let mut filter = filter(&visit.desk, &asked)?;
    let until = filter.to.unwrap_or(visit.now);
    let since = filter.from.is_none().then(|| last_day(until));
    filter.from = filter.from.or(since);
    let stats = visit
        .desk
        .logs()?
        .stats(filter)
        .await
        .map_err(crate::problem::Problem::from)?;
    let hours = recent(&stats);
    page(&Charts {
        viewer: visit.viewer.within("logs"),
        query: query_of(&asked),
        since: since.map(Moment::of),
        tiles: tiles(&stats.all),
        hours: hours.iter().map(Hour::of).collect(),
        picture: Picture::of(hours, since.map(|since| (since, until))),
    })
}

fn last_day(until: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(until.as_millis().saturating_sub(day))
}

/// The hours of the picture: the last ones.
fn recent(stats: &Stats) -> &[OfHour] {
    let Some(last) = stats.by_hour.last() else { return &[] };
    let earliest = last.hour.as_millis() - (MOST_HOURS - 1) * HOUR;
    let first = stats.by_hour.partition_point(|hour| hour.hour.as_millis() < earliest);
    &stats.by_hour[first..]
}

fn share(rate: Option<f64>) -> String {
    let Some(rate) = rate else { return "–".to_owned() };
    let percent = rate * 100.0;
    // What is not all of it is not shown as all of it.
    let shown = if percent < 100.0 { percent.min(99.9) } else { percent };
    if shown < 100.0 {
        format!("{shown:.1} %")
    } else {
        "100 %".to_owned()
    }
}

fn took(millis: Option<f64>) -> String {
    millis.map_or_else(|| "–".to_owned(), spent)
}

fn tiles(all: &Summary) -> Vec<Tile> {
    let counts = &all.counts;
    let tile = |name, value| Tile { name, value };
    vec![
        tile("Success rate", share(all.success_rate)),
        tile("Requests", grouped(counts.total - counts.skipped)),
        tile("Failed for good", grouped(counts.failed)),
        tile("Time spent, half", took(all.time_spent_ms.p50)),
        tile("Time spent, 95 of 100", took(all.time_spent_ms.p95)),
    ]
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Hour {
    fn of(hour: &OfHour) -> Self {
        let Summary {
            counts,
            success_rate,
            time_spent_ms: times,
        } = hour.summary;
        Self {
            hour: Moment::of(hour.hour),
            sent: counts.total - counts.skipped,
            success: counts.success,
            retrying: counts.retrying,
            failed: counts.failed,
            skipped: counts.skipped,
            rate: share(success_rate),
            p50: took(times.p50),
            p95: took(times.p95),
            p99: took(times.p99),
        }
    }
}

impl Picture {
    /// Of these hours; from one moment to another, or as far as there are hours.
    fn of(hours: &[OfHour], range: Option<(Timestamp, Timestamp)>) -> Self {
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
    fn is_empty(&self) -> bool {
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

    fn line(
        &self,
        name: &'static str,
        hours: &[OfHour],
        time: impl Fn(&postrider_logs::stats::TimeSpent) -> Option<f64>,
    ) -> Line {
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

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(share(None), "–");
        assert_eq!(share(Some(1.0)), "100 %");
        assert_eq!(share(Some(0.99999)), "99.9 %");
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
