//! Where to find the keys of what is asked for: the way that looks at the fewest rows.

mod by_date;
mod by_facet;
mod by_term;

use std::collections::HashMap;
use std::ops::Range;

use self::by_date::ByDate;
use self::by_facet::ByFacet;
pub(super) use self::by_term::ByTerm;
use super::facets::Facets;
use crate::filter::Filter;
use crate::key::Key;
use crate::reader::{Failed, Session};

/// With more facets than this the newest rows are looked at first, of which many may fit.
const MANY_FACETS: usize = 64;
/// Rows that are looked at first.
const FIRST_LOOK: usize = 4_000;

/// The keys of what is asked for, newest first.
pub(crate) struct Keys<'a, 'c> {
    session: &'a Session<'c>,
    way: Way,
}

/// The way to them that looks at the fewest rows.
enum Way {
    ByTerm(ByTerm),
    ByDate(ByDate),
    ByFacet(ByFacet),
    /// The newest rows first, then by facet.
    Looking(ByDate, HashMap<i64, Key>, Range<Key>),
}

impl<'a, 'c> Keys<'a, 'c> {
    pub(crate) fn new(session: &'a Session<'c>, filter: &Filter, keys: Range<Key>) -> Result<Self, Failed> {
        let facets = Facets::select(session, filter)?;
        let terms = filter.terms();
        let way = match facets {
            facets if !terms.is_empty() => Way::ByTerm(ByTerm::new(terms, facets, keys)),
            Facets::All => Way::ByDate(ByDate::new(Facets::All, keys, usize::MAX)),
            Facets::These(ids) if ids.len() <= MANY_FACETS => Way::ByFacet(ByFacet::new(&ids, &keys)),
            Facets::These(ids) => {
                let looking = ByDate::new(Facets::These(ids.clone()), keys.clone(), FIRST_LOOK);
                Way::Looking(looking, ids, keys)
            }
        };
        Ok(Self { session, way })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Key>, Failed> {
        self.session.check()?;
        match &mut self.way {
            Way::ByTerm(keys) => keys.next(self.session),
            Way::ByDate(keys) => keys.next(self.session),
            Way::ByFacet(keys) => keys.next(self.session),
            Way::Looking(keys, ids, range) => {
                if let Some(key) = keys.next(self.session)? {
                    return Ok(Some(key));
                }
                let rest = range.start..keys.rest;
                self.way = Way::ByFacet(ByFacet::new(ids, &rest));
                self.next()
            }
        }
    }
}
