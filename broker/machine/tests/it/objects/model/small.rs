//! Counters, values, namespaces and sets.

use ganger_shared::{CallError, Value};

use super::{Args, Outcome, absent, judge, missing, wrong_type, wrong_value};
use crate::objects::values::is_hashable;

pub(super) fn counter(number: &mut i64, method: &str, mut args: Args<'_>) -> Outcome {
    let before = *number;
    let after = match method {
        "get" => before,
        "add" => match before.checked_add(args.int_or(1)?) {
            Some(sum) => sum,
            None => return wrong_value(),
        },
        "set" => args.int()?,
        _ => panic!("{method}"),
    };
    args.end()?;
    *number = after;
    Ok(Value::from(if method == "set" { before } else { after }))
}

pub(super) fn value(
    value: &mut Value,
    revision: &mut u64,
    method: &str,
    mut args: Args<'_>,
) -> Outcome {
    match method {
        "get" => {
            args.end()?;
            return Ok(value.clone());
        }
        "entry" => {
            args.end()?;
            return Ok(Value::Tuple(vec![value.clone(), Value::from(*revision)]));
        }
        _ => {}
    }
    let wanted = if method == "set" { None } else { Some(args.count()?) };
    let new = args.value()?;
    args.end()?;
    if let Some(wanted) = wanted.filter(|wanted| wanted != revision) {
        return Err(CallError::Revision { wanted, revision: *revision });
    }
    *value = new.clone();
    *revision += 1;
    Ok(Value::from(*revision))
}

pub(super) fn namespace(
    pairs: &mut Vec<(String, Value)>,
    method: &str,
    mut args: Args<'_>,
    limit: usize,
) -> Outcome {
    if let "items" | "len" = method {
        args.end()?;
        if method == "len" {
            return Ok(Value::from(pairs.len()));
        }
        let mut sorted = pairs.clone();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        return Ok(Value::Map(sorted.into_iter().map(|(name, v)| (name.into(), v)).collect()));
    }
    let name = args.text()?;
    let found = pairs.iter().position(|(known, _)| *known == name);
    match (method, found) {
        ("set", _) => {
            let value = args.value()?.clone();
            args.end()?;
            match found {
                Some(at) => pairs[at].1 = value,
                None => {
                    judge(pairs.len(), 1, limit)?;
                    pairs.push((name, value));
                }
            }
            return Ok(Value::None);
        }
        _ => args.end()?,
    }
    match (method, found) {
        ("contains", _) => Ok(Value::from(found.is_some())),
        ("get", Some(at)) => Ok(pairs[at].1.clone()),
        ("delete", Some(at)) => {
            pairs.remove(at);
            Ok(Value::None)
        }
        ("get" | "delete", None) => missing(&Value::from(name)),
        _ => panic!("{method}"),
    }
}

fn judge_keys(keys: &[Value]) -> Result<(), CallError> {
    if keys.iter().all(is_hashable) { Ok(()) } else { wrong_type() }
}

pub(super) fn set(
    items: &mut Vec<Value>,
    method: &str,
    mut args: Args<'_>,
    limit: usize,
) -> Outcome {
    match method {
        "len" | "pop" | "clear" => args.end()?,
        _ => {}
    }
    match method {
        "len" => Ok(Value::from(items.len())),
        "pop" if items.is_empty() => Err(CallError::Empty),
        "pop" => Ok(items.remove(0)),
        "clear" => {
            items.clear();
            Ok(Value::None)
        }
        "items" => {
            let (after, count) = (args.some(), args.count_or(usize::MAX)?);
            args.end()?;
            let from = match after {
                None => 0,
                Some(after) => {
                    judge_keys(std::slice::from_ref(after))?;
                    match items.iter().position(|item| item == after) {
                        Some(at) => at + 1,
                        None => return absent(after),
                    }
                }
            };
            Ok(Value::List(items[from..].iter().take(count).cloned().collect()))
        }
        "update" => {
            let new = args.items()?;
            args.end()?;
            judge_keys(&new)?;
            // One that comes twice needs room twice: the broker does not look ahead.
            judge(items.len(), new.iter().filter(|item| !items.contains(item)).count(), limit)?;
            let before = items.len();
            for item in new {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(Value::from(items.len() - before))
        }
        _ => one(items, method, args, limit),
    }
}

/// The methods that are about one item.
fn one(items: &mut Vec<Value>, method: &str, mut args: Args<'_>, limit: usize) -> Outcome {
    let item = args.value()?;
    args.end()?;
    judge_keys(std::slice::from_ref(item))?;
    let found = items.iter().position(|known| known == item);
    match (method, found) {
        ("contains", _) => Ok(Value::from(found.is_some())),
        ("add", Some(_)) => Ok(Value::from(false)),
        ("add", None) => {
            judge(items.len(), 1, limit)?;
            items.push(item.clone());
            Ok(Value::from(true))
        }
        ("discard", None) => Ok(Value::from(false)),
        ("remove", None) => absent(item),
        ("discard" | "remove", Some(at)) => {
            items.remove(at);
            Ok(if method == "discard" { Value::from(true) } else { Value::None })
        }
        _ => panic!("{method}"),
    }
}
