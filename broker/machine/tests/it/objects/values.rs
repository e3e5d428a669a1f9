//! Values by chance, few enough that the same ones come again, and when two are the same.

use bytes::Bytes;
use ganger_chance::Rng;
use ganger_shared::{CallError, Value};

use super::desk::Outcome;

/// Small whole numbers, now and then one that does not fit.
pub(crate) fn int(rng: &mut Rng) -> Value {
    match rng.below(40) {
        0 => Value::from(i64::MAX),
        1 => Value::from(i64::MIN),
        2 => Value::from(1_u64 << 63),
        3 => Value::from(i128::MAX),
        _ => Value::from(i64::try_from(rng.below(9)).unwrap() - 3),
    }
}

/// What can be a key.
pub(crate) fn key(rng: &mut Rng) -> Value {
    match rng.below(12) {
        0 => Value::Bool(rng.percent(50)),
        1 => Value::Float(1.0),
        2 => Value::Float(-0.0),
        3 => Value::Float(2.5),
        4 => Value::None,
        5 => Value::Tuple(vec![rng.below(3).into(), "t".into()]),
        6 => Value::Bytes(Bytes::from_static(b"a")),
        7..=8 => Value::from(*rng.pick(&["a", "b", "", "ä"])),
        9 if rng.percent(20) => unhashable(rng),
        _ => Value::from(i64::try_from(rng.below(4)).unwrap()),
    }
}

fn unhashable(rng: &mut Rng) -> Value {
    match rng.below(4) {
        0 => Value::List(vec![1.into()]),
        1 => Value::Map(vec![("k".into(), int(rng))]),
        2 => Value::Tuple(vec![Value::List(vec![])]),
        _ => Value::Opaque { format: "f".to_owned(), bytes: Bytes::from_static(b"x") },
    }
}

pub(crate) fn value(rng: &mut Rng) -> Value {
    match rng.below(10) {
        0..=3 => int(rng),
        4 => unhashable(rng),
        5 => Value::Set(vec![2.into(), 1.into()]),
        6 => Value::Float(f64::NAN),
        _ => key(rng),
    }
}

pub(crate) fn is_hashable(value: &Value) -> bool {
    match value {
        Value::Tuple(items) => items.iter().all(is_hashable),
        Value::List(_) | Value::Map(_) | Value::Set(_) | Value::Opaque { .. } => false,
        _ => true,
    }
}

/// Equal and spelled alike: 1 is not 1.0 here.
fn is_same(a: &Value, b: &Value) -> bool {
    a.pack().unwrap().as_bytes() == b.pack().unwrap().as_bytes()
}

/// Whether two calls came to the same. What a text for people says does not matter.
pub(crate) fn agree(a: &Outcome, b: &Outcome) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => is_same(a, b),
        (Err(CallError::Type(_)), Err(CallError::Type(_)))
        | (Err(CallError::Value(_)), Err(CallError::Value(_))) => true,
        (Err(a), Err(b)) => a == b,
        _ => false,
    }
}
