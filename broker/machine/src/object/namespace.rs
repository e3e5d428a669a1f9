//! `namespace/1`: values by name, as the attributes of an object.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::{CallError, ObjectId, Packed, Value};

use super::args::{pack, shown, wanted};
use super::{
    Args, Callable, Cx, Extent, Kind, Owner, PART_BYTES, Reply, Savepoint, judge_answer, no_method,
    part_of, part_to,
};

pub(super) const TYPEID: &str = "namespace/1";

#[derive(Debug, Default)]
pub(crate) struct Namespace {
    values: BTreeMap<String, Packed>,
    bytes: u64,
}

impl Namespace {
    pub(super) fn make(mut args: Args, cx: &Cx<'_>) -> Result<Self, CallError> {
        let start = args.some()?;
        args.end()?;
        let mut namespace = Self::default();
        let Some(start) = start else { return Ok(namespace) };
        let Value::Map(pairs) = start.unpack() else {
            return Err(wanted("a map", &start.unpack()));
        };
        for (name, value) in &pairs {
            let Value::Text(name) = name else { return Err(wanted("a name", name)) };
            namespace.set(name.clone(), pack(value)?, cx)?;
        }
        Ok(namespace)
    }

    fn set(&mut self, name: String, value: Packed, cx: &Cx<'_>) -> Result<(), CallError> {
        let old = self.values.get(&name).map_or(0, |old| bytes_of(&name, old));
        let extent = Extent { items: self.values.len() as u64, bytes: self.bytes - old };
        let bytes = bytes_of(&name, &value);
        cx.limits.judge(extent, Extent { items: u64::from(old == 0), bytes })?;
        self.bytes = extent.bytes + bytes;
        self.values.insert(name, value.detached());
        Ok(())
    }
}

fn bytes_of(name: &str, value: &Packed) -> u64 {
    (name.len() + value.as_bytes().len()) as u64
}

fn missing(name: &str) -> CallError {
    CallError::Key { key: shown(&Value::from(name)) }
}

impl Callable for Namespace {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "get" => {
                let name = args.text()?;
                args.end()?;
                let found = self.values.get(&name).ok_or_else(|| missing(&name))?;
                Ok(Reply::Value(found.clone()))
            }
            "contains" => {
                let name = args.text()?;
                args.end()?;
                Ok(Reply::Value(Packed::from(self.values.contains_key(&name))))
            }
            "items" => {
                args.end()?;
                judge_answer(usize::try_from(self.bytes).unwrap_or(usize::MAX))?;
                let pair = |(name, value): (&String, &Packed)| {
                    (Value::from(name.as_str()), value.unpack())
                };
                let pairs = self.values.iter().map(pair).collect();
                Ok(Reply::Value(pack(&Value::Map(pairs))?))
            }
            "len" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.values.len() as u64)))
            }
            "set" => {
                let (name, value) = (args.text()?, args.value()?);
                args.end()?;
                self.set(name, value, cx)?;
                cx.changed = true;
                Ok(Reply::None)
            }
            "delete" => {
                let name = args.text()?;
                args.end()?;
                let old = self.values.remove(&name).ok_or_else(|| missing(&name))?;
                self.bytes -= bytes_of(&name, &old);
                cx.changed = true;
                Ok(Reply::None)
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: self.values.len() as u64, bytes: self.bytes }
    }

    fn references(&self, tell: &mut dyn FnMut(ObjectId)) {
        self.values.values().flat_map(Packed::refs).for_each(tell);
    }

    fn savepoint(&self, method: &str, args: &Args, _owner: Owner) -> Option<Savepoint> {
        if !matches!(method, "set" | "delete") {
            return None;
        }
        let name = args.clone().text().ok()?;
        let value = self.values.get(&name).cloned();
        Savepoint::of((name, value))
    }

    fn go_back(&mut self, to: Savepoint) {
        let Some((name, value)) = to.state::<(String, Option<Packed>)>() else { return };
        if let Some(old) = self.values.remove(&name) {
            self.bytes -= bytes_of(&name, &old);
        }
        if let Some(value) = value {
            self.bytes += bytes_of(&name, &value);
            self.values.insert(name, value);
        }
    }
}

impl Kind for Namespace {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (name, value) in &self.values {
            bytes += bytes_of(name, value);
            part.push((name, value));
            if bytes >= PART_BYTES as u64 {
                tell(part_of(&part));
                (part, bytes) = (Vec::new(), 0);
            }
        }
        tell(part_of(&part));
    }

    fn take(&mut self, part: &[u8]) {
        for (name, value) in part_to::<Vec<(String, Packed)>>(part).unwrap_or_default() {
            self.bytes += bytes_of(&name, &value);
            self.values.insert(name, value);
        }
    }
}
