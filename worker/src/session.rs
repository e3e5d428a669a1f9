//! One client's logical connection: what is unanswered, which leases are held, who listens.
//!
//! Not the socket: [`crate::connection`] brings one up, feeds what it reads to [`Session::handle`]
//! and takes it down again. What is called while there is none waits here and is sent, in the
//! order of the calls, when the next one is up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::{Event, listener};
use ganger_rt::Outgoing;
use ganger_shared::codec::encode;
use ganger_shared::response::Terms;
use ganger_shared::{
    Block, JobRange, LeaseId, LeaseRange, Name, Outcome, Request, RequestId, Response, SessionId,
    Settlement, SubscriptionId, limits,
};

use crate::calls::{Answer, Answered, Call};
use crate::endings::Collector;
use crate::error::{Error, ProtocolError};
use crate::follow::Feed;
use crate::inbox::{Inbox, Leased};
use crate::list::Pops;
use crate::oneshot;
use crate::ranges::RangeSet;
use crate::stop::{Stop, StopReason};

/// Unanswered calls that a client may have before further ones wait: 32,768, half of what a broker
/// takes by default, so that waits for results find room beside them.
const CALLS_MAX: usize = 1 << 15;

/// Bytes of unanswered calls before further ones wait: 64 MiB. They are kept to be repeated after
/// a broken connection.
const CALL_BYTES_MAX: usize = 64 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    state: Mutex<State>,
    /// Calls were answered, or the session has ended.
    room: Event,
}

#[derive(Debug)]
struct State {
    link: Link,
    terms: Terms,
    /// How often the broker has forgotten the session. Leases of earlier epochs are lost, and
    /// their numbers may have been granted again.
    epoch: u64,
    opened: bool,
    next_request: u64,
    next_seq: u64,
    next_subscription: u32,
    /// In the order in which they were made.
    calls: BTreeMap<RequestId, Call>,
    /// Those that wait for a short answer; what jobs do may take for ever.
    short_calls: usize,
    call_bytes: usize,
    settles: usize,
    listeners: BTreeMap<SubscriptionId, Listener>,
    /// Receipts of the lists that were popped.
    pops: BTreeMap<Name, Arc<Pops>>,
    /// Leases that the broker has not said to be over.
    held: RangeSet,
    /// Running handlers to be told when their job is to stop.
    running: HashMap<LeaseId, Arc<Stop>>,
    /// Leases whose jobs are to stop, before their handlers have started. A part of `held`.
    told: RangeSet,
}

#[derive(Debug)]
enum Link {
    Down,
    Up(Outgoing),
    Ended(Error),
}

#[derive(Clone, Debug)]
enum Listener {
    Jobs(Arc<Inbox>),
    Items(Arc<Feed>),
}

/// The leases that a settlement speaks for, with the epoch in which they were granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) leases: LeaseRange,
}

