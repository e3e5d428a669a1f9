//! What calls are made with: arguments as their table names them, and sometimes not.

use ganger_chance::Rng;
use ganger_shared::Value;
use ganger_shared::object::Method;

use super::Object;
use crate::objects::values::{int, key, value};

pub(super) fn made_with(rng: &mut Rng, typeid: &str) -> Vec<Value> {
    match typeid {
        "array/1" => {
            let kind = *rng.pick(&["i8", "u16", "i64", "u64", "f32", "f64"]);
            let zero = if kind.starts_with('f') { Value::Float(0.0) } else { 0.into() };
            let length = rng.size(0..=5);
            vec![kind.into(), Value::List(vec![zero; length])]
        }
        "barrier/1" => vec![rng.between(1..=3).into()],
        "queue/1" => [vec![], vec![rng.between(1..=4).into()]][rng.size(0..=1)].clone(),
        "semaphore/1" | "bounded_semaphore/1" => vec![rng.between(0..=2).into()],
        _ => Vec::new(),
    }
}

/// Arguments of one call.
pub(super) fn arguments(rng: &mut Rng, method: &Method, object: &Object) -> Vec<Value> {
    let mut given = Vec::new();
    for arg in method.args.split(", ").filter(|arg| !arg.is_empty()) {
        let (name, optional) = match arg.split_once(" = ") {
            Some((name, _)) => (name, true),
            None => (arg.split(" (").next().unwrap_or(arg), false),
        };
        // Those after one that is left out are left out too.
        if optional && rng.percent(35) || rng.percent(1) {
            break;
        }
        let odd = rng.percent(3);
        given.push(if odd { value(rng) } else { argument(rng, name, object) });
    }
    if rng.percent(1) {
        given.push(value(rng));
    }
    given
}

fn argument(rng: &mut Rng, name: &str, object: &Object) -> Value {
    match (name, object.typeid) {
        ("value", "set/1") | ("key" | "after", _) => key(rng),
        ("number", "array/1") => number(rng),
        ("numbers", _) => list(rng, number),
        ("list or set", _) => list(rng, key),
        ("list", _) => list(rng, value),
        ("map", _) => map(rng),
        ("name", _) => Value::from(*rng.pick(&["x", "y", "zz", ""])),
        ("ttl_ms", _) => match rng.below(12) {
            0 => 0.into(),
            1 => Value::from(-5),
            2..=4 => Value::None,
            _ => rng.between(1..=6_000).into(),
        },
        ("value" | "default" | "item", _) => value(rng),
        ("descending" | "immediate", _) => Value::Bool(rng.percent(50)),
        ("token", _) => rng.below(3).into(),
        ("number" | "by", _) => int(rng),
        // Positions, counts and revisions.
        _ => Value::from(i64::try_from(rng.below(16)).unwrap() - 5),
    }
}

fn number(rng: &mut Rng) -> Value {
    match rng.below(6) {
        0 => Value::Float(2.5),
        1 => Value::Float(1e300),
        2 => Value::Bool(true),
        3 => 300.into(),
        _ => int(rng),
    }
}

fn list(rng: &mut Rng, item: impl Fn(&mut Rng) -> Value) -> Value {
    let items = (0..rng.below(4)).map(|_| item(rng)).collect();
    if rng.percent(80) { Value::List(items) } else { Value::Tuple(items) }
}

fn map(rng: &mut Rng) -> Value {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for _ in 0..rng.below(4) {
        let pair = (key(rng), value(rng));
        let twice = pairs.iter().any(|(known, _)| *known == pair.0);
        if !twice && crate::objects::values::is_hashable(&pair.0) {
            pairs.push(pair);
        }
    }
    Value::Map(pairs)
}
