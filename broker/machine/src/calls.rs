//! Calls of clients that may be answered later: waits for jobs, pops and follows of lists.
//!
//! Nothing of this is in the journal: a client that comes back asks again.

use ganger_shared::{
    Block, Durability, Ending, JobId, JobRange, Name, Rejection, RequestId, Response, SessionId,
    SubscriptionId,
};

use crate::apply::dead_ending;
use crate::config::Creation;
use crate::event::Event;
use crate::list::{Follower, ItemRun, ListKey, WaitingPop};
use crate::machine::Machine;
use crate::numbers::Standing;
use crate::output::Output;
use crate::queue::{QueueKey, Size};
use crate::run::{Phase, Watcher};
use crate::submit::not_found;
use crate::timer::Timer;

/// Most sessions that may wait for one job: 64.
const WATCHERS_MAX: usize = 64;

/// Bytes of items after which an answer is sent off, so that it stays far below the frame limit: 1 MiB.
const ANSWER_BYTES: usize = 1 << 20;

/// The fields of a Follow.
pub(crate) struct Follow {
    pub(crate) request: RequestId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) list: Name,
    pub(crate) start: i64,
    pub(crate) window: u32,
}

/// The fields of a Pop.
pub(crate) struct Pop {
    pub(crate) request: RequestId,
    pub(crate) list: Name,
    pub(crate) receipt: u64,
    pub(crate) confirmed: u64,
    pub(crate) max: u32,
    pub(crate) wait_ms: u64,
}

impl Machine {
    /// Answers what is known of `jobs`, and has the session told of the others as they end.
    pub(crate) fn wait(
        &mut self,
        session: SessionId,
        request: RequestId,
        jobs: JobRange,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        self.judge_wait(jobs)?;
        let mut known: Vec<(JobRange, QueueKey, Option<Ending>)> = Vec::new();
        for key in self.runs.overlapping(jobs) {
            let run = &self.runs[key];
            known.push((overlap(run.jobs, jobs), run.queue, dead_ending(run)));
        }
        for finished in self.finished.overlapping(jobs) {
            let part = finished.part(jobs);
            known.extend(part.map(|(jobs, ending)| (jobs, finished.queue, Some(ending))));
        }
        known.sort_by_key(|(jobs, ..)| jobs.first);
        let mut next = jobs.first.seq;
        // They may have been forgotten in a step that is not safe yet.
        let promise = self.strongest_promise();
        let unknown_until = |next: u64, end: u64, out: &mut Output| {
            if next < end {
                let first = JobId { session: jobs.first.session, seq: next };
                let count = u32::try_from(end - next).expect("within a range, counted in u32");
                let jobs = JobRange { first, count };
                let finished = Response::Finished { request, jobs, ending: Ending::Unknown };
                out.promise(session, promise, finished);
            }
        };
        for (part, queue, ending) in known {
            unknown_until(next, part.first.seq, out);
            next = part.end_seq();
            if let Some(ending) = ending {
                let finished = Response::Finished { request, jobs: part, ending };
                out.promise(session, self.promise(queue), finished);
            }
        }
        unknown_until(next, jobs.end_seq(), out);
        self.watch(session, request, jobs);
        Ok(())
    }

    /// Whether there are not yet too many waits for any of `jobs`.
    pub(crate) fn judge_wait(&self, jobs: JobRange) -> Result<(), Rejection> {
        let watchers = |key| self.runs[key].watchers.iter();
        let waits = |key| watchers(key).filter(|watcher| self.is_there(watcher)).count();
        let busy = |key| watchers(key).len() >= WATCHERS_MAX && waits(key) >= WATCHERS_MAX;
        if self.runs.overlapping(jobs).any(busy) {
            let what = "waits for one job".to_owned();
            return Err(Rejection::TooMany { what, limit: WATCHERS_MAX as u64 });
        }
        Ok(())
    }

