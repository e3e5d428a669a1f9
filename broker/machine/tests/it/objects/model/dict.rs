//! Dicts: pairs in the order in which their keys came, some with an end.

use ganger_shared::{CallError, Value};

use super::{Args, Fallible, Outcome, judge, missing, whole, wrong_type, wrong_value};
use crate::objects::values::is_hashable;

#[derive(Clone, Debug)]
struct Entry {
    key: Value,
    value: Value,
    revision: u64,
    ends: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Dict {
    entries: Vec<Entry>,
    revision: u64,
}

impl Dict {
    fn find(&self, key: &Value) -> Fallible<Option<usize>> {
        if !is_hashable(key) {
            return wrong_type();
        }
        Ok(self.entries.iter().position(|entry| entry.key == *key))
    }

    fn put(&mut self, key: &Value, value: Value, ends: Option<u64>, limit: usize) -> Fallible<u64> {
        let found = self.find(key)?;
        let revision = self.revision + 1;
        match found {
            // The key keeps its place and its first spelling.
            Some(at) => {
                let key = self.entries[at].key.clone();
                self.entries[at] = Entry { key, value, revision, ends };
            }
            None => {
                judge(self.entries.len(), 1, limit)?;
                self.entries.push(Entry { key: key.clone(), value, revision, ends });
            }
        }
        self.revision = revision;
        Ok(revision)
    }

    fn at(&self, key: &Value) -> Fallible<Option<&Entry>> {
        Ok(self.find(key)?.map(|at| &self.entries[at]))
    }

    fn listed(&self, method: &str, mut args: Args<'_>) -> Outcome {
        let (after, count) = (args.some(), args.count_or(usize::MAX)?);
        args.end()?;
        let from = match after {
            None => 0,
            Some(key) => match self.find(key)? {
                Some(at) => at + 1,
                None => return missing(key),
            },
        };
        let show = |entry: &Entry| match method {
            "keys" => entry.key.clone(),
            "values" => entry.value.clone(),
            _ => Value::Tuple(vec![entry.key.clone(), entry.value.clone()]),
        };
        Ok(Value::List(self.entries[from..].iter().take(count).map(show).collect()))
    }

    pub(super) fn call(
        &mut self,
        method: &str,
        mut args: Args<'_>,
        now: u64,
        limit: usize,
    ) -> Outcome {
        self.entries.retain(|entry| entry.ends.is_none_or(|at| at > now));
        match method {
            "keys" | "values" | "items" => return self.listed(method, args),
            "len" | "pop_item" | "clear" => {
                args.end()?;
                return self.whole(method);
            }
            "update" => return self.update(args, limit),
            _ => {}
        }
        let key = args.value()?;
        match method {
            "get" | "set_default" | "pop" => {
                let default = args.given();
                args.end()?;
                let found = self.at(key)?.map(|entry| entry.value.clone());
                let gone = if method == "pop" { self.find(key)? } else { None };
                gone.into_iter().for_each(|at| drop(self.entries.remove(at)));
                match (found, default) {
                    (Some(value), _) => Ok(value),
                    (None, None) if method == "pop" => missing(key),
                    (None, default) => {
                        let default = default.cloned().unwrap_or_default();
                        if method == "set_default" {
                            self.put(key, default.clone(), None, limit)?;
                        }
                        Ok(default)
                    }
                }
            }
            "at" | "entry" | "contains" | "delete" => {
                args.end()?;
                self.look(method, key, now)
            }
            "set" => {
                let (value, ttl) = (args.value()?, args.some());
                args.end()?;
                let ends = ends(ttl, now)?;
                self.put(key, value.clone(), ends, limit).map(Value::from)
            }
            "expire" => {
                let ttl = args.some();
                args.end()?;
                let ends = ends(ttl, now)?;
                let found = self.find(key)?;
                if let Some(at) = found {
                    self.entries[at].ends = ends;
                }
                Ok(Value::from(found.is_some()))
            }
            "add" => {
                let by = args.int_or(1)?;
                args.end()?;
                let (number, ends) = match self.at(key)? {
                    Some(entry) => (whole(&entry.value)?, entry.ends),
                    None => (0, None),
                };
                let Some(sum) = number.checked_add(by) else { return wrong_value() };
                self.put(key, Value::from(sum), ends, limit)?;
                Ok(Value::from(sum))
            }
            "compare_and_set" => {
                let (wanted, value) = (args.count()?, args.value()?);
                args.end()?;
                let (revision, ends) =
                    self.at(key)?.map_or((0, None), |entry| (entry.revision, entry.ends));
                if wanted != revision {
                    return Err(CallError::Revision { wanted, revision });
                }
                self.put(key, value.clone(), ends, limit).map(Value::from)
            }
            _ => panic!("{method}"),
        }
    }

    fn whole(&mut self, method: &str) -> Outcome {
        match method {
            "len" => Ok(Value::from(self.entries.len())),
            "clear" => {
                self.entries.clear();
                Ok(Value::None)
            }
            _ => match self.entries.pop() {
                Some(entry) => Ok(Value::Tuple(vec![entry.key, entry.value])),
                None => Err(CallError::Empty),
            },
        }
    }

    fn look(&mut self, method: &str, key: &Value, now: u64) -> Outcome {
        let found = self.find(key)?;
        match (method, found) {
            ("contains", _) => Ok(Value::from(found.is_some())),
            ("delete", _) => {
                found.into_iter().for_each(|at| drop(self.entries.remove(at)));
                Ok(Value::from(found.is_some()))
            }
            ("at", Some(at)) => Ok(self.entries[at].value.clone()),
            ("at", None) => missing(key),
            (_, None) => Ok(Value::None),
            (_, Some(at)) => {
                let Entry { value, revision, ends, .. } = &self.entries[at];
                let left = ends.map_or(Value::None, |ends| Value::from(ends - now));
                Ok(Value::Tuple(vec![value.clone(), Value::from(*revision), left]))
            }
        }
    }

    fn update(&mut self, mut args: Args<'_>, limit: usize) -> Outcome {
        let map = args.value()?;
        args.end()?;
        let Value::Map(pairs) = map else { return wrong_type() };
        let mut new = 0;
        for (key, _) in pairs {
            new += usize::from(self.find(key)?.is_none());
        }
        judge(self.entries.len(), new, limit)?;
        for (key, value) in pairs {
            self.put(key, value.clone(), None, limit)?;
        }
        Ok(Value::None)
    }
}

fn ends(ttl: Option<&Value>, now: u64) -> Fallible<Option<u64>> {
    match ttl.map(whole).transpose()? {
        None => Ok(None),
        Some(ms) if ms > 0 => Ok(Some(now.saturating_add(ms.unsigned_abs()))),
        Some(_) => wrong_value(),
    }
}
