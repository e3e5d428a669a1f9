//! Lists: items that calls edit by position and that readers pop from the front.

use core::cmp::Ordering;

use bytes::Bytes;
use ganger_shared::{CallError, Value};

use super::{Args, Fallible, Outcome, absent, judge, whole, wrong_type, wrong_value};

#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// What tells where it belongs when it comes back.
    order: u64,
    pub(crate) value: Value,
    /// As it was appended by a frame or as a result; a value that was put in by a call has none.
    string: Option<Bytes>,
}

impl Item {
    /// As readers get it.
    pub(crate) fn string(&self) -> Bytes {
        match (&self.string, &self.value) {
            (Some(string), _) => string.clone(),
            (None, Value::Bytes(bytes)) => bytes.clone(),
            (None, value) => value.to_json().into(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<Item>,
    /// Those that were popped and are not confirmed.
    pub(crate) popped: Vec<Item>,
    next: u64,
}

impl List {
    fn item(&mut self, value: Value, string: Option<Bytes>) -> Item {
        self.next += 1;
        Item { order: self.next, value, string }
    }

    /// A byte string at the end: what it says as JSON, or itself.
    pub(crate) fn append_string(&mut self, string: &Bytes) {
        let text = core::str::from_utf8(string).ok();
        let value = text.and_then(|text| Value::from_json(text).ok());
        let value = value.unwrap_or_else(|| Value::Bytes(string.clone()));
        let item = self.item(value, Some(string.clone()));
        self.items.push(item);
    }

    /// Items from the front.
    pub(crate) fn pop(&mut self, count: usize) -> Vec<Item> {
        let items: Vec<Item> = self.items.drain(..count).collect();
        self.popped.extend(items.iter().cloned());
        items
    }

    /// What was popped comes back, each to its place.
    pub(crate) fn put_back(&mut self, items: Vec<Item>) {
        self.forget(&items);
        self.items.extend(items);
        self.items.sort_by_key(|item| item.order);
    }

    /// They are gone, or come back.
    pub(crate) fn forget(&mut self, items: &[Item]) {
        self.popped.retain(|popped| items.iter().all(|item| item.order != popped.order));
    }

    /// With what is popped, at the place to which it would come back.
    fn snapshot(&self, mut args: Args<'_>) -> Outcome {
        let mut all: Vec<&Item> = self.items.iter().chain(&self.popped).collect();
        all.sort_by_key(|item| item.order);
        let (start, stop) = (args.place_or(0, all.len())?, args.place_or(all.len(), all.len())?);
        args.end()?;
        let found = all.iter().take(stop).skip(start).map(|item| item.value.clone());
        // Nobody has watched it.
        Ok(Value::Tuple(vec![0.into(), Value::List(found.collect())]))
    }

    fn splice(&mut self, from: usize, to: usize, values: Vec<Value>) -> Vec<Value> {
        let new: Vec<Item> = values.into_iter().map(|value| self.item(value, None)).collect();
        let gone = self.items.splice(from..to, new).map(|item| item.value).collect();
        for (item, order) in self.items.iter_mut().zip(1..) {
            item.order = order;
        }
        self.next = self.items.len() as u64;
        gone
    }

    /// As [`Self::splice`], in a list of at most so many items.
    fn replace(
        &mut self,
        from: usize,
        to: usize,
        new: Vec<Value>,
        limit: usize,
    ) -> Fallible<Value> {
        let there = self.items.len() + self.popped.len() - (to - from);
        if !new.is_empty() {
            judge(there, new.len(), limit)?;
        }
        self.splice(from, to, new);
        Ok(Value::None)
    }

    fn find(&self, value: &Value, from: usize, to: usize) -> Fallible<usize> {
        let found = (from..to).find(|&at| self.items[at].value == *value);
        found.map_or_else(|| absent(value), Ok)
    }

    fn values(&self) -> Vec<Value> {
        self.items.iter().map(|item| item.value.clone()).collect()
    }

    pub(super) fn call(&mut self, method: &str, args: Args<'_>, limit: usize) -> Outcome {
        match method {
            "get" | "slice" | "len" | "index" | "count" | "contains" => self.read(method, args),
            "snapshot" => self.snapshot(args),
            "append" | "extend" => self.add(method, args, limit),
            "insert" | "set" | "set_slice" => self.write(method, args, limit),
            "reverse" | "sort" => self.order(method, args),
            _ => self.take(method, args),
        }
    }

    fn read(&self, method: &str, mut args: Args<'_>) -> Outcome {
        let length = self.items.len();
        match method {
            "get" => {
                let at = args.index(length)?;
                args.end()?;
                Ok(self.items[at].value.clone())
            }
            "slice" => self.slice(args),
            "len" => {
                args.end()?;
                Ok(Value::from(length))
            }
            "index" => {
                let value = args.value()?;
                let (start, stop) = (args.place_or(0, length)?, args.place_or(length, length)?);
                args.end()?;
                self.find(value, start, stop).map(Value::from)
            }
            _ => {
                let value = args.value()?;
                args.end()?;
                let count = self.items.iter().filter(|item| item.value == *value).count();
                Ok(if method == "count" { Value::from(count) } else { Value::from(count > 0) })
            }
        }
    }

    fn slice(&self, mut args: Args<'_>) -> Outcome {
        let (start, stop, step) = (args.some(), args.some(), args.int_or(1)?);
        args.end()?;
        if step == 0 {
            return wrong_value();
        }
        let length = self.items.len() as i128;
        let place = |given: Option<&Value>, default: i128| {
            let Some(given) = given else { return Ok(default) };
            let place = i128::from(whole(given)?);
            let place = if place < 0 { place + length } else { place };
            let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
            Ok(place.clamp(low, high))
        };
        let (first, last) = if step > 0 { (0, length) } else { (length - 1, -1) };
        let (mut at, stop) = (place(start, first)?, place(stop, last)?);
        let mut found = Vec::new();
        while if step > 0 { at < stop } else { at > stop } {
            found.push(self.items[usize::try_from(at).unwrap()].value.clone());
            at += i128::from(step);
        }
        Ok(Value::List(found))
    }

    fn add(&mut self, method: &str, mut args: Args<'_>, limit: usize) -> Outcome {
        let new = if method == "append" { vec![args.value()?.clone()] } else { args.items()? };
        args.end()?;
        let there = self.items.len() + self.popped.len();
        if !new.is_empty() {
            judge(there, new.len(), limit)?;
        }
        for value in new {
            let item = self.item(value, None);
            self.items.push(item);
        }
        Ok(Value::from(self.items.len() + self.popped.len()))
    }

    fn write(&mut self, method: &str, mut args: Args<'_>, limit: usize) -> Outcome {
        let length = self.items.len();
        let (from, to) = match method {
            "insert" => args.place(length).map(|at| (at, at))?,
            "set" => args.index(length).map(|at| (at, at + 1))?,
            _ => {
                let (start, stop) = (args.place(length)?, args.place(length)?);
                (start, stop.max(start))
            }
        };
        let new = if method == "set_slice" { args.items()? } else { vec![args.value()?.clone()] };
        args.end()?;
        self.replace(from, to, new, limit)
    }

    fn take(&mut self, method: &str, mut args: Args<'_>) -> Outcome {
        let length = self.items.len();
        let (from, to) = match method {
            "pop" if length == 0 => return Err(CallError::Empty),
            "pop" => {
                let at = args.int_or(-1)?;
                super::among(at, length).map(|at| (at, at + 1))?
            }
            "delete" => args.index(length).map(|at| (at, at + 1))?,
            "delete_slice" => {
                let (start, stop) = (args.place_or(0, length)?, args.place_or(length, length)?);
                (start, stop.max(start))
            }
            "remove" => {
                let value = args.value()?;
                args.end()?;
                self.find(value, 0, length).map(|at| (at, at + 1))?
            }
            "trim" => {
                let keep = usize::try_from(args.count()?).unwrap();
                (0, length.saturating_sub(keep))
            }
            "clear" => (0, length),
            _ => panic!("{method}"),
        };
        args.end()?;
        let mut gone = self.splice(from, to, Vec::new());
        Ok(match method {
            "pop" => gone.remove(0),
            "trim" => Value::from(gone.len()),
            _ => Value::None,
        })
    }

    fn order(&mut self, method: &str, mut args: Args<'_>) -> Outcome {
        let is_descending = method == "sort" && args.flag()?;
        args.end()?;
        let mut values = self.values();
        if method == "reverse" {
            values.reverse();
        } else {
            for (at, a) in values.iter().enumerate() {
                if values[..at].iter().any(|b| a.compare(b).is_none()) {
                    return wrong_type();
                }
            }
            values.sort_by(|a, b| {
                let order = a.compare(b).unwrap_or(Ordering::Equal);
                if is_descending { order.reverse() } else { order }
            });
        }
        if method == "sort" || values.len() > 1 {
            self.splice(0, values.len(), values);
        }
        Ok(Value::None)
    }
}