    /// Has the session told when those of `jobs` that have not ended do.
    pub(crate) fn watch(&mut self, session: SessionId, request: RequestId, jobs: JobRange) {
        let Some(holder) = self.sessions.get(&session) else { return };
        let watcher = Watcher { session, connection: holder.connections, request };
        for key in self.isolate(jobs) {
            let mut watchers = core::mem::take(&mut self.runs[key].watchers);
            if !matches!(self.runs[key].phase, Phase::Dead { .. }) && !watchers.contains(&watcher) {
                watchers.retain(|other| self.is_there(other));
                watchers.push(watcher);
            }
            self.runs[key].watchers = watchers;
        }
    }

    /// Whether the connection that asked is still there.
    pub(crate) fn is_there(&self, watcher: &Watcher) -> bool {
        self.sessions
            .get(&watcher.session)
            .is_some_and(|session| session.connected() && session.connections == watcher.connection)
    }

    /// The list of this name, made if the configuration allows it.
    pub(crate) fn list_for_use(
        &mut self,
        name: &Name,
        out: &mut Output,
    ) -> Result<ListKey, Rejection> {
        if let Some(&key) = self.list_names.get(name) {
            self.note_used(name);
            return Ok(key);
        }
        let durability = self.judge_new_list(name)?;
        self.happen(Event::ListMade { list: name.clone(), durability }, out);
        self.list_names.get(name).copied().ok_or_else(|| not_found("list", name))
    }

    /// Whether a list that does not exist may be made by use, and what it then promises.
    fn judge_new_list(&self, name: &Name) -> Result<Durability, Rejection> {
        let queue = self.judge_use(name)?;
        self.judge_count("lists", self.lists.len())?;
        let durability =
            queue.map_or(self.config.queue_defaults.durability, |queue| self.promise(queue));
        self.judge_durability(durability)?;
        Ok(durability)
    }

    /// Whether the configuration lets a list be used that does not exist; the queue whose results
    /// it is to hold, if there is one.
    fn judge_use(&self, name: &Name) -> Result<Option<QueueKey>, Rejection> {
        let queue = self.owner_of(name);
        if queue.is_none() && self.config.creation == Creation::ByOperatorOnly {
            return Err(not_found("list", name));
        }
        Ok(queue)
    }

    pub(crate) fn append(
        &mut self,
        session: SessionId,
        request: RequestId,
        name: &Name,
        seq: u64,
        items: Block,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        if items.count() == 0 {
            return Err(Rejection::Invalid("an append of no items".to_owned()));
        }
        let Some(end) = seq.checked_add(1) else {
            return Err(Rejection::Invalid(
                "the number of an append is beyond 2^64 - 2".to_owned(),
            ));
        };
        self.judge_size(&items)?;
        self.judge_exposed(session, crate::list::TYPEID, name, "append")?;
        let standing = self.judge_numbers(session, seq, end)?;
        if standing == Standing::Fresh {
            self.judge_room(name, &items)?;
        }
        let list = self.list_for_use(name, out)?;
        if standing == Standing::Fresh {
            let Some(key) = self.sessions.get(&session).map(|found| found.key) else {
                return Ok(());
            };
            self.happen(Event::Appended { key, session, seq, list: name.clone(), items }, out);
        }
        let list = &self.lists[list.0];
        out.promise(session, list.durability, Response::Length { request, length: list.length() });
        Ok(())
    }

    fn judge_room(&self, name: &Name, items: &Block) -> Result<(), Rejection> {
        let list = self.list_names.get(name).map(|key| &self.lists[key.0]);
        let held = list.map_or((0, 0), |list| (list.held(), list.bytes()));
        let bytes = items.size_bytes() as u64;
        let full = |used, limit, unit: &str| Rejection::ListFull {
            list: name.clone(),
            used,
            limit,
            unit: unit.to_owned(),
        };
        let (items_max, bytes_max) = (self.config.list_items_max, self.config.list_bytes_max);
        if held.0 + u64::from(items.count()) > items_max {
            return Err(full(held.0, items_max, "items"));
        }
        if held.1 + bytes > bytes_max {
            return Err(full(held.1, bytes_max, "bytes"));
        }
        if self.bytes + bytes > self.config.memory_bytes_max {
            let limit = self.config.memory_bytes_max;
            return Err(Rejection::MemoryFull { used: self.bytes, limit });
        }
        let durability = list.map_or(self.config.queue_defaults.durability, |list| list.durability);
        self.judge_storage(durability, Size { jobs: 0, bytes })
    }

