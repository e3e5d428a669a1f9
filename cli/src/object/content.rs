//! What is in an object, read in parts and put in again in parts.

use std::time::Duration;

use bytes::Bytes;
use ganger_shared::object::proxy::Caller;
use ganger_shared::object::{QUEUE, Takes};
use ganger_shared::value::Integer;
use ganger_shared::{CallError, Value};
use ganger_worker::{Error, Object};

use crate::exit::{Failure, Result};
use crate::link::strange;

/// Items asked for, or put in, at once: 4,096.
const PART_ITEMS: usize = 4_096;

/// Encoded bytes that are put in at once, unless one item has more: 1 MiB.
const PART_BYTES: usize = 1 << 20;

/// All that makes one object like another.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) made_with: Vec<Value>,
    /// What it is filled with; of what only holds and waits there is nothing.
    pub(super) content: Option<Value>,
    /// Keys of a dict that end by themselves, and when, in milliseconds.
    pub(super) ttl_ms: Vec<(Value, u64)>,
}

/// The values in an object of one of the types that have many; of a queue, how it stands.
pub(super) async fn whole(object: &Object, typeid: &str) -> Result<Value> {
    match typeid {
        "dict/1" => {
            let entries = listed(object, "items").await?.into_iter().filter_map(pair);
            Ok(Value::Map(entries.collect()))
        }
        "set/1" => Ok(Value::Set(listed(object, "items").await?)),
        "namespace/1" => Ok(call(object, "items", &[]).await?),
        QUEUE => {
            // To read its items is to take them.
            let mut about = Vec::new();
            for method in ["len", "maxsize", "unfinished", "is_shut_down"] {
                about.push((method.into(), call(object, method, &[]).await?));
            }
            Ok(Value::Map(about))
        }
        _ => Ok(Value::List(sliced(object).await?)),
    }
}

/// Everything; `held` is how many units of it are held.
pub(super) async fn read(object: &Object, typeid: &str, held: u64) -> Result<Content> {
    let content = match typeid {
        "dict/1" => return dict(object).await,
        "array/1" => {
            let kind = call(object, "kind", &[]).await?;
            let numbers = sliced(object).await?;
            let made_with = vec![kind, numbers.len().into()];
            let content = Some(Value::List(numbers));
            return Ok(Content { made_with, content, ..Content::default() });
        }
        "semaphore/1" | "bounded_semaphore/1" => {
            let free = call(object, "units", &[]).await?;
            let free = free.as_int().and_then(Integer::as_u64);
            let made_with = vec![(free.unwrap_or(0) + held).into()];
            return Ok(Content { made_with, ..Content::default() });
        }
        "barrier/1" => {
            let timeout = call(object, "timeout", &[]).await?;
            let made_with = vec![call(object, "parties", &[]).await?, timeout];
            return Ok(Content { made_with, ..Content::default() });
        }
        "counter/1" | "value/1" => call(object, "get", &[]).await?,
        "event/1" => call(object, "is_set", &[]).await?,
        "set/1" | "list/1" | "namespace/1" => whole(object, typeid).await?,
        _ => return Ok(Content::default()),
    };
    Ok(Content { content: Some(content), ..Content::default() })
}

/// Fills an object that was made with [`Content::made_with`].
pub(super) async fn fill(object: &Object, typeid: &str, content: Content) -> Result {
    let Content { content: Some(content), ttl_ms, .. } = content else { return Ok(()) };
    match (typeid, content) {
        ("list/1", Value::List(items)) => {
            for part in parts(items, size) {
                call(object, "extend", &[Value::List(part)]).await?;
            }
        }
        ("set/1", Value::Set(items) | Value::List(items)) => {
            for part in parts(items, size) {
                call(object, "update", &[Value::List(part)]).await?;
            }
        }
        ("array/1", Value::List(items)) => {
            let mut start = 0;
            for part in parts(items, size) {
                let count = part.len();
                call(object, "set_slice", &[start.into(), Value::List(part)]).await?;
                start += count;
            }
        }
        ("dict/1", Value::Map(entries)) => {
            for part in parts(entries, |(key, value)| size(key) + size(value)) {
                call(object, "update", &[Value::Map(part)]).await?;
            }
            for part in parts(ttl_ms, |(key, _)| size(key) + 10) {
                let args = part.into_iter().map(|(key, ms)| encoded(&[key, ms.into()]));
                object.call_many("expire", Takes::Turn, args.collect::<Result<_>>()?).await?;
            }
        }
        ("namespace/1", Value::Map(entries)) => {
            for part in parts(entries, |(name, value)| size(name) + size(value)) {
                let args = part.into_iter().map(|(name, value)| encoded(&[name, value]));
                object.call_many("set", Takes::Room, args.collect::<Result<_>>()?).await?;
            }
        }
        ("counter/1" | "value/1", value) => {
            call(object, "set", &[value]).await?;
        }
        ("event/1", Value::Bool(is_set)) => {
            call(object, if is_set { "set" } else { "clear" }, &[]).await?;
        }
        (typeid, other) => {
            let kind = other.kind();
            return Err(Failure::usage(format!("a {typeid} cannot be filled with {kind}")));
        }
    }
    Ok(())
}

async fn call(object: &Object, method: &str, args: &[Value]) -> Result<Value, Error> {
    object.invoke(method, args, Duration::ZERO).await
}

