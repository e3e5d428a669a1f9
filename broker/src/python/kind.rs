//! What Python programs share: each type of a `SyncManager`, and the object that it is here.
//!
//! Not how its methods are carried out: each has a file in `methods`.

use core::fmt;
use core::str::FromStr;

use ganger_shared::Name;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type of Python's `SyncManager`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `queue.Queue` and `queue.JoinableQueue`, which are the same here.
    Queue,
    /// `list`
    List,
    /// `dict`
    Dict,
    /// `set`, of Python 3.14.
    Set,
    /// One value.
    Value,
    /// Numbers of one kind.
    Array,
    /// Values as attributes.
    Namespace,
    /// A flag that callers wait for.
    Event,
    /// A lock that any caller may release.
    Lock,
    /// A lock of the connection that acquired it.
    RLock,
    /// Units that any caller may release.
    Semaphore,
    /// The same, and never more than there were.
    BoundedSemaphore,
    /// A lock whose holder can wait to be notified.
    Condition,
    /// Lets callers go on once a number of them have come.
    Barrier,
    /// The keys of a dict, one after the other.
    Iterator,
    /// An object of any other type, with the methods that it has.
    Object,
}

/// What is known of a kind.
struct Row {
    kind: Kind,
    /// As Python's managers and the configuration name it.
    word: &'static str,
    /// What it is here; empty where that is no type of its own.
    typeid: &'static str,
    /// The methods that a proxy without a class of its own is to have.
    exposed: &'static str,
}

/// A lock of Python has no owner: any caller may release it, also after the one that acquired it has
/// ended. So has a queue of one item, which whoever acquires the lock takes out; a semaphore is one of
/// several items.
const TABLE: &[Row] = &[
    Row {
        kind: Kind::Queue,
        word: "Queue",
        typeid: "queue/1",
        exposed: "empty full get get_nowait join put put_nowait qsize shutdown task_done",
    },
    Row {
        kind: Kind::List,
        word: "list",
        typeid: "list/1",
        exposed: "__add__ __contains__ __delitem__ __getitem__ __imul__ __len__ __mul__ __reversed__ __rmul__ \
                  __setitem__ append clear copy count extend index insert pop remove reverse sort",
    },
    Row {
        kind: Kind::Dict,
        word: "dict",
        typeid: "dict/1",
        exposed: "__contains__ __delitem__ __getitem__ __iter__ __len__ __setitem__ clear copy get items keys \
                  pop popitem setdefault update values",
    },
    Row {
        kind: Kind::Set,
        word: "set",
        typeid: "set/1",
        exposed: "__contains__ __iter__ __len__ add clear copy discard pop remove update",
    },
    Row { kind: Kind::Value, word: "Value", typeid: "value/1", exposed: "get set" },
    Row {
        kind: Kind::Array,
        word: "Array",
        typeid: "array/1",
        exposed: "__getitem__ __len__ __setitem__",
    },
    Row {
        kind: Kind::Namespace,
        word: "Namespace",
        typeid: "namespace/1",
        exposed: "__delattr__ __getattribute__ __setattr__",
    },
    Row { kind: Kind::Event, word: "Event", typeid: "event/1", exposed: "clear is_set set wait" },
    Row { kind: Kind::Lock, word: "Lock", typeid: "queue/1", exposed: "acquire locked release" },
    Row { kind: Kind::RLock, word: "RLock", typeid: "rlock/1", exposed: "acquire locked release" },
    Row { kind: Kind::Semaphore, word: "Semaphore", typeid: "queue/1", exposed: "acquire release" },
    Row {
        kind: Kind::BoundedSemaphore,
        word: "BoundedSemaphore",
        typeid: "queue/1",
        exposed: "acquire release",
    },
    Row {
        kind: Kind::Condition,
        word: "Condition",
        typeid: "condition/1",
        exposed: "acquire locked notify notify_all release wait",
    },
    Row {
        kind: Kind::Barrier,
        word: "Barrier",
        typeid: "barrier/1",
        exposed: "__getattribute__ abort reset wait",
    },
    Row {
        kind: Kind::Iterator,
        word: "Iterator",
        typeid: "",
        exposed: "__next__ close send throw",
    },
    Row { kind: Kind::Object, word: "object", typeid: "", exposed: "" },
];

