//! The journal thread: makes records durable in groups while the broker goes on.
//!
//! Not how they are kept, which is the [`Storage`]'s, and not who waits for them, which is the
//! outbox's.
//!
//! ```text
//!   engine ── records, at most WAITING_MAX ─▶ thread: all that wait in one append, one sync
//!      ▲                                         │
//!      └── Progress: written, durable; room; ────┘
//!          the log is long: state all anew
//!
//!   engine ── Load: payloads that only the journal has ─▶ thread ── Progress: here they are ─▶ engine
//! ```
//!
//! Compaction: when the log has twice the bytes that stating everything anew takes, and at least
//! [`Limits::compact_after`], the engine has the machine do that, as records like any other. Once they
//! are durable the storage forgets what was before them. So the log has at most twice the bytes that
//! it must have, and on average each byte is written at most twice. The thread asks, at most once a
//! second; the engine knows how much there is to state, and whether the disk takes it.

mod progress;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use async_channel::{Receiver, RecvError, Sender, TrySendError};
use ganger_machine::stated::{Restated, Stated};
use ganger_machine::{Event, Load};

mod payloads;

use self::progress::{Long, Room};
pub(crate) use self::progress::{Progress, Reached, Report};
use crate::error::{BrokerError, StartError};
use crate::storage::{self, Record, Seq, Storage, StorageError, Until};

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

/// With less room than this for new work, 16 MiB, it is time to compact and to look again whether
/// there is more.
const LOW_BYTES: u64 = 16 << 20;

/// How often to look for more room where there is little.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a start has read back from the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Jobs that they have left: waiting, leased or dead. The journal's thread does not count them.
    pub jobs: u64,
    /// From the first look at the storage until it takes records.
    pub took: Duration,
    /// See [`Storage::flush_time`].
    pub flush_time: Option<Duration>,
}

/// What an operator decides about the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes up to which a log is left to grow.
    pub(crate) compact_after: u64,
}

/// What the thread is to do.
enum Entry {
    /// Add a record.
    Record {
        seq: Seq,
        events: Vec<Event>,
        until: Until,
        /// What the machine had taken of the room then.
        taken: u64,
        /// Payloads that belong into the events and are in earlier records.
        missing: Vec<(usize, Load)>,
    },
    /// Read payloads from earlier records.
    Load(Vec<Load>),
    /// Forget the records before this one.
    Forget { before: Seq },
}

/// Whether a restatement begins with these events.
fn begins(events: &[Event]) -> bool {
    matches!(events.first(), Some(Event::Stated(Stated::Begins { .. })))
}

impl Entry {
    /// Whether earlier records must be written before it can be dealt with.
    fn looks_back(&self) -> bool {
        match self {
            Self::Record { missing, events, .. } => !missing.is_empty() || begins(events),
            Self::Load(_) => true,
            Self::Forget { .. } => false,
        }
    }
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
        limits: Limits,
        mut apply: impl FnMut(Seq, Event),
    ) -> Result<(Self, JournalThread, Replayed), StartError> {
        let (entries, entries_there) = async_channel::bounded(WAITING_MAX);
        let (replayed_there, replayed) = async_channel::bounded(4);
        let progress = Arc::new(Progress::default());
        let writer = Writer {
            storage,
            entries: entries_there,
            held: None,
            progress: Arc::clone(&progress),
            log: LogSize { limits, bytes: 0, stated: 0, asked: false, again: Instant::now() },
            taken: 0,
        };
        let thread = ganger_rt::thread("journal", move || writer.run(&replayed_there))
            .map_err(StartError::Thread)?;
        let (last, summary) = loop {
            match replayed.recv().await {
                Ok(Replay::Events(events)) => {
                    events.into_iter().for_each(|(seq, event)| apply(seq, event));
                }
                Ok(Replay::All(last)) => break last?,
                Err(RecvError) => {
                    return Err(StartError::Thread(std::io::Error::other("it panicked")));
                }
            }
        };
        Ok((Self { entries, progress, last }, JournalThread(thread), summary))
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

    /// Hands `events` over as one record; `taken` is what the machine has taken of the room, theirs
    /// included.
    ///
    /// # Errors
    ///
    /// The thread has ended, after an error of the storage.
    pub(crate) fn append(
        &mut self,
        events: Vec<Event>,
        until: Until,
        taken: u64,
    ) -> Result<(), Closed> {
        self.record(Restated { events, missing: Vec::new() }, until, taken)
    }

    /// Hands over a part of a restatement as one record, which nobody waits for.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub(crate) fn restate(&mut self, part: Restated, taken: u64) -> Result<(), Closed> {
        self.record(part, Until::Written, taken)
    }

    fn record(&mut self, part: Restated, until: Until, taken: u64) -> Result<(), Closed> {
        self.last = self.last.next();
        let Restated { events, missing } = part;
        self.hand_over(Entry::Record { seq: self.last, events, until, taken, missing })
    }

    /// Asks for payloads. They come with the [`Progress`].
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub(crate) fn load(&self, loads: Vec<Load>) -> Result<(), Closed> {
        self.hand_over(Entry::Load(loads))
    }

    /// Has the storage forget the records before `seq`, once all that were handed over are durable.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub(crate) fn forget(&mut self, before: Seq) -> Result<(), Closed> {
        self.hand_over(Entry::Forget { before })
    }

    fn hand_over(&self, entry: Entry) -> Result<(), Closed> {
        match self.entries.try_send(entry) {
            Ok(()) => Ok(()),
            // Whoever adds looks at `is_full` first, so this is rare: threads that looked at once,
            // and a restatement.
            Err(TrySendError::Full(entry)) => self.entries.send_blocking(entry).map_err(|_| Closed),
            Err(TrySendError::Closed(_)) => Err(Closed),
        }
    }
}

