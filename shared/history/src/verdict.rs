//! What is said of a history in the end: JSON that anybody can make again from the same lines.

use std::collections::BTreeMap;
use std::fmt;

use ganger_shared::Durability;
use serde::{Deserialize, Serialize};

/// Examples of each rule that a verdict names; all are counted.
const EXAMPLES_MAX: u64 = 10;

/// What a history must not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A job was accepted and never came to an end.
    Lost,
    /// A job was delivered or has a result that nobody submitted, or whose submit was refused.
    Unexpected,
    /// A payload or a result is not what was sent.
    Corrupt,
    /// Two settlements of a job took effect, its result stands in a list twice, or it came again
    /// after it was confirmed.
    Doubled,
    /// A job was given to a worker after the answer that it was done.
    GrantAfterAck,
    /// The result that is stored is another than the one whose settlement was answered as done.
    ResultDiffers,
    /// A result was acknowledged and is in no list.
    Unread,
    /// A settlement was refused while nothing was disturbed, and took effect nevertheless.
    RefusedTookEffect,
    /// A lease was given while an earlier one of the job was still held.
    Overlap,
    /// A lease id was used twice.
    LeaseReused,
    /// First deliveries of one submitter's jobs are not in the order of their submit.
    OutOfOrder,
    /// The lines contradict each other: whoever wrote them has a fault.
    Contradiction,
    /// The history ends before everybody has come to rest.
    Unfinished,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One case of a broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub text: String,
}

/// Which run it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What repeats it.
    pub seed: u64,
    /// What its broker promised.
    pub durability: Durability,
    /// Which scenario, in words.
    pub scenario: String,
}

/// What a history says, in numbers. None of them is a fault by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Lines.
    pub events: u64,
    /// How often the broker was killed.
    pub kills: u64,
    /// Jobs that somebody tried to submit.
    pub attempted: u64,
    /// Of those: accepted.
    pub acknowledged: u64,
    /// Of those: refused.
    pub refused: u64,
    /// Of those: never answered.
    pub unanswered: u64,
    /// Of the unanswered: came to the queue all the same.
    pub recovered: u64,
    /// Jobs whose ack was answered as done, or whose result is there.
    pub completed: u64,
    /// Acks that were answered as done.
    pub acked: u64,
    /// Acks that were refused, because the lease was lost or the session forgotten.
    pub acks_refused: u64,
    /// Of those: acks whose result is stored, so that the answer was lost and not the lease.
    pub acks_refused_but_stored: u64,
    /// Jobs that were given to a worker.
    pub deliveries: u64,
    /// Of those: not the first, and not asked for by a nack or a release.
    pub duplicate_deliveries: u64,
    /// Results that were read.
    pub reads: u64,
    /// Of those: again, because the first reader had not confirmed them.
    pub duplicate_reads: u64,
    /// Jobs whose order was judged.
    pub ordered: u64,
}

/// What is said of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The version of this format.
    pub v: u32,
    /// Whether no rule was broken.
    pub passed: bool,
    /// Which run it was, if the history says so.
    pub run: Option<Run>,
    /// What happened, in numbers.
    pub counts: Counts,
    /// How often each rule was broken; none that was kept.
    pub violations: BTreeMap<Rule, u64>,
    /// The first cases of each.
    pub examples: Vec<Example>,
}

impl Verdict {
    pub(crate) fn new() -> Self {
        Self {
            v: 1,
            passed: true,
            run: None,
            counts: Counts::default(),
            violations: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    pub(crate) fn broken(&mut self, rule: Rule, text: impl FnOnce() -> String) {
        self.passed = false;
        let count = self.violations.entry(rule).or_default();
        *count += 1;
        if *count <= EXAMPLES_MAX {
            self.examples.push(Example { rule, text: text() });
        }
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.violations.get(&rule).copied().unwrap_or_default()
    }

    /// What is wrong, in one sentence; none if nothing is.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let broken: Vec<_> =
            self.violations.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        let first = self.examples.first()?;
        Some(format!("{}; first: {}", broken.join(", "), first.text))
    }
}
