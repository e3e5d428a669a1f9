//! Calls on objects that wait: for their turn, or for another caller's word.
//!
//! Not when a call has to wait, which its type says. Nothing of this is in the journal: a client that
//! comes back calls again.
//!
//! ```text
//!   made ─▶ served at once
//!     │
//!     └──▶ Lane::Turn ◀── has its word ── Lane::Word
//!             │                              │
//!             └── turn comes ──▶ answered ◀──┴── time is up, or the object is removed
//! ```
//!
//! A call that waits costs an entry in its lane, one among its session's calls and one timer. It
//! occupies no task and no thread.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::key::KeyId;
use ganger_shared::{Block, By, CallError, Rejection, RequestId, SessionId, Time};

use crate::answers::{answer, failed};
use crate::invoke::Called;
use crate::machine::{Machine, reject};
use crate::object::{Lane, ObjectKey, Owner, Stage};
use crate::objects::Subject;
use crate::output::Output;
use crate::timer::Timer;

/// Who waits for an object, by lane and turn.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    lanes: BTreeMap<(Lane, u64), Waiter>,
    next_turn: u64,
    for_word: u64,
}

/// A call that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) method: &'static str,
    pub(crate) by: By,
    pub(crate) since: Time,
    /// When it gives up; none for one whose time is up and that waits for its turn nevertheless.
    pub(crate) until: Option<Time>,
    key: KeyId,
    seq: Option<u64>,
    answered: u64,
    stage: Stage,
    args: Bytes,
}

/// What a call that was just made is beside its record.
pub(crate) struct Made {
    pub(crate) request: RequestId,
    pub(crate) method: &'static str,
    /// When it gives up; none where it does not wait.
    pub(crate) until: Option<Time>,
}

impl Waiters {
    /// How many wait for a word.
    pub(crate) const fn for_word(&self) -> u64 {
        self.for_word
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// In their order, those first whose turn comes without another's word.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Waiter)> {
        self.lanes.iter().map(|(&(_, turn), waiter)| (turn, waiter))
    }

    fn add(&mut self, lane: Lane, turn: u64, waiter: Waiter) {
        self.for_word += u64::from(lane == Lane::Word);
        self.lanes.insert((lane, turn), waiter);
    }

    fn first(&self, lane: Lane) -> Option<u64> {
        let (&(_, turn), _) = self.lanes.range((lane, 0)..=(lane, u64::MAX)).next()?;
        Some(turn)
    }

    fn get(&self, turn: u64) -> Option<&Waiter> {
        self.lanes.get(&(Lane::Turn, turn)).or_else(|| self.lanes.get(&(Lane::Word, turn)))
    }

    fn remove(&mut self, turn: u64) -> Option<Waiter> {
        if let Some(waiter) = self.lanes.remove(&(Lane::Turn, turn)) {
            return Some(waiter);
        }
        let waiter = self.lanes.remove(&(Lane::Word, turn))?;
        self.for_word -= 1;
        Some(waiter)
    }
}

impl Waiter {
    fn of(made: &Made, called: &Called) -> Self {
        let args = called.args.iter().next().unwrap_or_default();
        Self {
            session: called.session,
            request: made.request,
            method: made.method,
            by: called.by,
            since: called.at,
            until: made.until,
            key: called.key,
            seq: called.seq,
            answered: called.answered,
            stage: called.stage,
            args,
        }
    }

    pub(crate) const fn owner(&self) -> Owner {
        Owner { session: self.session, by: self.by }
    }
}

impl Machine {
    /// Carries a call out, or has it wait.
    pub(crate) fn attempt(
        &mut self,
        key: ObjectKey,
        made: Made,
        called: Called,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let session = called.session;
        let promise = self.objects[key.0].durability;
        let mut waiter = None;
        if made.until.is_some() {
            self.judge_calls(session, None)?;
            waiter = Some(Waiter::of(&made, &called));
        }
        let mut carried = self.carry_out(Subject::Object(key), &called);
        if let (Some(lane), Some(waiter)) = (carried.waits, waiter) {
            if let Err(error) = self.judge_deadlock(key, lane, waiter.owner()) {
                answer(session, made.request, promise, failed(error, 1), out);
                return Ok(());
            }
            if carried.changed {
                // What it has done so far; its answer comes later.
                self.called(
                    Subject::Object(key),
                    Called { seq: None, ..called },
                    &mut carried,
                    out,
                );
            }
            self.park(key, lane, waiter);
        } else {
            if carried.waits.is_some() {
                if carried.changed {
                    let begun = Called { seq: None, ..called.clone() };
                    self.called(Subject::Object(key), begun, &mut carried, out);
                }
                let over = Called { stage: Stage::TimedOut, ..called };
                carried = self.carry_out_now(Subject::Object(key), over, out);
            } else if carried.changed {
                self.called(Subject::Object(key), called, &mut carried, out);
            }
            answer(session, made.request, promise, carried.answer, out);
        }
        self.serve(key, carried.told, out);
        Ok(())
    }

