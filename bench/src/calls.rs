//! The calls on shared objects that are compared, and what each must leave behind.
//! Not how they are made: each peer's `Caller` does that, and `caller` keeps time.
//!
//! ```text
//!  prepared            called, with numbers from 0          left, read back and checked
//!  (list-pop: items)   caller i of n: i, i + n, i + 2 n …   every item, entry, or the sum
//! ```

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::check::{Ledger, Verdict};
use crate::payload;

/// How many keys a dict has. A multiple of any number of callers, so that each key is one caller's.
pub(crate) const KEYS: u64 = 1_000;

/// A call on one object that all callers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Adds an item to the end of a list
    ListAppend,
    /// Sets one of a thousand keys of a dict
    DictSet,
    /// Adds 1 to a counter
    CounterAdd,
    /// Takes the first item of a list
    ListPop,
    /// Gets one of a thousand keys of a dict
    DictGet,
    /// Gets the number of a counter
    CounterGet,
}

impl Call {
    /// Every call, in the order of reports.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ListAppend => "list-append",
            Self::DictSet => "dict-set",
            Self::CounterAdd => "counter-add",
            Self::ListPop => "list-pop",
            Self::DictGet => "dict-get",
            Self::CounterGet => "counter-get",
        }
    }

    /// Whether there is a payload in it.
    pub(crate) fn has_payload(self) -> bool {
        match self {
            Self::ListAppend | Self::DictSet | Self::ListPop | Self::DictGet => true,
            Self::CounterAdd | Self::CounterGet => false,
        }
    }

    /// Whether many may make it at once and each still knows what it must be answered.
    pub(crate) fn suits_many(self) -> bool {
        self != Self::ListPop
    }

    /// What is called before `calls` of these, and how often.
    pub(crate) fn preparation(self, calls: u64) -> Option<(Self, u64)> {
        match self {
            Self::ListAppend | Self::DictSet | Self::CounterAdd => None,
            Self::ListPop => Some((Self::ListAppend, calls)),
            Self::DictGet => Some((Self::DictSet, KEYS)),
            Self::CounterGet => Some((Self::CounterAdd, KEYS)),
        }
    }

    /// What the object is like after `calls` of these: as after these calls alone.
    pub(crate) fn remainder(self, calls: u64) -> (Self, u64) {
        match self {
            Self::ListPop => (Self::ListAppend, 0),
            _ => self.preparation(calls).unwrap_or((self, calls)),
        }
    }

    /// Checks the answer of call `id`, as far as it is the same for all peers; `alone` says that there is
    /// no other caller. `expected` makes the payload of a number.
    ///
    /// # Errors
    ///
    /// It is not what the object must have held.
    pub(crate) fn check<'a>(
        self,
        id: u64,
        answer: &Answer,
        alone: bool,
        expected: impl FnOnce(u64) -> &'a [u8],
    ) -> Result<()> {
        let fits = match (self, answer) {
            (Self::ListPop, Answer::Bytes(item)) => item == expected(id),
            (Self::DictGet, Answer::Bytes(value)) => value == expected(key(id)),
            (Self::CounterGet, Answer::Number(number)) => *number == KEYS,
            (Self::ListPop | Self::DictGet | Self::CounterGet, _) => false,
            (Self::ListAppend | Self::CounterAdd, Answer::Number(number)) => {
                !alone || *number == id + 1
            }
            // A revision, the number of fields that are new, or nothing.
            (Self::DictSet, _) | (Self::ListAppend, Answer::Nothing) => true,
            (Self::CounterAdd | Self::ListAppend, _) => false,
        };
        ensure!(fits, "{} {id} was answered with {answer:?}", self.name());
        Ok(())
    }
}

/// What a call has returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Number(u64),
    Nothing,
}

/// The key that call `id` is about.
pub(crate) fn key(id: u64) -> u64 {
    id % KEYS
}

/// A key as objects have it.
pub(crate) fn key_text(id: u64) -> String {
    format!("key-{}", key(id))
}

/// Compares what an object holds with what `calls` calls must have left.
#[derive(Debug)]
pub(crate) struct Audit {
    call: Call,
    calls: u64,
    /// The length of a payload.
    len: usize,
    /// Of the items of a list, the keys of a dict, or the units of a counter.
    ledger: Ledger,
}

impl Audit {
    /// Expects what is left of `calls` times `call`, where payloads have `len` bytes.
    pub(crate) fn new(call: Call, calls: u64, len: usize) -> Self {
        let expected = if call == Call::DictSet { calls.min(KEYS) } else { calls };
        Self { call, calls, len, ledger: Ledger::new(expected) }
    }