impl Kind {
    fn row(self) -> &'static Row {
        let found = TABLE.iter().find(|row| row.kind == self);
        found.expect("each kind has a row")
    }

    /// As Python's managers name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The type of the objects that it is here, if it is one.
    #[must_use]
    pub fn typeid(self) -> Option<&'static str> {
        Some(self.row().typeid).filter(|typeid| !typeid.is_empty())
    }

    /// Whether programs make such objects by `manager.WORD(…)`.
    pub(crate) const fn is_made(self) -> bool {
        !matches!(self, Self::Iterator | Self::Object)
    }

    /// The methods that a proxy without a class of its own is to have. With those in underscores
    /// `len(proxy)` and `proxy[0]` work in programs that registered no class.
    pub(crate) fn exposed(self) -> impl Iterator<Item = &'static str> {
        self.row().exposed.split_ascii_whitespace()
    }

    /// What an object of this type is to Python if nothing more is known of it.
    pub(crate) fn of(typeid: &str) -> Self {
        TABLE.iter().find(|row| row.typeid == typeid).map_or(Self::Object, |row| row.kind)
    }

    /// The class of its proxies, in `multiprocessing.managers`.
    pub(crate) const fn proxy_class(self) -> &'static str {
        match self {
            Self::Queue | Self::Object => "AutoProxy",
            Self::Iterator => "IteratorProxy",
            Self::List => "ListProxy",
            Self::Dict => "DictProxy",
            Self::Set => "SetProxy",
            Self::Value => "ValueProxy",
            Self::Array => "ArrayProxy",
            Self::Namespace => "NamespaceProxy",
            Self::Event => "EventProxy",
            Self::Lock | Self::RLock | Self::Semaphore | Self::BoundedSemaphore => "AcquirerProxy",
            Self::Condition => "ConditionProxy",
            Self::Barrier => "BarrierProxy",
        }
    }

    /// The kind of this name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.word == word).map(|row| row.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A shared object as Python programs know it: what it is to them, and its name here. As text, `list:jobs`,
/// it is also the ident by which they call it: the same after the broker was started anew, and never given
/// to another object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shared {
    /// What it is to them.
    pub kind: Kind,
    /// Its name here.
    pub object: Name,
}

/// The text names no shared object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no shared object; write its Python type and its name, as in list:jobs")]
pub struct ParseSharedError {
    text: String,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.object)
    }
}

impl FromStr for Shared {
    type Err = ParseSharedError;

    fn from_str(text: &str) -> Result<Self, ParseSharedError> {
        let parsed = || {
            let (word, name) = text.split_once(':')?;
            Some(Self { kind: Kind::named(word)?, object: name.parse().ok()? })
        };
        parsed().ok_or_else(|| ParseSharedError { text: text.to_owned() })
    }
}

/// What programs get by a name of the configuration: `list:jobs`, or `new:inventory/1` for an object of
/// that type which is made anew each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// This object, made by its first use.
    Shared(Shared),
    /// One of this type, without a name.
    New(Name),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(shared) => shared.fmt(f),
            Self::New(typeid) => write!(f, "new:{typeid}"),
        }
    }
}

impl FromStr for Named {
    type Err = ParseSharedError;

    fn from_str(text: &str) -> Result<Self, ParseSharedError> {
        match text.strip_prefix("new:").map(str::parse) {
            Some(Ok(typeid)) => Ok(Self::New(typeid)),
            Some(Err(_)) | None => text.parse().map(Self::Shared),
        }
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use ganger_shared::object::types;

    use super::*;

    #[test]
    fn each_kind_is_an_object_that_every_broker_serves() {
        for row in TABLE {
            let is_served = row.kind.typeid().is_none_or(|id| types::builtin(id).is_some());
            assert!(is_served, "{}", row.word);
            assert_eq!(Kind::named(row.word), Some(row.kind));
        }
    }

    #[test]
    fn name_of_the_configuration_is_read_back() {
        for text in ["list:jobs", "object:stock", "new:inventory/1"] {
            assert_eq!(text.parse::<Named>().unwrap().to_string(), text);
        }
        assert!("new:a b".parse::<Named>().is_err());
    }

    #[test]
    fn ident_is_read_back() {
        for text in ["list:my_list", "Queue:_/1f", "dict:a/b"] {
            assert_eq!(text.parse::<Shared>().unwrap().to_string(), text);
        }
        for text in ["", "list", "list:", "tuple:x", "7f3a", "list:a b"] {
            let error = text.parse::<Shared>().unwrap_err();
            assert!(error.to_string().contains("as in list:jobs"), "{error}");
        }
    }
}