    pub(crate) fn pop(
        &mut self,
        session: SessionId,
        pop: Pop,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        if pop.receipt <= pop.confirmed {
            return Err(Rejection::Invalid(format!(
                "receipt {} of a pop is not above the confirmed {}",
                pop.receipt, pop.confirmed
            )));
        }
        self.judge_pop(session, &pop)?;
        self.judge_exposed(session, crate::list::TYPEID, &pop.list, "pop")?;
        let list = self.list_for_use(&pop.list, out)?;
        if pop.confirmed > 0 {
            self.confirm(session, list, pop.confirmed, out);
        } else if let Some(holder) = self.sessions.get_mut(&session)
            && let Some(receipts) = holder.receipts.get_mut(&list)
        {
            // Nothing has arrived yet, or the client was told that it is not its own any more.
            receipts.returned.clear();
        }
        let Some(holder) = self.sessions.get(&session) else { return Ok(()) };
        let mine = holder.popped.get(&list);
        if let Some(again) = mine.and_then(|receipts| receipts.get(&pop.receipt)) {
            let items = again.clone();
            self.send_items(session, pop.request, list, items, out);
            return Ok(());
        }
        let until = self.now.plus_millis(pop.wait_ms);
        let (request, receipt, max) = (pop.request, pop.receipt, pop.max.max(1));
        let waiting = WaitingPop { session, request, receipt, max, until };
        if self.lists[list.0].length() > 0 {
            // Nobody waits: what comes in goes to those who do.
            self.serve_pop(list, waiting, out);
        } else if pop.wait_ms == 0 {
            self.note_answered(session, list, receipt);
            self.send_items(session, request, list, Vec::new(), out);
        } else {
            let turn = self.lists[list.0].wait(waiting);
            self.timers.set(until, Timer::Pop(list, turn));
            if let Some(holder) = self.sessions.get_mut(&session) {
                holder.pops.insert((list, receipt), turn);
            }
        }
        Ok(())
    }

    fn judge_pop(&self, session: SessionId, pop: &Pop) -> Result<(), Rejection> {
        let Some(holder) = self.sessions.get(&session) else { return Ok(()) };
        let waits = |&list| holder.pops.contains_key(&(list, pop.receipt));
        // Two answers under one receipt would be one too many to confirm.
        if self.list_names.get(&pop.list).is_some_and(waits) {
            return Err(Rejection::Conflict(format!(
                "a pop of list {} with receipt {} waits already",
                pop.list, pop.receipt
            )));
        }
        let receipts = self.list_names.get(&pop.list).and_then(|list| holder.receipts.get(list));
        if !receipts.map_or(pop.confirmed == 0, |known| known.can_confirm(pop.confirmed)) {
            return Err(Rejection::Conflict(format!(
                "what pops of list {} took up to receipt {} went back to it: the session was away \
                 for longer than its grace, or the broker was started anew; pop again and confirm 0",
                pop.list, pop.confirmed
            )));
        }
        self.judge_calls(session, None)
    }

    /// Whether the session may have one more subscription, follow or waiting pop; one that takes the
    /// place of `replaced` is no more.
    pub(crate) fn judge_calls(
        &self,
        session: SessionId,
        replaced: Option<SubscriptionId>,
    ) -> Result<(), Rejection> {
        let Some(holder) = self.sessions.get(&session) else { return Ok(()) };
        let replaces = replaced.is_some_and(|number| holder.has_call(number));
        let limit = self.config.calls_per_session_max;
        if holder.calls() - usize::from(replaces) >= limit {
            let what = "subscriptions, follows and waiting calls of one session".to_owned();
            return Err(Rejection::TooMany { what, limit: limit as u64 });
        }
        Ok(())
    }