    /// Notes an item of a list.
    pub(crate) fn item(&mut self, item: &[u8]) {
        self.ledger.note(self.id_of(item).filter(|_| self.call == Call::ListAppend));
    }

    /// Notes an entry of a dict: it has the value of the last call that was about its key.
    pub(crate) fn entry(&mut self, key_found: &[u8], value: &[u8]) {
        let is_last = |id: &u64| {
            key_text(*id).as_bytes() == key_found && *id < self.calls && self.calls - id <= KEYS
        };
        self.ledger.note(self.id_of(value).filter(is_last).map(key));
    }

    /// Notes the number of a counter.
    pub(crate) fn number(&mut self, number: u64) {
        (0..number.min(self.calls + 1)).for_each(|unit| self.ledger.note(Some(unit)));
    }

    /// The findings.
    pub(crate) fn verdict(&self) -> Verdict {
        self.ledger.verdict()
    }

    fn id_of(&self, bytes: &[u8]) -> Option<u64> {
        payload::run(bytes, self.len).ok().and_then(|result| payload::id_of(&result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Template;

    fn value(id: u64) -> Vec<u8> {
        Template::new(16).job(id).to_vec()
    }

    fn complaint(call: Call, calls: u64, note: impl FnOnce(&mut Audit)) -> Option<String> {
        let mut audit = Audit::new(call, calls, 16);
        note(&mut audit);
        audit.verdict().complaint()
    }

    #[test]
    fn name_is_the_one_of_the_command_line_and_of_the_report() {
        for call in Call::all() {
            let on_command_line = call.to_possible_value().unwrap();
            assert_eq!(on_command_line.get_name(), call.name());
            assert_eq!(serde_json::to_value(call).unwrap(), call.name());
        }
    }

    #[test]
    fn list_has_every_item_once() {
        let items = |ids: &'static [u64]| {
            move |audit: &mut Audit| ids.iter().for_each(|id| audit.item(&value(*id)))
        };
        assert_eq!(complaint(Call::ListAppend, 3, items(&[2, 0, 1])), None);
        assert!(complaint(Call::ListAppend, 3, items(&[0, 1])).is_some());
        assert!(complaint(Call::ListAppend, 3, items(&[0, 1, 2, 2])).is_some());
        assert!(complaint(Call::ListAppend, 0, items(&[0])).is_some());
    }

    #[test]
    fn dict_has_the_last_value_of_every_key() {
        let entries = |keys: u64, shift: u64| {
            move |audit: &mut Audit| {
                (0..keys).for_each(|id| audit.entry(key_text(id).as_bytes(), &value(id + shift)));
            }
        };
        assert_eq!(complaint(Call::DictSet, 3, entries(3, 0)), None);
        assert_eq!(complaint(Call::DictSet, 2 * KEYS, entries(KEYS, KEYS)), None);
        assert!(complaint(Call::DictSet, 2 * KEYS, entries(KEYS, 0)).is_some());
        assert!(complaint(Call::DictSet, 3, entries(3, 1)).is_some());
        assert!(complaint(Call::DictSet, 3, entries(4, 0)).is_some());
    }

    #[test]
    fn counter_has_counted_every_call() {
        assert_eq!(complaint(Call::CounterAdd, 7, |audit| audit.number(7)), None);
        assert!(complaint(Call::CounterAdd, 7, |audit| audit.number(6)).is_some());
        assert!(complaint(Call::CounterAdd, 7, |audit| audit.number(8)).is_some());
    }

    #[test]
    fn answer_is_what_the_object_held() {
        let check = |call: Call, id, answer: &Answer, alone| {
            let mut template = Template::new(16);
            call.check(id, answer, alone, |id| template.job(id)).is_ok()
        };
        let bytes = |id| Answer::Bytes(value(id));
        assert!(check(Call::ListPop, 3, &bytes(3), true));
        assert!(!check(Call::ListPop, 3, &bytes(4), true));
        assert!(check(Call::DictGet, KEYS + 3, &bytes(3), false));
        assert!(!check(Call::DictGet, 3, &Answer::Nothing, false));
        assert!(check(Call::CounterAdd, 3, &Answer::Number(4), true));
        assert!(!check(Call::CounterAdd, 3, &Answer::Number(9), true));
        assert!(check(Call::CounterAdd, 3, &Answer::Number(9), false));
        assert!(!check(Call::CounterGet, 3, &Answer::Number(3), true));
    }
}
