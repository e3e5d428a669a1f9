//! `condition/1`: a lock whose holder can wait until another holder notifies it.
//!
//! ```text
//!   wait ─ gives the lock away ─▶ Lane::Word ── notify, or time is up ──▶ Lane::Turn ─ has the lock ─▶ answered
//! ```

use bytes::Bytes;
use ganger_shared::{CallError, Packed};

use super::lock::Mutex;
use super::{Args, Callable, Cx, Extent, Hold, Kind, Lane, Owner, Reply, Stage, no_method};

pub(super) const TYPEID: &str = "condition/1";

#[derive(Debug, Default)]
pub(crate) struct Condition {
    mutex: Mutex,
}

impl Condition {
    pub(super) fn make(args: Args) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::default())
    }

    fn judge_held(&self, cx: &Cx<'_>, to: &str) -> Result<(), CallError> {
        if self.mutex.is_held_by(cx.owner) {
            return Ok(());
        }
        Err(CallError::NotHeld(format!("only who has acquired the condition may {to}")))
    }

    fn wait(&mut self, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match cx.stage {
            Stage::Made => {
                self.judge_held(cx, "wait")?;
                self.mutex.release(None, cx)?;
                Ok(Reply::Wait(Lane::Word))
            }
            // Also whose time is up goes on with the lock only.
            Stage::Told | Stage::TimedOut => Ok(match self.mutex.acquire(cx) {
                Some(_) => Reply::Value(Packed::from(cx.stage == Stage::Told)),
                None => Reply::Wait(Lane::Turn),
            }),
        }
    }

    fn notify(&self, count: u64, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        self.judge_held(cx, "notify")?;
        cx.told = count.min(cx.waiting);
        Ok(Reply::Value(Packed::from(cx.told)))
    }
}

impl Callable for Condition {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "acquire" => {
                args.end()?;
                Ok(match self.mutex.acquire(cx) {
                    Some(token) => Reply::Value(Packed::from(token)),
                    None if cx.stage == Stage::TimedOut => Reply::None,
                    None => Reply::Wait(Lane::Turn),
                })
            }
            "release" => {
                let token = args.token()?;
                args.end()?;
                self.mutex.release(token, cx).map(|()| Reply::None)
            }
            "wait" => {
                args.end()?;
                self.wait(cx)
            }
            "notify" => {
                let count = args.count_or(1)?;
                args.end()?;
                self.notify(count, cx)
            }
            "notify_all" => {
                args.end()?;
                self.notify(u64::MAX, cx)
            }
            "is_locked" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.mutex.holder().is_some())))
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        self.mutex.extent()
    }
}

impl Kind for Condition {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(self.mutex.part());
    }

    fn take(&mut self, part: &[u8]) {
        self.mutex.take(part);
    }

    fn holds(&self) -> Vec<Hold> {
        self.mutex.holder().into_iter().collect()
    }

    fn is_held_by(&self, owner: Owner) -> bool {
        self.mutex.is_held_by(owner)
    }

    fn let_go(&mut self, owner: Owner) {
        self.mutex.let_go(owner);
    }
}