    fn park(&mut self, key: ObjectKey, lane: Lane, waiter: Waiter) {
        let waiters = &mut self.objects[key.0].waiters;
        let turn = waiters.next_turn;
        waiters.next_turn += 1;
        if let Some(until) = waiter.until {
            self.timers.set(until, Timer::Call(key, turn));
        }
        if let Some(session) = self.sessions.get_mut(&waiter.session) {
            session.object_calls.insert((key, turn), waiter.seq);
            session.waiting_seqs.extend(waiter.seq);
        }
        self.holdings.leases_waiting += usize::from(matches!(waiter.by, By::Lease(_)));
        self.objects[key.0].waiters.add(lane, turn, waiter);
    }

    /// Takes a call out of all places where it waits.
    pub(crate) fn unpark(&mut self, key: ObjectKey, turn: u64) -> Option<Waiter> {
        let waiter = self.objects[key.0].waiters.remove(turn)?;
        self.holdings.leases_waiting -= usize::from(matches!(waiter.by, By::Lease(_)));
        if let Some(until) = waiter.until {
            self.timers.unset(until, Timer::Call(key, turn));
        }
        if let Some(session) = self.sessions.get_mut(&waiter.session) {
            session.object_calls.remove(&(key, turn));
            if let Some(seq) = waiter.seq {
                session.waiting_seqs.remove(&seq);
            }
        }
        Some(waiter)
    }

    /// Gives its word to the first `told` of those who wait for it, and serves those whose turn has
    /// come.
    pub(crate) fn serve(&mut self, key: ObjectKey, told: u64, out: &mut Output) {
        for _ in 0..told {
            let Some(turn) = self.objects[key.0].waiters.first(Lane::Word) else { break };
            self.go_on(key, turn, Stage::Told, out);
        }
        while let Some(turn) = self.objects[key.0].waiters.first(Lane::Turn) {
            let Some(stage) = self.objects[key.0].waiters.get(turn).map(|waiter| waiter.stage)
            else {
                return;
            };
            if !self.go_on(key, turn, stage, out) {
                return;
            }
        }
    }

    /// Carries a call that waits out again; says whether it was answered.
    fn go_on(&mut self, key: ObjectKey, turn: u64, stage: Stage, out: &mut Output) -> bool {
        let object = &self.objects[key.0];
        let Some(waiter) = object.waiters.get(turn) else { return true };
        if let By::Lease(lease) = waiter.by
            && let Err(rejection) = self.judge_lease(waiter.session, lease)
        {
            if let Some(waiter) = self.unpark(key, turn) {
                reject(waiter.session, waiter.request, Err(rejection), out);
            }
            return true;
        }
        let called = Called {
            at: self.now,
            key: waiter.key,
            session: waiter.session,
            by: waiter.by,
            object: object.name.clone(),
            method: waiter.method.to_owned(),
            seq: waiter.seq,
            answered: waiter.answered,
            stage,
            first_token: self.next_lease,
            limits: self.limits(),
            args: Block::one(waiter.args.clone()),
        };
        let promise = object.durability;
        let carried = self.carry_out_now(Subject::Object(key), called, out);
        match carried.waits {
            None => {
                let Some(waiter) = self.unpark(key, turn) else { return true };
                answer(waiter.session, waiter.request, promise, carried.answer, out);
            }
            Some(lane) => self.change_lane(key, turn, lane, stage),
        }
        if carried.told > 0 {
            self.serve(key, carried.told, out);
        }
        carried.waits.is_none()
    }

    fn change_lane(&mut self, key: ObjectKey, turn: u64, lane: Lane, stage: Stage) {
        let waiters = &mut self.objects[key.0].waiters;
        let Some(mut waiter) = waiters.remove(turn) else { return };
        if waiter.stage != stage
            && let Some(until) = waiter.until.take()
        {
            // It has what it waited for, or its time is up: it goes on when its turn comes.
            self.timers.unset(until, Timer::Call(key, turn));
        }
        waiter.stage = stage;
        waiters.add(lane, turn, waiter);
    }

