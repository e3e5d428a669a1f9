//! Whether every job came back exactly once.
//! Not how results are received: a collector hands them in one by one.

use serde::{Deserialize, Serialize};

use crate::payload;

/// Which results have arrived, of the jobs numbered from 0.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// One bit per job. Bits at and after `expected` are never set.
    seen: Vec<u64>,
    expected: u64,
    distinct: u64,
    duplicates: u64,
    unexpected: u64,
}

/// What a [`Ledger`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) expected: u64,
    /// Jobs without a result.
    pub(crate) lost: u64,
    /// Results of a job that already had one.
    pub(crate) duplicates: u64,
    /// Results that belong to no job, or are torn.
    pub(crate) unexpected: u64,
}

impl Ledger {
    /// Expects the results of jobs `0..expected`.
    ///
    /// # Panics
    ///
    /// If `expected` bits do not fit the address space.
    pub(crate) fn new(expected: u64) -> Self {
        let words = usize::try_from(expected.div_ceil(64)).expect("a bit per job fits in memory");
        Self { seen: vec![0; words], expected, distinct: 0, duplicates: 0, unexpected: 0 }
    }

    /// Expects `count` jobs more, numbered on.
    ///
    /// # Panics
    ///
    /// If a bit for each does not fit the address space.
    pub(crate) fn expect_more(&mut self, count: u64) {
        self.expected += count;
        let words = usize::try_from(self.expected.div_ceil(64)).expect("a bit per job fits");
        self.seen.resize(words, 0);
    }

    /// Notes one result.
    pub(crate) fn record(&mut self, result: &[u8]) {
        self.note(payload::id_of(result));
    }

    /// Notes the result of job `id`; none if it is no job's.
    pub(crate) fn note(&mut self, id: Option<u64>) {
        let Some(id) = id.filter(|id| *id < self.expected) else {
            self.unexpected += 1;
            return;
        };
        let bit = 1 << (id % 64);
        let Some(word) = usize::try_from(id / 64).ok().and_then(|word| self.seen.get_mut(word))
        else {
            self.unexpected += 1;
            return;
        };
        if *word & bit == 0 {
            *word |= bit;
            self.distinct += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// Whether each job has a result.
    pub(crate) fn is_complete(&self) -> bool {
        self.distinct == self.expected
    }

    /// The findings so far.
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict {
            expected: self.expected,
            lost: self.expected - self.distinct,
            duplicates: self.duplicates,
            unexpected: self.unexpected,
        }
    }
}

impl Verdict {
    /// The findings of two, if there are any.
    pub(crate) fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
        Some(Self {
            expected: one.expected + other.expected,
            lost: one.lost + other.lost,
            duplicates: one.duplicates + other.duplicates,
            unexpected: one.unexpected + other.unexpected,
        })
    }

    /// The findings in words, if there is anything wrong.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Self { expected, lost, duplicates, unexpected } = *self;
        (lost > 0 || duplicates > 0 || unexpected > 0).then(|| {
            format!(
                "of {expected} jobs {lost} lost, {duplicates} duplicate and {unexpected} \
                 unexpected results"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Template;

    fn record(ledger: &mut Ledger, id: u64) {
        let mut template = Template::new(16);
        ledger.record(template.job(id));
    }

    #[test]
    fn all_results_once_is_no_complaint() {
        let mut ledger = Ledger::new(65);
        (0..65).rev().for_each(|id| record(&mut ledger, id));
        assert!(ledger.is_complete());
        assert_eq!(ledger.verdict().complaint(), None);
    }

    #[test]
    fn lost_duplicate_and_unexpected_results_are_counted_apart() {
        let mut ledger = Ledger::new(4);
        [0, 1, 1, 1, 4].into_iter().for_each(|id| record(&mut ledger, id));
        ledger.record(b"torn");
        assert!(!ledger.is_complete());
        assert_eq!(
            ledger.verdict(),
            Verdict { expected: 4, lost: 2, duplicates: 2, unexpected: 2 }
        );
    }
}