impl Session {
    pub(crate) fn new(id: SessionId) -> Self {
        let terms = Terms {
            heartbeat_ms: 10_000,
            grace_ms: 1_000,
            frame_bytes_max: u32::try_from(limits::FRAME_BYTES_MAX).expect("64 MiB fits"),
            payload_bytes_max: u32::try_from(limits::PAYLOAD_BYTES_MAX).expect("16 MiB fits"),
        };
        let state = State {
            link: Link::Down,
            terms,
            epoch: 0,
            opened: false,
            // 0 names the Open frame, where a broker refuses it.
            next_request: 1,
            next_seq: 0,
            next_subscription: 1,
            calls: BTreeMap::new(),
            short_calls: 0,
            call_bytes: 0,
            settles: 0,
            listeners: BTreeMap::new(),
            pops: BTreeMap::new(),
            held: RangeSet::default(),
            running: HashMap::new(),
            told: RangeSet::default(),
        };
        Self { id, state: Mutex::new(state), room: Event::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }

    pub(crate) fn terms(&self) -> Terms {
        self.lock().terms
    }

    /// Where frames go out, while there is a connection.
    pub(crate) fn outgoing(&self) -> Option<Outgoing> {
        self.lock().outgoing().cloned()
    }

    /// Why the session is over, if it is.
    pub(crate) fn ended(&self) -> Option<Error> {
        match &self.lock().link {
            Link::Ended(error) => Some(error.clone()),
            Link::Down | Link::Up(_) => None,
        }
    }

    // Calls.

    /// Waits until there is room for one more call.
    ///
    /// Settlements do not ask: they make room elsewhere, and leases bound them.
    pub(crate) async fn room(&self) {
        loop {
            if self.lock().has_room() {
                return;
            }
            listener!(self.room => room);
            if self.lock().has_room() {
                return;
            }
            room.await;
        }
    }

    /// Sends a call that has one answer. `make` gets its number.
    pub(crate) fn call(&self, make: impl FnOnce(RequestId) -> Request) -> Answered {
        let (sender, receiver) = oneshot::channel();
        self.begin(|id, _| (make(id), Answer::Once(sender)), 0);
        Answered::new(receiver)
    }

    /// Sends a call that uses `count` numbers of the session's sequence. `make` gets its number and
    /// the first of those.
    pub(crate) fn numbered(
        &self,
        count: u32,
        collector: Option<Arc<Collector>>,
        make: impl FnOnce(RequestId, u64) -> Request,
    ) -> (u64, Answered) {
        let (sender, receiver) = oneshot::channel();
        let mut first = 0;
        let call = |id, seq| {
            first = seq;
            let answer = match collector {
                None => Answer::Once(sender),
                Some(collector) => {
                    let jobs =
                        JobRange { first: ganger_shared::JobId { session: self.id, seq }, count };
                    collector.expect(jobs);
                    Answer::Submit { accepted: sender, collector, jobs }
                }
            };
            (make(id, seq), answer)
        };
        self.begin(call, count);
        (first, Answered::new(receiver))
    }

    /// Asks how jobs end.
    pub(crate) fn wait(&self, jobs: JobRange, collector: Arc<Collector>) {
        collector.expect(jobs);
        self.begin(
            |request, _| (Request::Wait { request, jobs }, Answer::Endings { collector, jobs }),
            0,
        );
    }

    fn begin(&self, call: impl FnOnce(RequestId, u64) -> (Request, Answer), numbers: u32) {
        let mut state = self.lock();
        let id = state.take_request();
        let (request, answer) = call(id, state.next_seq);
        if let Link::Ended(error) = &state.link {
            let error = error.clone();
            drop(state);
            return answer.fail(error);
        }
        state.next_seq += u64::from(numbers);
        let out = state.send(&request);
        state.keep(id, Call { request: Some(request), answer });
        drop(state);
        flush(out);
    }

    /// Sends a frame that is not answered and not repeated.
    pub(crate) fn tell(&self, frame: &Request) {
        let state = self.lock();
        let out = state.send(frame);
        drop(state);
        flush(out);
    }

    // Leases.

    /// Ends leases. The answer says whether they were still held.
    ///
    /// Consecutive acks of what is handed in together become one settlement.
    pub(crate) fn settle(&self, epoch: u64, settlements: Vec<Settlement>) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        for settlement in &settlements {
            let leases = settlement.leases;
            if leases.count == 1 {
                state.running.remove(&leases.first);
            }
        }
        if let Link::Ended(error) = &state.link {
            sender.send(Err(error.clone()));
            return Answered::new(receiver);
        }
        if epoch != state.epoch {
            let lease = settlements.first().map_or(LeaseId(0), |s| s.leases.first);
            sender.send(Err(Error::LeaseLost { lease }));
            return Answered::new(receiver);
        }
        let id = state.take_request();
        let request = Request::Settle { request: id, settlements };
        let out = state.send(&request);
        state.keep(id, Call { request: Some(request), answer: Answer::Once(sender) });
        drop(state);
        flush(out);
        Answered::new(receiver)
    }

    /// Has a handler told when its job is to stop; at once, if that was said before.
    pub(crate) fn watch(&self, epoch: u64, lease: LeaseId, stop: &Arc<Stop>) {
        let mut state = self.lock();
        if epoch != state.epoch || !state.held.contains(lease.0) {
            stop.set(StopReason::LeaseLost);
        } else {
            if state.told.contains(lease.0) {
                stop.set(StopReason::Cancelled);
            }
            state.running.insert(lease, Arc::clone(stop));
        }
    }

    /// Waits until every settlement was answered.
    pub(crate) async fn settled(&self) {
        let done = || {
            let state = self.lock();
            state.settles == 0 || matches!(state.link, Link::Ended(_))
        };
        while !done() {
            listener!(self.room => room);
            if done() {
                return;
            }
            room.await;
        }
    }

    // Listeners.

    pub(crate) fn subscribe(&self, inbox: &Arc<Inbox>) -> SubscriptionId {
        self.listen(Listener::Jobs(Arc::clone(inbox)))
    }

