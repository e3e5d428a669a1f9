//! Objects of many values.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::types::Takes;
use super::{Caller, Invocation, answer, args, call, proxy};

proxy! {
    /// A shared list of `T`, by position; negative ones count from the end.
    ListProxy<T>
}

impl<C: Caller, T: Serialize + DeserializeOwned + Sync> ListProxy<C, T> {
    /// How many items it has.
    ///
    /// # Errors
    /// The caller's.
    pub async fn len(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "len")
    }

    /// Whether it has none.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_empty(&self) -> Result<bool, C::Error> {
        Ok(self.len().await? == 0)
    }

    /// The item at an index.
    ///
    /// # Errors
    /// [`CallError::Index`](crate::CallError::Index) if there is none.
    pub async fn get(&self, index: i64) -> Result<T, C::Error> {
        call!(self, Nothing, "get", index)
    }

    /// The items from `start` to before `stop`, or to the end.
    ///
    /// # Errors
    /// The caller's; also if they are larger than an answer may be.
    pub async fn slice(&self, start: i64, stop: Option<i64>) -> Result<Vec<T>, C::Error> {
        call!(self, Nothing, "slice", start, stop)
    }

    /// Items as those who watch the list have them, popped ones included that are not confirmed; before
    /// them the revision at which they are that. It is 0 if nobody has watched the list.
    ///
    /// # Errors
    /// As for [`slice`](Self::slice).
    pub async fn snapshot(&self, start: i64, stop: Option<i64>) -> Result<(u64, Vec<T>), C::Error> {
        call!(self, Nothing, "snapshot", start, stop)
    }

    /// Index of the first item that equals `value`.
    ///
    /// # Errors
    /// [`CallError::Absent`](crate::CallError::Absent) if there is none.
    pub async fn index(&self, value: &T) -> Result<u64, C::Error> {
        call!(self, Nothing, "index", value)
    }

    /// How many items equal `value`.
    ///
    /// # Errors
    /// The caller's.
    pub async fn count(&self, value: &T) -> Result<u64, C::Error> {
        call!(self, Nothing, "count", value)
    }

    /// Whether an item equals `value`.
    ///
    /// # Errors
    /// The caller's.
    pub async fn contains(&self, value: &T) -> Result<bool, C::Error> {
        call!(self, Nothing, "contains", value)
    }

    /// Adds an item at the end; returns the length then.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn append(&self, value: &T) -> Result<u64, C::Error> {
        call!(self, Room, "append", value)
    }

    /// Adds items at the end, all or none; returns the length then.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn extend(&self, values: &[T]) -> Result<u64, C::Error> {
        call!(self, Room, "extend", values)
    }

    /// Puts an item before the one at `index`, or at the end.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn insert(&self, index: i64, value: &T) -> Result<(), C::Error> {
        call!(self, Room, "insert", index, value)
    }

    /// Puts another item in the place of that at `index`.
    ///
    /// # Errors
    /// [`CallError::Index`](crate::CallError::Index) if there is none.
    pub async fn set(&self, index: i64, value: &T) -> Result<(), C::Error> {
        call!(self, Room, "set", index, value)
    }

    /// Puts items in the place of those from `start` to before `stop`.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn set_slice(&self, start: i64, stop: i64, values: &[T]) -> Result<(), C::Error> {
        call!(self, Room, "set_slice", start, stop, values)
    }

    /// Takes the item at `index` out; -1 for the last one.
    ///
    /// # Errors
    /// [`CallError::Empty`](crate::CallError::Empty), [`CallError::Index`](crate::CallError::Index).
    pub async fn pop(&self, index: i64) -> Result<T, C::Error> {
        call!(self, Turn, "pop", index)
    }

    /// Removes the items from `start` to before `stop`, or to the end.
    ///
    /// # Errors
    /// The caller's.
    pub async fn delete_slice(&self, start: i64, stop: Option<i64>) -> Result<(), C::Error> {
        call!(self, Turn, "delete_slice", start, stop)
    }

    /// Removes the first item that equals `value`.
    ///
    /// # Errors
    /// [`CallError::Absent`](crate::CallError::Absent) if there is none.
    pub async fn remove(&self, value: &T) -> Result<(), C::Error> {
        call!(self, Turn, "remove", value)
    }

    /// Keeps the last `count` items; returns how many went.
    ///
    /// # Errors
    /// The caller's.
    pub async fn trim(&self, count: u64) -> Result<u64, C::Error> {
        call!(self, Turn, "trim", count)
    }

    /// Removes all items.
    ///
    /// # Errors
    /// The caller's.
    pub async fn clear(&self) -> Result<(), C::Error> {
        call!(self, Turn, "clear")
    }

    /// Turns the order round.
    ///
    /// # Errors
    /// [`CallError::Value`](crate::CallError::Value) above a million items.
    pub async fn reverse(&self) -> Result<(), C::Error> {
        call!(self, Turn, "reverse")
    }

    /// Sorts the items, equal ones in the order they have.
    ///
    /// # Errors
    /// [`CallError::Type`](crate::CallError::Type) if two of them have no order,
    /// [`CallError::Value`](crate::CallError::Value) above a million items.
    pub async fn sort(&self) -> Result<(), C::Error> {
        call!(self, Turn, "sort")
    }
}

