//! What a filter asks of facets: they are few, and each row has one.

use std::collections::HashMap;

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use crate::filter::{Filter, Retry};
use crate::key::Key;
use crate::reader::{Failed, Session};

/// The facets that fit.
pub(crate) enum Facets {
    All,
    /// Each with its newest row.
    These(HashMap<i64, Key>),
}

impl Facets {
    pub(crate) fn select(session: &Session<'_>, filter: &Filter) -> Result<Self, Failed> {
        if !filter.has_facets() {
            return Ok(Self::All);
        }
        let (conditions, values) = facet_conditions(filter);
        let sql = format!("SELECT id, last FROM facets WHERE {conditions}");
        let mut statement = session.connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, Key(row.get(1)?))))?;
        Ok(Self::These(ids.collect::<Result<_, _>>()?))
    }

    pub(crate) fn have(&self, facet: i64) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains_key(&facet),
        }
    }
}

/// What a filter says of facets, as SQL and its values.
pub(crate) fn facet_conditions(filter: &Filter) -> (String, Vec<Value>) {
    let mut conditions = vec!["true".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let texts = [
        ("webhook", filter.webhook.as_ref().map(|webhook| webhook.as_str())),
        ("endpoint", filter.endpoint.as_deref()),
        ("event", filter.event.map(postrider_types::EventType::as_str)),
        ("result", filter.result.map(postrider_types::OutcomeResult::as_str)),
    ];
    for (column, text) in texts {
        if let Some(text) = text {
            conditions.push(format!("{column} = ?"));
            values.push(text.to_owned().into());
        }
    }
    if let Some(status) = filter.status_code {
        conditions.push("status = ?".to_owned());
        values.push(i64::from(status).into());
    }
    match filter.retry {
        None => {}
        Some(Retry::Any) => conditions.push("retry > 0".to_owned()),
        Some(Retry::Number(number)) => {
            conditions.push("retry = ?".to_owned());
            values.push(i64::from(number).into());
        }
    }
    if let Some(accounts) = &filter.accounts {
        conditions.push(format!("account IN ({})", vec!["?"; accounts.len()].join(",")));
        values.extend(accounts.iter().map(|account| account.as_str().to_owned().into()));
    }
    (conditions.join(" AND "), values)
}
