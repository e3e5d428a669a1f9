//! `list`.

use ganger_pickle::write::Exception;
use ganger_pickle::{Node, NodeId};
use ganger_shared::{CallError, Packed, Value};

use super::{Call, index_error, number};
use crate::python::inside::Failure;
use crate::python::raise::{Answer, Raised};

/// Items that a repetition may come to: 1,048,576.
const REPEATED_MAX: usize = 1 << 20;

pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "append" => {
            let item = cx.args.one("object")?;
            let item = cx.args.packed(item)?;
            cx.ask("append", &[item]).await?;
            Answer::NONE
        }
        "extend" => {
            let items = cx.args.one("iterable")?;
            let items = cx.args.items(items)?;
            cx.ask("extend", &[list(&items)?]).await?;
            Answer::NONE
        }
        "insert" => {
            let [at, item] = cx.args.bind(["index", "object"], 2)?;
            let at = cx.args.int(at.expect("bound"))?;
            let item = cx.args.packed(item.expect("bound"))?;
            cx.ask("insert", &[at.into(), item]).await?;
            Answer::NONE
        }
        "pop" => {
            let [at] = cx.args.bind(["index"], 0)?;
            let at = at.map_or(Ok(-1), |at| cx.args.int(at))?;
            match cx.ask("pop", &[at.into()]).await {
                Err(Failure::Call(CallError::Empty)) => {
                    return Err(Raised::new(Exception::IndexError, "pop from empty list"));
                }
                popped => Answer::Value(popped.map_err(|e| index_error(e, "pop"))?.unpack()),
            }
        }
        "remove" => {
            let item = cx.args.one("value")?;
            let item = cx.args.packed(item)?;
            cx.ask("remove", &[item])
                .await
                .map_err(|e| absent(e, "list.remove(x): x not in list"))?;
            Answer::NONE
        }
        "index" => {
            let [item, start, stop] = cx.args.bind(["value", "start", "stop"], 1)?;
            let item = cx.args.packed(item.expect("bound"))?;
            let shown = super::super::repr(&item.unpack());
            let place = |id: Option<NodeId>| {
                id.map_or(Ok(Packed::none()), |id| cx.args.int(id).map(Packed::from))
            };
            let (start, stop) = (place(start)?, place(stop)?);
            let found = cx.ask("index", &[item, start, stop]).await;
            Answer::Value(
                found.map_err(|e| absent(e, &format!("{shown} is not in list")))?.unpack(),
            )
        }
        "count" | "__contains__" => {
            let item = cx.args.one("value")?;
            let item = cx.args.packed(item)?;
            let method = if cx.method == "count" { "count" } else { "contains" };
            Answer::Value(cx.told(method, &[item]).await?)
        }
        "reverse" | "clear" => {
            cx.args.none()?;
            let method = cx.method;
            cx.ask(method, &[]).await?;
            Answer::NONE
        }
        "sort" => {
            let [key, reverse] = cx.args.bind(["key", "reverse"], 0)?;
            if key.is_some_and(|key| !matches!(cx.args.graph().node(key), Node::None)) {
                let why =
                    "a broker calls no functions: sort(key=…) is for the program that has the list";
                return Err(Raised::new(Exception::NotImplementedError, why));
            }
            let reverse = cx.args.is_true(reverse, false);
            cx.ask("sort", &[reverse.into()]).await?;
            Answer::NONE
        }
        "__len__" => {
            cx.args.none()?;
            Answer::Value(cx.told("len", &[]).await?)
        }
        "__getitem__" => {
            let at = cx.args.one("index")?;
            match cx.args.slice(at) {
                Some(parts) => {
                    let parts = bounds(cx, parts)?;
                    Answer::Value(cx.told("slice", &parts).await?)
                }
                None => {
                    let at = cx.args.int(at)?;
                    let item = cx.ask("get", &[at.into()]).await;
                    Answer::Value(item.map_err(|e| index_error(e, "list"))?.unpack())
                }
            }
        }
        "__setitem__" => {
            let [at, value] = cx.args.bind(["index", "value"], 2)?;
            let (at, value) = (at.expect("bound"), value.expect("bound"));
            match cx.args.slice(at) {
                Some(parts) => set_slice(cx, parts, value).await?,
                None => {
                    let (at, value) = (cx.args.int(at)?, cx.args.packed(value)?);
                    let set = cx.ask("set", &[at.into(), value]).await;
                    set.map_err(|e| index_error(e, "list assignment"))?;
                }
            }
            Answer::NONE
        }
        "__delitem__" => {
            let at = cx.args.one("index")?;
            match cx.args.slice(at) {
                Some(parts) => {
                    let (start, stop) = straight(cx, parts).await?;
                    cx.ask("delete_slice", &[start, stop]).await?;
                }
                None => {
                    let at = cx.args.int(at)?;
                    let gone = cx.ask("delete", &[at.into()]).await;
                    gone.map_err(|e| index_error(e, "list assignment"))?;
                }
            }
            Answer::NONE
        }
        "__add__" => {
            let more = cx.args.one("value")?;
            let more = cx.args.items(more)?;
            let Value::List(mut items) = cx.told("slice", &[]).await? else { return Ok(None) };
            items.extend(more.iter().map(Packed::unpack));
            Answer::Value(Value::List(items))
        }
        "__mul__" | "__rmul__" => {
            let times = cx.args.one("value")?;
            let times = cx.args.int(times)?;
            let items = repeated(cx, times).await?;
            Answer::Value(Value::List(items))
        }
        "__imul__" => {
            let times = cx.args.one("value")?;
            let times = cx.args.int(times)?;
            let items: Vec<Packed> =
                repeated(cx, times).await?.iter().map(packed).collect::<Result<_, _>>()?;
            let length = number(usize::MAX >> 1);
            cx.ask("set_slice", &[number(0), length, list(&items)?]).await?;
            Answer::NONE
        }
        "copy" | "#GETVALUE" => {
            cx.args.none()?;
            Answer::Value(cx.told("slice", &[]).await?)
        }
        "__reversed__" | "__iter__" => {
            cx.args.none()?;
            let Value::List(mut items) = cx.told("slice", &[]).await? else { return Ok(None) };
            if cx.method == "__reversed__" {
                items.reverse();
            }
            Answer::Iter(items)
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// The items of the list, one after the other and again.
async fn repeated(cx: &mut Call<'_>, times: i64) -> Result<Vec<Value>, Raised> {
    let Value::List(items) = cx.told("slice", &[]).await? else { return Ok(Vec::new()) };
    let times = usize::try_from(times).unwrap_or(0);
    if items.len().saturating_mul(times) > REPEATED_MAX {
        let why = format!("{} items {times} times are more than {REPEATED_MAX}", items.len());
        return Err(Raised::new(Exception::MemoryError, why));
    }
    Ok(std::iter::repeat_n(items, times).flatten().collect())
}

/// Start, stop and step as the object takes them.
fn bounds(cx: &Call<'_>, parts: [NodeId; 3]) -> Result<[Packed; 3], Raised> {
    let mut bounds = [Packed::none(), Packed::none(), Packed::none()];
    for (bound, part) in bounds.iter_mut().zip(parts) {
        if !matches!(cx.args.graph().node(part), Node::None) {
            *bound = cx.args.int(part)?.into();
        }
    }
    if bounds[2] == Packed::from(0_i64) {
        return Err(Raised::new(Exception::ValueError, "slice step cannot be zero"));
    }
    Ok(bounds)
}

/// Start and stop of a slice that leaves nothing out.
async fn straight(cx: &mut Call<'_>, parts: [NodeId; 3]) -> Result<(Packed, Packed), Raised> {
    let [start, stop, step] = bounds(cx, parts)?;
    if !step.is_none() && step != Packed::from(1_i64) {
        let why = "a broker changes slices with a step of 1 only; change the items one by one";
        return Err(Raised::new(Exception::NotImplementedError, why));
    }
    let start = if start.is_none() { number(0) } else { start };
    let stop = if stop.is_none() { number(usize::MAX >> 1) } else { stop };
    Ok((start, stop))
}

async fn set_slice(cx: &mut Call<'_>, parts: [NodeId; 3], value: NodeId) -> Result<(), Raised> {
    let items = cx.args.items(value)?;
    let (start, stop) = straight(cx, parts).await?;
    cx.ask("set_slice", &[start, stop, list(&items)?]).await?;
    Ok(())
}

fn list(items: &[Packed]) -> Result<Packed, Raised> {
    Packed::list(items).map_err(|error| Raised::new(Exception::ValueError, error.to_string()))
}

fn packed(value: &Value) -> Result<Packed, Raised> {
    value.pack().map_err(|error| Raised::new(Exception::ValueError, error.to_string()))
}

fn absent(failure: Failure, words: &str) -> Raised {
    match failure {
        Failure::Call(CallError::Absent { .. }) => Raised::new(Exception::ValueError, words),
        other => other.into(),
    }
}