/// The journal takes nothing more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

enum Replay {
    Events(Vec<(Seq, Event)>),
    All(Result<(Seq, Replayed), StorageError>),
}

/// The thread's own.
struct Writer {
    storage: Box<dyn Storage>,
    entries: Receiver<Entry>,
    /// Taken from the entries, and has its turn after what is being written.
    held: Option<Entry>,
    progress: Arc<Progress>,
    log: LogSize,
    /// What the machine had taken of the room at the last record.
    taken: u64,
}

/// How long the log is.
struct LogSize {
    limits: Limits,
    /// Bytes of records since the last restatement began, that included.
    bytes: u64,
    /// Bytes of the last restatement.
    stated: u64,
    /// The engine was asked for another one, and has not declined.
    asked: bool,
    /// Not to be asked before this.
    again: Instant,
}

impl LogSize {
    fn add(&mut self, events: &[Event], bytes: usize) {
        let bytes = bytes as u64;
        if begins(events) {
            (self.stated, self.bytes) = (0, 0);
        }
        if let Some(Event::Stated(_)) = events.first() {
            self.stated += bytes;
        }
        self.bytes += bytes;
    }

    /// The question whether to state everything anew, if it is time to ask it.
    fn ask(&mut self, room: storage::Room) -> Option<Long> {
        let floor = if room.bytes < LOW_BYTES { LOW_BYTES / 4 } else { self.limits.compact_after };
        let asks = !self.asked && self.bytes > floor && Instant::now() >= self.again;
        self.asked |= asks;
        asks.then_some(Long { bytes: self.bytes, room: room.restatement })
    }

    /// The engine has declined: it would not pay, or not fit.
    fn ask_later(&mut self) {
        (self.asked, self.again) = (false, Instant::now() + LOOK_AGAIN);
    }
}

impl Writer {
    fn run(mut self, starter: &Sender<Replay>) {
        let replayed = self.replay(starter);
        let started = replayed.as_ref().ok().copied();
        // If nobody listens any more, the broker was given up while it started.
        let listened = starter.send_blocking(Replay::All(replayed)).is_ok();
        starter.close();
        let Some((last, _)) = started.filter(|_| listened) else { return };
        if let Err(error) = self.write(last) {
            self.progress.fail(BrokerError::Storage(error));
        }
    }

    fn replay(&mut self, starter: &Sender<Replay>) -> Result<(Seq, Replayed), StorageError> {
        let begun = Instant::now();
        let mut summary = Replayed::default();
        let mut batch = Vec::new();
        let send = |batch: &mut Vec<(Seq, Event)>| {
            // A starter that is gone is noticed at the end of the replay.
            let _ = starter.send_blocking(Replay::Events(std::mem::take(batch)));
        };
        let last = self.storage.replay(&mut |record| {
            let events = storage::events(&record)?;
            self.log.add(&events, record.body.len());
            summary.records += 1;
            summary.bytes += record.body.len() as u64;
            batch.extend(events.into_iter().map(|event| (record.seq, event)));
            if batch.len() >= REPLAY_BATCH {
                send(&mut batch);
            }
            Ok(())
        })?;
        send(&mut batch);
        summary.took = begun.elapsed();
        summary.flush_time = self.storage.flush_time();
        Ok((last, summary))
    }

