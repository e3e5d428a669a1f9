//! The types of objects that every broker serves, and their methods: the table that the broker
//! calls by, proxies are written by, and `docs/objects.md` is checked against.

use bytes::Bytes;

use crate::value::{Packed, Value};

/// What a call takes of the broker, which decides whether it is judged, kept and repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it reads.
    Nothing,
    /// It changes the object, and may need room for what it brings.
    Room,
    /// It changes the object and needs no room: what frees memory is never refused.
    Turn,
    /// As `Turn`, and it may wait for others.
    Time,
}

/// One method of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, separated by commas; `name = value` for one that may be left out.
    pub args: &'static str,
    /// What it returns.
    pub returns: &'static str,
    /// What it takes of the broker.
    pub takes: Takes,
    /// How its cost grows with the number n of items of the object and k of those it is about.
    pub cost: &'static str,
}

impl Method {
    /// Whether it only adds at the end of a list, wherever that is.
    #[must_use]
    pub fn appends(&self) -> bool {
        matches!(self.name, "append" | "extend")
    }
}

/// A type of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectType {
    /// Its stable name, with a version.
    pub typeid: &'static str,
    /// What one is, in a sentence.
    pub about: &'static str,
    /// What it is made with, written as the arguments of a method.
    pub made_with: &'static str,
    /// Its methods.
    pub methods: &'static [Method],
}

impl ObjectType {
    /// The method of this name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}

/// The type of this name, if every broker serves it.
#[must_use]
pub fn builtin(typeid: &str) -> Option<&'static ObjectType> {
    TYPES.iter().find(|found| found.typeid == typeid)
}

/// Whether calls of a method come to the same together as one by one, so that those that are made at once
/// may share a frame: whatever is in the object their answers are short, nobody whose turn could come
/// between them has a say in them, and nobody waits for a number that a counter has only between them.
/// `args` are the encoded arguments of the call.
#[must_use]
pub fn may_join(typeid: &str, method: &str, args: &Bytes) -> bool {
    match typeid {
        "counter/1" => method == "get" || method == "add" && !is_below_zero(args),
        "dict/1" => matches!(
            method,
            "contains" | "len" | "set" | "add" | "compare_and_set" | "expire" | "delete"
        ),
        "list/1" => matches!(method, "len" | "append" | "insert" | "set" | "delete"),
        "set/1" => matches!(method, "contains" | "len" | "add" | "discard" | "remove"),
        "value/1" => matches!(method, "set" | "compare_and_set"),
        _ => false,
    }
}

fn is_below_zero(args: &Bytes) -> bool {
    let Ok(value) = Packed::new(args.clone()) else { return false };
    matches!(value.unpack(), Value::Int(by) if by.as_i64().is_some_and(|by| by < 0))
}

const fn method(
    name: &'static str,
    args: &'static str,
    returns: &'static str,
    takes: Takes,
    cost: &'static str,
) -> Method {
    Method { name, args, returns, takes, cost }
}

use Takes::{Nothing, Room, Time, Turn};

