//! The arguments of one call, taken one after the other.

use bytes::Bytes;
use ganger_shared::value::Key;
use ganger_shared::{CallError, Packed, Value};

/// What is left of a call's arguments: encoded values, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    rest: Bytes,
    taken: usize,
}

impl Args {
    pub(crate) const fn new(encoded: Bytes) -> Self {
        Self { rest: encoded, taken: 0 }
    }

    /// What is left.
    pub(crate) fn into_rest(self) -> Bytes {
        self.rest
    }

    /// The next one, if it was given.
    pub(crate) fn given(&mut self) -> Result<Option<Packed>, CallError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.taken += 1;
        let at = self.taken;
        Packed::first_of(&mut self.rest)
            .map(Some)
            .map_err(|error| CallError::Value(format!("argument {at} is no value: {error}")))
    }

    /// The next one.
    pub(crate) fn value(&mut self) -> Result<Packed, CallError> {
        let at = self.taken + 1;
        self.given()?.ok_or_else(|| CallError::Type(format!("argument {at} is missing")))
    }

    /// The next one, if it was given and is not none.
    pub(crate) fn some(&mut self) -> Result<Option<Packed>, CallError> {
        Ok(self.given()?.filter(|value| !value.is_none()))
    }

    /// The next one, a whole number of 64 bits.
    pub(crate) fn int(&mut self) -> Result<i64, CallError> {
        let value = self.value()?;
        int_of(&value)
    }

    /// The next one, such a number, or `default` where it is none or was not given.
    pub(crate) fn int_or(&mut self, default: i64) -> Result<i64, CallError> {
        self.some()?.map_or(Ok(default), |value| int_of(&value))
    }

    /// The next one, a number of things, or `default` where it is none or was not given.
    pub(crate) fn count_or(&mut self, default: u64) -> Result<u64, CallError> {
        self.some()?.map_or(Ok(default), |value| count_of(int_of(&value)?))
    }

    /// The next one, a number of things: not below 0.
    pub(crate) fn count(&mut self) -> Result<u64, CallError> {
        count_of(self.int()?)
    }

    /// The next one, how many items are wanted at most; all of them where it is none or was not given.
    pub(crate) fn items_max(&mut self) -> Result<usize, CallError> {
        Ok(usize::try_from(self.count_or(u64::MAX)?).unwrap_or(usize::MAX))
    }

    /// The next one, a text.
    pub(crate) fn text(&mut self) -> Result<String, CallError> {
        match self.value()?.unpack() {
            Value::Text(text) => Ok(text),
            other => Err(wanted("a text", &other)),
        }
    }

    /// The next one, an index of an item among `length`; a negative one counts from the end.
    pub(crate) fn index(&mut self, length: usize) -> Result<usize, CallError> {
        let index = self.int()?;
        index_among(index, length)
    }

    /// The next one, such an index, or `default` where it is none or was not given.
    pub(crate) fn index_or(&mut self, default: i64, length: usize) -> Result<usize, CallError> {
        let index = self.int_or(default)?;
        index_among(index, length)
    }

    /// The next one, a place between `length` items or at their ends: what lies beyond is the end, and a
    /// negative one counts from there.
    pub(crate) fn place(&mut self, length: usize) -> Result<usize, CallError> {
        let place = self.int()?;
        Ok(clamped(place, length))
    }

    /// The next one, such a place, or `default` where it is none or was not given.
    pub(crate) fn place_or(&mut self, default: usize, length: usize) -> Result<usize, CallError> {
        let place = self.some()?.map(|value| int_of(&value)).transpose()?;
        Ok(place.map_or(default, |place| clamped(place, length)))
    }

    /// The next one, true or false, or what equals one of them; false where it is none or was not given.
    pub(crate) fn flag(&mut self) -> Result<bool, CallError> {
        match self.some()?.map(|value| value.unpack()) {
            None => Ok(false),
            Some(value) if value == true.into() => Ok(true),
            Some(value) if value == false.into() => Ok(false),
            Some(other) => Err(wanted("true or false", &other)),
        }
    }

    /// The next one, a fencing token, if it was given and is not none.
    pub(crate) fn token(&mut self) -> Result<Option<u64>, CallError> {
        self.some()?.map(|value| count_of(int_of(&value)?)).transpose()
    }

    /// The items of the next one: a list, tuple or set.
    pub(crate) fn items(&mut self) -> Result<Vec<Packed>, CallError> {
        items_of(&self.value()?)
    }

    /// That was all.
    pub(crate) fn end(mut self) -> Result<(), CallError> {
        let at = self.taken;
        match self.given()? {
            None => Ok(()),
            Some(_) => Err(CallError::Type(format!("more than {at} arguments"))),
        }
    }
}

/// The items of a list, tuple or set.
pub(crate) fn items_of(value: &Packed) -> Result<Vec<Packed>, CallError> {
    value.items().ok_or_else(|| wanted("a list", &value.unpack()))
}

/// What stands for a value as a key or an item of a set.
pub(crate) fn key_of(value: &Packed) -> Result<Key, CallError> {
    value.key().map_err(|error| CallError::Type(error.to_string()))
}

/// The encoding of a value that is made here.
pub(crate) fn pack(value: &Value) -> Result<Packed, CallError> {
    value.pack().map_err(|error| CallError::Value(error.to_string()))
}

/// The tuple of some values.
pub(crate) fn tuple(values: &[Packed]) -> Result<Packed, CallError> {
    Packed::tuple(values).map_err(|error| CallError::Value(error.to_string()))
}

/// A whole number of 64 bits.
pub(crate) fn int_of(value: &Packed) -> Result<i64, CallError> {
    match value.unpack() {
        Value::Bool(flag) => Ok(i64::from(flag)),
        Value::Int(int) => {
            int.as_i64().ok_or_else(|| CallError::Value(format!("{int} does not fit 64 bits")))
        }
        other => Err(wanted("a whole number", &other)),
    }
}

fn index_among(index: i64, length: usize) -> Result<usize, CallError> {
    let from_start =
        if index < 0 { index.checked_add_unsigned(length as u64) } else { Some(index) };
    from_start
        .and_then(|index| usize::try_from(index).ok())
        .filter(|&index| index < length)
        .ok_or(CallError::Index { index, length: length as u64 })
}

fn clamped(place: i64, length: usize) -> usize {
    let from_start = if place < 0 { place.saturating_add_unsigned(length as u64) } else { place };
    usize::try_from(from_start.max(0)).unwrap_or(usize::MAX).min(length)
}

/// A number of things.
pub(crate) fn count_of(int: i64) -> Result<u64, CallError> {
    u64::try_from(int).map_err(|_| CallError::Value(format!("{int} is below 0")))
}

/// The value is of another type than is needed.
pub(crate) fn wanted(what: &str, found: &Value) -> CallError {
    CallError::Type(format!("{what} is wanted, not {} ({})", found.kind(), shown(found)))
}

/// A value for people: JSON, cut where it gets long.
pub(crate) fn shown(value: &Value) -> String {
    const BYTES_MAX: usize = 60;
    let mut json = value.to_json();
    if json.len() > BYTES_MAX {
        json.truncate(json.floor_char_boundary(BYTES_MAX));
        json.push('…');
    }
    json
}
