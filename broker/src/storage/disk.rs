//! The journal in a directory of the disk.
//!
//! ```text
//!   files    the file system, as little of it as is needed, and a directory of the system
//!   format   the file FORMAT: what kind of journal this is, and its key
//!   frame    what one append adds, at once or not at all
//!   segment  a file of frames as it is read, and what its end means
//!   progress how much of a log was read, once a second
//!   recovery which segments count, where the log ends, all records in order
//!   index    in memory: which frame has which record
//!   writer   the end of the log as it grows; spare: the next segment
//!   probe    what is known of the disk before it is trusted
//!   inspect  for operators: look, check, copy what is good
//!   backup   a copy of a journal, also of one that is being written
//! ```
//!
//! The format, the rule that tells a torn tail from damage and all reasons are in docs/journal.md,
//! which changes in the same commit as this.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::files::{Directory, Files, Held, Lock};
use self::format::{Access, Found, Store};
use self::index::{Index, Spot};
use self::progress::Progress;
use self::recovery::Log;
use self::writer::Writer;
use super::{Extent, Flush, Record, Room, Seq, Storage, StorageError, Until};

mod backup;
pub mod files;
mod format;
mod frame;
mod index;
mod inspect;
mod probe;
mod progress;
mod recovery;
mod segment;
mod spare;
mod writer;

pub use inspect::{Entry, Inspection, Lost, Salvaged, SegmentSummary, Summary};

const LOCK: &str = "LOCK";

/// What a small record has at most: 64 KiB. While the current segment has room for one, appending it is
/// a write to memory of the system and nothing else.
const SMALL_BYTES: usize = 64 << 10;

/// How the journal uses its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment, rounded up to 4 KiB; at least 12 KiB. What was made with another size can
    /// be read.
    pub segment_bytes: u64,
    /// Free space on the file system that is left for others: with less there is no room for new
    /// work.
    pub min_free_bytes: u64,
    /// When the next segment is filled with zeros.
    pub fill: Fill,
}

/// When the next segment is filled with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// While the current one is being written.
    OnAThread,
    /// Before the current one is written: the same calls in the same order each time, for tests.
    AtOnce,
}

/// Which file systems a journal may be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Those that can keep what a journal promises, as far as is known.
    Trusted,
    /// Whatever it is; a warning says what.
    Any,
}

impl Default for Options {
    /// Segments of 64 MiB, 1 GiB for others, filled on a thread.
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, min_free_bytes: 1 << 30, fill: Fill::OnAThread }
    }
}

impl Options {
    const fn segment_blocks(&self) -> u64 {
        let blocks = self.segment_bytes.div_ceil(segment::BLOCK);
        if blocks < 3 { 3 } else { blocks }
    }
}

/// A journal in a directory, which is made where there is none.
///
/// ```
/// use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, Until};
///
/// let directory = tempfile::tempdir()?;
/// let mut journal = DiskStorage::new(directory.path());
/// let last = journal.replay(&mut |_| Ok(()))?;
/// journal.append(&[Record { seq: last.next(), body: b"hello" }], Until::Durable)?;
/// drop(journal);
///
/// let mut journal = DiskStorage::new(directory.path());
/// assert_eq!(journal.replay(&mut |record| Ok(assert_eq!(record.body, b"hello")))?, Seq(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DiskStorage {
    files: Arc<dyn Files>,
    options: Options,
    /// Whether the disk is looked at first.
    accept: Option<Accept>,
    flush_time: Option<Duration>,
    open: Option<Open>,
}

struct Open {
    writer: Writer,
    _lock: Box<dyn Held>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("last", &self.writer.last()).finish_non_exhaustive()
    }
}

