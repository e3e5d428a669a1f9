//! The journal thread: makes records durable in groups while the broker goes on.
//!
//! Not how they are kept, which is the [`Storage`]'s, and not who waits for them, which is the
//! outbox's.
//!
//! ```text
//!   engine ── records, at most WAITING_MAX ─▶ thread: all that wait in one append, one sync
//!      ▲                                         │
//!      └──────── Progress: written, durable ─────┘
//! ```

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use async_channel::{Receiver, RecvError, Sender, TryRecvError, TrySendError};
use event_listener::{Event as Notice, listener};
use ganger_machine::Event;

use crate::error::{BrokerError, StartError};
use crate::storage::{Record, Seq, Storage, StorageError, Until};

/// Records on their way to the thread, at most. Their payloads are the machine's own, shared, and
/// count towards its memory; so this bounds only how far the machine can be ahead of the disk.
const WAITING_MAX: usize = 1_024;

/// Bytes in one append, unless a single record has more. What waits longer than this takes would
/// delay those who wait for the first of them.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// How long something that was written may stay volatile: what `relaxed` promises.
const VOLATILE_MAX: Duration = Duration::from_millis(100);

/// After so much idleness the storage may put in order what it has written: see
/// [`Storage::append`]. Long beside a sync, short beside a person with a plug in the hand.
const IDLE: Duration = Duration::from_millis(10);

/// Events in one message of a replay.
const REPLAY_BATCH: usize = 256;

/// How far the journal has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Up to here the end of the process loses nothing.
    pub(crate) written: Seq,
    /// Up to here the loss of power loses nothing.
    pub(crate) durable: Seq,
}

/// What the thread tells the engine.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Notice,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the progress")
    }

    /// How far the journal has come; the error is given once.
    pub(crate) fn take(&self) -> Result<Reached, BrokerError> {
        let mut state = self.lock();
        state.error.take().map_or(Ok(state.reached), Err)
    }

    /// How far the journal has come, whatever has happened to it.
    pub(crate) fn seen(&self) -> Reached {
        self.lock().reached
    }

    /// Waits until there is more than `seen`.
    pub(crate) async fn beyond(&self, seen: Reached) {
        let news = |state: &State| state.reached != seen || state.error.is_some();
        while !news(&self.lock()) {
            listener!(self.changed => changed);
            if !news(&self.lock()) {
                changed.await;
            }
        }
    }

    fn reach(&self, reached: Reached) {
        self.lock().reached = reached;
        self.changed.notify(usize::MAX);
    }

    fn fail(&self, error: BrokerError) {
        self.lock().error.get_or_insert(error);
        self.changed.notify(usize::MAX);
    }
}

#[derive(Debug, Default)]
struct State {
    reached: Reached,
    error: Option<BrokerError>,
}

struct Entry {
    seq: Seq,
    events: Vec<Event>,
    until: Until,
}

/// The engine's end of the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: Sender<Entry>,
    progress: Arc<Progress>,
    last: Seq,
}

/// Dropping the [`Journal`] lets the thread write what it has and end.
#[derive(Debug)]
pub(crate) struct JournalThread(JoinHandle<()>);

impl JournalThread {
    /// Waits for the end of the thread.
    pub(crate) async fn join(self) {
        let ended = ganger_rt::unblock(move || self.0.join()).await;
        if ended.is_err() {
            log::error!("the journal thread panicked");
        }
    }
}

impl Journal {
    /// Starts the thread, and shows `apply` what the storage has kept.
    pub(crate) async fn start(
        storage: Box<dyn Storage>,
        mut apply: impl FnMut(Event),
    ) -> Result<(Self, JournalThread), StartError> {
        let (entries, entries_there) = async_channel::bounded(WAITING_MAX);
        let (replayed_there, replayed) = async_channel::bounded(4);
        let progress = Arc::new(Progress::default());
        let writer = Writer { storage, entries: entries_there, progress: Arc::clone(&progress) };
        let thread = ganger_rt::thread("journal", move || writer.run(&replayed_there))
            .map_err(StartError::Thread)?;
        let last = loop {
            match replayed.recv().await {
                Ok(Replayed::Events(events)) => events.into_iter().for_each(&mut apply),
                Ok(Replayed::All(last)) => break last?,
                Err(RecvError) => {
                    return Err(StartError::Thread(std::io::Error::other("it panicked")));
                }
            }
        };
        Ok((Self { entries, progress, last }, JournalThread(thread)))
    }

    /// What the thread reports.
    pub(crate) const fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Position of the last record.
    pub(crate) const fn last(&self) -> Seq {
        self.last
    }

    /// Whether the thread is so far behind that nothing should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Hands `events` over as one record, and returns its position.
    ///
    /// # Errors
    ///
    /// The thread has ended, after an error of the storage.
    pub(crate) fn append(&mut self, events: Vec<Event>, until: Until) -> Result<Seq, Closed> {
        self.last = self.last.next();
        let entry = Entry { seq: self.last, events, until };
        match self.entries.try_send(entry) {
            Ok(()) => Ok(self.last),
            // Whoever adds looks at `is_full` first, so this is rare: threads that looked at once.
            Err(TrySendError::Full(entry)) => {
                self.entries.send_blocking(entry).map(|()| self.last).map_err(|_| Closed)
            }
            Err(TrySendError::Closed(_)) => Err(Closed),
        }
    }
}