/// Every type, by name.
pub const TYPES: &[ObjectType] = &[
    ObjectType {
        typeid: "array/1",
        about: "numbers of one kind, as many as it was made with",
        made_with: "kind, length or list of numbers",
        methods: &[
            method("get", "index", "number", Nothing, "O(1)"),
            method("set", "index, number", "none", Turn, "O(1)"),
            method("slice", "start = 0, stop = end", "list", Nothing, "O(k)"),
            method("set_slice", "start, numbers", "none", Turn, "O(k)"),
            method("fill", "number", "none", Turn, "O(n)"),
            method("kind", "", "text", Nothing, "O(1)"),
            method("len", "", "int", Nothing, "O(1)"),
        ],
    },
    ObjectType {
        typeid: "barrier/1",
        about: "lets callers go on once a number of them have come",
        made_with: "parties, timeout_ms = for ever",
        methods: &[
            method("wait", "", "int: 0 for the first that came", Time, "O(k)"),
            method("reset", "", "none", Turn, "O(k)"),
            method("abort", "", "none", Turn, "O(k)"),
            method("parties", "", "int", Nothing, "O(1)"),
            method("waiting", "", "int", Nothing, "O(1)"),
            method("is_broken", "", "bool", Nothing, "O(1)"),
            method("timeout", "", "int: ms, or none; for those who do not say", Nothing, "O(1)"),
        ],
    },
    ObjectType {
        typeid: "bounded_semaphore/1",
        about: "units that are acquired and released, never more than it was made with",
        made_with: "units = 1",
        methods: SEMAPHORE,
    },
    ObjectType {
        typeid: "condition/1",
        about: "a lock whose holder can wait until another holder notifies it",
        made_with: "",
        methods: &[
            method("acquire", "", "token, or none when the time is up", Time, "O(log n)"),
            method("release", "token = any", "none", Turn, "O(log n)"),
            method("wait", "", "bool: whether it was notified in time", Time, "O(log n)"),
            method("notify", "count = 1", "int: how many were", Turn, "O(k log n)"),
            method("notify_all", "", "int: how many were", Turn, "O(n log n)"),
            method("is_locked", "", "bool", Nothing, "O(1)"),
        ],
    },
    ObjectType {
        typeid: "counter/1",
        about: "a whole number of 64 bits with a sign",
        made_with: "start = 0",
        methods: &[
            method("get", "", "int", Nothing, "O(1)"),
            method("add", "by = 1", "int: the sum", Turn, "O(1)"),
            method("set", "number", "int: what it was", Turn, "O(1)"),
        ],
    },
    ObjectType {
        typeid: "dict/1",
        about: "values by key, in the order in which the keys came",
        made_with: "",
        methods: &[
            method("get", "key, default = none", "value", Nothing, "O(log n)"),
            method("at", "key", "value, or an error", Nothing, "O(log n)"),
            method("entry", "key", "value, revision and ms to live; or none", Nothing, "O(log n)"),
            method("contains", "key", "bool", Nothing, "O(log n)"),
            method("len", "", "int", Nothing, "O(1)"),
            method("keys", "after = none, count = all", "list", Nothing, "O(k)"),
            method("values", "after = none, count = all", "list", Nothing, "O(k)"),
            method("items", "after = none, count = all", "list of tuples", Nothing, "O(k)"),
            method("set", "key, value, ttl_ms = for ever", "int: its revision", Room, "O(log n)"),
            method("set_default", "key, value = none", "value: what is there", Room, "O(log n)"),
            method("update", "map", "none", Room, "O(k log n)"),
            method("add", "key, by = 1", "int: the sum", Room, "O(log n)"),
            method(
                "compare_and_set",
                "key, revision (0: absent), value",
                "int: its revision",
                Room,
                "O(log n)",
            ),
            method("expire", "key, ttl_ms", "bool: whether it is there", Turn, "O(log n)"),
            method("delete", "key", "bool: whether it was there", Turn, "O(log n)"),
            method("pop", "key, default = an error", "value", Turn, "O(log n)"),
            method("pop_item", "", "tuple: the latest key and its value", Turn, "O(log n)"),
            method("clear", "", "none", Turn, "O(n)"),
        ],
    },
    ObjectType {
        typeid: "event/1",
        about: "a flag that callers wait for",
        made_with: "",
        methods: &[
            method("is_set", "", "bool", Nothing, "O(1)"),
            method("set", "", "none", Turn, "O(waiting)"),
            method("clear", "", "none", Turn, "O(1)"),
            method("wait", "", "bool: whether it is set", Time, "O(log waiting)"),
        ],
    },
    ObjectType {
        typeid: "list/1",
        about: "items in order; a queue's results are one",
        made_with: "",
        methods: &[
            method("get", "index", "value", Nothing, "O(log n)"),
            method("slice", "start = 0, stop = end, step = 1", "list", Nothing, "O(log n + k)"),
            method(
                "snapshot",
                "start = 0, stop = end",
                "tuple: revision and list",
                Nothing,
                "O(n / 256 + k)",
            ),
            method("len", "", "int", Nothing, "O(1)"),
            method("index", "value, start = 0, stop = end", "int", Nothing, "O(n)"),
            method("count", "value", "int", Nothing, "O(n)"),
            method("contains", "value", "bool", Nothing, "O(n)"),
            method("append", "value", "int: the length", Room, "O(1)"),
            method("extend", "list", "int: the length", Room, "O(k)"),
            method("insert", "index, value", "none", Room, "O(log n) at the ends, else O(n / 256)"),
            method("set", "index, value", "none", Room, "O(log n)"),
            method("set_slice", "start, stop, list", "none", Room, "O(k + n / 256)"),
            method("pop", "index = -1", "value", Turn, "O(log n) at the ends, else O(n / 256)"),
            method("delete", "index", "none", Turn, "O(log n) at the ends, else O(n / 256)"),
            method("delete_slice", "start = 0, stop = end", "none", Turn, "O(n / 256)"),
            method("remove", "value", "none", Turn, "O(n)"),
            method("trim", "count", "int: how many went", Turn, "O(k)"),
            method("clear", "", "none", Turn, "O(n)"),
            method("reverse", "", "none", Turn, "O(n)"),
            method("sort", "descending = false", "none", Turn, "O(n log n)"),
        ],
    },
    ObjectType {
        typeid: "lock/1",
        about: "held by one caller at a time",
        made_with: "",
        methods: LOCK,
    },
    ObjectType {
        typeid: "namespace/1",
        about: "values by name",
        made_with: "map = empty",
        methods: &[
            method("get", "name", "value, or an error", Nothing, "O(log n)"),
            method("contains", "name", "bool", Nothing, "O(log n)"),
            method("items", "", "map", Nothing, "O(n)"),
            method("len", "", "int", Nothing, "O(1)"),
            method("set", "name, value", "none", Room, "O(log n)"),
            method("delete", "name", "none", Turn, "O(log n)"),
        ],
    },
    ObjectType {
        typeid: super::QUEUE,
        about: "items that callers put in and get, first in, first out; a queue of jobs is one",
        made_with: "maxsize = the broker's default",
        methods: &[
            method("put", "item", "none, or an error when it is full", Time, "O(log n)"),
            method("put_nowait", "item", "none, or an error when it is full", Room, "O(log n)"),
            method("get", "", "item, or an error when it is empty", Time, "O(log n)"),
            method("get_nowait", "", "item, or an error when it is empty", Turn, "O(log n)"),
            method("task_done", "", "none", Turn, "O(waiting)"),
            method("join", "", "bool: whether all is done", Time, "O(log waiting)"),
            method("shutdown", "immediate = false", "none", Turn, "O(waiting), or O(n) at once"),
            method("len", "", "int: how many can be got", Nothing, "O(1)"),
            method("empty", "", "bool", Nothing, "O(1)"),
            method("full", "", "bool", Nothing, "O(1)"),
            method("maxsize", "", "int", Nothing, "O(1)"),
            method("unfinished", "", "int: how many are not done", Nothing, "O(1)"),
            method("is_shut_down", "", "bool", Nothing, "O(1)"),
        ],
    },
    ObjectType {
        typeid: "rlock/1",
        about: "held by one caller at a time, who may acquire it again and again",
        made_with: "",
        methods: LOCK,
    },
    ObjectType {
        typeid: "semaphore/1",
        about: "units that are acquired and released; a release without an acquire adds one",
        made_with: "units = 1",
        methods: SEMAPHORE,
    },
    ObjectType {
        typeid: "set/1",
        about: "different values, in the order in which they came",
        made_with: "list = empty",
        methods: &[
            method("contains", "value", "bool", Nothing, "O(log n)"),
            method("len", "", "int", Nothing, "O(1)"),
            method("items", "after = none, count = all", "list", Nothing, "O(k)"),
            method("add", "value", "bool: whether it is new", Room, "O(log n)"),
            method("update", "list or set", "int: how many are new", Room, "O(k log n)"),
            method("discard", "value", "bool: whether it was there", Turn, "O(log n)"),
            method("remove", "value", "none, or an error", Turn, "O(log n)"),
            method("pop", "", "value: the earliest", Turn, "O(log n)"),
            method("clear", "", "none", Turn, "O(n)"),
        ],
    },
    ObjectType {
        typeid: "value/1",
        about: "one value",
        made_with: "value = none",
        methods: &[
            method("get", "", "value", Nothing, "O(1)"),
            method("entry", "", "tuple: value and revision", Nothing, "O(1)"),
            method("set", "value", "int: its revision", Room, "O(1)"),
            method("compare_and_set", "revision, value", "int: its revision", Room, "O(1)"),
        ],
    },
];

