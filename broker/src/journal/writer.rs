//! What the journal writes, and how far it has got: the storage, in the hands of one thread at a time.
//!
//! Not when: the journal's thread decides that, and the engine for what cannot make it wait.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_machine::event::Verdict;
use ganger_machine::{Event, Load};

use super::progress::{Long, Progress, Reached, Room};
use super::{Entry, Limits, Replayed, begins, payloads};
use crate::storage::{self, Record, Seq, Storage, StorageError, Until};

/// Bytes in one append, unless a single record has more. What waits longer than this takes would
/// delay those who wait for the first of them.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// How long something that was written may stay volatile: what `relaxed` promises.
const VOLATILE_MAX: Duration = Duration::from_millis(100);

/// After so much idleness the storage may put in order what it has written: see
/// [`Storage::append`]. Long beside a sync, short beside a person with a plug in the hand.
const IDLE: Duration = Duration::from_millis(10);

/// With less room than this for new work, 16 MiB, it is time to compact and to look again whether
/// there is more.
const LOW_BYTES: u64 = 16 << 20;

/// How often to look for more room where there is little.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Records that are written by themselves between two syncs, at most: 4,096, which take a block of
/// 4 KiB each. What comes faster than that is better written by the thread, many in one append.
const ALONE_MAX: u32 = 4_096;

/// Bytes of a record that is written by itself, about 16 KiB at most: up to there, writing it costs
/// less than waking a thread.
const ALONE_BYTES_MAX: usize = 16 << 10;

/// The storage, and what was appended to it.
pub(super) struct Writer {
    storage: Box<dyn Storage>,
    progress: Arc<Progress>,
    reached: Reached,
    /// What is to be done when nothing is appended before.
    due: Option<Due>,
    bodies: Bodies,
    /// Records written by themselves since the last sync.
    alone: u32,
    log: LogSize,
    /// What the machine had taken of the room at the last record.
    taken: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("reached", &self.reached).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(storage: Box<dyn Storage>, limits: Limits, progress: Arc<Progress>) -> Self {
        Self {
            storage,
            progress,
            reached: Reached::default(),
            due: None,
            bodies: Bodies::default(),
            alone: 0,
            log: LogSize { limits, bytes: 0, stated: 0, asked: false, again: Instant::now() },
            taken: 0,
        }
    }

    /// Shows what the storage has kept to `visit`; the first thing that is done with it.
    pub(super) fn replay(
        &mut self,
        mut visit: impl FnMut(Seq, Vec<Event>),
    ) -> Result<(Seq, Replayed), StorageError> {
        let begun = Instant::now();
        let mut summary = Replayed::default();
        let Self { storage, log, .. } = self;
        let last = storage.replay(&mut |record| {
            let events = storage::events(&record)?;
            log.add(&events, record.body.len());
            summary.records += 1;
            summary.bytes += record.body.len() as u64;
            visit(record.seq, events);
            Ok(())
        })?;
        summary.took = begun.elapsed();
        summary.flush_time = storage.flush_time();
        self.reached = Reached { written: last, durable: last };
        self.due = self.report();
        Ok((last, summary))
    }

