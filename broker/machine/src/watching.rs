//! Clients that are told the changes of an object, and the changes that are remembered for them.
//!
//! Not what a change is, which the object's type says as it makes it. Nothing of this is in the journal:
//! a replay carries the calls out again, and so comes to remember the same changes, as far back as the
//! latest restatement. A client that comes back asks again, from the revision that it has seen.
//!
//! ```text
//!   call, or time that passes ─▶ What… ─▶ History ─▶ Changed to whoever watches and has room
//!                                            └─ the oldest are forgotten ─▶ Rejected to whoever had none
//! ```

use std::collections::{BTreeMap, VecDeque};

use ganger_shared::{
    Change, Name, Rejection, RequestId, Response, SessionId, SubscriptionId, Time, What,
};

use crate::machine::{Machine, reject};
use crate::object::ObjectKey;
use crate::output::Output;
use crate::submit::not_found;

/// Changes that are remembered of one object: 256, the window of a client that watches, so that what
/// comes within a broken connection of it is there when it comes back.
const CHANGES_MAX: usize = 256;

/// Bytes of them, unless the latest ones, which happened together, have more: 64 KiB, so that many objects
/// of large values do not take twice the memory.
const CHANGES_BYTES_MAX: u64 = 64 << 10;

/// What a change counts beside the bytes of key and value: 64, about what it takes in memory.
const CHANGE_BYTES: u64 = 64;

/// Bytes of changes that happened together, above which they are not told one by one: 1 MiB. It is also what
/// one frame may have, so that it stays far below the frame limit.
const TOGETHER_BYTES_MAX: u64 = 1 << 20;

/// The fields of a Watch.
pub(crate) struct Watch {
    pub(crate) request: RequestId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) object: Name,
    pub(crate) made: Option<Time>,
    pub(crate) from: Option<u64>,
    pub(crate) window: u32,
}

/// A client that watches an object.
#[derive(Debug)]
pub(crate) struct Watcher {
    request: RequestId,
    /// It has all changes up to this revision.
    seen: u64,
    /// How many more may be sent.
    window: u64,
}

/// The latest changes of an object.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// In the order of their revisions.
    changes: VecDeque<Change>,
    bytes: u64,
    /// All changes after this revision are here.
    since: u64,
}

impl History {
    /// One that begins after a revision.
    pub(crate) fn since(revision: u64) -> Self {
        Self { since: revision, ..Self::default() }
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what has led to a revision, and forgets what is too much.
    fn add(&mut self, revision: u64, whats: Vec<What>) {
        let together: u64 = whats.iter().map(size_bytes).sum();
        if together > TOGETHER_BYTES_MAX {
            self.push(Change { revision, what: What::Anew });
        } else {
            whats.into_iter().for_each(|what| self.push(Change { revision, what }));
        }
        while self.changes.len() > CHANGES_MAX || self.bytes > CHANGES_BYTES_MAX {
            let Some(first) = self.changes.front().map(|change| change.revision) else { return };
            if first == revision {
                return;
            }
            self.forget(first);
        }
    }

    fn push(&mut self, change: Change) {
        self.bytes += size_bytes(&change.what);
        self.changes.push_back(change);
    }

    /// Forgets the changes that led to a revision, the first that is remembered.
    fn forget(&mut self, revision: u64) {
        while let Some(change) = self.changes.pop_front_if(|change| change.revision == revision) {
            self.bytes -= size_bytes(&change.what);
        }
        self.since = revision;
    }

    /// The changes after a revision: whole revisions, until there are `count` or a frame is full.
    fn after(&self, seen: u64, count: u64) -> Vec<Change> {
        let first = self.changes.partition_point(|change| change.revision <= seen);
        let (mut found, mut bytes) = (Vec::<Change>::new(), 0);
        for change in self.changes.range(first..) {
            let begins = found.last().is_none_or(|last| last.revision != change.revision);
            if begins && !found.is_empty() {
                let together = self.changes.range(first + found.len()..);
                let together = together.take_while(|other| other.revision == change.revision);
                let together: u64 = together.map(|other| size_bytes(&other.what)).sum();
                if found.len() as u64 >= count || bytes + together > TOGETHER_BYTES_MAX {
                    break;
                }
            }
            bytes += size_bytes(&change.what);
            found.push(change.clone());
        }
        found
    }
}

fn size_bytes(what: &What) -> u64 {
    let bytes = match what {
        What::Number(_) | What::Cleared | What::Anew => 0,
        What::Value(value) => value.as_bytes().len(),
        What::Key { key, value } => {
            key.as_bytes().len() + value.as_ref().map_or(0, |value| value.as_bytes().len())
        }
    };
    bytes as u64 + CHANGE_BYTES
}

impl Machine {
    pub(crate) fn watch_object(
        &mut self,
        session: SessionId,
        watch: Watch,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Watch { request, subscription, object: name, made, from, window } = watch;
        self.judge_calls(session, Some(subscription))?;
        self.judge_caller(session, &name)?;
        let Some(&key) = self.object_names.get(&name) else {
            return Err(self.unwatchable(&name));
        };
        let object = &self.objects[key.0];
        let Some(reads) = object.kind.watched_by() else {
            return Err(self.unwatchable(&name));
        };
        if !self.config.registry.exposes(&name, reads) {
            return Err(self.no_method(object.kind.typeid(), &name, reads));
        }
        let revision = object.revision;
        let seen = from.unwrap_or(revision);
        if made.is_some_and(|made| made != object.made) || seen > revision {
            return Err(Rejection::Conflict(format!(
                "{name} is at revision {revision} and is not the object that was at {seen}: it was removed \
                 and made anew; watch it from now on, then read it"
            )));
        }
        if seen < object.history.since {
            let since = object.history.since;
            return Err(Rejection::Forgotten { object: name, from: seen, since });
        }
        let (made, promise) = (object.made, object.durability);
        self.unsubscribe(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return Ok(()) };
        holder.watches.insert(subscription, key);
        let watcher = Watcher { request, seen, window: u64::from(window) };
        self.objects[key.0].watchers.insert((session, subscription), watcher);
        out.promise(session, promise, Response::Watching { request, made, revision: seen });
        self.serve_watchers(key, out);
        Ok(())
    }

