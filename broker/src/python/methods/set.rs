//! `set`, which Python's managers have from 3.14 on.

use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Packed, Value};

use super::Call;
use crate::python::inside::Failure;
use crate::python::raise::{Answer, Raised};

pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "add" | "discard" => {
            let item = cx.args.one("value")?;
            let (item, method) = (cx.args.packed(item)?, cx.method);
            cx.ask(method, &[item]).await?;
            Answer::NONE
        }
        "remove" => {
            let item = cx.args.one("value")?;
            let item = cx.args.packed(item)?;
            match cx.ask("remove", core::slice::from_ref(&item)).await {
                Err(Failure::Call(CallError::Key { .. } | CallError::Absent { .. })) => {
                    return Err(Raised::Exception(Exception::KeyError, vec![item.unpack()]));
                }
                done => done?,
            };
            Answer::NONE
        }
        "pop" => {
            cx.args.none()?;
            match cx.told("pop", &[]).await {
                Err(Failure::Call(CallError::Empty)) => {
                    return Err(Raised::new(Exception::KeyError, "pop from an empty set"));
                }
                popped => Answer::Value(popped?),
            }
        }
        "update" => {
            let items = cx.args.given().to_vec();
            for items in items {
                let items = cx.args.items(items)?;
                let items = Packed::list(&items);
                let items = items.map_err(|e| Raised::new(Exception::ValueError, e.to_string()))?;
                cx.ask("update", &[items]).await?;
            }
            Answer::NONE
        }
        "__contains__" => {
            let item = cx.args.one("value")?;
            let item = cx.args.packed(item)?;
            Answer::Value(cx.told("contains", &[item]).await?)
        }
        "__len__" => {
            cx.args.none()?;
            Answer::Value(cx.told("len", &[]).await?)
        }
        "clear" => {
            cx.args.none()?;
            cx.ask("clear", &[]).await?;
            Answer::NONE
        }
        "copy" | "#GETVALUE" => {
            cx.args.none()?;
            Answer::Value(whole(cx).await?)
        }
        "__iter__" => {
            cx.args.none()?;
            let Value::List(items) = cx.told("items", &[]).await? else { return Ok(None) };
            Answer::Iter(items)
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// All of it.
pub(super) async fn whole(cx: &mut Call<'_>) -> Result<Value, Failure> {
    Ok(match cx.told("items", &[]).await? {
        Value::List(items) => Value::Set(items),
        other => other,
    })
}
