//! Which method of a type the verbs `get`, `set`, `push`, `pop` and `incr` call.

use std::time::Duration;

use ganger_shared::object::QUEUE;
use ganger_shared::time::millis;
use ganger_shared::{Name, Value};
use ganger_worker::error::exit;

use super::input;
use crate::exit::{Failure, Result};

/// An object and the type it has, or is to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind<'a> {
    pub(super) name: &'a Name,
    pub(super) typeid: &'a str,
}

/// A method with its arguments.
#[derive(Debug, PartialEq)]
pub(super) struct Access {
    pub(super) method: &'static str,
    pub(super) args: Vec<Value>,
}

const fn access(method: &'static str, args: Vec<Value>) -> Access {
    Access { method, args }
}

/// What a value is put under, and what it must be like before.
#[derive(Clone, Debug, Default)]
pub(super) struct Put<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) value: Value,
    pub(super) if_revision: Option<u64>,
    pub(super) ttl: Option<Duration>,
}

impl Kind<'_> {
    /// The whole content, where it takes more than one call, is `None`.
    pub(super) fn get(&self, key: Option<&str>) -> Result<Option<Access>> {
        Ok(Some(match (self.typeid, key) {
            ("dict/1", Some(key)) => access("at", vec![input::text(key)?]),
            ("namespace/1", Some(name)) => access("get", vec![name.into()]),
            ("list/1" | "array/1", Some(index)) => access("get", vec![input::text(index)?]),
            ("dict/1" | "namespace/1" | "list/1" | "array/1" | "set/1" | QUEUE, None) => {
                return Ok(None);
            }
            ("counter/1" | "value/1", None) => access("get", vec![]),
            ("event/1", None) => access("is_set", vec![]),
            ("counter/1" | "value/1" | "event/1" | "set/1" | QUEUE, Some(_)) => {
                return Err(self.unfit("has no keys"));
            }
            _ => return Err(self.unfit("holds no values")),
        }))
    }

    pub(super) fn set(&self, put: Put<'_>) -> Result<Access> {
        let Put { key, value, if_revision, ttl } = put;
        if if_revision.is_some() && !matches!(self.typeid, "dict/1" | "value/1") {
            return Err(self.unfit("has no revisions to compare"));
        }
        if ttl.is_some() && self.typeid != "dict/1" {
            return Err(self.unfit("has no keys with a time to live"));
        }
        Ok(match (self.typeid, key) {
            ("dict/1", Some(key)) => {
                let key = input::text(key)?;
                match (if_revision, ttl) {
                    (Some(revision), _) => {
                        access("compare_and_set", vec![key, revision.into(), value])
                    }
                    (None, Some(ttl)) => access("set", vec![key, value, millis(ttl).into()]),
                    (None, None) => access("set", vec![key, value]),
                }
            }
            ("namespace/1", Some(name)) => access("set", vec![name.into(), value]),
            ("list/1" | "array/1", Some(index)) => access("set", vec![input::text(index)?, value]),
            ("value/1", None) => match if_revision {
                Some(revision) => access("compare_and_set", vec![revision.into(), value]),
                None => access("set", vec![value]),
            },
            ("counter/1", None) => access("set", vec![value]),
            ("dict/1" | "namespace/1" | "list/1" | "array/1", None) => {
                return Err(self.unfit("needs a key or an index before the value"));
            }
            ("value/1" | "counter/1", Some(_)) => return Err(self.unfit("has no keys")),
            _ => return Err(self.unfit("has no values to set")),
        })
    }

    pub(super) fn push(&self, values: Vec<Value>) -> Result<Access> {
        Ok(match self.typeid {
            "list/1" => access("extend", vec![Value::List(values)]),
            "set/1" => access("update", vec![Value::List(values)]),
            _ => return Err(self.unfit("nothing can be pushed to")),
        })
    }

    pub(super) fn pop(&self, key: Option<&str>) -> Result<Access> {
        Ok(match (self.typeid, key) {
            ("list/1" | "set/1", None) => access("pop", vec![]),
            ("list/1" | "dict/1", Some(key)) => access("pop", vec![input::text(key)?]),
            ("dict/1", None) => access("pop_item", vec![]),
            ("set/1", Some(_)) => return Err(self.unfit("has no indexes")),
            _ => return Err(self.unfit("nothing can be popped from")),
        })
    }

    pub(super) fn incr(&self, key: Option<&str>, by: i64) -> Result<Access> {
        Ok(match (self.typeid, key) {
            ("counter/1", None) => access("add", vec![by.into()]),
            ("dict/1", Some(key)) => access("add", vec![input::text(key)?, by.into()]),
            ("dict/1", None) => return Err(self.unfit("needs a key to count at")),
            ("counter/1", Some(_)) => return Err(self.unfit("has no keys")),
            _ => return Err(self.unfit("does not count")),
        })
    }

    fn unfit(&self, why: &str) -> Failure {
        let Self { name, typeid } = self;
        Failure::new(exit::CONFLICT, format!("object {name} is of type {typeid}, which {why}"))
            .with_advice(format!("`ganger object types {typeid}` lists what can be called"))
    }
}

#[cfg(test)]
mod tests {
    use ganger_shared::object::types::TYPES;

    use super::*;

    #[test]
    fn every_method_that_a_verb_calls_is_one_of_the_type() {
        let name = Name::new("x").unwrap();
        for found in TYPES {
            let kind = Kind { name: &name, typeid: found.typeid };
            let put = |key, if_revision| Put { key, if_revision, ..Put::default() };
            let calls = [
                kind.get(None).ok().flatten(),
                kind.get(Some("0")).ok().flatten(),
                kind.set(put(None, None)).ok(),
                kind.set(put(Some("0"), None)).ok(),
                kind.set(put(None, Some(1))).ok(),
                kind.set(put(Some("0"), Some(1))).ok(),
                kind.push(vec![1.into()]).ok(),
                kind.pop(None).ok(),
                kind.pop(Some("0")).ok(),
                kind.incr(None, 1).ok(),
                kind.incr(Some("0"), 1).ok(),
            ];
            for Access { method, args } in calls.into_iter().flatten() {
                let method = found.method(method).expect(method);
                let most = method.args.split(", ").filter(|arg| !arg.is_empty()).count();
                assert!(args.len() <= most, "{} {}", found.typeid, method.name);
            }
        }
    }

    #[test]
    fn what_does_not_fit_names_object_type_and_reason() {
        let name = Name::new("visits").unwrap();
        let error = Kind { name: &name, typeid: "counter/1" }.push(vec![]).unwrap_err();
        assert_eq!(
            error.sentence(),
            "object visits is of type counter/1, which nothing can be pushed to"
        );
        assert_eq!(error.code(), exit::CONFLICT);
    }
}