    pub(crate) fn follow(&self, feed: &Arc<Feed>) -> SubscriptionId {
        self.listen(Listener::Items(Arc::clone(feed)))
    }

    fn listen(&self, listener: Listener) -> SubscriptionId {
        let mut state = self.lock();
        let id = SubscriptionId(state.next_subscription);
        state.next_subscription += 1;
        if let Link::Ended(error) = &state.link {
            let error = error.clone();
            drop(state);
            listener.end(Some(error));
            return id;
        }
        let request = state.take_request();
        let out = state.send(&listener.frame(id, request));
        state.listeners.insert(id, listener);
        drop(state);
        flush(out);
        id
    }

    /// Grants more items to a follow, or more jobs to a subscription.
    pub(crate) fn grant(&self, subscription: SubscriptionId, add: u32) {
        self.tell(&Request::Credit { subscription, add });
    }

    /// Asks for an end; the listener ends when the broker has confirmed it, or at once if there is no
    /// connection to say it on.
    pub(crate) fn unlisten(&self, subscription: SubscriptionId) {
        let mut state = self.lock();
        match state.send(&Request::Unsubscribe { subscription }) {
            Some(out) => {
                drop(state);
                flush(Some(out));
            }
            None => {
                let listener = state.listeners.remove(&subscription);
                drop(state);
                if let Some(listener) = listener {
                    listener.end(None);
                }
            }
        }
    }

    pub(crate) fn pops(&self, list: &Name) -> Arc<Pops> {
        let mut state = self.lock();
        match state.pops.get(list) {
            Some(pops) => Arc::clone(pops),
            None => Arc::clone(state.pops.entry(list.clone()).or_default()),
        }
    }

    // The connection.

    /// What to tell the broker when a session is resumed.
    pub(crate) fn held(&self) -> Vec<LeaseRange> {
        let state = self.lock();
        let ranges = state.held.iter().flat_map(|range| {
            // A count is a u32; neighbours of many runs may have grown together.
            let mut start = range.start;
            std::iter::from_fn(move || {
                let count = u32::try_from(range.end - start).unwrap_or(u32::MAX);
                let part = LeaseRange { first: LeaseId(start), count };
                start = part.end();
                (count > 0).then_some(part)
            })
        });
        ranges.take(limits::SETTLEMENTS_MAX).collect()
    }

    /// A connection is open: whatever was asked and not answered is asked again.
    pub(crate) fn up(&self, out: Outgoing, resumed: bool, terms: Terms) {
        let mut state = self.lock();
        state.terms = terms;
        let lost = if resumed || !state.opened { Vec::new() } else { state.forget_leases() };
        state.opened = true;
        for (list, pops) in &state.pops {
            let receipt = pops.confirmed();
            if receipt > 0 {
                append(&out, &Request::Confirm { list: list.clone(), receipt });
            }
        }
        for (&id, call) in &state.calls {
            call.repeat(id, |frame| append(&out, frame));
        }
        let listeners: Vec<_> =
            state.listeners.iter().map(|(&id, listener)| (id, listener.clone())).collect();
        for (id, listener) in listeners {
            let request = state.take_request();
            append(&out, &listener.frame(id, request));
        }
        state.link = Link::Up(out.clone());
        drop(state);
        for call in lost {
            call.fail_as_lost();
        }
        self.room.notify(usize::MAX);
        flush(Some(out));
    }

    /// The connection is gone; another one may come.
    pub(crate) fn down(&self) {
        let mut state = self.lock();
        if let Link::Up(_) = state.link {
            state.link = Link::Down;
        }
    }

