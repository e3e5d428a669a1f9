//! `barrier/1`: lets callers go on once a number of them have come.
//!
//! Those who wait are no part of its state: a broker that is started anew has nobody waiting, and the
//! clients that come back wait again.

use bytes::Bytes;
use ganger_shared::{CallError, Packed};

use super::{
    Args, Callable, Cx, Extent, Kind, Lane, Reply, Stage, count_of, int_of, no_method, part_of,
    part_to,
};

pub(super) const TYPEID: &str = "barrier/1";

#[derive(Debug, Default)]
pub(crate) struct Barrier {
    parties: u64,
    is_broken: bool,
    /// How long one waits that does not say, in milliseconds; for ever if nothing is said.
    timeout_ms: Option<u64>,
    /// How many of those who wait are to be let go, the first one first.
    passing: u64,
}

impl Barrier {
    pub(super) fn make(mut args: Args) -> Result<Self, CallError> {
        let parties = args.count()?;
        let timeout_ms = args.some()?.map(|given| count_of(int_of(&given)?)).transpose()?;
        args.end()?;
        if parties == 0 {
            return Err(CallError::Value("a barrier of no parties".to_owned()));
        }
        Ok(Self { parties, timeout_ms, ..Self::default() })
    }

    fn wait(&mut self, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match cx.stage {
            Stage::Made if self.is_broken => Err(CallError::Broken),
            // The others of a frame break it, and have to be found in a replay, where nobody waits.
            Stage::Made if !cx.is_alone && self.parties > 1 => Ok(Reply::Wait(Lane::Word)),
            Stage::Made if cx.waiting + 1 < self.parties => Ok(Reply::Wait(Lane::Word)),
            Stage::Made => {
                (self.passing, cx.told) = (cx.waiting, cx.waiting);
                Ok(Reply::Value(Packed::from(self.parties - 1)))
            }
            Stage::Told if self.passing > 0 => {
                let index = self.parties - 1 - self.passing;
                self.passing -= 1;
                Ok(Reply::Value(Packed::from(index)))
            }
            // They were sent away.
            Stage::Told => Err(CallError::Broken),
            Stage::TimedOut => {
                cx.told = cx.waiting;
                cx.changed = !self.is_broken;
                (self.is_broken, self.passing) = (true, 0);
                Err(CallError::Broken)
            }
        }
    }
}

impl Callable for Barrier {
    fn call(&mut self, method: &str, args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        args.end()?;
        match method {
            "wait" => self.wait(cx),
            "reset" | "abort" => {
                let is_broken = method == "abort";
                cx.changed = self.is_broken != is_broken;
                self.is_broken = is_broken;
                // One that was to be let go may have lost its lease before.
                self.passing = 0;
                cx.told = cx.waiting;
                Ok(Reply::None)
            }
            "parties" => Ok(Reply::Value(Packed::from(self.parties))),
            "waiting" => Ok(Reply::Value(Packed::from(cx.waiting))),
            "timeout" => {
                let timeout = self.timeout_ms.map_or_else(Packed::none, Packed::from);
                Ok(Reply::Value(timeout))
            }
            "is_broken" => Ok(Reply::Value(Packed::from(self.is_broken))),
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: 1, bytes: size_of::<Self>() as u64 }
    }
}

impl Kind for Barrier {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(part_of(&(self.parties, self.is_broken, self.timeout_ms)));
    }

    fn take(&mut self, part: &[u8]) {
        if let Some((parties, is_broken, timeout_ms)) = part_to(part) {
            (self.parties, self.is_broken, self.timeout_ms) = (parties, is_broken, timeout_ms);
        }
    }
}
