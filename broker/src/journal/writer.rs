//! What the journal writes, and how far it has got: the storage, in the hands of one thread at a time.
//!
//! Not when: the journal's threads decide that, and the engine for what cannot make it wait.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ganger_machine::Event;
use ganger_machine::event::Verdict;
use ganger_shared::codec;
use ganger_shared::kept::Kept;

use async_channel::Receiver;

use super::progress::{Long, Progress, Reached, Room};
use super::{Entry, Limits, Replayed, begins, payloads};
use crate::error::BrokerError;
use crate::storage::{self, Flush, Record, Seq, Storage, StorageError, Until};

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

/// A flush that takes less than this, 500 µs, is not worth another one beside it: what comes meanwhile is
/// written when it ends, all in one append, and fewer threads are woken.
const OVERLAP_MIN: Duration = Duration::from_micros(500);

/// The storage, and what was appended to it.
pub(super) struct Writer {
    storage: Box<dyn Storage>,
    entries: Receiver<Entry>,
    /// Taken from the entries, and has its turn after what is being written.
    held: Option<Entry>,
    progress: Arc<Progress>,
    reached: Reached,
    /// What is to be done when nothing is appended before.
    due: Option<Due>,
    bodies: Bodies,
    /// Records written by themselves since the last flush began.
    alone: u32,
    /// Flushes that have begun, in that order. None counts before those that began earlier: an error of
    /// one must not be overtaken by an answer that rests on a later one.
    flushing: VecDeque<Flushing>,
    /// Of the next one.
    flush_number: u64,
    /// What one takes, half of the times.
    flush_time: Duration,
    /// For the engine: see [`Writer::is_answered_for`].
    looks_again: Arc<AtomicBool>,
    has_failed: bool,
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
    pub(super) fn new(
        storage: Box<dyn Storage>,
        entries: Receiver<Entry>,
        limits: Limits,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            storage,
            entries,
            held: None,
            progress,
            reached: Reached::default(),
            due: None,
            bodies: Bodies::default(),
            alone: 0,
            flushing: VecDeque::new(),
            flush_number: 0,
            flush_time: Duration::from_micros(100),
            looks_again: Arc::default(),
            has_failed: false,
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
        self.flush_time = summary.flush_time.unwrap_or(self.flush_time);
        self.reached = Reached { written: last, durable: last };
        self.report();
        Ok((last, summary))
    }

    /// Whether a thread waits for a flush that will soon have ended, and then looks for entries: no other
    /// one need be woken for them.
    fn is_answered_for(&self) -> bool {
        !self.flushing.is_empty() && self.flush_time < OVERLAP_MIN
    }

    fn tell_who_looks(&self) {
        // Set and unset before entries are looked for, and read after one was added: one of the two
        // notices.
        self.looks_again.store(self.is_answered_for(), Ordering::SeqCst);
    }

