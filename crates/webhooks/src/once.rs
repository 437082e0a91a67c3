//! A write may be decided on more than once: what became of a try is learnt only by reading to the end before the next.
//! What such a try has made is then no reason to refuse, and is not made a second time.

use parking_lot::Mutex;

use crate::journal::Entry;
use crate::refusal::Refusal;

/// A change that is made once, however often its write is decided on.
#[derive(Debug)]
pub(crate) struct Once<T>(Mutex<Option<T>>);

impl<T> Once<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Decides, unless what was decided before is there by now, as `is_there` tells.
    pub(crate) fn decide(
        &self,
        is_there: impl FnOnce(&T) -> bool,
        decide: impl FnOnce() -> Result<(T, Vec<Entry>), Refusal>,
    ) -> Result<Vec<Entry>, Refusal> {
        let mut decided = self.0.lock();
        if decided.as_ref().is_some_and(is_there) {
            return Ok(Vec::new());
        }
        let (change, entries) = decide()?;
        *decided = Some(change);
        Ok(entries)
    }

    /// What was written.
    pub(crate) fn made(self) -> T {
        self.0.into_inner().expect("what was written was decided")
    }
}