    /// The end: every call fails with `error`, every listener ends, leases are lost.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.lock();
        if matches!(state.link, Link::Ended(_)) {
            return;
        }
        let link = std::mem::replace(&mut state.link, Link::Ended(error.clone()));
        let calls = std::mem::take(&mut state.calls);
        let listeners = std::mem::take(&mut state.listeners);
        let running: Vec<_> = state.running.drain().map(|(_, stop)| stop).collect();
        state.held.clear();
        (state.short_calls, state.call_bytes, state.settles) = (0, 0, 0);
        drop(state);
        if let Link::Up(out) = link {
            out.close();
        }
        for stop in running {
            stop.set(StopReason::LeaseLost);
        }
        for call in calls.into_values() {
            call.answer.fail(error.clone());
        }
        for listener in listeners.into_values() {
            listener.end(Some(error.clone()));
        }
        self.room.notify(usize::MAX);
    }

    /// Takes one frame of the broker. Answers to calls that were given up are passed over.
    ///
    /// # Errors
    /// What no broker sends; the connection is of no use any more.
    pub(crate) fn handle(&self, response: Response) -> Result<(), ProtocolError> {
        match response {
            Response::Accepted { request, .. }
            | Response::Rejected { request, .. }
            | Response::Settled { request, .. }
            | Response::Length { request, .. }
            | Response::Items { request, .. }
            | Response::Cancelled { request, .. }
            | Response::Admin { request, .. } => self.answered(request, response),
            Response::Finished { request, jobs, ending } => {
                let mut state = self.lock();
                let over = state.calls.get(&request).is_some_and(|call| call.ended(jobs, &ending));
                if over {
                    state.take(request);
                }
            }
            Response::Assign {
                subscription,
                first_lease,
                attempt,
                jobs,
                handler,
                deadline,
                time_limit_ms,
                payloads,
            } => {
                if payloads.count() != jobs.count || jobs.count == 0 {
                    return Err(ProtocolError::Unexpected("an Assign without one payload per job"));
                }
                let leases = LeaseRange { first: first_lease, count: jobs.count };
                let mut state = self.lock();
                state.held.insert(leases.first.0..leases.end());
                let held = Held { epoch: state.epoch, leases };
                let inbox = match state.listeners.get(&subscription) {
                    Some(Listener::Jobs(inbox)) => Some(Arc::clone(inbox)),
                    Some(Listener::Items(_)) | None => None,
                };
                drop(state);
                let run =
                    Leased { held, attempt, jobs, handler, deadline, time_limit_ms, payloads };
                // Nobody takes what comes for a subscription that has ended.
                if inbox.is_none_or(|inbox| !inbox.push(run)) {
                    self.release(held);
                }
            }
            Response::Followed { subscription, start, items } => {
                let feed = match self.lock().listeners.get(&subscription) {
                    Some(Listener::Items(feed)) => Some(Arc::clone(feed)),
                    Some(Listener::Jobs(_)) | None => None,
                };
                if let Some(feed) = feed {
                    feed.push(start, items);
                }
            }
            Response::Unsubscribed { subscription } => {
                let listener = self.lock().listeners.remove(&subscription);
                if let Some(listener) = listener {
                    listener.end(None);
                }
            }
            Response::CancelRun { lease, .. } => {
                let mut state = self.lock();
                if state.held.contains(lease.0) {
                    state.told.insert(lease.0..lease.0.saturating_add(1));
                }
                if let Some(stop) = state.running.get(&lease) {
                    stop.set(StopReason::Cancelled);
                }
            }
            Response::Fenced { leases } => self.fenced(leases),
            Response::Heartbeat => {}
            Response::Opened { .. } | Response::Goodbye { .. } => {
                return Err(ProtocolError::Unexpected("a second Opened"));
            }
        }
        Ok(())
    }

    fn answered(&self, request: RequestId, response: Response) {
        let mut state = self.lock();
        let Some(call) = state.take(request) else {
            if let Response::Rejected { rejection, .. } = response {
                drop(state);
                self.listener_refused(request, rejection.into());
            }
            return;
        };
        if let Some(Request::Settle { settlements, .. }) = &call.request {
            for settlement in settlements {
                state.release_held(settlement.leases);
            }
        }
        let rest = call.answer.answer(response);
        if let Some(answer) = rest {
            state.keep(request, Call { request: None, answer });
        }
        drop(state);
        self.room.notify(usize::MAX);
    }

    /// A follow that the broker refuses is known by the request that its frame carried.
    fn listener_refused(&self, request: RequestId, error: Error) {
        let mut state = self.lock();
        let found = state.listeners.iter().find_map(|(&id, listener)| match listener {
            Listener::Items(feed) if feed.request() == request => Some(id),
            Listener::Items(_) | Listener::Jobs(_) => None,
        });
        let listener = found.and_then(|id| state.listeners.remove(&id));
        drop(state);
        match listener {
            Some(listener) => listener.end(Some(error)),
            None => log::warn!(request = request.0, error:%; "the broker refused an unknown call"),
        }
    }

    fn fenced(&self, leases: LeaseRange) {
        let mut state = self.lock();
        state.release_held(leases);
        let mut stopped = Vec::new();
        for lease in leases.first.0..leases.end() {
            if state.running.is_empty() {
                break;
            }
            stopped.extend(state.running.remove(&LeaseId(lease)));
        }
        drop(state);
        for stop in stopped {
            stop.set(StopReason::LeaseLost);
        }
    }

    /// Gives leases back untouched, without waiting for the answer.
    pub(crate) fn release(&self, held: Held) {
        let outcome = Outcome::Release { delay_ms: 0 };
        let _ = self.settle(held.epoch, vec![Settlement { leases: held.leases, outcome }]);
    }

    /// The largest output that one lease may have.
    pub(crate) fn output_bytes_max(&self) -> usize {
        self.lock().terms.payload_bytes_max as usize
    }

    /// Most bytes of payloads that fit one frame, with room for what else is in it.
    pub(crate) fn block_bytes_max(&self) -> usize {
        (self.lock().terms.frame_bytes_max as usize).saturating_sub(FRAME_OVERHEAD)
    }
}