/// The journal takes nothing more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

enum Replayed {
    Events(Vec<Event>),
    All(Result<Seq, StorageError>),
}

/// The thread's own.
struct Writer {
    storage: Box<dyn Storage>,
    entries: Receiver<Entry>,
    progress: Arc<Progress>,
}

impl Writer {
    fn run(mut self, starter: &Sender<Replayed>) {
        let replayed = self.replay(starter);
        let started = replayed.as_ref().ok().copied();
        // If nobody listens any more, the broker was given up while it started.
        let listened = starter.send_blocking(Replayed::All(replayed)).is_ok();
        starter.close();
        let Some(last) = started.filter(|_| listened) else { return };
        self.progress.reach(Reached { written: last, durable: last });
        if let Err(error) = self.write(last) {
            self.progress.fail(BrokerError::Storage(error));
        }
    }

    fn replay(&mut self, starter: &Sender<Replayed>) -> Result<Seq, StorageError> {
        let mut batch = Vec::new();
        let send = |batch: &mut Vec<Event>| {
            // A starter that is gone is noticed at the end of the replay.
            let _ = starter.send_blocking(Replayed::Events(std::mem::take(batch)));
        };
        let last = self.storage.replay(&mut |record| {
            let events = postcard::from_bytes::<Vec<Event>>(record.body).map_err(|error| {
                StorageError::Damaged {
                    place: format!("record {}", record.seq),
                    reason: format!("it is no list of events: {error}"),
                }
            })?;
            batch.extend(events);
            if batch.len() >= REPLAY_BATCH {
                send(&mut batch);
            }
            Ok(())
        })?;
        send(&mut batch);
        Ok(last)
    }

    /// Writes until the engine has dropped its end, and then what is left.
    fn write(&mut self, last: Seq) -> Result<(), StorageError> {
        let mut reached = Reached { written: last, durable: last };
        let mut bodies = Bodies::default();
        let mut due: Option<Due> = None;
        while let Some(first) = self.next(due) {
            let mut until = match first {
                Next::Entry(entry) => bodies.push(entry),
                Next::Due => Until::Durable,
            };
            while bodies.bytes.len() < GROUP_BYTES_MAX {
                match self.entries.try_recv() {
                    Ok(entry) => until = until.max(bodies.push(entry)),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            self.storage.append(&bodies.records(), until)?;
            reached.written = bodies.last().unwrap_or(reached.written);
            if until == Until::Durable {
                reached.durable = reached.written;
            }
            due = match until {
                Until::Durable if bodies.is_empty() => None,
                Until::Durable => Some(Due::Order(Instant::now() + IDLE)),
                Until::Written => due
                    .filter(|due| matches!(due, Due::Sync(_)))
                    .or_else(|| Some(Due::Sync(Instant::now() + VOLATILE_MAX))),
            };
            bodies.clear();
            self.progress.reach(reached);
        }
        self.storage.append(&[], Until::Durable)
    }

    /// What comes first: an entry, or the time at which something is due.
    fn next(&self, due: Option<Due>) -> Option<Next> {
        let Some(Due::Sync(due) | Due::Order(due)) = due else {
            return self.entries.recv_blocking().ok().map(Next::Entry);
        };
        match receive_until(&self.entries, due) {
            Some(received) => received.ok().map(Next::Entry),
            None => Some(Next::Due),
        }
    }
}

impl Drop for Writer {
    /// Whatever ended the thread, nobody must wait for it.
    fn drop(&mut self) {
        self.entries.close();
        if thread::panicking() {
            self.progress.fail(BrokerError::Panicked);
        }
    }
}

enum Next {
    Entry(Entry),
    Due,
}

/// What is to be done at some time if nothing is appended before; both by an append of nothing.
#[derive(Clone, Copy)]
enum Due {
    /// Something is volatile. Further entries do not put it off.
    Sync(Instant),
    /// All is durable, and the storage was not idle since.
    Order(Instant),
}

/// Waits for an entry, at most until `due`. Blocks this thread and nothing else: a timer of the
/// runtime would cost every append a message to its reactor.
fn receive_until(entries: &Receiver<Entry>, due: Instant) -> Option<Result<Entry, RecvError>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut received = pin!(entries.recv());
    loop {
        let polled = received.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(received) = polled {
            return Some(received);
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The encoded records of one append, end to end.
#[derive(Default)]
struct Bodies {
    bytes: Vec<u8>,
    ends: Vec<(Seq, usize)>,
}

impl Bodies {
    /// Memory kept from one append to the next.
    const KEPT_BYTES: usize = 1 << 20;

    fn push(&mut self, entry: Entry) -> Until {
        self.bytes = postcard::to_extend(&entry.events, std::mem::take(&mut self.bytes))
            .expect("writing into memory cannot fail, and every event serializes");
        self.ends.push((entry.seq, self.bytes.len()));
        entry.until
    }

    fn records(&self) -> Vec<Record<'_>> {
        let mut start = 0;
        let record = |&(seq, end): &(Seq, usize)| {
            let body = &self.bytes[start..end];
            start = end;
            Record { seq, body }
        };
        self.ends.iter().map(record).collect()
    }

    const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn last(&self) -> Option<Seq> {
        self.ends.last().map(|&(seq, _)| seq)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES);
        self.ends.clear();
    }
}