impl DiskStorage {
    /// The journal in the directory at `path`. Nothing is touched before the replay.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(Directory::new(path)), Options::default())
    }

    /// The journal in some directory that may be no real one.
    pub fn on(files: Arc<dyn Files>, options: Options) -> Self {
        Self { files, options, accept: None, flush_time: None, open: None }
    }

    /// Looks at the disk before the replay touches the journal: refuses a file system that is not
    /// to be accepted, and measures how long a flush takes, which costs 33 of them.
    #[must_use]
    pub fn looking_first(mut self, accept: Accept) -> Self {
        self.accept = Some(accept);
        self
    }

    fn lock(&self) -> Result<Box<dyn Held>, StorageError> {
        let place = self.files.place("");
        match self.files.lock(LOCK, &std::process::id().to_string()) {
            Ok(Lock::Taken(held)) => Ok(held),
            Ok(Lock::HeldBy(holder)) => Err(StorageError::InUse { place, holder }),
            Err(error) => Err(failed(format!("lock {place}"), error)),
        }
    }

    fn recover(
        &self,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<Writer, StorageError> {
        let files = &*self.files;
        let names = names(files)?;
        let store = match format::read(files, &names, Access::Write)? {
            Found::Nothing => return self.create(&names),
            Found::Sound(store) => {
                Store::clear_new(files, &names)?;
                store
            }
            Found::OneCopy(store) => {
                let file = files.place(format::NAME);
                log::warn!(file; "one copy was damaged and is written again");
                store.write_new(files)?;
                Store::publish(files)?;
                store
            }
        };
        let log = Log::find(files, &store, &names)?;
        let mut progress = Progress::new(&log, Instant::now());
        let mut index = Index::default();
        log.walk(files, &store, &mut |place, record| {
            let (segment, block) = (place.segment.head.segment, place.header.block);
            if record.seq == place.header.first.max(log.end.start) {
                index.add(Spot { first: record.seq, segment, block });
            }
            if let Some(percent) = progress.after_record(segment, block, Instant::now) {
                let (records, directory) = (progress.records, files.place(""));
                log::info!(directory, records, percent; "reading the journal back");
            }
            visit(record)
        })?;
        if log.torn_bytes > 0 {
            let (file, bytes) =
                (files.place(&segment::name(log.last().head.segment)), log.torn_bytes);
            log::warn!(file, bytes; "cut off what was not wholly written");
        }
        Writer::after(Arc::clone(&self.files), store, self.options, &log, index)
    }

    fn create(&self, names: &[String]) -> Result<Writer, StorageError> {
        let files = &*self.files;
        let segments: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        match (&segments[..], names.iter().any(|name| name == format::NEW_NAME)) {
            ([], _) => {}
            // Making it was interrupted, before anything could be acknowledged.
            (&[1], true) => {
                let removed = files.remove(&segment::name(1)).and_then(|()| files.sync());
                removed.map_err(|error| failed(format!("clear {}", files.place("")), error))?;
            }
            (_, _) => {
                let reason = "the file is missing, and there are segments";
                return Err(damaged(files.place(format::NAME), reason));
            }
        }
        let store = Store::random()?;
        store.write_new(files)?;
        let writer = Writer::first(Arc::clone(&self.files), store, self.options)?;
        Store::publish(files)?;
        Ok(writer)
    }

    /// Lets `act` on what is open; after an error it is open no more.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Writer) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let Some(open) = &mut self.open else {
            let error = io::Error::other("it is not open, or an earlier error has ended it");
            return Err(failed(format!("use {}", self.files.place("")), error));
        };
        let done = act(&mut open.writer);
        if done.is_err() {
            self.open = None;
        }
        done
    }
}

impl Storage for DiskStorage {
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<Seq, StorageError> {
        self.open = None;
        if let Some(accept) = self.accept {
            probe::check_file_system(&*self.files, accept)?;
        }
        let lock = self.lock()?;
        if self.accept.is_some() {
            self.flush_time = Some(probe::flush_time(&*self.files)?);
        }
        let writer = self.recover(visit)?;
        let last = writer.last();
        self.open = Some(Open { writer, _lock: lock });
        Ok(last)
    }