/// Bytes of a frame beside its payloads: the sizes of 65,536 payloads, names and options.
const FRAME_OVERHEAD: usize = (limits::RUN_COUNT_MAX as usize) * 4 + 4096;

impl State {
    fn outgoing(&self) -> Option<&Outgoing> {
        match &self.link {
            Link::Up(out) => Some(out),
            Link::Down | Link::Ended(_) => None,
        }
    }

    fn has_room(&self) -> bool {
        let calls = self.short_calls < CALLS_MAX && self.call_bytes < CALL_BYTES_MAX;
        calls || matches!(self.link, Link::Ended(_))
    }

    const fn take_request(&mut self) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        id
    }

    /// Queues a frame and returns what to flush once the lock is gone.
    fn send(&self, frame: &Request) -> Option<Outgoing> {
        let out = self.outgoing()?;
        append(out, frame);
        Some(out.clone())
    }

    fn keep(&mut self, id: RequestId, call: Call) {
        self.short_calls += usize::from(call.is_short());
        self.call_bytes += call.size_bytes();
        self.settles += usize::from(call.is_settle());
        self.calls.insert(id, call);
    }

    fn take(&mut self, id: RequestId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        self.short_calls -= usize::from(call.is_short());
        self.call_bytes -= call.size_bytes();
        self.settles -= usize::from(call.is_settle());
        Some(call)
    }

    fn release_held(&mut self, leases: LeaseRange) {
        self.held.remove(leases.first.0..leases.end());
        if !self.told.is_empty() {
            self.told.remove(leases.first.0..leases.end());
        }
    }

    /// The broker does not know the session any more: what it had granted is lost.
    fn forget_leases(&mut self) -> Vec<Call> {
        self.epoch += 1;
        self.held.clear();
        self.told.clear();
        for (_, stop) in self.running.drain() {
            stop.set(StopReason::LeaseLost);
        }
        for listener in self.listeners.values() {
            if let Listener::Jobs(inbox) = listener {
                inbox.clear();
            }
        }
        let settles: Vec<RequestId> =
            self.calls.iter().filter(|(_, call)| call.is_settle()).map(|(&id, _)| id).collect();
        settles.into_iter().filter_map(|id| self.take(id)).collect()
    }
}

impl Listener {
    /// The frame that asks for it, at the start and again after each broken connection.
    fn frame(&self, subscription: SubscriptionId, request: RequestId) -> Request {
        match self {
            Self::Jobs(inbox) => Request::Subscribe {
                subscription,
                queue: inbox.queue().clone(),
                credit: inbox.credit(),
            },
            Self::Items(feed) => feed.frame(subscription, request),
        }
    }

    fn end(&self, error: Option<Error>) {
        match self {
            Self::Jobs(inbox) => inbox.end(error),
            Self::Items(feed) => feed.end(error),
        }
    }
}

fn append(out: &Outgoing, frame: &Request) {
    out.append(|buffer| {
        encode(frame, buffer);
    });
}

/// An error here ends the stream, and then the reader finds out.
fn flush(out: Option<Outgoing>) {
    if let Some(out) = out {
        let _ = out.flush();
    }
}

/// Parts of `outputs` that fit a frame each: their offsets and counts.
pub(crate) fn parts_that_fit(outputs: &Block, bytes_max: usize) -> Vec<(u32, u32)> {
    if outputs.size_bytes() <= bytes_max {
        return vec![(0, outputs.count())];
    }
    let mut parts = Vec::new();
    let (mut start, mut count, mut bytes) = (0, 0, 0);
    for slice in outputs.slices() {
        if count > 0 && bytes + slice.len() > bytes_max {
            parts.push((start, count));
            start += count;
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += slice.len();
    }
    parts.push((start, count));
    parts
}
