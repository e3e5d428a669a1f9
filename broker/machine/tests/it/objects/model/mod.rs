//! The types that hold data, as plainly as they can be written: everything is looked for from the
//! front, nothing is counted, kept twice or cut into parts.

mod array;
mod dict;
mod list;
mod queue;
mod small;

use ganger_shared::{CallError, Value};

pub(crate) use self::list::{Item, List};
use super::desk::Outcome;

/// One object of each type of data.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Array(array::Array),
    Counter(i64),
    Dict(dict::Dict),
    List(List),
    Namespace(Vec<(String, Value)>),
    Queue(queue::Queue),
    Set(Vec<Value>),
    Value { value: Value, revision: u64 },
}

/// The arguments of a call, taken from the left.
pub(crate) struct Args<'a>(pub(crate) &'a [Value]);

pub(crate) type Fallible<T> = Result<T, CallError>;

fn wrong_type<T>() -> Fallible<T> {
    Err(CallError::Type(String::new()))
}

fn wrong_value<T>() -> Fallible<T> {
    Err(CallError::Value(String::new()))
}

fn whole(value: &Value) -> Fallible<i64> {
    match value {
        Value::Bool(flag) => Ok(i64::from(*flag)),
        Value::Int(int) => int.as_i64().map_or_else(wrong_value, Ok),
        _ => wrong_type(),
    }
}

impl<'a> Args<'a> {
    fn given(&mut self) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn value(&mut self) -> Fallible<&'a Value> {
        self.given().map_or_else(wrong_type, Ok)
    }

    fn some(&mut self) -> Option<&'a Value> {
        self.given().filter(|value| !value.is_none())
    }

    fn flag(&mut self) -> Fallible<bool> {
        match self.some() {
            None => Ok(false),
            Some(value) if *value == true.into() => Ok(true),
            Some(value) if *value == false.into() => Ok(false),
            Some(_) => wrong_type(),
        }
    }

    fn int(&mut self) -> Fallible<i64> {
        whole(self.value()?)
    }

    fn int_or(&mut self, default: i64) -> Fallible<i64> {
        self.some().map_or(Ok(default), whole)
    }

    fn count_or(&mut self, default: usize) -> Fallible<usize> {
        let Some(value) = self.some() else { return Ok(default) };
        usize::try_from(whole(value)?).map_or_else(|_| wrong_value(), Ok)
    }

    fn count(&mut self) -> Fallible<u64> {
        u64::try_from(self.int()?).map_or_else(|_| wrong_value(), Ok)
    }

    fn text(&mut self) -> Fallible<String> {
        self.value()?.as_text().map_or_else(wrong_type, |text| Ok(text.to_owned()))
    }

    fn items(&mut self) -> Fallible<Vec<Value>> {
        match self.value()? {
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => Ok(items.clone()),
            _ => wrong_type(),
        }
    }

    fn index(&mut self, length: usize) -> Fallible<usize> {
        let index = self.int()?;
        among(index, length)
    }

    fn place(&mut self, length: usize) -> Fallible<usize> {
        self.int().map(|place| clamped(place, length))
    }

    fn place_or(&mut self, default: usize, length: usize) -> Fallible<usize> {
        let place = self.some().map(whole).transpose()?;
        Ok(place.map_or(default, |place| clamped(place, length)))
    }

    fn end(&self) -> Fallible<()> {
        if self.0.is_empty() { Ok(()) } else { wrong_type() }
    }
}

fn among(index: i64, length: usize) -> Fallible<usize> {
    let at = i128::from(index) + if index < 0 { length as i128 } else { 0 };
    match usize::try_from(at) {
        Ok(at) if at < length => Ok(at),
        _ => Err(CallError::Index { index, length: length as u64 }),
    }
}

fn clamped(place: i64, length: usize) -> usize {
    let at = i128::from(place) + if place < 0 { length as i128 } else { 0 };
    usize::try_from(at.clamp(0, length as i128)).unwrap()
}

/// Refuses more items than there may be.
fn judge(there: usize, more: usize, limit: usize) -> Fallible<()> {
    if there + more <= limit {
        return Ok(());
    }
    let (used, limit) = (there as u64, limit as u64);
    Err(CallError::Full { used, limit, unit: "items".to_owned() })
}

fn missing<T>(key: &Value) -> Fallible<T> {
    Err(CallError::Key { key: key.to_json() })
}

fn absent<T>(value: &Value) -> Fallible<T> {
    Err(CallError::Absent { value: value.to_json() })
}

impl Model {
    /// An object that was just made.
    pub(crate) fn made(typeid: &str, args: &[Value]) -> Self {
        match typeid {
            "array/1" => Self::Array(array::Array::made(args)),
            "counter/1" => Self::Counter(0),
            "dict/1" => Self::Dict(dict::Dict::default()),
            "list/1" => Self::List(List::default()),
            "namespace/1" => Self::Namespace(Vec::new()),
            "queue/1" => Self::Queue(queue::Queue::made(args)),
            "set/1" => Self::Set(Vec::new()),
            "value/1" => Self::Value { value: Value::None, revision: 0 },
            _ => panic!("no model of {typeid}"),
        }
    }

    /// What a call comes to, at this time and in an object of at most so many items.
    pub(crate) fn call(&mut self, method: &str, args: &[Value], now: u64, limit: usize) -> Outcome {
        let args = Args(args);
        match self {
            Self::Array(array) => array.call(method, args),
            Self::Counter(number) => small::counter(number, method, args),
            Self::Dict(dict) => dict.call(method, args, now, limit),
            Self::List(list) => list.call(method, args, limit),
            Self::Namespace(pairs) => small::namespace(pairs, method, args, limit),
            Self::Queue(queue) => queue.call(method, args),
            Self::Set(items) => small::set(items, method, args, limit),
            Self::Value { value, revision } => small::value(value, revision, method, args),
        }
    }
}
