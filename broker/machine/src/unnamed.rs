//! Objects without a name of their own: kept while something refers to them or somebody uses them.
//!
//! Not what refers to one, which is a value ([`ganger_shared::Value::Ref`]) in an object, a list or a
//! queue of items. A queue with jobs in it is in use: the broker drops none by itself.
//!
//! ```text
//!   made ─▶ kept for a time from each use ─▶ over ─▶ referred to? held, watched, waited for?
//!                     ▲                                  │ yes             │ no
//!                     └──────────────────────────────────┘                 └─▶ ObjectRemoved
//! ```
//!
//! References are not counted as calls come and go, which every call would pay for and which circles
//! outlive. They are followed, from what lives anyway, when the time of an object is over; and only
//! into what was ever given one. The removal is what is journaled: a replay follows none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_shared::object::ITEM;
use ganger_shared::{Block, JobId, JobRange, Name, ObjectId, Time};

use crate::machine::Machine;
use crate::object::Args;
use crate::objects::Subject;
use crate::output::Output;
use crate::queue::QueueKey;
use crate::timer::Timer;

/// How long an object lives on that nobody needs, so that many go together.
const LET_GO: Duration = Duration::from_secs(1);

/// Which objects have no name of their own, and where references to them may be.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    /// Until when each is kept, whatever refers to it.
    kept: BTreeMap<ObjectId, Time>,
    /// Objects and lists that were given references.
    referrers: BTreeSet<Name>,
    /// What items in queues refer to.
    items: BTreeMap<JobId, BTreeSet<ObjectId>>,
    /// When the timer is set.
    looked_at: Option<Time>,
}

impl Machine {
    /// A name for what has none.
    pub(crate) fn name_for_unnamed(&mut self) -> Name {
        let id = ObjectId(self.next_lease);
        self.next_lease += 1;
        id.name()
    }

    /// The number in a name that the broker gave is not given again, also by a broker that was started
    /// anew and whose clock went back.
    pub(crate) fn see_unnamed(&mut self, name: &Name) {
        if let Some(id) = ObjectId::of(name) {
            self.next_lease = self.next_lease.max(id.0.saturating_add(1));
        }
    }

    fn unnamed_until(&self) -> Time {
        self.now + self.config.unnamed_idle
    }

    /// An object was made.
    pub(crate) fn keep_unnamed(&mut self, name: &Name) {
        if let Some(id) = ObjectId::of(name) {
            self.unnamed.kept.insert(id, self.unnamed_until());
            self.look_at_unnamed(Time::ZERO);
        }
    }

    /// An object is used.
    pub(crate) fn note_used(&mut self, name: &Name) {
        let until = self.unnamed_until();
        if let Some(kept) = ObjectId::of(name).and_then(|id| self.unnamed.kept.get_mut(&id)) {
            *kept = until;
        }
    }

    /// An object without a name is in use, although nobody calls it: its time begins anew.
    pub fn keep(&mut self, object: &Name) {
        self.note_used(object);
    }

    /// Whoever had an object without a name needs it no more: its time is over soon, and it goes then unless
    /// something refers to it or somebody uses it.
    pub fn let_go(&mut self, object: &Name) {
        let soon = self.now + LET_GO;
        let Some(kept) = ObjectId::of(object).and_then(|id| self.unnamed.kept.get_mut(&id)) else {
            return;
        };
        *kept = soon.min(*kept);
        if let Some(at) = self.unnamed.looked_at.filter(|at| *at > soon) {
            self.timers.unset(at, Timer::Unnamed);
            self.unnamed.looked_at = None;
        }
        self.look_at_unnamed(soon);
    }

    /// An object is gone.
    pub(crate) fn forget_unnamed(&mut self, name: &Name) {
        self.unnamed.referrers.remove(name);
        if let Some(id) = ObjectId::of(name) {
            self.unnamed.kept.remove(&id);
        }
    }

