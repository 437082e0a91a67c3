//! A set of offsets near one another, one bit each; what lies below its watermark is given back.

use std::collections::VecDeque;

const WORD: i64 = 64;

/// The set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits {
    /// The first word's number: its offset divided by 64.
    first: i64,
    words: VecDeque<u64>,
}

impl Bits {
    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether `offset` is in it.
    #[must_use]
    pub fn contains(&self, offset: i64) -> bool {
        let (word, mask) = place(offset);
        let at = usize::try_from(word - self.first).ok();
        at.and_then(|at| self.words.get(at))
            .is_some_and(|word| word & mask != 0)
    }

    /// Adds `offset`.
    pub fn insert(&mut self, offset: i64) {
        let (word, mask) = place(offset);
        if self.words.is_empty() {
            self.first = word;
        }
        while word < self.first {
            self.words.push_front(0);
            self.first -= 1;
        }
        let at = usize::try_from(word - self.first).expect("the first word is not above any other");
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= mask;
    }

    /// Adds every offset of a range.
    pub fn extend(&mut self, offsets: std::ops::Range<i64>) {
        for offset in offsets {
            self.insert(offset);
        }
    }

    /// The first offset from `base` on that is not in the set; what lies below it is given back.
    pub fn advance(&mut self, base: i64) -> i64 {
        let mut base = base;
        while let Some(run) = self.run_at(base) {
            base += run;
        }
        while self.words.front().is_some_and(|_| (self.first + 1) * WORD <= base) {
            self.words.pop_front();
            self.first += 1;
        }
        if let Some(word) = self.words.front_mut().filter(|_| self.first == base.div_euclid(WORD)) {
            *word &= u64::MAX << base.rem_euclid(WORD);
        }
        base
    }

    /// How many offsets from `base` on are in the set, up to the end of its word; `None` for none.
    fn run_at(&self, base: i64) -> Option<i64> {
        let at = usize::try_from(base.div_euclid(WORD) - self.first).ok()?;
        let bit = base.rem_euclid(WORD);
        let run = i64::from((self.words.get(at)? >> bit).trailing_ones());
        (run > 0).then(|| run.min(WORD - bit))
    }

    /// Its offsets, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        let words = (self.first..).zip(&self.words);
        words.flat_map(|(number, word)| {
            (0..WORD)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| number * WORD + bit)
        })
    }
}

const fn place(offset: i64) -> (i64, u64) {
    (offset.div_euclid(WORD), 1 << offset.rem_euclid(WORD))
}
