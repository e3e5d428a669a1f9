//! Clients that are told the changes of an object, and the changes that are remembered for them.
//!
//! Not what a change is, which the object's type says as it makes it. Nothing of this is in the journal:
//! a replay carries the calls out again, and so comes to remember the same changes, as far back as the
//! latest restatement. A client that comes back asks again, from the revision that it has seen.
//!
//! A list counts its changes and remembers them from when somebody watches it for the first time, which is
//! in the journal, so that a replay counts the same. Until then that costs it nothing.
//!
//! ```text
//!   call, or time that passes ─▶ What… ─▶ History ─▶ Changed to whoever watches and has room
//!                                            └─ the oldest are forgotten ─▶ Rejected to whoever had none
//! ```

use std::collections::{BTreeMap, VecDeque};

use ganger_shared::{
    Change, Durability, Name, Packed, Rejection, RequestId, Response, SessionId, SubscriptionId,
    Time, What,
};

use crate::event::Event;
use crate::list::{List, ListKey};
use crate::machine::{Machine, reject};
use crate::object::ObjectKey;
use crate::objects::Subject;
use crate::output::Output;
use crate::queue::Size;
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

/// What an item of a change counts beside its bytes: 32, about what it takes in memory.
const ITEM_BYTES: u64 = 32;

/// The revision of a list as its first watch begins: 1, so that 0 is before it.
const FIRST_REVISION: u64 = 1;

/// Whether so many items with so many bytes are too much for a change to say.
pub(crate) const fn is_too_much(items: u64, bytes: u64) -> bool {
    bytes.saturating_add(items.saturating_mul(ITEM_BYTES)) > TOGETHER_BYTES_MAX - CHANGE_BYTES
}

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

/// What a list has since it was watched for the first time.
#[derive(Debug)]
pub(crate) struct Watched {
    /// When that was, which tells its revisions from those that a list of its name had before.
    pub(crate) made: Time,
    pub(crate) revision: u64,
    history: History,
    watchers: BTreeMap<(SessionId, SubscriptionId), Watcher>,
}

impl Watched {
    pub(crate) fn since(made: Time, revision: u64) -> Self {
        Self { made, revision, history: History::since(revision), watchers: BTreeMap::new() }
    }

    pub(crate) fn begin(made: Time) -> Self {
        Self::since(made, FIRST_REVISION)
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.history.bytes
    }

    pub(crate) fn has_watchers(&self) -> bool {
        !self.watchers.is_empty()
    }
}

