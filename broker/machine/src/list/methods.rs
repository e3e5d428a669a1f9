//! `list/1`: what can be called on a list by position and by value.

use core::cmp::Ordering;

use bytes::Bytes;
use ganger_shared::{Block, CallError, ObjectId, Packed, Value};

use super::{Form, ItemRun, List};
use crate::object::{
    Args, Callable, Cx, Extent, Owner, Reply, Savepoint, no_method, reply_items, shown,
};

pub(crate) const TYPEID: &str = "list/1";

/// Most items that one call may turn or sort: 1,000,000, about a second in which nobody else is served.
const ORDERED_MAX: u64 = 1_000_000;

/// An item as a byte string.
pub(super) fn string_of(value: Bytes) -> Bytes {
    let value = Packed::new(value).expect("runs of values have nothing else").unpack();
    match value {
        Value::Bytes(bytes) => bytes,
        other => other.to_json().into(),
    }
}

/// An item as a value.
pub(super) fn value_of(run: &ItemRun, item: Bytes) -> Packed {
    match run.form {
        Form::Values => Packed::new(item).expect("runs of values have nothing else"),
        Form::Strings => value_of_string(item),
    }
}

/// A byte string as a value: what it says as JSON, or else itself.
pub(crate) fn value_of_string(string: Bytes) -> Packed {
    let text = core::str::from_utf8(&string).ok();
    let value = text.and_then(|text| Value::from_json(text).ok());
    value.unwrap_or(Value::Bytes(string)).pack().unwrap_or_else(|_| Packed::none())
}

fn block_of<'a>(values: impl IntoIterator<Item = &'a Packed>) -> Block {
    values.into_iter().map(|value| &value.as_bytes()[..]).collect()
}

impl List {
    fn value_at(&self, position: u64) -> Option<Packed> {
        let (run, place) = self.run_at(position)?;
        Some(value_of(run, run.block.get(place)))
    }

