//! One client's logical connection: what is unanswered, which leases are held, who listens.
//!
//! Not the socket: [`crate::connection`] brings one up, feeds what it reads to [`Session::handle`]
//! and takes it down again. What is called while there is none waits here and is sent, in the
//! order of the calls, when the next one is up.

mod answers;
mod flush;
mod joined;
mod leases;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::{Event, listener};
use ganger_rt::Outgoing;
use ganger_shared::codec::encode;
use ganger_shared::response::Terms;
use ganger_shared::{
    JobId, JobRange, LeaseId, Name, Request, RequestId, SessionId, SubscriptionId, limits,
};

use self::flush::{Flusher, Leave, Outlet};
use self::joined::Joined;
pub(crate) use self::joined::{JOINED_ARGS_MAX, Target};
use self::leases::Gathered;
pub(crate) use self::leases::{Held, parts_that_fit};
use crate::calls::{Answer, Answered, Call};
use crate::endings::Collector;
use crate::error::Error;
use crate::follow::ItemFeed;
use crate::inbox::Inbox;
use crate::oneshot;
use crate::pops::Pops;
use crate::ranges::RangeSet;
use crate::stop::Stop;
use crate::watch::ChangeFeed;

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
    pub(crate) flusher: Flusher,
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
    /// Numbers of calls on objects that are not answered.
    object_seqs: BTreeSet<u64>,
    joined: Option<Joined>,
    gathered: Gathered,
    listeners: BTreeMap<SubscriptionId, Listener>,
    /// Receipts of the lists that were popped.
    pops: BTreeMap<Name, Arc<Pops>>,
    /// Lists whose items have come since the broker was told of any.
    popped: BTreeSet<Name>,
    /// Leases that the broker has not said to be over.
    held: RangeSet,
    /// Running handlers to be told when their job is to stop.
    running: BTreeMap<LeaseId, Arc<Stop>>,
    /// Leases whose jobs are to stop, before their handlers have started. A part of `held`.
    told: RangeSet,
}

#[derive(Debug)]
enum Link {
    Down,
    Up(Outlet),
    Ended(Error),
}

