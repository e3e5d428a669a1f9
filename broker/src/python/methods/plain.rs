//! `Value`, `Array` and `Namespace`: what is read and set, and nothing more.

use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Value};

use super::{Call, index_error};
use crate::python::inside::Failure;
use crate::python::kind::Kind;
use crate::python::raise::{Answer, Raised};

pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    match cx.shared.kind {
        Kind::Array => array(cx).await,
        Kind::Namespace => namespace(cx).await,
        _ => value(cx).await,
    }
}

async fn value(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "get" => {
            cx.args.none()?;
            Answer::Value(cx.told("get", &[]).await?)
        }
        "set" => {
            let value = cx.args.one("value")?;
            let value = cx.args.packed(value)?;
            cx.ask("set", &[value]).await?;
            Answer::NONE
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

async fn array(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "__len__" => {
            cx.args.none()?;
            Answer::Value(cx.told("len", &[]).await?)
        }
        "__getitem__" => {
            let at = cx.args.one("index")?;
            let at = cx.args.int(at)?;
            let item = cx.ask("get", &[at.into()]).await;
            Answer::Value(item.map_err(|e| index_error(e, "array"))?.unpack())
        }
        "__setitem__" => {
            let [at, item] = cx.args.bind(["index", "value"], 2)?;
            let at = cx.args.int(at.expect("bound"))?;
            let item = cx.args.packed(item.expect("bound"))?;
            let set = cx.ask("set", &[at.into(), item]).await;
            set.map_err(|e| index_error(e, "array assignment"))?;
            Answer::NONE
        }
        "#GETVALUE" => {
            cx.args.none()?;
            let kind = cx.told("kind", &[]).await?;
            let Value::List(items) = cx.told("slice", &[]).await? else { return Ok(None) };
            let Value::Text(kind) = kind else { return Ok(None) };
            let Some(width) = KINDS.iter().find(|(known, ..)| *known == kind) else {
                return Ok(None);
            };
            Answer::Array(width.1, items.iter().flat_map(|item| bytes_of(item, width.2)).collect())
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// The numbers of arrays, their typecodes in Python, and the bytes of each.
const KINDS: &[(&str, char, Width)] = &[
    ("i8", 'b', Width::Int(1)),
    ("u8", 'B', Width::Int(1)),
    ("i16", 'h', Width::Int(2)),
    ("u16", 'H', Width::Int(2)),
    ("i32", 'i', Width::Int(4)),
    ("u32", 'I', Width::Int(4)),
    ("i64", 'q', Width::Int(8)),
    ("u64", 'Q', Width::Int(8)),
    ("f32", 'f', Width::Single),
    ("f64", 'd', Width::Double),
];

/// How a number lies in an `array.array`, on machines with the low byte first.
#[derive(Clone, Copy, Debug)]
enum Width {
    Int(usize),
    Single,
    Double,
}

fn bytes_of(item: &Value, width: Width) -> Vec<u8> {
    match (item, width) {
        (Value::Int(number), Width::Int(bytes)) => {
            let number = number.as_i64().map_or_else(
                || number.as_u64().unwrap_or_default().to_le_bytes(),
                i64::to_le_bytes,
            );
            number[..bytes].to_vec()
        }
        #[expect(clippy::cast_possible_truncation, reason = "it was one that fits")]
        (Value::Float(number), Width::Single) => (*number as f32).to_le_bytes().to_vec(),
        (Value::Float(number), Width::Double) => number.to_le_bytes().to_vec(),
        _ => Vec::new(),
    }
}

async fn namespace(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "__getattribute__" => {
            let name = cx.args.one("name")?;
            let name = cx.args.packed(name)?;
            let found = cx.told("get", core::slice::from_ref(&name)).await;
            Answer::Value(found.map_err(|e| attribute_error(e, &name.unpack()))?)
        }
        "__setattr__" => {
            let [name, value] = cx.args.bind(["name", "value"], 2)?;
            let name = cx.args.packed(name.expect("bound"))?;
            let value = cx.args.packed(value.expect("bound"))?;
            cx.ask("set", &[name, value]).await?;
            Answer::NONE
        }
        "__delattr__" => {
            let name = cx.args.one("name")?;
            let name = cx.args.packed(name)?;
            let gone = cx.ask("delete", core::slice::from_ref(&name)).await;
            gone.map_err(|e| attribute_error(e, &name.unpack()))?;
            Answer::NONE
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn attribute_error(failure: Failure, name: &Value) -> Raised {
    match failure {
        Failure::Call(CallError::Key { .. } | CallError::Absent { .. }) => {
            let name = if let Value::Text(name) = name { name.as_str() } else { "" };
            let why = format!("'Namespace' object has no attribute '{name}'");
            Raised::new(Exception::AttributeError, why)
        }
        other => other.into(),
    }
}