    /// The values at the positions `from .. to`, in order.
    fn values(&self, from: u64, to: u64) -> impl Iterator<Item = Packed> {
        let first = self.index_at(from);
        let at = self.runs.partition_point(|run| run.end() <= first);
        let runs = self.runs.range(at..).flat_map(move |run| {
            let skip = usize::try_from(first.saturating_sub(run.start)).unwrap_or(usize::MAX);
            run.block.iter().skip(skip).map(move |item| value_of(run, item))
        });
        runs.take(usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX))
    }

    /// The position of the first item between `from` and `to` that equals `value`.
    fn find(&self, value: &Packed, from: u64, to: u64) -> Option<u64> {
        let wanted = value.canonical();
        let found = self.values(from, to).position(|item| item.canonical() == wanted)?;
        Some(from + found as u64)
    }

    /// Whether there is room for `values` once so much is `gone`.
    fn judge(&self, gone: Extent, values: &[Packed], cx: &Cx<'_>) -> Result<(), CallError> {
        let bytes = values.iter().map(|value| value.as_bytes().len() as u64).sum();
        let more = Extent { items: values.len() as u64, bytes };
        let left = Extent { items: self.held() - gone.items, bytes: self.bytes() - gone.bytes };
        cx.limits.judge(left, more)
    }

    fn add(&mut self, values: &[Packed], cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        self.judge(Extent::default(), values, cx)?;
        if !values.is_empty() {
            cx.whats.extend(self.told(self.recorded_length(), 0, values));
            self.append(None, Form::Values, block_of(values));
            cx.changed = true;
        }
        // With what is popped and not confirmed, which a replay of this call finds there still.
        Ok(Reply::Value(Packed::from(self.recorded_length())))
    }

    fn replace(
        &mut self,
        from: u64,
        to: u64,
        values: &[Packed],
        cx: &mut Cx<'_>,
    ) -> Result<Reply, CallError> {
        let gone = Extent { items: to - from, bytes: self.bytes_at(from, to) };
        self.judge(gone, values, cx)?;
        cx.changed = from < to || !values.is_empty();
        if cx.changed {
            cx.whats.extend(self.told(from, to - from, values));
            self.splice(from, to, block_of(values));
        }
        Ok(Reply::None)
    }

    fn slice(&self, mut args: Args) -> Result<Reply, CallError> {
        let length = position(self.length());
        let (start, stop, step) = (args.some()?, args.some()?, args.int_or(1)?);
        args.end()?;
        if step == 0 {
            return Err(CallError::Value("a slice with step 0".to_owned()));
        }
        let (start, stop) = bounds(start, stop, step, length)?;
        if step == 1 {
            let (start, stop) = (start.unsigned_abs(), stop.max(start).unsigned_abs());
            return reply_items(self.values(start, stop).map(Ok));
        }
        let is_before = |at: &i64| if step > 0 { *at < stop } else { *at > stop };
        let places = core::iter::successors(Some(start), |at| at.checked_add(step));
        let items = places.take_while(is_before).filter_map(|at| self.value_at(at.unsigned_abs()));
        reply_items(items.map(Ok))
    }

    /// All items, to be put into another order.
    fn to_order(&self) -> Result<Vec<Packed>, CallError> {
        let length = self.length();
        if length > ORDERED_MAX {
            return Err(CallError::Value(format!(
                "{length} items are more than the {ORDERED_MAX} that one call may order"
            )));
        }
        Ok(self.values(0, length).collect())
    }

    fn put_in_order(&mut self, items: &[Packed], cx: &mut Cx<'_>) {
        cx.changed = true;
        cx.whats.extend(self.told(0, self.length(), items));
        self.splice(0, self.length(), block_of(items));
    }

    fn sort(&mut self, is_descending: bool, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let items = self.to_order()?;
        let mut items: Vec<(Value, Packed)> =
            items.into_iter().map(|item| (item.unpack(), item)).collect();
        let mut clash = None;
        items.sort_by(|(a, _), (b, _)| {
            let ordering = order(a, b, &mut clash);
            if is_descending { ordering.reverse() } else { ordering }
        });
        if let Some((a, b)) = clash {
            return Err(CallError::Type(format!("{a} and {b} have no order")));
        }
        let sorted: Vec<Packed> = items.into_iter().map(|(_, item)| item).collect();
        self.put_in_order(&sorted, cx);
        Ok(Reply::None)
    }
}