    /// Gives new items to those who wait for them and to those who follow.
    pub(crate) fn serve_list(&mut self, list: ListKey, out: &mut Output) {
        let name = self.lists[list.0].name.clone();
        self.note_number(&name);
        // Followers first: they see every item, also those that a pop takes at once.
        self.serve_followers(list, out);
        self.serve_pops(list, out);
    }

    /// A list was changed by position: there may be items for those who wait, and room for jobs.
    pub(crate) fn list_changed(&mut self, list: ListKey, out: &mut Output) {
        self.serve_list(list, out);
        if self.room_in(list) > 0 {
            self.wake_feeders(list);
        }
    }

    fn serve_pops(&mut self, key: ListKey, out: &mut Output) {
        while self.lists[key.0].length() > 0 {
            let Some((turn, pop)) = self.lists[key.0].pops.pop_first() else { return };
            self.timers.unset(pop.until, Timer::Pop(key, turn));
            if let Some(holder) = self.sessions.get_mut(&pop.session) {
                holder.pops.remove(&(key, pop.receipt));
            }
            self.serve_pop(key, pop, out);
        }
    }

    fn serve_pop(&mut self, key: ListKey, pop: WaitingPop, out: &mut Output) {
        let list = &mut self.lists[key.0];
        let items = list.take_front(u64::from(pop.max), ANSWER_BYTES);
        list.note_popped(&items);
        if let Some(holder) = self.sessions.get_mut(&pop.session) {
            holder.popped.entry(key).or_default().insert(pop.receipt, items.clone());
        }
        self.note_answered(pop.session, key, pop.receipt);
        self.send_items(pop.session, pop.request, key, items, out);
    }

    fn send_items(
        &self,
        session: SessionId,
        request: RequestId,
        list: ListKey,
        items: Vec<ItemRun>,
        out: &mut Output,
    ) {
        let list = &self.lists[list.0];
        let response = Response::Items {
            request,
            start: items.first().map_or_else(|| list.start(), |run| run.start),
            length: list.length(),
            items: items.into_iter().map(ItemRun::into_items).collect(),
        };
        out.promise(session, list.durability, response);
    }

    /// Items popped under receipts up to `receipt` have arrived: they are gone for good.
    pub(crate) fn confirm(
        &mut self,
        session: SessionId,
        list: ListKey,
        receipt: u64,
        out: &mut Output,
    ) {
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        self.lists[list.0].poppers.insert(session);
        let known = holder.receipts.entry(list).or_default();
        if !known.can_confirm(receipt) {
            // Some of it went back: all of it may come again.
            return;
        }
        known.confirmed = known.confirmed.max(receipt);
        let Some(receipts) = holder.popped.get_mut(&list) else { return };
        let later = receipts.split_off(&receipt.saturating_add(1));
        let arrived = core::mem::replace(receipts, later);
        if receipts.is_empty() {
            holder.popped.remove(&list);
        }
        if arrived.is_empty() {
            return;
        }
        for run in arrived.into_values().flatten() {
            self.lists[list.0].forget_popped(&run);
            self.bytes -= run.block.size_bytes() as u64;
            let (start, count) = (run.start, u64::from(run.block.count()));
            let name = self.lists[list.0].name.clone();
            self.happen(Event::Removed { list: name, start, count }, out);
        }
        self.wake_feeders(list);
    }

    /// A pop is answered, for the first time or after its items went back.
    fn note_answered(&mut self, session: SessionId, list: ListKey, receipt: u64) {
        if let Some(holder) = self.sessions.get_mut(&session) {
            self.lists[list.0].poppers.insert(session);
            let receipts = holder.receipts.entry(list).or_default();
            receipts.answered = receipts.answered.max(receipt);
            receipts.returned.remove(&receipt);
        }
    }

