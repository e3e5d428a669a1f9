//! The journal: makes records durable in groups while the broker goes on.
//!
//! Not how they are kept, which is the [`Storage`]'s, and not who waits for them, which is the
//! outbox's.
//!
//! ```text
//!   engine ── records, at most WAITING_MAX ─▶ a thread: all that wait in one append, one flush
//!      ▲                                         │
//!      └── Progress: written, durable; room; ────┘
//!          the log is long: state all anew
//!
//!   engine ── a small record that need not be durable, while the thread rests ─▶ written at once
//!
//!   engine ── Load: payloads that only the journal has ─▶ thread ── Progress: here they are ─▶ engine
//! ```
//!
//! Compaction: when the log has twice the bytes that stating everything anew takes, and at least
//! [`Limits::compact_after`], the engine has the machine do that, as records like any other. Once they
//! are durable the storage forgets what was before them. So the log has at most twice the bytes that
//! it must have, and on average each byte is written at most twice. The thread asks, at most once a
//! second; the engine knows how much there is to state, and whether the disk takes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::{RecvError, Sender, TrySendError};
use ganger_machine::stated::{Restated, Stated};
use ganger_machine::{Event, Load};

mod payloads;
mod progress;
mod thread;
mod writer;

pub(crate) use self::progress::{Progress, Reached, Report};
use self::thread::Keeper;
use self::writer::{Alone, Writer};
use crate::error::{BrokerError, StartError};
use crate::storage::{Seq, Storage, StorageError, Until};

/// Records on their way to the thread, at most. Their payloads are the machine's own, shared, and
/// count towards its memory; so this bounds only how far the machine can be ahead of the disk.
const WAITING_MAX: usize = 1_024;

/// Threads of the journal: while one waits for the disk, another one writes what came meanwhile and has
/// that flushed too, so that a job's ending need not wait for the end of the flush of its beginning.
const LANES: usize = 3;

/// What a start has read back from the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Jobs that they have left: waiting, leased or dead. The journal's threads do not count them.
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

/// What a thread is to do.
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
    /// Wakes one of the threads.
    bell: Sender<()>,
    /// One of them is awake, and will look by itself.
    looks_again: Arc<AtomicBool>,
    writer: Arc<Mutex<Writer>>,
    progress: Arc<Progress>,
    last: Seq,
}

/// Dropping the [`Journal`] lets the threads write what there is and end.
#[derive(Debug)]
pub(crate) struct JournalThreads(Vec<JoinHandle<()>>);

impl JournalThreads {
    /// Waits for the end of the threads.
    pub(crate) async fn join(self) {
        for thread in self.0 {
            let ended = ganger_rt::unblock(move || thread.join()).await;
            if ended.is_err() {
                log::error!("a journal thread panicked");
            }
        }
    }
}

impl Journal {
    /// Starts the threads, and shows `apply` what the storage has kept.
    pub(crate) async fn start(
        storage: Box<dyn Storage>,
        limits: Limits,
        mut apply: impl FnMut(Seq, Event),
    ) -> Result<(Self, JournalThreads, Replayed), StartError> {
        let (entries, entries_there) = async_channel::bounded(WAITING_MAX);
        let (bell, rings) = async_channel::bounded(1);
        let (replayed_there, replayed) = async_channel::bounded(4);
        let progress = Arc::new(Progress::default());
        let writer = Writer::new(storage, entries_there, limits, Arc::clone(&progress));
        let looks_again = writer.looks_again();
        let writer = Arc::new(Mutex::new(writer));
        let keeper = |lane| Keeper::new(lane, Arc::clone(&writer), rings.clone());
        let first = keeper(0);
        let start = move || first.replay(&replayed_there);
        let thread = ganger_rt::thread("journal", start).map_err(StartError::Thread)?;
        let mut threads = vec![thread];
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
        for lane in 1..LANES {
            let keeper = keeper(lane);
            let thread = ganger_rt::thread("journal", move || keeper.run());
            threads.push(thread.map_err(StartError::Thread)?);
        }
        let journal = Self { entries, bell, looks_again, writer, progress, last };
        Ok((journal, JournalThreads(threads), summary))
    }

    /// What the threads report.
    pub(crate) const fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Position of the last record.
    pub(crate) const fn last(&self) -> Seq {
        self.last
    }

    /// Whether the threads are so far behind that nothing should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Adds `events` as one record; `taken` is what the machine has taken of the room, theirs included.
    ///
    /// The thread writes it, unless that is done sooner than the thread would be awake: then the record
    /// is written on return, and how far the journal has come by it is returned.
    ///
    /// # Errors
    ///
    /// The storage has failed, and the thread has ended or will.
    pub(crate) fn append(
        &mut self,
        events: Vec<Event>,
        until: Until,
        taken: u64,
    ) -> Result<Option<Reached>, Closed> {
        if until == Until::Written
            && let Some(Alone { reached, is_first }) = self.append_alone(&events, taken)?
        {
            self.last = reached.written;
            if is_first {
                self.ring();
            }
            return Ok(Some(reached));
        }
        self.record(Restated { events, missing: Vec::new() }, until, taken)?;
        Ok(None)
    }

    fn append_alone(&self, events: &[Event], taken: u64) -> Result<Option<Alone>, Closed> {
        // While the thread writes or syncs, what comes is for it: nobody here waits for a disk.
        let Ok(mut writer) = self.writer.try_lock() else { return Ok(None) };
        writer.append_alone(self.last.next(), events, taken).map_err(|error| {
            writer.fail(BrokerError::Storage(error));
            Closed
        })
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
        let sent = match self.entries.try_send(entry) {
            Ok(()) => Ok(()),
            // Whoever adds looks at `is_full` first, so this is rare: threads that looked at once,
            // and a restatement.
            Err(TrySendError::Full(entry)) => self.entries.send_blocking(entry).map_err(|_| Closed),
            Err(TrySendError::Closed(_)) => Err(Closed),
        };
        self.ring();
        sent
    }

    fn ring(&self) {
        if !self.looks_again.load(Ordering::SeqCst) {
            // Where it has rung and nobody has come yet, whoever comes finds everything.
            let _ = self.bell.try_send(());
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
