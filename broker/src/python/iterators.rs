//! Iterators over the keys of a dict, which `SyncManager` has as objects of their own.
//!
//! Not in the journal, and not known to clients of other languages: an iterator is a place in a list
//! of keys, and ends with the broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ganger_pickle::write::Exception;
use ganger_shared::{ObjectId, Value};

use super::inside::Inside;
use super::kind::{Kind, Shared};
use super::raise::{Answer, Raised};

/// Open ones; beyond, those that were begun first end.
const OPEN_MAX: usize = 10_000;

/// Those that are open.
#[derive(Debug, Default)]
pub(crate) struct Iterators {
    open: Mutex<(u64, BTreeMap<Shared, Iterator>)>,
}

#[derive(Debug)]
struct Iterator {
    dict: Shared,
    /// Those to come.
    keys: VecDeque<Value>,
    /// As many keys as the dict had.
    length: usize,
}

impl Iterators {
    /// Begins one over the keys that a dict has.
    pub(crate) fn begin(&self, dict: &Shared, keys: Vec<Value>) -> Shared {
        let mut open = self.lock();
        open.0 += 1;
        let iterator = Shared { kind: Kind::Iterator, object: ObjectId(open.0).name() };
        let length = keys.len();
        let begun = Iterator { dict: dict.clone(), keys: keys.into(), length };
        open.1.insert(iterator.clone(), begun);
        if open.1.len() > OPEN_MAX {
            open.1.pop_first();
        }
        iterator
    }

    /// Whether it has not ended.
    pub(crate) fn is_open(&self, iterator: &Shared) -> bool {
        self.lock().1.contains_key(iterator)
    }

    /// Nobody has a proxy of it any more.
    pub(crate) fn end(&self, iterator: &Shared) {
        self.lock().1.remove(iterator);
    }

    /// Carries out a call of one.
    pub(crate) async fn call(
        &self,
        inside: &mut Inside,
        iterator: &Shared,
        method: &str,
    ) -> Result<Answer, Raised> {
        match method {
            "__next__" => {}
            "close" => {
                self.end(iterator);
                return Ok(Answer::NONE);
            }
            _ => {
                let why = format!("a broker's iterators have no {method}()");
                return Err(Raised::new(Exception::NotImplementedError, why));
            }
        }
        let over = || Raised::bare(Exception::StopIteration);
        let (dict, length) = {
            let open = self.lock();
            let found = open.1.get(iterator).ok_or_else(over)?;
            (found.dict.clone(), found.length)
        };
        let typeid = dict.kind.typeid().unwrap_or_default();
        let now = Some(Duration::ZERO);
        let there = inside.call(&dict.object, typeid, "len", &[], now).await?.unpack();
        if there != Value::from(length as u64) {
            let why = "dictionary changed size during iteration";
            return Err(Raised::new(Exception::RuntimeError, why));
        }
        let mut open = self.lock();
        let found = open.1.get_mut(iterator).ok_or_else(over)?;
        found.keys.pop_front().map(Answer::Value).ok_or_else(over)
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<Shared, Iterator>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