    /// An object or a list was called, or made, with these arguments.
    pub(crate) fn note_references(&mut self, name: &Name, args: &Block) {
        // A reference that comes before any object is one to nothing: numbers are not given twice.
        if self.unnamed.kept.is_empty() {
            return;
        }
        if args.iter().any(|args| refs(Args::new(args)).next().is_some()) {
            self.unnamed.referrers.insert(name.clone());
        }
    }

    /// Items have come to a queue.
    pub(crate) fn note_items(&mut self, handler: &Name, jobs: JobRange, payloads: Option<&Block>) {
        if handler.as_str() != ITEM {
            return;
        }
        for (job, item) in jobs.iter().zip(payloads.into_iter().flat_map(Block::iter)) {
            let refs: BTreeSet<ObjectId> = refs(Args::new(item)).collect();
            if !refs.is_empty() {
                self.unnamed.items.insert(job, refs);
            }
        }
    }

    /// Items have left a queue.
    pub(crate) fn forget_items(&mut self, jobs: JobRange) {
        if self.unnamed.items.is_empty() {
            return;
        }
        let last = JobId { seq: jobs.end_seq() - 1, ..jobs.first };
        let gone: Vec<JobId> =
            self.unnamed.items.range(jobs.first..=last).map(|(&job, _)| job).collect();
        for job in gone {
            self.unnamed.items.remove(&job);
        }
    }

    /// What a replay has not noted: whatever there is may have been given references.
    pub(crate) fn suspect_all(&mut self) {
        if !self.unnamed.kept.is_empty() {
            let all = self.object_names.keys().chain(self.list_names.keys());
            self.unnamed.referrers = all.cloned().collect();
        }
    }

    /// Sets the timer for the first object whose time ends, but not before `earliest`.
    fn look_at_unnamed(&mut self, earliest: Time) {
        if self.unnamed.looked_at.is_none()
            && let Some(&first) = self.unnamed.kept.values().min()
        {
            let at = first.max(earliest);
            self.timers.set(at, Timer::Unnamed);
            self.unnamed.looked_at = Some(at);
        }
    }

    /// Removes the objects whose time is over and that nothing refers to.
    pub(crate) fn collect_unnamed(&mut self, out: &mut Output) {
        let (now, until) = (self.now, self.unnamed_until());
        self.unnamed.looked_at = None;
        if self.unnamed.kept.values().any(|&until| until <= now) {
            let mut seen = BTreeSet::new();
            let (named, used) = self.unnamed_roots();
            for id in self.follow_references(named, used, &mut seen) {
                if let Some(kept) = self.unnamed.kept.get_mut(&id) {
                    *kept = until;
                }
            }
            // What only refers to it and is kept for its own time does not make that longer, or those of
            // a circle would keep each other.
            let kept = self.unnamed.kept.iter().filter(|(_, until)| **until > now);
            let kept = kept.map(|(&id, _)| id).collect();
            let spared = self.follow_references(Vec::new(), kept, &mut seen);
            let is_over = |(id, until): &(&ObjectId, &Time)| **until <= now && !spared.contains(id);
            let over = self.unnamed.kept.iter().filter(is_over);
            for id in over.map(|(&id, _)| id).collect::<Vec<_>>() {
                self.remove_unnamed(&id.name(), out);
            }
        }
        // Following is work for all that was given references: not more often than this.
        self.look_at_unnamed(now + self.config.unnamed_idle / 4);
    }

    /// Where references begin: what has a name and was given some, and the unnamed objects that are in
    /// use or that items in queues refer to.
    fn unnamed_roots(&self) -> (Vec<Name>, BTreeSet<ObjectId>) {
        let has_name =
            |name: &&Name| ObjectId::of(name).is_none_or(|id| !self.unnamed.kept.contains_key(&id));
        let named = self.unnamed.referrers.iter().filter(has_name).cloned().collect();
        let used = self.unnamed.kept.keys().copied().filter(|id| self.is_name_used(&id.name()));
        (named, used.chain(self.unnamed.items.values().flatten().copied()).collect())
    }

