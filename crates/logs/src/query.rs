//! Finding outcomes, newest first, by keys alone; documents are read for those that are answered only.
//!
//! - What a facet tells (account, webhook, endpoint, event, result, retry, status) is asked of the few facets there
//!   are. The rows of those that fit are merged by their keys: each facet's are in order already.
//! - An identifier leads to its rows, bucket by bucket.
//! - A time is a range of keys.

mod added;
mod facets;
mod keys;

use postrider_types::{DeliveryId, Offset, Outcome, Partition};
use rusqlite::{OptionalExtension as _, params_from_iter};
use serde_json::value::RawValue;

pub(crate) use self::added::added;
use self::facets::Facets;
pub(crate) use self::facets::facet_conditions;
use self::keys::ByTerm;
pub(crate) use self::keys::Keys;
use crate::cursor::{Cursor, Mark};
use crate::entry::Entry;
use crate::filter::Filter;
use crate::key::Key;
use crate::reader::{Failed, Session};
use crate::terms::{Kind, Term};

const MOST_ENDPOINTS: usize = 1_000;

type Found = (Vec<Entry>, Option<Cursor>, Mark);

/// A page.
pub(crate) fn page(
    session: &Session<'_>,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Found, Failed> {
    let mut keys = filter.keys();
    if let Some(Cursor(last)) = after {
        keys.end = keys.end.min(last);
    }
    let mut found = Keys::new(session, filter, keys)?;
    let mut entries = Vec::new();
    // One more than asked for tells whether there is another page.
    while entries.len() <= limit {
        let Some(key) = found.next()? else { break };
        entries.extend(entry(session, key, filter)?);
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(|last| Cursor(last.key));
    Ok((entries, next, mark(session)?))
}

/// All outcomes of a delivery: each run in the order of its attempts, the replays after the delivery itself.
pub(crate) fn delivery(session: &Session<'_>, id: &DeliveryId, filter: &Filter) -> Result<Vec<Entry>, Failed> {
    let facets = Facets::select(session, filter)?;
    let terms = vec![Term::new(Kind::Delivery, id.as_str())];
    let mut keys = ByTerm::new(terms, facets, Key(0)..Key::END);
    let mut found: Vec<(Outcome, Entry)> = Vec::new();
    while let Some(key) = keys.next(session)? {
        let entry = entry(session, key, filter)?;
        let read = entry.and_then(|entry| Some((entry.outcome()?, entry)));
        found.extend(read.filter(|(outcome, _)| outcome.delivery_id == *id));
    }
    let begun = |replay: Option<&str>| {
        let run = found.iter().filter(|(outcome, _)| outcome.replay.as_deref() == replay);
        (replay.is_some(), run.map(|(_, entry)| entry.key).min())
    };
    let order: Vec<_> = found
        .iter()
        .map(|(outcome, entry)| {
            (
                begun(outcome.replay.as_deref()),
                outcome.replay.clone(),
                outcome.attempt,
                entry.key,
            )
        })
        .collect();
    let mut sorted: Vec<_> = order.into_iter().zip(found).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(sorted.into_iter().map(|(_, (_, entry))| entry).collect())
}

/// The endpoints there are.
pub(crate) fn endpoints(session: &Session<'_>, filter: &Filter) -> Result<Vec<String>, Failed> {
    let (conditions, values) = facet_conditions(filter);
    let sql = format!(
        "SELECT DISTINCT endpoint FROM facets WHERE endpoint <> '' AND {conditions} ORDER BY endpoint LIMIT {MOST_ENDPOINTS}"
    );
    let mut statement = session.connection.prepare(&sql)?;
    let endpoints = statement.query_map(params_from_iter(values), |row| row.get(0))?;
    Ok(endpoints.collect::<Result<_, _>>()?)
}

/// Up to where the topic is indexed.
pub(crate) fn mark(session: &Session<'_>) -> Result<Mark, Failed> {
    let mut statement = session
        .connection
        .prepare_cached("SELECT partition, next FROM partitions")?;
    let rows = statement.query_map([], |row| Ok((Partition(row.get(0)?), Offset(row.get(1)?))))?;
    Ok(Mark(rows.collect::<Result<_, _>>()?))
}

/// The document of a key, if there is one and it is what was asked for: the hash of an identifier may be another's.
fn entry(session: &Session<'_>, key: Key, filter: &Filter) -> Result<Option<Entry>, Failed> {
    session.check()?;
    let mut statement = session
        .connection
        .prepare_cached("SELECT document FROM documents WHERE id = ?1")?;
    let document: Option<Vec<u8>> = statement.query_row([key.0], |row| row.get(0)).optional()?;
    let document = document.and_then(|bytes| String::from_utf8(bytes).ok());
    let document = document.and_then(|text| RawValue::from_string(text).ok());
    let entry = document.map(|document| Entry { key, document });
    let asked = |entry: &Entry| {
        filter.terms().is_empty()
            || entry
                .outcome()
                .is_some_and(|outcome| filter.matches(&outcome, key.date()))
    };
    Ok(entry.filter(asked))
}