    /// Says whether entries need no bell.
    pub(super) fn looks_again(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.looks_again)
    }

    /// When something is due for whoever has nothing else to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.due {
            Some(Due::Sync(due) | Due::Order(due) | Due::Look(due)) if !self.is_taken() => {
                Some(due)
            }
            Some(_) | None => None,
        }
    }

    /// Whether there is nothing for another thread to do.
    fn is_taken(&self) -> bool {
        self.has_failed || self.is_answered_for()
    }

    /// Writes what waits, as far as it goes into one append, or does what is due.
    pub(super) fn turn(&mut self, lane: usize) -> Turn {
        if self.is_taken() {
            return Turn::Nothing;
        }
        self.try_turn(lane).unwrap_or_else(|error| {
            self.fail(BrokerError::Storage(error));
            Turn::Nothing
        })
    }

    fn try_turn(&mut self, lane: usize) -> Result<Turn, StorageError> {
        let Some(first) = self.held.take().or_else(|| self.entries.try_recv().ok()) else {
            return self.catch_up(lane);
        };
        let (mut until, mut forget) = match first {
            Entry::Load(loads) => {
                let loaded = payloads::read(&mut *self.storage, loads)?;
                self.progress.loaded(loaded);
                return Ok(Turn::Done);
            }
            entry => self.push(entry)?,
        };
        while forget.is_none() && self.bodies.bytes.len() < GROUP_BYTES_MAX {
            let Ok(entry) = self.entries.try_recv() else { break };
            if entry.looks_back() {
                self.held = Some(entry);
                break;
            }
            let pushed = self.push(entry)?;
            (until, forget) = (until.max(pushed.0), pushed.1);
        }
        if until == Until::Durable && forget.is_none() {
            return self.append_and_flush(lane);
        }
        self.append(until)?;
        if let Some(before) = forget {
            self.storage.compact(before)?;
            self.log.asked = false;
            log::info!(bytes = self.log.stated, from:% = before; "journal compacted");
        }
        self.report();
        Ok(Turn::Done)
    }

    /// Adds an entry to those of one append: how far it must get, and what may be forgotten then.
    fn push(&mut self, entry: Entry) -> Result<(Until, Option<Seq>), StorageError> {
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
        }
    }

    fn push_record(&mut self, seq: Seq, events: &[Event], taken: u64) {
        let bytes = self.bodies.push(seq, events);
        self.log.add(events, bytes);
        self.taken = taken;
    }

    /// Appends what was pushed.
    fn append(&mut self, until: Until) -> Result<(), StorageError> {
        self.storage.append(&self.bodies.records(), until)?;
        self.appended();
        match until {
            Until::Written => self.due = Some(self.sync_due()),
            Until::Durable => self.has_flushed(),
        }
        Ok(())
    }

    /// Appends what was pushed, and makes it durable; that the caller waits for without this writer,
    /// if the storage allows it.
    fn append_and_flush(&mut self, lane: usize) -> Result<Turn, StorageError> {
        let begun = Instant::now();
        let flush = self.storage.append_to_flush(&self.bodies.records(), lane)?;
        self.appended();
        let Some(flush) = flush else {
            self.has_flushed();
            self.report();
            return Ok(Turn::Done);
        };
        let flush: Arc<dyn Flush> = flush.into();
        let number = self.flush_number;
        self.flush_number += 1;
        let (reached, ended) = (self.reached.written, false);
        self.flushing.push_back(Flushing {
            number,
            flush: Arc::clone(&flush),
            begun,
            reached,
            ended,
        });
        self.tell_who_looks();
        self.rest();
        Ok(Turn::Flush(number, flush))
    }

    fn appended(&mut self) {
        self.reached.written = self.bodies.last().unwrap_or(self.reached.written);
        self.bodies.clear();
    }

    fn has_flushed(&mut self) {
        self.reached.durable = self.reached.written;
        self.rest();
    }

    /// The flush of this number has ended.
    pub(super) fn flushed(&mut self, number: u64, outcome: Result<(), StorageError>) {
        let Some(flushing) = self.flushing.iter_mut().find(|flushing| flushing.number == number)
        else {
            return;
        };
        flushing.ended = true;
        // Follows the median, whatever single ones take.
        let is_longer = flushing.begun.elapsed() > self.flush_time;
        self.flush_time = self.flush_time * if is_longer { 9 } else { 7 } / 8;
        self.flush_time = self.flush_time.max(Duration::from_micros(1));
        if let Err(error) = outcome {
            self.fail(BrokerError::Storage(error));
        }
        let mut reached = None;
        while self.flushing.front().is_some_and(|flushing| flushing.ended)
            && let Some(first) = self.flushing.pop_front()
        {
            reached = Some(first);
        }
        self.tell_who_looks();
        if let Some(last) = reached.filter(|_| !self.has_failed) {
            self.storage.flushed(&*last.flush);
            self.reached.advance(Reached { written: last.reached, durable: last.reached });
            self.report();
        }
    }

    /// Nothing is volatile that is not being flushed: put in order what was written if this lasts.
    fn rest(&mut self) {
        self.alone = 0;
        self.due = Some(Due::Order(Instant::now() + IDLE));
    }

    /// Does what is due.
    fn catch_up(&mut self, lane: usize) -> Result<Turn, StorageError> {
        match self.due {
            Some(Due::Sync(due)) if Instant::now() >= due => self.append_and_flush(lane),
            Some(Due::Order(due)) if Instant::now() >= due && !self.flushing.is_empty() => {
                self.rest();
                Ok(Turn::Nothing)
            }
            // A storage that has failed when it was asked for room says so here.
            Some(Due::Order(due) | Due::Look(due)) if Instant::now() >= due => {
                self.append(Until::Durable)?;
                self.due = None;
                self.report();
                Ok(Turn::Nothing)
            }
            Some(_) | None => Ok(Turn::Nothing),
        }
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

    /// Makes durable what is left.
    pub(super) fn finish(&mut self) {
        if !self.has_failed
            && let Err(error) = self.storage.append(&[], Until::Durable)
        {
            self.fail(BrokerError::Storage(error));
        }
    }

    /// Nothing more is written: nobody knows what has become of what was.
    pub(super) fn fail(&mut self, error: BrokerError) {
        self.has_failed = true;
        self.progress.fail(error);
        self.close();
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.entries.close();
    }

    /// Tells the engine how far the journal has come, and notes when to look for room again, if there
    /// is little.
    fn report(&mut self) {
        let room = self.storage.room();
        if self.progress.take_declined() {
            self.log.ask_later();
        }
        let long = self.log.ask(room);
        self.progress.report(self.reached, Room { bytes: room.bytes, taken: self.taken }, long);
        if room.bytes < LOW_BYTES && self.due.is_none() {
            self.due = Some(Due::Look(Instant::now() + LOOK_AGAIN));
        }
    }
}

/// What a thread has done with the [`Writer`], and is to do without.
pub(super) enum Turn {
    /// Something is written; this makes it durable, and is to be told by its number when it has ended.
    Flush(u64, Arc<dyn Flush>),
    /// Something; there may be more.
    Done,
    /// Nothing is to be done.
    Nothing,
}

/// A flush on its way, and what is durable after it and all before it.
struct Flushing {
    number: u64,
    flush: Arc<dyn Flush>,
    begun: Instant,
    reached: Seq,
    ended: bool,
}

/// A record was written by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) reached: Reached,
    /// The first one since the last sync: the journal's threads do not know that they must sync.
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
    kept: Kept,
}

impl Bodies {
    /// Returns how many bytes the record has.
    fn push(&mut self, seq: Seq, events: &[Event]) -> usize {
        let before = self.bytes.len();
        codec::append(&events, &mut self.bytes);
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

    fn last(&self) -> Option<Seq> {
        self.ends.last().map(|&(seq, _)| seq)
    }

    fn clear(&mut self) {
        self.kept.clear(&mut self.bytes);
        self.ends.clear();
    }
}