/// What is told of an object or a list, and to whom.
struct Told<'a> {
    name: &'a Name,
    promise: Durability,
    made: Time,
    revision: u64,
    history: &'a mut History,
    watchers: &'a mut BTreeMap<(SessionId, SubscriptionId), Watcher>,
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
    let size = |value: &Packed| value.as_bytes().len() as u64;
    let bytes = match what {
        What::Number(_) | What::Cleared | What::Anew => 0,
        What::Value(value) => size(value),
        What::Key { key, value } => size(key) + value.as_ref().map_or(0, size),
        What::Spliced { items, .. } => items.iter().map(|item| size(item) + ITEM_BYTES).sum(),
    };
    bytes + CHANGE_BYTES
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
        let Some(subject) = self.subject(&name) else { return Err(self.unwatchable(&name)) };
        let Some(reads) = self.watched_by(subject) else { return Err(self.unwatchable(&name)) };
        if !self.config.registry.exposes(&name, reads) {
            return Err(self.no_method(self.subject_typeid(subject), &name, reads));
        }
        if let Subject::List(list) = subject
            && self.lists[list.0].watched.is_none()
        {
            let durability = self.lists[list.0].durability;
            self.judge_storage(durability, Size { jobs: 0, bytes: 0 })?;
            self.happen(Event::ListWatched { at: self.now, list: name.clone() }, out);
        }
        let Some(told) = self.told(subject) else { return Err(self.unwatchable(&name)) };
        let (revision, since) = (told.revision, told.history.since);
        let seen = from.unwrap_or(revision);
        if made.is_some_and(|made| made != told.made) || seen > revision {
            return Err(Rejection::Conflict(format!(
                "{name} is at revision {revision} and is not the object that was at {seen}: it was removed \
                 and made anew; watch it from now on, then read it"
            )));
        }
        if seen < since {
            return Err(Rejection::Forgotten { object: name, from: seen, since });
        }
        let (made, promise) = (told.made, told.promise);
        self.unsubscribe(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return Ok(()) };
        holder.watches.insert(subscription, subject);
        let watcher = Watcher { request, seen, window: u64::from(window) };
        if let Some(told) = self.told(subject) {
            told.watchers.insert((session, subscription), watcher);
        }
        out.promise(session, promise, Response::Watching { request, made, revision: seen });
        self.serve_watchers(subject, out);
        Ok(())
    }

    /// The method that reads what is told of it; none where nothing is told.
    fn watched_by(&self, subject: Subject) -> Option<&'static str> {
        match subject {
            Subject::Object(key) => self.objects[key.0].kind.watched_by(),
            Subject::List(_) => Some("slice"),
        }
    }

    /// What is told of an object, or of a list that somebody has watched.
    fn told(&mut self, subject: Subject) -> Option<Told<'_>> {
        match subject {
            Subject::Object(key) => {
                let object = &mut self.objects[key.0];
                Some(Told {
                    name: &object.name,
                    promise: object.durability,
                    made: object.made,
                    revision: object.revision,
                    history: &mut object.history,
                    watchers: &mut object.watchers,
                })
            }
            Subject::List(key) => {
                let list = &mut self.lists[key.0];
                let watched = list.watched.as_mut()?;
                Some(Told {
                    name: &list.name,
                    promise: list.durability,
                    made: watched.made,
                    revision: watched.revision,
                    history: &mut watched.history,
                    watchers: &mut watched.watchers,
                })
            }
        }
    }

    /// Why nothing of this name can be watched.
    fn unwatchable(&self, name: &Name) -> Rejection {
        let is = match self.subject(name) {
            Some(subject) => self.subject_typeid(subject),
            None if self.queue_names.contains_key(name) => "queue/1",
            None => return not_found("object", name),
        };
        Rejection::Invalid(format!(
            "{name} is a {is}; counters, values, dicts and lists can be watched"
        ))
    }

    /// Remembers what has changed in an object with its latest revision.
    pub(crate) fn remember_changes(&mut self, key: ObjectKey, whats: Vec<What>) {
        self.remember_of(Subject::Object(key), whats);
    }

    fn remember_of(&mut self, subject: Subject, whats: Vec<What>) {
        if whats.is_empty() {
            return;
        }
        let Some(Told { revision, history, .. }) = self.told(subject) else { return };
        let before = history.bytes;
        history.add(revision, whats);
        let after = history.bytes;
        self.bytes = self.bytes + after - before;
    }

    /// A list has changed `times`: counts that if somebody has watched it, and remembers what is seen of it.
    pub(crate) fn note_list_changes(&mut self, key: ListKey, times: u64, whats: Vec<What>) {
        if let Some(watched) = &mut self.lists[key.0].watched {
            watched.revision += times;
            self.remember_of(Subject::List(key), whats);
        }
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
        let Some(&subject) = holder.watches.get(&subscription) else { return };
        let told = self.told(subject);
        let watcher = told.and_then(|told| told.watchers.get_mut(&(session, subscription)));
        if let Some(watcher) = watcher {
            watcher.window = watcher.window.saturating_add(u64::from(add));
        }
        self.serve_watchers(subject, out);
    }

    /// Sends what there is to whoever has room for it; who has had none for too long is told that it has
    /// missed something.
    pub(crate) fn serve_watchers(&mut self, subject: Subject, out: &mut Output) {
        let Some(Told { name, promise, history, watchers, .. }) = self.told(subject) else {
            return;
        };
        let mut late = Vec::new();
        for (&(session, subscription), watcher) in watchers {
            if watcher.seen < history.since {
                late.push((session, subscription, name.clone(), history.since));
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
        for (session, subscription, object, since) in late {
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
        let subject = self.sessions.get_mut(&session)?.watches.remove(&subscription)?;
        self.told(subject)?.watchers.remove(&(session, subscription))
    }

    /// Tells those who watch an object or a list that it is removed.
    pub(crate) fn end_watches(&mut self, subject: Subject, out: &mut Output) {
        let gone = not_found("object", self.subject_name(subject));
        self.end_all_watches(subject, &gone, out);
    }

    /// A list goes into the journal or leaves it, where nothing of it is known so far: what was told of it
    /// does not go on.
    pub(crate) fn begin_list_anew(&mut self, key: ListKey, out: &mut Output) {
        let List { name, durability, .. } = &self.lists[key.0];
        let turned = Rejection::Conflict(format!(
            "list {name} comes to promise {durability}; watch it from now on, then read it"
        ));
        self.end_all_watches(Subject::List(key), &turned, out);
        let watched = self.lists[key.0].watched.take();
        self.bytes -= watched.map_or(0, |watched| watched.bytes());
    }

    fn end_all_watches(&mut self, subject: Subject, why: &Rejection, out: &mut Output) {
        let Some(told) = self.told(subject) else { return };
        let (promise, watchers) = (told.promise, core::mem::take(told.watchers));
        for ((session, subscription), watcher) in watchers {
            if let Some(holder) = self.sessions.get_mut(&session) {
                holder.watches.remove(&subscription);
            }
            let (request, rejection) = (watcher.request, why.clone());
            out.promise(session, promise, Response::Rejected { request, rejection });
        }
    }

    /// Asserts that what is remembered of an object or a list is as it must be; returns its bytes.
    pub(crate) fn check_history(&self, subject: Subject) -> u64 {
        let name = self.subject_name(subject);
        let (history, at, watchers) = match subject {
            Subject::Object(key) => {
                let object = &self.objects[key.0];
                (&object.history, object.revision, &object.watchers)
            }
            Subject::List(key) => match &self.lists[key.0].watched {
                Some(watched) => (&watched.history, watched.revision, &watched.watchers),
                None => return 0,
            },
        };
        let History { changes, bytes, since } = history;
        let sizes: u64 = changes.iter().map(|change| size_bytes(&change.what)).sum();
        assert_eq!(*bytes, sizes, "bytes of the changes of {name}");
        let revisions = changes.iter().map(|change| change.revision);
        assert!(revisions.clone().is_sorted(), "changes of {name} are out of order");
        assert!(revisions.clone().all(|revision| revision > *since), "{name} has forgotten");
        assert!(revisions.last().unwrap_or(*since) <= at, "{name} is ahead");
        for (&(session, subscription), watcher) in watchers {
            let holder = &self.sessions[&session];
            assert_eq!(holder.watches.get(&subscription), Some(&subject), "who watches {name}");
            assert!(watcher.seen >= *since, "{session} has missed changes of {name}");
            let is_served = history.after(watcher.seen, 1).is_empty();
            assert!(watcher.window == 0 || is_served, "{session} waits for changes");
        }
        sizes
    }

    /// How many watches objects and lists have.
    pub(crate) fn watches(&self) -> usize {
        let objects = self.objects.iter().map(|(_, object)| &object.watchers);
        let lists = self.lists.iter().filter_map(|(_, list)| list.watched.as_ref());
        let watchers = objects.chain(lists.map(|watched| &watched.watchers));
        watchers.map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
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
