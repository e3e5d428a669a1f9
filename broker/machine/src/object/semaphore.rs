//! `semaphore/1` and `bounded_semaphore/1`: units that callers acquire and release.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::{CallError, Packed, Time};

use super::hold::{KeptHold, not_held};
use super::{
    Args, Callable, Cx, Extent, Hold, Kind, Lane, Owner, Reply, Savepoint, Stage, no_method,
    part_of, part_to,
};

pub(super) const SEMAPHORE: &str = "semaphore/1";
pub(super) const BOUNDED: &str = "bounded_semaphore/1";

/// Most units of one: 2^32, so that each can be counted.
const UNITS_MAX: u64 = 1 << 32;

#[derive(Debug)]
pub(crate) struct Semaphore {
    typeid: &'static str,
    free: u64,
    /// By token.
    holds: BTreeMap<u64, (Owner, Time)>,
    /// The tokens of each owner.
    of: BTreeMap<Owner, Vec<u64>>,
    latest: Option<u64>,
}

impl Semaphore {
    pub(super) const fn blank(typeid: &'static str) -> Self {
        Self { typeid, free: 0, holds: BTreeMap::new(), of: BTreeMap::new(), latest: None }
    }

    pub(super) fn make(typeid: &'static str, mut args: Args) -> Result<Self, CallError> {
        let free = args.count_or(1)?;
        args.end()?;
        if free > UNITS_MAX {
            return Err(CallError::Value(format!("{free} units are more than {UNITS_MAX}")));
        }
        Ok(Self { free, ..Self::blank(typeid) })
    }

    fn add(&mut self, token: u64, owner: Owner, since: Time) {
        self.holds.insert(token, (owner, since));
        self.of.entry(owner).or_default().push(token);
        self.latest = self.latest.max(Some(token));
    }

    fn remove(&mut self, token: u64, owner: Owner) {
        self.holds.remove(&token);
        if let Some(tokens) = self.of.get_mut(&owner) {
            tokens.retain(|&other| other != token);
            if tokens.is_empty() {
                self.of.remove(&owner);
            }
        }
        self.free += 1;
    }

    fn acquire(&mut self, cx: &mut Cx<'_>) -> Reply {
        if self.free == 0 {
            return match cx.stage {
                Stage::TimedOut => Reply::None,
                Stage::Made | Stage::Told => Reply::Wait(Lane::Turn),
            };
        }
        self.free -= 1;
        let token = cx.take_token();
        self.add(token, cx.owner, cx.now);
        cx.changed = true;
        Reply::Value(Packed::from(token))
    }

    /// Gives the unit of this token back, or the one that the caller acquired last.
    fn release(&mut self, token: Option<u64>, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let mine = self.of.get(&cx.owner);
        let found = match token {
            None => mine.and_then(|tokens| tokens.last().copied()),
            Some(token) => mine.and_then(|tokens| tokens.iter().copied().find(|&t| t == token)),
        };
        match found {
            Some(token) => self.remove(token, cx.owner),
            None if token.is_none() && self.typeid == SEMAPHORE => {
                if self.free >= UNITS_MAX {
                    let free = self.free;
                    return Err(CallError::Value(format!("{free} units are free, the most")));
                }
                self.free += 1;
            }
            None => return Err(not_held(token, self.latest, self.holds().first().copied())),
        }
        cx.changed = true;
        Ok(Reply::None)
    }
}

impl Callable for Semaphore {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "acquire" => {
                args.end()?;
                Ok(self.acquire(cx))
            }
            "release" => {
                let token = args.token()?;
                args.end()?;
                self.release(token, cx)
            }
            "units" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.free)))
            }
            _ => Err(no_method(self.typeid, method)),
        }
    }

    fn extent(&self) -> Extent {
        let items = self.holds.len() as u64;
        Extent { items, bytes: (items + 1) * size_of::<Hold>() as u64 }
    }

    fn savepoint(&self, method: &str, _args: &Args, owner: Owner) -> Option<Savepoint> {
        if method != "release" {
            return None;
        }
        let tokens = self.of.get(&owner).cloned().unwrap_or_default();
        let held: Vec<(u64, Owner, Time)> =
            tokens.iter().map(|token| (*token, owner, self.holds[token].1)).collect();
        Savepoint::of((self.free, self.latest, held))
    }

    fn go_back(&mut self, to: Savepoint) {
        let Some((free, latest, held)) = to.state::<(_, _, Vec<(u64, Owner, Time)>)>() else {
            return;
        };
        for (token, owner, since) in held {
            if !self.holds.contains_key(&token) {
                self.add(token, owner, since);
            }
        }
        (self.free, self.latest) = (free, latest);
    }
}

impl Kind for Semaphore {
    fn typeid(&self) -> &'static str {
        self.typeid
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        let holds: Vec<KeptHold> = self.holds().iter().map(KeptHold::from).collect();
        tell(part_of(&(self.free, self.latest, holds)));
    }

    fn take(&mut self, part: &[u8]) {
        let Some((free, latest, holds)) = part_to::<(_, _, Vec<KeptHold>)>(part) else { return };
        self.free = free;
        for hold in holds.into_iter().map(Hold::from) {
            self.add(hold.token, hold.owner, hold.since);
        }
        self.latest = latest;
    }

    fn holds(&self) -> Vec<Hold> {
        let hold = |(&token, &(owner, since))| Hold { token, owner, count: 1, since };
        self.holds.iter().map(hold).collect()
    }

    fn is_held_by(&self, owner: Owner) -> bool {
        self.of.contains_key(&owner)
    }

    fn let_go(&mut self, owner: Owner) {
        for token in self.of.get(&owner).cloned().unwrap_or_default() {
            self.remove(token, owner);
        }
    }
}