/// A value of a dict, and what else is known of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Entry<V> {
    /// It.
    pub value: V,
    /// Changes with each set; for [`DictProxy::compare_and_set`].
    pub revision: u64,
    /// How long it is still there, in milliseconds; none for ever.
    pub ttl_ms: Option<u64>,
}

proxy! {
    /// A shared dict of `V` by `K`, in the order in which the keys came.
    DictProxy<K, V>
}

impl<C, K, V> DictProxy<C, K, V>
where
    C: Caller,
    K: Serialize + DeserializeOwned + Sync,
    V: Serialize + DeserializeOwned + Sync,
{
    /// How many keys it has.
    ///
    /// # Errors
    /// The caller's.
    pub async fn len(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "len")
    }

    /// Whether it has none.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_empty(&self) -> Result<bool, C::Error> {
        Ok(self.len().await? == 0)
    }

    /// The value of a key, if it is there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn get(&self, key: &K) -> Result<Option<V>, C::Error> {
        Ok(self.entry(key).await?.map(|entry| entry.value))
    }

    /// The value of a key with its revision, if it is there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn entry(&self, key: &K) -> Result<Option<Entry<V>>, C::Error> {
        call!(self, Nothing, "entry", key)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn contains(&self, key: &K) -> Result<bool, C::Error> {
        call!(self, Nothing, "contains", key)
    }

    /// Keys and values, `count` at most, from the first one or behind the key `after`.
    ///
    /// # Errors
    /// [`CallError::Key`](crate::CallError::Key) if `after` is not there; the caller's.
    pub async fn items(&self, after: Option<&K>, count: u32) -> Result<Vec<(K, V)>, C::Error> {
        call!(self, Nothing, "items", after, count)
    }

    /// Keys, as [`items`](Self::items).
    ///
    /// # Errors
    /// As for [`items`](Self::items).
    pub async fn keys(&self, after: Option<&K>, count: u32) -> Result<Vec<K>, C::Error> {
        call!(self, Nothing, "keys", after, count)
    }

    /// Sets a key; returns its revision.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn set(&self, key: &K, value: &V) -> Result<u64, C::Error> {
        call!(self, Room, "set", key, value)
    }

    /// Sets keys, each by a call of its own, all in one frame.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full) of the first that failed.
    pub async fn set_many(&self, pairs: &[(K, V)]) -> Result<(), C::Error> {
        let mut calls = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            calls.push(args!(key, value));
        }
        self.object.call_many("set", Takes::Room, calls).await.map(drop)
    }

    /// Sets a key for so many milliseconds; returns its revision.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn set_for(&self, key: &K, value: &V, ttl_ms: u64) -> Result<u64, C::Error> {
        call!(self, Room, "set", key, value, ttl_ms)
    }

    /// The value of a key, which is set to `value` if it is not there.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn set_default(&self, key: &K, value: &V) -> Result<V, C::Error> {
        call!(self, Room, "set_default", key, value)
    }

    /// Adds to the number of a key, which is 0 if it is not there; returns the sum.
    ///
    /// # Errors
    /// [`CallError::Type`](crate::CallError::Type) if it is no whole number.
    pub async fn add(&self, key: &K, by: i64) -> Result<i64, C::Error> {
        call!(self, Room, "add", key, by)
    }

    /// Sets a key that is at `revision`, or with 0 one that is not there; returns its next one.
    ///
    /// # Errors
    /// [`CallError::Revision`](crate::CallError::Revision) if somebody else has set it meanwhile.
    pub async fn compare_and_set(
        &self,
        key: &K,
        revision: u64,
        value: &V,
    ) -> Result<u64, C::Error> {
        call!(self, Room, "compare_and_set", key, revision, value)
    }

    /// Has a key end in so many milliseconds, or never; says whether it is there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn expire(&self, key: &K, ttl_ms: Option<u64>) -> Result<bool, C::Error> {
        call!(self, Turn, "expire", key, ttl_ms)
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn delete(&self, key: &K) -> Result<bool, C::Error> {
        call!(self, Turn, "delete", key)
    }

    /// Removes a key and returns its value, if it was there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn pop(&self, key: &K) -> Result<Option<V>, C::Error> {
        // Where it is not there, none is the default.
        let args = args!(key, ());
        let packed = self.object.call(Invocation::new("pop", Takes::Turn, args)).await?;
        Ok(answer(&packed)?)
    }

    /// Removes all keys.
    ///
    /// # Errors
    /// The caller's.
    pub async fn clear(&self) -> Result<(), C::Error> {
        call!(self, Turn, "clear")
    }
}