    /// All that can be reached from these, and they; passes over what was `seen` before. What was given
    /// references and has none any more is not asked again.
    fn follow_references(
        &mut self,
        mut open: Vec<Name>,
        mut found: BTreeSet<ObjectId>,
        seen: &mut BTreeSet<Name>,
    ) -> BTreeSet<ObjectId> {
        open.extend(found.iter().map(|id| id.name()));
        while let Some(name) = open.pop() {
            if !self.unnamed.referrers.contains(&name) || !seen.insert(name.clone()) {
                continue;
            }
            let refs = self.references_in(&name);
            if refs.is_empty() {
                self.unnamed.referrers.remove(&name);
            }
            open.extend(refs.iter().map(|id| id.name()));
            found.extend(refs);
        }
        found
    }

    fn references_in(&self, name: &Name) -> BTreeSet<ObjectId> {
        let mut found = BTreeSet::new();
        let mut tell = |id| {
            found.insert(id);
        };
        match self.subject(name) {
            Some(Subject::Object(key)) => self.objects[key.0].kind.references(&mut tell),
            Some(Subject::List(key)) => {
                crate::object::Callable::references(&self.lists[key.0], &mut tell);
            }
            None => {}
        }
        found
    }

    /// Returns how many timers there are for it.
    pub(crate) fn check_unnamed(&self) -> usize {
        let names = self.object_names.keys().chain(self.list_names.keys());
        let names = names.chain(self.queue_names.keys());
        let unnamed: BTreeSet<ObjectId> = names.filter_map(ObjectId::of).collect();
        assert!(self.unnamed.kept.keys().eq(&unnamed), "objects without a name are kept");
        for &job in self.unnamed.items.keys() {
            assert!(self.runs.find(job).is_some(), "{job} is an item of a queue");
        }
        assert!(self.unnamed.looked_at.is_some() || unnamed.is_empty(), "they are looked at");
        let timer = |at: Time| self.timers.contains(at, Timer::Unnamed);
        assert!(self.unnamed.looked_at.is_none_or(timer), "the timer is set");
        usize::from(self.unnamed.looked_at.is_some())
    }

    fn remove_unnamed(&mut self, name: &Name, out: &mut Output) {
        if let Some(subject) = self.subject(name) {
            self.remove(subject, out);
        } else if let Some(&queue) = self.queue_names.get(name) {
            self.remove_queue(queue, out);
        }
    }

    fn is_name_used(&self, name: &Name) -> bool {
        if let Some(subject) = self.subject(name) {
            return self.is_used(subject);
        }
        self.queue_names.get(name).is_some_and(|&queue| self.is_queue_used(queue))
    }

    /// Whether there is something in a queue, or somebody waits for that.
    fn is_queue_used(&self, key: QueueKey) -> bool {
        let queue = &self.queues[key.0];
        self.judge_queue_removal(key).is_err()
            || !queue.callers.is_empty()
            || !queue.submits.is_empty()
            || self.results_alone(key).is_some_and(|list| self.is_used(Subject::List(list)))
    }

    /// Whether somebody has to do with an object or a list without calling it.
    fn is_used(&self, subject: Subject) -> bool {
        let is_used = match subject {
            Subject::Object(key) => {
                let object = &self.objects[key.0];
                object.waiters.len() > 0
                    || !object.watchers.is_empty()
                    || !object.kind.holds().is_empty()
            }
            Subject::List(key) => {
                let list = &self.lists[key.0];
                self.judge_removal(subject).is_err()
                    || !list.pops.is_empty()
                    || !list.followers.is_empty()
                    || list.watched.as_ref().is_some_and(|watched| watched.has_watchers())
            }
        };
        is_used || self.is_awaited(self.subject_name(subject))
    }
}

/// What encoded values, one after the other, refer to.
fn refs(mut values: Args) -> impl Iterator<Item = ObjectId> {
    let values = core::iter::from_fn(move || values.given().ok().flatten());
    values.flat_map(|value| value.refs().collect::<Vec<_>>())
}
