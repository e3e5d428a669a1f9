//! `lock/1` and `rlock/1`: held by one caller at a time; the second by the same one again and again.

use bytes::Bytes;
use ganger_shared::{CallError, Packed, Time};

use super::hold::{KeptHold, not_held};
use super::{
    Args, Callable, Cx, Extent, Hold, Kind, Lane, Owner, Reply, Savepoint, Stage, no_method,
    part_of, part_to,
};

pub(super) const LOCK: &str = "lock/1";
pub(super) const RLOCK: &str = "rlock/1";

/// Who holds it, if somebody does; also what a condition is made of.
#[derive(Debug, Default)]
pub(super) struct Mutex {
    holder: Option<Hold>,
    /// Token of the latest grant.
    latest: Option<u64>,
}

impl Mutex {
    pub(super) const fn holder(&self) -> Option<Hold> {
        self.holder
    }

    pub(super) fn is_held_by(&self, owner: Owner) -> bool {
        self.holder.is_some_and(|hold| hold.owner == owner)
    }

    /// Gives it to the caller if nobody has it, under a token that is larger than all before.
    pub(super) const fn acquire(&mut self, cx: &mut Cx<'_>) -> Option<u64> {
        if self.holder.is_some() {
            return None;
        }
        let (token, owner, since): (_, _, Time) = (cx.take_token(), cx.owner, cx.now);
        self.holder = Some(Hold { token, owner, count: 1, since });
        self.latest = Some(token);
        cx.changed = true;
        Some(token)
    }

    /// Takes one acquire of the caller back.
    pub(super) fn release(&mut self, token: Option<u64>, cx: &mut Cx<'_>) -> Result<(), CallError> {
        let mine = |hold: &&mut Hold| {
            hold.owner == cx.owner && token.is_none_or(|token| token == hold.token)
        };
        let Some(hold) = self.holder.as_mut().filter(mine) else {
            return Err(not_held(token, self.latest, self.holder));
        };
        hold.count -= 1;
        if hold.count == 0 {
            self.holder = None;
        }
        cx.changed = true;
        Ok(())
    }

    pub(super) fn let_go(&mut self, owner: Owner) {
        if self.is_held_by(owner) {
            self.holder = None;
        }
    }

    pub(super) fn extent(&self) -> Extent {
        Extent { items: u64::from(self.holder.is_some()), bytes: size_of::<Hold>() as u64 }
    }

    pub(super) fn part(&self) -> Bytes {
        part_of(&(self.latest, self.holder.as_ref().map(KeptHold::from)))
    }

    pub(super) fn take(&mut self, part: &[u8]) {
        if let Some((latest, holder)) = part_to::<(_, Option<KeptHold>)>(part) {
            (self.latest, self.holder) = (latest, holder.map(Hold::from));
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lock {
    typeid: &'static str,
    mutex: Mutex,
}

impl Lock {
    pub(super) fn blank(typeid: &'static str) -> Self {
        Self { typeid, mutex: Mutex::default() }
    }

    pub(super) fn make(typeid: &'static str, args: Args) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::blank(typeid))
    }

    fn acquire(&mut self, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        if let Some(hold) = &mut self.mutex.holder
            && self.typeid == RLOCK
            && hold.owner == cx.owner
        {
            hold.count = hold.count.checked_add(1).ok_or_else(|| {
                CallError::Value("acquired more than 4,294,967,295 times".to_owned())
            })?;
            cx.changed = true;
            return Ok(Reply::Value(Packed::from(hold.token)));
        }
        Ok(match self.mutex.acquire(cx) {
            Some(token) => Reply::Value(Packed::from(token)),
            None if cx.stage == Stage::TimedOut => Reply::None,
            None => Reply::Wait(Lane::Turn),
        })
    }
}

impl Callable for Lock {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "acquire" => {
                args.end()?;
                self.acquire(cx)
            }
            "release" => {
                let token = args.token()?;
                args.end()?;
                self.mutex.release(token, cx).map(|()| Reply::None)
            }
            "is_locked" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.mutex.holder.is_some())))
            }
            _ => Err(no_method(self.typeid, method)),
        }
    }

    fn extent(&self) -> Extent {
        self.mutex.extent()
    }

    fn savepoint(&self, method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        (method == "release").then(|| Savepoint::of(self.mutex.holder))?
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some(holder) = to.state() {
            self.mutex.holder = holder;
        }
    }
}

impl Kind for Lock {
    fn typeid(&self) -> &'static str {
        self.typeid
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(self.mutex.part());
    }

    fn take(&mut self, part: &[u8]) {
        self.mutex.take(part);
    }

    fn holds(&self) -> Vec<Hold> {
        self.mutex.holder.into_iter().collect()
    }

    fn is_held_by(&self, owner: Owner) -> bool {
        self.mutex.is_held_by(owner)
    }

    fn let_go(&mut self, owner: Owner) {
        self.mutex.let_go(owner);
    }
}