const LOCK: &[Method] = &[
    method("acquire", "", "token, or none when the time is up", Time, "O(log waiting)"),
    method("release", "token = any", "none", Turn, "O(log waiting)"),
    method("is_locked", "", "bool", Nothing, "O(1)"),
];

const SEMAPHORE: &[Method] = &[
    method("acquire", "", "token, or none when the time is up", Time, "O(log n)"),
    method("release", "token = any", "none", Turn, "O(log n)"),
    method("units", "", "int: how many are free", Nothing, "O(1)"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn only_methods_of_the_table_that_never_wait_may_join() {
        let none = Bytes::new();
        for found in TYPES {
            for method in found.methods.iter().filter(|method| method.takes == Time) {
                assert!(!may_join(found.typeid, method.name, &none), "{}", method.name);
            }
        }
        let by = |by: i64| Packed::from(by).as_bytes().clone();
        let joins = [none, by(1), by(0), by(-1)].map(|args| may_join("counter/1", "add", &args));
        assert_eq!(joins, [true, true, true, false]);
    }

    #[test]
    fn typeids_are_names_in_order_and_methods_are_told_apart() {
        assert!(TYPES.is_sorted_by(|a, b| a.typeid < b.typeid));
        for found in TYPES {
            Name::new(found.typeid).unwrap();
            assert_eq!(builtin(found.typeid), Some(found));
            for (index, method) in found.methods.iter().enumerate() {
                assert!(!found.methods[..index].iter().any(|other| other.name == method.name));
            }
        }
    }
}
