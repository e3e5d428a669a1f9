//! `dict`.

use ganger_pickle::write::Exception;
use ganger_shared::{CallError, ObjectId, Packed, Value};

use super::Call;
use crate::python::inside::Failure;
use crate::python::raise::{Answer, Raised};

pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "__getitem__" => {
            let key = cx.args.one("key")?;
            let key = cx.args.packed(key)?;
            let found = cx.ask("at", core::slice::from_ref(&key)).await;
            Answer::Value(found.map_err(|e| key_error(e, &key))?.unpack())
        }
        "get" | "setdefault" => {
            let [key, default] = cx.args.bind(["key", "default"], 1)?;
            let key = cx.args.packed(key.expect("bound"))?;
            let default = default.map_or(Ok(Packed::none()), |id| cx.args.packed(id))?;
            let method = if cx.method == "get" { "get" } else { "set_default" };
            Answer::Value(cx.told(method, &[key, default]).await?)
        }
        "__setitem__" => {
            let [key, value] = cx.args.bind(["key", "value"], 2)?;
            let key = cx.args.packed(key.expect("bound"))?;
            let value = cx.args.packed(value.expect("bound"))?;
            cx.ask("set", &[key, value]).await?;
            Answer::NONE
        }
        "__delitem__" => {
            let key = cx.args.one("key")?;
            let key = cx.args.packed(key)?;
            cx.ask("pop", core::slice::from_ref(&key)).await.map_err(|e| key_error(e, &key))?;
            Answer::NONE
        }
        "pop" => {
            let [key, default] = cx.args.bind(["key", "default"], 1)?;
            let key = cx.args.packed(key.expect("bound"))?;
            let mut args = vec![key.clone()];
            if let Some(default) = default {
                args.push(cx.args.packed(default)?);
            }
            Answer::Value(cx.ask("pop", &args).await.map_err(|e| key_error(e, &key))?.unpack())
        }
        "popitem" => {
            cx.args.none()?;
            match cx.told("pop_item", &[]).await {
                Err(Failure::Call(CallError::Empty)) => {
                    let why = "popitem(): dictionary is empty";
                    return Err(Raised::new(Exception::KeyError, why));
                }
                item => Answer::Value(item?),
            }
        }
        "update" => {
            update(cx).await?;
            Answer::NONE
        }
        "__contains__" => {
            let key = cx.args.one("key")?;
            let key = cx.args.packed(key)?;
            Answer::Value(cx.told("contains", &[key]).await?)
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
        "keys" | "values" | "items" => {
            cx.args.none()?;
            let method = cx.method;
            Answer::Value(cx.told(method, &[]).await?)
        }
        "__iter__" => {
            cx.args.none()?;
            let Value::List(keys) = cx.told("keys", &[]).await? else { return Ok(None) };
            if ObjectId::of(&cx.shared.object).is_some() {
                // Programs that make dicts have a class for what iterates over one, too.
                let iterator = cx.door.iterators.begin(cx.shared, keys);
                cx.door.references.add(&iterator);
                let exposed = iterator.kind.exposed().collect();
                return Ok(Some(Answer::Proxy(iterator, exposed)));
            }
            Answer::Iter(keys)
        }
        "copy" | "#GETVALUE" => {
            cx.args.none()?;
            Answer::Value(whole(cx).await?)
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// All of it.
pub(super) async fn whole(cx: &mut Call<'_>) -> Result<Value, Failure> {
    let Value::List(items) = cx.told("items", &[]).await? else { return Ok(Value::None) };
    let entry = |item| match item {
        Value::Tuple(pair) => <[Value; 2]>::try_from(pair).ok().map(|[key, value]| (key, value)),
        _ => None,
    };
    Ok(Value::Map(items.into_iter().filter_map(entry).collect()))
}

/// `update(entries, **more)`.
async fn update(cx: &mut Call<'_>) -> Result<(), Raised> {
    let mut entries = Vec::new();
    match *cx.args.given() {
        [] => {}
        [all] => entries = cx.args.entries(all)?,
        [..] => {
            let given = cx.args.given().len();
            let why = format!("update expected at most 1 argument, got {given}");
            return Err(Raised::new(Exception::TypeError, why));
        }
    }
    for (name, value) in cx.args.keywords() {
        entries.push((Packed::from(name.as_str()), cx.args.packed(*value)?));
    }
    // Of a key that is there twice the last value counts, at the place of the first one.
    let mut map: Vec<(Value, Value)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for (key, value) in entries {
        let hashed =
            key.key().map_err(|error| Raised::new(Exception::TypeError, error.to_string()))?;
        match places.entry(hashed.as_bytes().clone()) {
            std::collections::btree_map::Entry::Occupied(place) => {
                let at: usize = *place.get();
                map[at].1 = value.unpack();
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(map.len());
                map.push((key.unpack(), value.unpack()));
            }
        }
    }
    let map = Value::Map(map).pack();
    let map = map.map_err(|error| Raised::new(Exception::TypeError, error.to_string()))?;
    cx.ask("update", &[map]).await?;
    Ok(())
}

fn key_error(failure: Failure, key: &Packed) -> Raised {
    match failure {
        Failure::Call(CallError::Key { .. }) => {
            Raised::Exception(Exception::KeyError, vec![key.unpack()])
        }
        other => other.into(),
    }
}