#[derive(Clone, Debug)]
enum Listener {
    Jobs(Arc<Inbox>),
    Items(Arc<ItemFeed>),
    Changes(Arc<ChangeFeed>),
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
            object_seqs: BTreeSet::new(),
            joined: None,
            gathered: Gathered::default(),
            listeners: BTreeMap::new(),
            pops: BTreeMap::new(),
            popped: BTreeSet::new(),
            held: RangeSet::default(),
            running: BTreeMap::new(),
            told: RangeSet::default(),
        };
        Self { id, state: Mutex::new(state), room: Event::new(), flusher: Flusher::default() }
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
        let call = |id, state: &State| {
            let seq = state.next_seq;
            first = seq;
            let answer = match collector {
                None => Answer::Once(sender),
                Some(collector) => {
                    let jobs = JobRange { first: JobId { session: self.id, seq }, count };
                    collector.expect(jobs);
                    Answer::Submit { accepted: sender, collector, jobs }
                }
            };
            (make(id, seq), answer)
        };
        self.begin(call, count);
        (first, Answered::new(receiver))
    }

    /// Sends calls on an object, which use `numbers` numbers of the session's sequence if they change it.
    /// `make` gets its number, the first of those, and the one below which all such calls are answered.
    pub(crate) fn call_object(
        &self,
        numbers: u32,
        make: impl FnOnce(RequestId, Option<u64>, u64) -> Request,
    ) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let call = |id, state: &State| {
            let seq = (numbers > 0).then_some(state.next_seq);
            (make(id, seq, state.answered(seq)), Answer::Once(sender))
        };
        self.begin(call, numbers);
        Answered::new(receiver)
    }

    /// Asks how jobs end.
    pub(crate) fn wait(&self, jobs: JobRange, collector: Arc<Collector>) {
        collector.expect(jobs);
        self.begin(
            |request, _| (Request::Wait { request, jobs }, Answer::Endings { collector, jobs }),
            0,
        );
    }

    fn begin(&self, call: impl FnOnce(RequestId, &State) -> (Request, Answer), numbers: u32) {
        let mut state = self.lock();
        state.send_joined();
        let id = state.take_request();
        let (request, answer) = call(id, &state);
        if let Link::Ended(error) = &state.link {
            let error = error.clone();
            drop(state);
            return answer.fail(error);
        }
        state.next_seq += u64::from(numbers);
        let leave = state.send_call(&request);
        state.keep(id, Call { request: Some(Box::new(request)), answer });
        drop(state);
        self.flusher.carry_out(leave);
    }

    /// Sends a frame that is not answered and not repeated.
    pub(crate) fn tell(&self, frame: &Request) {
        let mut state = self.lock();
        let leave = state.send(frame);
        drop(state);
        self.flusher.carry_out(leave);
    }

    pub(crate) fn subscribe(&self, inbox: &Arc<Inbox>) -> SubscriptionId {
        self.listen(Listener::Jobs(Arc::clone(inbox)))
    }

    pub(crate) fn follow(&self, feed: &Arc<ItemFeed>) -> SubscriptionId {
        self.listen(Listener::Items(Arc::clone(feed)))
    }

    pub(crate) fn watch_object(&self, feed: &Arc<ChangeFeed>) -> SubscriptionId {
        self.listen(Listener::Changes(Arc::clone(feed)))
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
        let leave = state.send(&listener.frame(id, request));
        state.listeners.insert(id, listener);
        drop(state);
        self.flusher.carry_out(leave);
        id
    }

    /// Grants more items to a follow, changes to a watch, or jobs to a subscription.
    pub(crate) fn grant(&self, subscription: SubscriptionId, add: u32) {
        self.tell(&Request::Credit { subscription, add });
    }

    /// Asks for an end; the listener ends when the broker has confirmed it, or at once if there is no
    /// connection to say it on.
    pub(crate) fn unlisten(&self, subscription: SubscriptionId) {
        let mut state = self.lock();
        match state.send(&Request::Unsubscribe { subscription }) {
            leave @ (Leave::Now(_) | Leave::Together) => {
                drop(state);
                self.flusher.carry_out(leave);
            }
            Leave::Not => {
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

    /// Tells the broker that popped items have come; unless the caller, who is about to go on, pops
    /// again first.
    pub(crate) fn confirm_soon(&self, list: &Name) {
        if self.lock().popped.insert(list.clone()) {
            self.flusher.carry_out(Leave::Together);
        }
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
            Link::Up(outlet) => Some(&outlet.out),
            Link::Down | Link::Ended(_) => None,
        }
    }

    fn has_room(&self) -> bool {
        let calls = self.unanswered() < CALLS_MAX && self.call_bytes < CALL_BYTES_MAX;
        calls || matches!(self.link, Link::Ended(_))
    }

    /// Callers that wait for a short answer.
    fn unanswered(&self) -> usize {
        self.short_calls + self.joined.as_ref().map_or(0, Joined::count)
    }

    const fn take_request(&mut self) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        id
    }

    /// Queues a frame that is to leave at once.
    fn send(&mut self, frame: &Request) -> Leave {
        self.send_gathered();
        self.send_confirms();
        match self.outgoing() {
            Some(out) => {
                append(out, frame);
                Leave::Now(out.clone())
            }
            None => Leave::Not,
        }
    }

    /// Queues the frame of a call, which may leave together with those of others.
    fn send_call(&mut self, frame: &Request) -> Leave {
        let leave = self.leave_with_others();
        if let Leave::Now(_) = leave {
            self.send_gathered();
        }
        if let Some(out) = self.outgoing() {
            append(out, frame);
        }
        leave
    }

    /// Queues what the broker does not know of popped items. Where there is no connection, the next
    /// one begins with it.
    fn send_confirms(&mut self) {
        for list in std::mem::take(&mut self.popped) {
            let receipt = self.pops.get(&list).and_then(|pops| pops.untold());
            if let (Some(receipt), Some(out)) = (receipt, self.outgoing()) {
                append(out, &Request::Confirm { list, receipt });
            }
        }
    }

    fn leave_with_others(&mut self) -> Leave {
        let unanswered = self.unanswered();
        match &mut self.link {
            Link::Up(outlet) => outlet.leave(unanswered),
            Link::Down | Link::Ended(_) => Leave::Not,
        }
    }

    fn keep(&mut self, id: RequestId, call: Call) {
        self.short_calls += call.short_answers();
        self.call_bytes += call.size_bytes();
        self.settles += usize::from(call.is_settle());
        self.object_seqs.extend(call.object_seq());
        self.calls.insert(id, call);
    }

    fn take(&mut self, id: RequestId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        self.short_calls -= call.short_answers();
        self.call_bytes -= call.size_bytes();
        self.settles -= usize::from(call.is_settle());
        if let Some(seq) = call.object_seq() {
            self.object_seqs.remove(&seq);
        }
        Some(call)
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
            Self::Changes(feed) => feed.frame(subscription, request),
        }
    }

    /// The request that its latest frame carried; none for jobs, of which the frame has none.
    fn request(&self) -> Option<RequestId> {
        match self {
            Self::Jobs(_) => None,
            Self::Items(feed) => Some(feed.request()),
            Self::Changes(feed) => Some(feed.request()),
        }
    }

    /// Whether nobody has given it up.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Jobs(inbox) => inbox.is_open(),
            Self::Items(feed) => feed.is_open(),
            Self::Changes(feed) => feed.is_open(),
        }
    }

    fn end(&self, error: Option<Error>) {
        match self {
            Self::Jobs(inbox) => inbox.end(error),
            Self::Items(feed) => feed.end(error),
            Self::Changes(feed) => feed.end(error),
        }
    }
}

fn append(out: &Outgoing, frame: &Request) {
    out.append(|buffer| {
        encode(frame, buffer);
    });
}
