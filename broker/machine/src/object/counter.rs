//! `counter/1`: a whole number of 64 bits with a sign.

use bytes::Bytes;
use ganger_shared::{CallError, Packed, What};

use super::{
    Args, Callable, Cx, Extent, Kind, Owner, Reply, Savepoint, no_method, part_of, part_to,
};

pub(super) const TYPEID: &str = "counter/1";

#[derive(Debug, Default)]
pub(crate) struct Counter {
    number: i64,
}

impl Counter {
    pub(super) fn make(mut args: Args) -> Result<Self, CallError> {
        let number = args.int_or(0)?;
        args.end()?;
        Ok(Self { number })
    }
}

/// The sum of two numbers of 64 bits.
pub(super) fn sum(number: i64, by: i64) -> Result<i64, CallError> {
    number
        .checked_add(by)
        .ok_or_else(|| CallError::Value(format!("{number} and {by} are beyond 64 bits")))
}

impl Callable for Counter {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let answer = match method {
            "get" => self.number,
            "add" => {
                let sum = sum(self.number, args.int_or(1)?)?;
                args.clone().end()?;
                (self.number, cx.changed) = (sum, true);
                cx.whats.push(What::Number(sum));
                sum
            }
            "set" => {
                let number = args.int()?;
                args.clone().end()?;
                cx.changed = true;
                cx.whats.push(What::Number(number));
                core::mem::replace(&mut self.number, number)
            }
            _ => return Err(no_method(TYPEID, method)),
        };
        args.end()?;
        Ok(Reply::Value(Packed::from(answer)))
    }

    fn extent(&self) -> Extent {
        Extent { items: 1, bytes: size_of::<i64>() as u64 }
    }

    fn savepoint(&self, method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        matches!(method, "add" | "set").then(|| Savepoint::of(self.number))?
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some(number) = to.state() {
            self.number = number;
        }
    }
}

impl Kind for Counter {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn watched_by(&self) -> Option<&'static str> {
        Some("get")
    }

    fn number(&self) -> Option<i64> {
        Some(self.number)
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(part_of(&self.number));
    }

    fn take(&mut self, part: &[u8]) {
        if let Some(number) = part_to(part) {
            self.number = number;
        }
    }
}