    /// Why nothing of this name can be watched.
    fn unwatchable(&self, name: &Name) -> Rejection {
        let is = match self.subject(name) {
            Some(subject) => self.subject_typeid(subject),
            None if self.queue_names.contains_key(name) => "queue/1",
            None => return not_found("object", name),
        };
        Rejection::Invalid(format!(
            "{name} is a {is}; counters, values and dicts can be watched{}",
            if is == crate::list::TYPEID { ", and a list followed" } else { "" }
        ))
    }

    /// Remembers what has changed in an object with its latest revision.
    pub(crate) fn remember_changes(&mut self, key: ObjectKey, whats: Vec<What>) {
        if whats.is_empty() {
            return;
        }
        let object = &mut self.objects[key.0];
        let before = object.history.bytes;
        object.history.add(object.revision, whats);
        self.bytes = self.bytes + object.history.bytes - before;
    }

    /// More changes may be sent.
    pub(crate) fn credit_watch(
        &mut self,
        session: SessionId,
        subscription: SubscriptionId,
        add: u32,
        out: &mut Output,
    ) {
        let Some(holder) = self.sessions.get(&session) else { return };
        let Some(&key) = holder.watches.get(&subscription) else { return };
        if let Some(watcher) = self.objects[key.0].watchers.get_mut(&(session, subscription)) {
            watcher.window = watcher.window.saturating_add(u64::from(add));
        }
        self.serve_watchers(key, out);
    }

    /// Sends what there is to whoever has room for it; who has had none for too long is told that it has
    /// missed something.
    pub(crate) fn serve_watchers(&mut self, key: ObjectKey, out: &mut Output) {
        let object = &mut self.objects[key.0];
        let (history, promise) = (&object.history, object.durability);
        let mut late = Vec::new();
        for (&(session, subscription), watcher) in &mut object.watchers {
            if watcher.seen < history.since {
                late.push((session, subscription));
                continue;
            }
            while watcher.window > 0 {
                let changes = history.after(watcher.seen, watcher.window);
                let Some(last) = changes.last() else { break };
                watcher.seen = last.revision;
                watcher.window = watcher.window.saturating_sub(changes.len() as u64);
                out.promise(session, promise, Response::Changed { subscription, changes });
            }
        }
        for (session, subscription) in late {
            let since = self.objects[key.0].history.since;
            let object = self.objects[key.0].name.clone();
            if let Some(Watcher { request, seen: from, .. }) = self.unwatch(session, subscription) {
                reject(session, request, Err(Rejection::Forgotten { object, from, since }), out);
            }
        }
    }

