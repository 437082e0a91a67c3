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
use super::picture::{HOUR, Picture};
use super::text::{Moment, grouped, share, spent};

/// What is shown where no time is asked for.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The most hours of a picture.
const MOST_HOURS: i64 = 168;

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