impl Callable for List {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let length = position(self.length());
        match method {
            "get" => {
                let at = args.index(length)?;
                args.end()?;
                Ok(self.value_at(at as u64).map_or(Reply::None, Reply::Value))
            }
            "slice" => self.slice(args),
            "snapshot" => {
                let there = position(self.recorded_length());
                let (start, stop) = (args.place_or(0, there)?, args.place_or(there, there)?);
                args.end()?;
                self.snapshot(start, stop)
            }
            "len" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.length())))
            }
            "index" => {
                let value = args.value()?;
                let (start, stop) = (args.place_or(0, length)?, args.place_or(length, length)?);
                args.end()?;
                let found = self.find(&value, start as u64, stop as u64);
                found.map(Packed::from).map(Reply::Value).ok_or_else(|| absent(&value))
            }
            "count" => {
                let value = args.value()?;
                args.end()?;
                let wanted = value.canonical();
                let all = self.values(0, self.length());
                let count = all.filter(|item| item.canonical() == wanted).count();
                Ok(Reply::Value(Packed::from(count as u64)))
            }
            "contains" => {
                let value = args.value()?;
                args.end()?;
                let found = self.find(&value, 0, self.length());
                Ok(Reply::Value(Packed::from(found.is_some())))
            }
            "append" => {
                let value = args.value()?;
                args.end()?;
                self.add(&[value], cx)
            }
            "extend" => {
                let values = args.items()?;
                args.end()?;
                self.add(&values, cx)
            }
            "insert" => {
                let (at, value) = (args.place(length)? as u64, args.value()?);
                args.end()?;
                self.replace(at, at, &[value], cx)
            }
            "set" => {
                let (at, value) = (args.index(length)? as u64, args.value()?);
                args.end()?;
                self.replace(at, at + 1, &[value], cx)
            }
            "set_slice" => {
                let (start, stop) = (args.place(length)?, args.place(length)?);
                let values = args.items()?;
                args.end()?;
                self.replace(start as u64, stop.max(start) as u64, &values, cx)
            }
            "pop" => {
                let at =
                    if length == 0 { Err(CallError::Empty) } else { args.index_or(-1, length) }?;
                args.end()?;
                let item = self.value_at(at as u64).ok_or(CallError::Empty)?;
                self.replace(at as u64, at as u64 + 1, &[], cx)?;
                Ok(Reply::Value(item))
            }
            "delete" => {
                let at = args.index(length)? as u64;
                args.end()?;
                self.replace(at, at + 1, &[], cx)
            }
            "delete_slice" => {
                let (start, stop) = (args.place_or(0, length)?, args.place_or(length, length)?);
                args.end()?;
                self.replace(start as u64, stop.max(start) as u64, &[], cx)
            }
            "remove" => {
                let value = args.value()?;
                args.end()?;
                let at = self.find(&value, 0, self.length()).ok_or_else(|| absent(&value))?;
                self.replace(at, at + 1, &[], cx)
            }
            "trim" => {
                let keep = args.count()?;
                args.end()?;
                let gone = self.length().saturating_sub(keep);
                self.replace(0, gone, &[], cx)?;
                Ok(Reply::Value(Packed::from(gone)))
            }
            "clear" => {
                args.end()?;
                self.replace(0, self.length(), &[], cx)
            }
            "reverse" => {
                args.end()?;
                let mut items = self.to_order()?;
                items.reverse();
                if items.len() > 1 {
                    self.put_in_order(&items, cx);
                }
                Ok(Reply::None)
            }
            "sort" => {
                let is_descending = args.flag()?;
                args.end()?;
                self.sort(is_descending, cx)
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: self.length(), bytes: self.bytes() }
    }

    fn references(&self, tell: &mut dyn FnMut(ObjectId)) {
        // What is popped can come back.
        let values = self.recorded().filter(|run| run.form == Form::Values);
        for item in values.flat_map(|run| run.block.iter()) {
            Packed::new(item).into_iter().for_each(|item| item.refs().for_each(&mut *tell));
        }
    }

    fn savepoint(&self, method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        matches!(method, "append" | "extend").then(|| Savepoint::of(self.end))?
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some(end) = to.state() {
            self.cut_end(end);
        }
    }
}

/// A position as the arguments count it.
fn position(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn absent(value: &Packed) -> CallError {
    CallError::Absent { value: shown(&value.unpack()) }
}

/// The ends of a slice as Python takes them: with a negative step from the end to the start.
fn bounds(
    start: Option<Packed>,
    stop: Option<Packed>,
    step: i64,
    length: usize,
) -> Result<(i64, i64), CallError> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |given: Option<Packed>, default: i64| {
        let Some(place) = given.map(|given| crate::object::int_of(&given)).transpose()? else {
            return Ok(default);
        };
        let place = if place < 0 { place.saturating_add(length) } else { place };
        Ok(place.clamp(lowest, highest))
    };
    let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    Ok((place(start, first)?, place(stop, last)?))
}

/// An order of all values: that of [`Value::compare`] where it has one. `clash` gets the first two
/// values for which it has none; they are put into some order that is always the same, for a sort needs
/// one.
fn order(a: &Value, b: &Value, clash: &mut Option<(String, String)>) -> Ordering {
    match (a, b) {
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            let differs = a.iter().zip(b).map(|(a, b)| order(a, b, clash)).find(|o| o.is_ne());
            differs.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => a.compare(b).unwrap_or_else(|| {
            clash.get_or_insert_with(|| (shown(a), shown(b)));
            class(a).cmp(class(b)).then_with(|| a.to_json().cmp(&b.to_json()))
        }),
    }
}

/// Values of one class are ordered among themselves, or not at all.
const fn class(value: &Value) -> &'static str {
    match value {
        Value::Float(float) if float.is_nan() => "nan",
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => "number",
        other => other.kind(),
    }
}