    /// Writes until the engine has dropped its end, and then what is left.
    fn write(&mut self, last: Seq) -> Result<(), StorageError> {
        let mut reached = Reached { written: last, durable: last };
        let mut bodies = Bodies::default();
        let mut due = self.report(reached);
        while let Some(first) = self.next(due) {
            let (mut until, mut forget) = match first {
                Next::Entry(Entry::Load(loads)) => {
                    let loaded = payloads::read(&mut *self.storage, loads)?;
                    self.progress.loaded(loaded);
                    continue;
                }
                Next::Entry(entry) => self.push(entry, &mut bodies)?,
                Next::Due => (Until::Durable, None),
            };
            while forget.is_none() && bodies.bytes.len() < GROUP_BYTES_MAX {
                let Ok(entry) = self.entries.try_recv() else { break };
                if entry.looks_back() {
                    self.held = Some(entry);
                    break;
                }
                let pushed = self.push(entry, &mut bodies)?;
                (until, forget) = (until.max(pushed.0), pushed.1);
            }
            self.storage.append(&bodies.records(), until)?;
            reached.written = bodies.last().unwrap_or(reached.written);
            if let Some(before) = forget {
                self.storage.compact(before)?;
                self.log.asked = false;
                log::info!(bytes = self.log.stated, from:% = before; "journal compacted");
            }
            if until == Until::Durable {
                reached.durable = reached.written;
            }
            let looks_again = self.report(reached);
            due = match until {
                Until::Durable if bodies.is_empty() => looks_again,
                Until::Durable => Some(Due::Order(Instant::now() + IDLE)),
                Until::Written => due
                    .filter(|due| matches!(due, Due::Sync(_)))
                    .or_else(|| Some(Due::Sync(Instant::now() + VOLATILE_MAX))),
            };
            bodies.clear();
        }
        self.storage.append(&[], Until::Durable)
    }

    /// Adds an entry to those of one append: how far it must get, and what may be forgotten then.
    fn push(
        &mut self,
        entry: Entry,
        bodies: &mut Bodies,
    ) -> Result<(Until, Option<Seq>), StorageError> {
        match entry {
            Entry::Record { seq, mut events, until, taken, missing } => {
                if begins(&events) {
                    self.storage.begin_anew()?;
                }
                if !missing.is_empty() {
                    payloads::fill(&mut *self.storage, &mut events, missing)?;
                }
                let bytes = bodies.push(seq, &events);
                self.log.add(&events, bytes);
                self.taken = taken;
                Ok((until, None))
            }
            Entry::Load(_) => unreachable!("a load is dealt with before anything is added"),
            Entry::Forget { before } => Ok((Until::Durable, Some(before))),
        }
    }

    /// Tells the engine how far the journal has come. Returns when to look for room again, if there
    /// is little.
    fn report(&mut self, reached: Reached) -> Option<Due> {
        let room = self.storage.room();
        if self.progress.take_declined() {
            self.log.ask_later();
        }
        let long = self.log.ask(room);
        self.progress.report(reached, Room { bytes: room.bytes, taken: self.taken }, long);
        (room.bytes < LOW_BYTES).then(|| Due::Look(Instant::now() + LOOK_AGAIN))
    }

    /// What comes first: an entry, or the time at which something is due.
    fn next(&mut self, due: Option<Due>) -> Option<Next> {
        if let Some(entry) = self.held.take() {
            return Some(Next::Entry(entry));
        }
        let Some(Due::Sync(due) | Due::Order(due) | Due::Look(due)) = due else {
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
    /// There is little room for new work.
    Look(Instant),
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

    /// Returns how many bytes the record has.
    fn push(&mut self, seq: Seq, events: &[Event]) -> usize {
        let before = self.bytes.len();
        self.bytes = postcard::to_extend(events, std::mem::take(&mut self.bytes))
            .expect("writing into memory cannot fail, and every event serializes");
        self.ends.push((seq, self.bytes.len()));
        self.bytes.len() - before
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
