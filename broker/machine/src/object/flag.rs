//! `event/1`: a flag that callers wait for.
//!
//! Called a flag here, for an event is a record of the journal in this package.

use bytes::Bytes;
use ganger_shared::{CallError, Packed};

use super::{
    Args, Callable, Cx, Extent, Kind, Lane, Owner, Reply, Savepoint, Stage, no_method, part_of,
    part_to,
};

pub(super) const TYPEID: &str = "event/1";

#[derive(Debug, Default)]
pub(crate) struct Flag {
    is_set: bool,
}

impl Flag {
    pub(super) fn make(args: Args) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::default())
    }
}

impl Callable for Flag {
    fn call(&mut self, method: &str, args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        args.end()?;
        match method {
            "is_set" => Ok(Reply::Value(Packed::from(self.is_set))),
            "set" | "clear" => {
                let wanted = method == "set";
                cx.changed = self.is_set != wanted;
                self.is_set = wanted;
                Ok(Reply::None)
            }
            "wait" if !self.is_set && cx.stage != Stage::TimedOut => Ok(Reply::Wait(Lane::Turn)),
            "wait" => Ok(Reply::Value(Packed::from(self.is_set))),
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: 1, bytes: 1 }
    }

    fn savepoint(&self, method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        matches!(method, "set" | "clear").then(|| Savepoint::of(self.is_set))?
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some(is_set) = to.state() {
            self.is_set = is_set;
        }
    }
}

impl Kind for Flag {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(part_of(&self.is_set));
    }

    fn take(&mut self, part: &[u8]) {
        if let Some(is_set) = part_to(part) {
            self.is_set = is_set;
        }
    }
}