    /// The time of a call that waits is up.
    pub(crate) fn call_timed_out(&mut self, key: ObjectKey, turn: u64, out: &mut Output) {
        self.go_on(key, turn, Stage::TimedOut, out);
        self.serve(key, 0, out);
    }

    /// Gives up what a session waits for.
    pub(crate) fn drop_object_calls(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let calls: Vec<(ObjectKey, u64)> = session.object_calls.keys().copied().collect();
        for (key, turn) in calls {
            self.unpark(key, turn);
        }
    }

    /// Rejects what a session waits for on behalf of leases between `first` and `last`, which are over.
    pub(crate) fn reject_calls(&mut self, id: SessionId, first: By, last: By, out: &mut Output) {
        let Some(session) = self.sessions.get(&id) else { return };
        let is_over = |(key, turn): &(ObjectKey, u64)| {
            let waiter = self.objects[key.0].waiters.get(*turn);
            waiter.is_some_and(|waiter| (first..=last).contains(&waiter.by))
        };
        let calls: Vec<_> = session.object_calls.keys().copied().filter(is_over).collect();
        for (key, turn) in calls {
            if let Some(Waiter { by: By::Lease(lease), request, .. }) = self.unpark(key, turn) {
                reject(id, request, Err(Rejection::LeaseLost { lease }), out);
            }
        }
    }

    /// Whether the owner, if it waited for its turn, would wait for itself.
    fn judge_deadlock(&self, key: ObjectKey, lane: Lane, owner: Owner) -> Result<(), CallError> {
        if lane != Lane::Turn {
            return Ok(());
        }
        let (mut path, mut seen) = (Vec::new(), BTreeMap::new());
        if self.all_wait_for(key, owner, &mut seen, &mut path) {
            path.reverse();
            return Err(CallError::Deadlock(path.join(", ")));
        }
        Ok(())
    }

    /// Whether whoever could give the object free waits, over however many others, for `owner`. `path`
    /// gets what they hold and wait for, the last one first; `seen` what became of each object, so that
    /// a circle of others, which a grant to one who waits for more can close, is gone round once.
    fn all_wait_for(
        &self,
        key: ObjectKey,
        owner: Owner,
        seen: &mut BTreeMap<ObjectKey, bool>,
        path: &mut Vec<String>,
    ) -> bool {
        /// More objects are no circle that a person could have made.
        const SEEN_MAX: usize = 64;
        let object = &self.objects[key.0];
        let holds = object.kind.holds();
        // Several tasks of a session may share it: that one of them waits says nothing of the others.
        if holds.is_empty() || owner.by == By::Session {
            return false;
        }
        if let Some(&is_stuck) = seen.get(&key) {
            return is_stuck;
        }
        if seen.len() >= SEEN_MAX {
            return false;
        }
        seen.insert(key, false);
        let before = path.len();
        let stuck = holds.iter().all(|hold| {
            if hold.owner.by == By::Session {
                return false;
            }
            let is_stuck = hold.owner == owner
                || self.waits_of(hold.owner).any(|next| self.all_wait_for(next, owner, seen, path));
            if is_stuck {
                path.push(format!("{} is held by {}", object.name, self.owner_shown(hold.owner)));
            }
            is_stuck
        });
        if !stuck {
            path.truncate(before);
        }
        seen.insert(key, stuck);
        stuck
    }

    /// The objects that an owner waits for its turn at.
    fn waits_of(&self, owner: Owner) -> impl Iterator<Item = ObjectKey> {
        let calls =
            self.sessions.get(&owner.session).into_iter().flat_map(|s| s.object_calls.keys());
        calls.filter_map(move |&(key, turn)| {
            let waiter = self.objects[key.0].waiters.lanes.get(&(Lane::Turn, turn))?;
            (waiter.by == owner.by).then_some(key)
        })
    }

    fn owner_shown(&self, owner: Owner) -> String {
        let name = self.sessions.get(&owner.session).map_or("", |session| session.name.as_str());
        match owner.by {
            By::Session => format!("session {} ({name})", owner.session),
            By::Holder(number) => format!("holder {number} of session {} ({name})", owner.session),
            By::Lease(lease) => format!("the job under lease {lease} ({name})"),
        }
    }
}