    fn read(
        &mut self,
        wanted: &[Seq],
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.with(|writer| writer.read(wanted, visit))
    }

    fn append(&mut self, records: &[Record<'_>], until: Until) -> Result<(), StorageError> {
        self.with(|writer| writer.append(records, until))
    }

    fn append_to_flush(
        &mut self,
        records: &[Record<'_>],
        lane: usize,
    ) -> Result<Option<Box<dyn Flush>>, StorageError> {
        let flush = self.with(|writer| writer.append_to_flush(records, lane))?;
        Ok(flush.map(|flush| -> Box<dyn Flush> { Box::new(flush) }))
    }

    fn flushed(&mut self, flush: &dyn Flush) {
        if let Some(open) = &mut self.open {
            open.writer.flushed(flush.mark());
        }
    }

    fn appends_at_once(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.writer.has_room_for(SMALL_BYTES))
    }

    fn begin_anew(&mut self) -> Result<(), StorageError> {
        self.with(Writer::begin_anew)
    }

    fn compact(&mut self, from: Seq) -> Result<(), StorageError> {
        self.with(|writer| writer.compact(from))
    }

    fn room(&mut self) -> Room {
        // Whoever appends next is told of the error.
        self.with(Writer::room).unwrap_or(Room::NONE)
    }

    fn flush_time(&self) -> Option<Duration> {
        self.flush_time
    }
}

fn names(files: &dyn Files) -> Result<Vec<String>, StorageError> {
    files.names().map_err(|error| failed(format!("list {}", files.place("")), error))
}

fn failed(doing: impl Into<String>, source: io::Error) -> StorageError {
    StorageError::Io { doing: doing.into(), source }
}

/// Damage of a whole file, or of nobody knows how much of it.
fn damaged(place: impl Into<String>, reason: impl Into<String>) -> StorageError {
    let place = place.into();
    let extent = Extent { file: Some(place.clone()), ..Extent::default() };
    StorageError::Damaged { place, reason: reason.into(), extent: Box::new(extent) }
}

/// Damage of some bytes of a file, and of the records that they are known to have held.
fn damaged_bytes(
    file: &str,
    bytes: Range<u64>,
    records: Option<(Seq, Option<Seq>)>,
    reason: impl Into<String>,
) -> StorageError {
    let place = format!("{file}, bytes {} to {}", bytes.start, bytes.end);
    let extent = Extent { file: Some(file.to_owned()), bytes: Some(bytes), records };
    StorageError::Damaged { place, reason: reason.into(), extent: Box::new(extent) }
}

fn misplaced(seq: Seq, last: Seq) -> StorageError {
    StorageError::Damaged {
        place: format!("position {seq}"),
        reason: format!("the last position is {last}"),
        extent: Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options { segment_bytes: 64 << 10, min_free_bytes: 0, ..Options::default() }
    }

    #[test]
    fn disk_storage_keeps_the_contract() {
        super::super::contract::check(|| {
            let directory = tempfile::tempdir().expect("a directory for the test");
            move || DiskStorage::on(Arc::new(Directory::new(directory.path())), small())
        });
    }

    #[test]
    fn directory_in_use_is_refused_with_the_pid_of_its_holder() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let mut first = DiskStorage::on(Arc::new(Directory::new(directory.path())), small());
        first.replay(&mut |_| Ok(())).expect("an empty directory is made a journal");
        let second = DiskStorage::new(directory.path()).replay(&mut |_| Ok(()));
        let pid = std::process::id().to_string();
        assert!(matches!(second, Err(StorageError::InUse { holder, .. }) if holder == pid));
        assert_eq!(Inspection::new(directory.path()).holder().unwrap(), Some(pid));
        drop(first);
        assert_eq!(Inspection::new(directory.path()).holder().unwrap(), None);
    }
}