    /// Gives what the session has popped and not confirmed back to its lists.
    pub(crate) fn put_back_popped(&mut self, session: SessionId, out: &mut Output) {
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        let popped = core::mem::take(&mut holder.popped);
        for (list, receipts) in &popped {
            self.lists[list.0].poppers.insert(session);
            let returned = &mut holder.receipts.entry(*list).or_default().returned;
            returned.extend(receipts.keys());
        }
        for (list, receipts) in popped {
            for run in receipts.into_values().flatten() {
                self.lists[list.0].forget_popped(&run);
                self.lists[list.0].put_back(run);
            }
            self.serve_pops(list, out);
        }
    }

    pub(crate) fn pop_timed_out(&mut self, list: ListKey, turn: u64, out: &mut Output) {
        let Some(pop) = self.lists[list.0].pops.remove(&turn) else { return };
        if let Some(holder) = self.sessions.get_mut(&pop.session) {
            holder.pops.remove(&(list, pop.receipt));
        }
        self.send_items(pop.session, pop.request, list, Vec::new(), out);
    }

    pub(crate) fn range(
        &mut self,
        session: SessionId,
        request: RequestId,
        name: &Name,
        start: i64,
        count: u32,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        self.judge_exposed(
            session,
            crate::list::TYPEID,
            name,
            if count == 0 { "len" } else { "slice" },
        )?;
        let Some(&list) = self.list_names.get(name) else {
            self.judge_use(name)?;
            // Looking at a list that nobody has used yet does not make it.
            let (start, length, items) = (0, 0, Vec::new());
            out.send(session, Response::Items { request, start, length, items });
            return Ok(());
        };
        self.note_used(name);
        let found = &self.lists[list.0];
        let items = found.range(found.index(start), u64::from(count), ANSWER_BYTES);
        self.send_items(session, request, list, items, out);
        Ok(())
    }

    pub(crate) fn follow(
        &mut self,
        session: SessionId,
        follow: Follow,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Follow { request, subscription, list: name, start, window } = follow;
        self.judge_calls(session, Some(subscription))?;
        self.judge_exposed(session, crate::list::TYPEID, &name, "slice")?;
        let list = self.list_for_use(&name, out)?;
        self.unsubscribe(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return Ok(()) };
        holder.follows.insert(subscription, list);
        let found = &mut self.lists[list.0];
        let next = found.index(start);
        let follower = Follower { request, next, window: u64::from(window) };
        found.followers.insert((session, subscription), follower);
        self.serve_followers(list, out);
        Ok(())
    }

    pub(crate) fn serve_followers(&mut self, list: ListKey, out: &mut Output) {
        let list = &mut self.lists[list.0];
        let mut followers = core::mem::take(&mut list.followers);
        for (&(session, subscription), follower) in &mut followers {
            while follower.window > 0 && follower.next < list.end {
                let items = list.range(follower.next, follower.window, ANSWER_BYTES);
                let Some(last) = items.last() else { break };
                follower.next = last.end();
                let start = items[0].start;
                let count: u64 = items.iter().map(|run| u64::from(run.block.count())).sum();
                follower.window -= count;
                let items = items.into_iter().map(ItemRun::into_items).collect();
                let followed = Response::Followed { subscription, start, items };
                out.promise(session, list.durability, followed);
            }
        }
        list.followers = followers;
    }
}

/// The jobs in both ranges, which overlap.
fn overlap(a: JobRange, b: JobRange) -> JobRange {
    let from = a.first.seq.max(b.first.seq);
    let to = a.end_seq().min(b.end_seq());
    let count = u32::try_from(to - from).expect("within a range, counted in u32");
    JobRange { first: JobId { session: a.first.session, seq: from }, count }
}