proxy! {
    /// A shared set of `T`, in the order in which the items came.
    SetProxy<T>
}

impl<C: Caller, T: Serialize + DeserializeOwned + Sync> SetProxy<C, T> {
    /// How many items it has.
    ///
    /// # Errors
    /// The caller's.
    pub async fn len(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "len")
    }

    /// Whether it has none.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_empty(&self) -> Result<bool, C::Error> {
        Ok(self.len().await? == 0)
    }

    /// Whether `value` is in it.
    ///
    /// # Errors
    /// The caller's.
    pub async fn contains(&self, value: &T) -> Result<bool, C::Error> {
        call!(self, Nothing, "contains", value)
    }

    /// Items, `count` at most, from the first one or behind `after`.
    ///
    /// # Errors
    /// [`CallError::Absent`](crate::CallError::Absent) if `after` is not there; the caller's.
    pub async fn items(&self, after: Option<&T>, count: u32) -> Result<Vec<T>, C::Error> {
        call!(self, Nothing, "items", after, count)
    }

    /// Adds an item; says whether it is new.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full), [`CallError::Type`](crate::CallError::Type) if it
    /// cannot be an item of a set.
    pub async fn add(&self, value: &T) -> Result<bool, C::Error> {
        call!(self, Room, "add", value)
    }

    /// Adds items, all or none; returns how many are new.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub async fn update(&self, values: &[T]) -> Result<u64, C::Error> {
        call!(self, Room, "update", values)
    }

    /// Removes an item; says whether it was there.
    ///
    /// # Errors
    /// The caller's.
    pub async fn discard(&self, value: &T) -> Result<bool, C::Error> {
        call!(self, Turn, "discard", value)
    }

    /// Removes the earliest item.
    ///
    /// # Errors
    /// [`CallError::Empty`](crate::CallError::Empty).
    pub async fn pop(&self) -> Result<T, C::Error> {
        call!(self, Turn, "pop")
    }

    /// Removes all items.
    ///
    /// # Errors
    /// The caller's.
    pub async fn clear(&self) -> Result<(), C::Error> {
        call!(self, Turn, "clear")
    }
}

proxy! {
    /// Shared values by name, each of a type of its own.
    NamespaceProxy<>
}

impl<C: Caller> NamespaceProxy<C> {
    /// The value of a name.
    ///
    /// # Errors
    /// [`CallError::Key`](crate::CallError::Key) if there is none.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, C::Error> {
        call!(self, Nothing, "get", name)
    }

    /// Sets a name.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full).
    pub async fn set<T: Serialize + Sync>(&self, name: &str, value: &T) -> Result<(), C::Error> {
        call!(self, Room, "set", name, value)
    }

    /// Removes a name.
    ///
    /// # Errors
    /// [`CallError::Key`](crate::CallError::Key) if there is none.
    pub async fn delete(&self, name: &str) -> Result<(), C::Error> {
        call!(self, Turn, "delete", name)
    }
}

proxy! {
    /// A shared array of numbers.
    ArrayProxy<T>
}

impl<C: Caller, T: Serialize + DeserializeOwned + Sync> ArrayProxy<C, T> {
    /// How many numbers it has.
    ///
    /// # Errors
    /// The caller's.
    pub async fn len(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "len")
    }

    /// Whether it has none.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_empty(&self) -> Result<bool, C::Error> {
        Ok(self.len().await? == 0)
    }

    /// The number at an index.
    ///
    /// # Errors
    /// [`CallError::Index`](crate::CallError::Index) if there is none.
    pub async fn get(&self, index: i64) -> Result<T, C::Error> {
        call!(self, Nothing, "get", index)
    }

    /// Sets the number at an index.
    ///
    /// # Errors
    /// [`CallError::Index`](crate::CallError::Index) if there is none,
    /// [`CallError::Value`](crate::CallError::Value) if the number does not fit.
    pub async fn set(&self, index: i64, number: &T) -> Result<(), C::Error> {
        call!(self, Turn, "set", index, number)
    }

    /// The numbers from `start` to before `stop`, or to the end.
    ///
    /// # Errors
    /// The caller's; also if they are larger than an answer may be.
    pub async fn slice(&self, start: i64, stop: Option<i64>) -> Result<Vec<T>, C::Error> {
        call!(self, Nothing, "slice", start, stop)
    }

    /// Writes numbers over those from `start` on.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub async fn set_slice(&self, start: i64, numbers: &[T]) -> Result<(), C::Error> {
        call!(self, Turn, "set_slice", start, numbers)
    }
}