    /// When something is due.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.due {
            Some(Due::Sync(due) | Due::Order(due) | Due::Look(due)) => Some(due),
            None => None,
        }
    }

    /// Whether what is pushed already is enough for one append.
    pub(super) const fn is_full(&self) -> bool {
        self.bodies.bytes.len() >= GROUP_BYTES_MAX
    }

    /// Adds an entry to those of one append: how far it must get, and what may be forgotten then.
    pub(super) fn push(&mut self, entry: Entry) -> Result<(Until, Option<Seq>), StorageError> {
        match entry {
            Entry::Record { seq, mut events, until, taken, missing } => {
                if begins(&events) {
                    self.storage.begin_anew()?;
                }
                if !missing.is_empty() {
                    payloads::fill(&mut *self.storage, &mut events, missing)?;
                }
                self.push_record(seq, &events, taken);
                Ok((until, None))
            }
            Entry::Load(_) => unreachable!("a load is dealt with before anything is added"),
            Entry::Forget { before } => Ok((Until::Durable, Some(before))),
            Entry::Look => Ok((Until::Written, None)),
        }
    }

    fn push_record(&mut self, seq: Seq, events: &[Event], taken: u64) {
        let bytes = self.bodies.push(seq, events);
        self.log.add(events, bytes);
        self.taken = taken;
    }

    /// Appends what was pushed, forgets what may be forgotten then, and tells the engine.
    pub(super) fn append(&mut self, until: Until, forget: Option<Seq>) -> Result<(), StorageError> {
        self.storage.append(&self.bodies.records(), until)?;
        self.reached.written = self.bodies.last().unwrap_or(self.reached.written);
        if let Some(before) = forget {
            self.storage.compact(before)?;
            self.log.asked = false;
            log::info!(bytes = self.log.stated, from:% = before; "journal compacted");
        }
        if until == Until::Durable {
            self.reached.durable = self.reached.written;
            self.alone = 0;
        }
        let looks_again = self.report();
        self.due = match until {
            Until::Durable if self.bodies.is_empty() => looks_again,
            Until::Durable => Some(Due::Order(Instant::now() + IDLE)),
            Until::Written => Some(self.sync_due()),
        };
        self.bodies.clear();
        Ok(())
    }

    /// Appends one record that need not be durable, on a thread that must not wait, if that is quickly
    /// done and nothing before it is still to be written.
    ///
    /// Returns how far the journal has come by it.
    pub(super) fn append_alone(
        &mut self,
        seq: Seq,
        events: &[Event],
        taken: u64,
    ) -> Result<Option<Alone>, StorageError> {
        let is_next = self.reached.written.next() == seq;
        let bytes = events.iter().map(size_bytes).fold(0, usize::saturating_add);
        let is_quick = self.alone < ALONE_MAX && bytes <= ALONE_BYTES_MAX;
        if !is_next || !is_quick || !self.storage.appends_at_once() {
            return Ok(None);
        }
        self.push_record(seq, events, taken);
        self.storage.append(&self.bodies.records(), Until::Written)?;
        self.bodies.clear();
        self.reached.written = seq;
        self.alone += 1;
        let was_volatile = matches!(self.due, Some(Due::Sync(_)));
        self.due = Some(self.sync_due());
        Ok(Some(Alone { reached: self.reached, is_first: !was_volatile }))
    }

    /// When what is volatile is to be made durable: further records do not put it off.
    fn sync_due(&self) -> Due {
        let due = self.due.filter(|due| matches!(due, Due::Sync(_)));
        due.unwrap_or_else(|| Due::Sync(Instant::now() + VOLATILE_MAX))
    }

    /// Reads payloads for the machine.
    pub(super) fn load(&mut self, loads: Vec<Load>) -> Result<(), StorageError> {
        let loaded = payloads::read(&mut *self.storage, loads)?;
        self.progress.loaded(loaded);
        Ok(())
    }

    /// Makes durable what is left.
    pub(super) fn finish(&mut self) -> Result<(), StorageError> {
        self.storage.append(&[], Until::Durable)
    }

    /// Tells the engine how far the journal has come. Returns when to look for room again, if there
    /// is little.
    fn report(&mut self) -> Option<Due> {
        let room = self.storage.room();
        if self.progress.take_declined() {
            self.log.ask_later();
        }
        let long = self.log.ask(room);
        self.progress.report(self.reached, Room { bytes: room.bytes, taken: self.taken }, long);
        (room.bytes < LOW_BYTES).then(|| Due::Look(Instant::now() + LOOK_AGAIN))
    }
}

/// A record was written by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) reached: Reached,
    /// The first one since the last sync: the journal's thread does not know that it must sync.
    pub(super) is_first: bool,
}

/// About how many bytes an event takes.
fn size_bytes(event: &Event) -> usize {
    let block = match event {
        Event::Submitted { payloads: block, .. }
        | Event::Appended { items: block, .. }
        | Event::Ended { verdict: Verdict::Acked { outputs: block }, .. } => block.size_bytes(),
        Event::Stated(_) => ALONE_BYTES_MAX,
        _ => 0,
    };
    block.saturating_add(128)
}

/// What is to be done at some time if nothing is appended before; all by an append of nothing.
#[derive(Clone, Copy)]
enum Due {
    /// Something is volatile. Further entries do not put it off.
    Sync(Instant),
    /// All is durable, and the storage was not idle since.
    Order(Instant),
    /// There is little room for new work.
    Look(Instant),
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