    /// Ends a watch.
    pub(crate) fn unwatch(
        &mut self,
        session: SessionId,
        subscription: SubscriptionId,
    ) -> Option<Watcher> {
        let key = self.sessions.get_mut(&session)?.watches.remove(&subscription)?;
        self.objects[key.0].watchers.remove(&(session, subscription))
    }

    /// Tells those who watch an object that it is removed.
    pub(crate) fn end_watches(&mut self, key: ObjectKey, out: &mut Output) {
        let Self { sessions, objects, .. } = self;
        let object = &mut objects[key.0];
        for ((session, subscription), watcher) in core::mem::take(&mut object.watchers) {
            if let Some(holder) = sessions.get_mut(&session) {
                holder.watches.remove(&subscription);
            }
            let (request, rejection) = (watcher.request, not_found("object", &object.name));
            out.promise(session, object.durability, Response::Rejected { request, rejection });
        }
    }

    /// Asserts that what is remembered of an object is as it must be; returns its bytes.
    pub(crate) fn check_history(&self, key: ObjectKey) -> u64 {
        let object = &self.objects[key.0];
        let History { changes, bytes, since } = &object.history;
        let sizes: u64 = changes.iter().map(|change| size_bytes(&change.what)).sum();
        assert_eq!(*bytes, sizes, "bytes of the changes of {}", object.name);
        let revisions = changes.iter().map(|change| change.revision);
        assert!(revisions.clone().is_sorted(), "changes of {} are out of order", object.name);
        assert!(
            revisions.clone().all(|revision| revision > *since),
            "{} has forgotten",
            object.name
        );
        assert!(revisions.last().unwrap_or(*since) <= object.revision, "{} is ahead", object.name);
        for (&(session, subscription), watcher) in &object.watchers {
            let holder = &self.sessions[&session];
            assert_eq!(
                holder.watches.get(&subscription),
                Some(&key),
                "who watches {}",
                object.name
            );
            assert!(watcher.seen >= *since, "{session} has missed changes of {}", object.name);
            let is_served = object.history.after(watcher.seen, 1).is_empty();
            assert!(watcher.window == 0 || is_served, "{session} waits for changes");
        }
        sizes
    }

    /// How many watches objects have.
    pub(crate) fn watches(&self) -> usize {
        let watchers: BTreeMap<_, _> =
            self.objects.iter().flat_map(|(_, object)| &object.watchers).collect();
        watchers.len()
    }
}

#[cfg(test)]
mod tests {
    use ganger_shared::Packed;

    use super::*;

    fn revisions(changes: &[Change]) -> Vec<u64> {
        changes.iter().map(|change| change.revision).collect()
    }

    #[test]
    fn oldest_revisions_are_forgotten_as_wholes() {
        let mut history = History::default();
        history.add(1, vec![What::Number(1); 200]);
        history.add(3, vec![What::Number(3); 56]);
        assert_eq!((history.since, history.changes.len()), (0, 256));
        history.add(4, vec![What::Number(4)]);
        assert_eq!((history.since, history.changes.len()), (1, 57));
        history.add(9, vec![What::Number(9); 300]);
        assert_eq!((history.since, history.changes.len()), (4, 300));
        history.add(10, vec![What::Cleared]);
        assert_eq!((history.since, revisions(&history.after(4, 1))), (9, vec![10]));
    }

    #[test]
    fn changes_of_many_bytes_are_remembered_until_the_next() {
        let large = || What::Value(Packed::from("x".repeat(100_000).as_str()));
        let mut history = History::default();
        history.add(1, vec![large()]);
        assert_eq!(history.since, 0);
        history.add(2, vec![large()]);
        assert_eq!((history.since, history.changes.len()), (1, 1));
        history.add(3, vec![large(); 11]);
        assert_eq!((history.since, history.after(2, 9)[0].what.clone()), (2, What::Anew));
    }

    #[test]
    fn what_is_sent_together_is_whole_revisions() {
        let mut history = History::default();
        for revision in [1, 1, 2, 3, 3, 3] {
            history.push(Change { revision, what: What::Cleared });
        }
        for (seen, count, expected) in [
            (0, 1, &[1, 1][..]),
            (0, 2, &[1, 1]),
            (0, 3, &[1, 1, 2]),
            (0, 4, &[1, 1, 2, 3, 3, 3]),
            (1, 1, &[2]),
            (2, 1, &[3, 3, 3]),
            (3, 1, &[]),
        ] {
            assert_eq!(revisions(&history.after(seen, count)), expected, "{count} after {seen}");
        }
    }
}