/// Values by position.
async fn sliced(object: &Object) -> Result<Vec<Value>> {
    let (mut items, mut count) = (Vec::new(), PART_ITEMS);
    loop {
        let stop = items.len() + count;
        let args = [items.len().into(), stop.into()];
        let Some(part) = part(call(object, "slice", &args).await, &mut count)? else { continue };
        items.extend(part);
        if items.len() < stop {
            return Ok(items);
        }
    }
}

/// Values that are asked for by the one before.
async fn listed(object: &Object, method: &str) -> Result<Vec<Value>> {
    let mut pages = Pages::new(object, method);
    let mut items = Vec::new();
    while let Some(part) = pages.next().await? {
        items.extend(part);
    }
    Ok(items)
}

/// The parts of a list of items, each asked for by the last key of the one before.
struct Pages<'a> {
    object: &'a Object,
    method: &'a str,
    count: usize,
    after: Value,
    /// The last key was none, which asks for the start: it comes once more, behind `after`.
    again: bool,
    done: bool,
}

impl<'a> Pages<'a> {
    const fn new(object: &'a Object, method: &'a str) -> Self {
        let (count, after) = (PART_ITEMS, Value::None);
        Self { object, method, count, after, again: false, done: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<Value>>> {
        while !self.done {
            let count = self.count + usize::from(self.again);
            let args = [self.after.clone(), count.into()];
            let answer = call(self.object, self.method, &args).await;
            let Some(mut items) = part(answer, &mut self.count)? else { continue };
            self.done = items.len() < count;
            if self.again && items.first().is_some_and(|item| key(item).is_none()) {
                items.remove(0);
            }
            let last = items.iter().map(key).rfind(|key| !key.is_none());
            self.again = items.last().is_some_and(|item| key(item).is_none());
            self.after = last.cloned().unwrap_or_else(|| self.after.clone());
            return Ok(Some(items));
        }
        Ok(None)
    }
}

/// What pages go by: the key of an entry, or the item itself.
fn key(item: &Value) -> &Value {
    match item {
        Value::Tuple(pair) if pair.len() == 2 => &pair[0],
        item => item,
    }
}

/// The items of an answer; none where half as many are to be asked for.
fn part(answer: Result<Value, Error>, count: &mut usize) -> Result<Option<Vec<Value>>> {
    match answer {
        Ok(Value::List(items)) => Ok(Some(items)),
        Ok(_) => Err(strange()),
        // So many do not fit an answer.
        Err(Error::Call(CallError::Value(_))) if *count > 1 => {
            *count /= 2;
            Ok(None)
        }
        Err(Error::Call(CallError::Key { .. } | CallError::Absent { .. })) => {
            Err(Failure::new(1, "the object was changed while it was read")
                .with_advice("once more, while nobody changes it"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Entries with their times to live, which only one call for each key tells.
async fn dict(object: &Object) -> Result<Content> {
    let (mut entries, mut ttl_ms) = (Vec::new(), Vec::new());
    let mut pages = Pages::new(object, "items");
    while let Some(page) = pages.next().await? {
        let keys: Vec<Value> = page.into_iter().filter_map(pair).map(|(key, _)| key).collect();
        let args: Vec<Bytes> =
            keys.iter().map(|key| encoded(std::slice::from_ref(key))).collect::<Result<_>>()?;
        let answers = object.call_many("entry", Takes::Nothing, args).await?;
        for (key, answer) in keys.into_iter().zip(answers) {
            let Value::Tuple(entry) = answer.unpack() else { continue };
            let [value, _, left] = <[Value; 3]>::try_from(entry).map_err(|_| strange())?;
            if let Some(left) = left.as_int().and_then(Integer::as_u64) {
                ttl_ms.push((key.clone(), left));
            }
            entries.push((key, value));
        }
    }
    Ok(Content { content: Some(Value::Map(entries)), ttl_ms, ..Content::default() })
}

fn pair(item: Value) -> Option<(Value, Value)> {
    let Value::Tuple(pair) = item else { return None };
    <[Value; 2]>::try_from(pair).ok().map(|[key, value]| (key, value))
}

fn encoded(values: &[Value]) -> Result<Bytes> {
    let mut bytes = Vec::new();
    for value in values {
        value.encode_to(&mut bytes).map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(bytes.into())
}

fn size(value: &Value) -> usize {
    value.pack().map_or(0, |packed| packed.as_bytes().len())
}

/// Consecutive items, as many as fit one call.
fn parts<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let more = size(&item);
        match parts.last_mut() {
            Some(part) if part.len() < PART_ITEMS && bytes + more <= PART_BYTES => {
                part.push(item);
                bytes += more;
            }
            Some(_) | None => {
                parts.push(vec![item]);
                bytes = more;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_ends_where_items_or_bytes_are_enough() {
        let sizes = |items: Vec<usize>| -> Vec<usize> {
            parts(items, |size| *size).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(vec![0; PART_ITEMS + 1]), [PART_ITEMS, 1]);
        assert_eq!(sizes(vec![PART_BYTES * 2, PART_BYTES, 1]), [1, 1, 1]);
        assert_eq!(sizes(vec![PART_BYTES - 1, 1, 1]), [2, 1]);
        assert_eq!(sizes(vec![]), [0_usize; 0]);
    }
}
