//! `value/1`: one value and how often it was set.

use bytes::Bytes;
use ganger_shared::{CallError, ObjectId, Packed, What};

use super::{
    Args, Callable, Cx, Extent, Kind, Owner, Reply, Savepoint, no_method, part_of, part_to,
    reply_tuple,
};

pub(super) const TYPEID: &str = "value/1";

#[derive(Debug)]
pub(crate) struct Cell {
    value: Packed,
    revision: u64,
}

impl Default for Cell {
    fn default() -> Self {
        Self { value: Packed::none(), revision: 0 }
    }
}

impl Cell {
    pub(super) fn make(mut args: Args, cx: &Cx<'_>) -> Result<Self, CallError> {
        let value = args.given()?.unwrap_or_else(Packed::none);
        args.end()?;
        cx.limits.judge(Extent::default(), extent(&value))?;
        Ok(Self { value: value.detached(), revision: 0 })
    }

    fn set(&mut self, value: Packed, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        cx.limits.judge(Extent::default(), extent(&value))?;
        self.value = value.detached();
        self.revision += 1;
        cx.changed = true;
        cx.whats.push(What::Value(self.value.clone()));
        Ok(Reply::Value(Packed::from(self.revision)))
    }
}

fn extent(value: &Packed) -> Extent {
    Extent { items: 1, bytes: value.as_bytes().len() as u64 }
}

impl Callable for Cell {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "get" => {
                args.end()?;
                Ok(Reply::Value(self.value.clone()))
            }
            "entry" => {
                args.end()?;
                let revision = Packed::from(self.revision);
                reply_tuple(&[self.value.clone(), revision])
            }
            "set" => {
                let value = args.value()?;
                args.end()?;
                self.set(value, cx)
            }
            "compare_and_set" => {
                let (wanted, value) = (args.count()?, args.value()?);
                args.end()?;
                if wanted != self.revision {
                    return Err(CallError::Revision { wanted, revision: self.revision });
                }
                self.set(value, cx)
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        extent(&self.value)
    }

    fn references(&self, tell: &mut dyn FnMut(ObjectId)) {
        self.value.refs().for_each(tell);
    }

    fn savepoint(&self, method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        let is_set = matches!(method, "set" | "compare_and_set");
        is_set.then(|| Savepoint::of((self.value.clone(), self.revision)))?
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some((value, revision)) = to.state() {
            (self.value, self.revision) = (value, revision);
        }
    }
}

impl Kind for Cell {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn watched_by(&self) -> Option<&'static str> {
        Some("get")
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(part_of(&(self.revision, &self.value)));
    }

    fn take(&mut self, part: &[u8]) {
        if let Some((revision, value)) = part_to(part) {
            (self.revision, self.value) = (revision, value);
        }
    }
}
