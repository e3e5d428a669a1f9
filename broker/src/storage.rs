//! Where the journal's records are kept: the seam between the broker and a disk, or whatever takes
//! its place.
//!
//! Not what the records say: to a storage a record is a number and some bytes. Not threads either:
//! calls block, one is made at a time, and only a [`Flush`] is run beside them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

pub use ganger_machine::{Event, Seq};

pub mod contract;
pub mod disk;
mod memory;

pub use disk::DiskStorage;
pub use memory::MemoryStorage;

/// One record: all or nothing of it is there after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position.
    pub seq: Seq,
    /// What it says.
    pub body: &'a [u8],
}

/// What a record of a broker's journal says.
///
/// # Errors
///
/// [`StorageError::Damaged`] if it is no list of events.
pub fn events(record: &Record<'_>) -> Result<Vec<Event>, StorageError> {
    postcard::from_bytes(record.body).map_err(|error| StorageError::Damaged {
        place: format!("record {}", record.seq),
        reason: format!("it is no list of events: {error}"),
        extent: Box::new(Extent {
            records: Some((record.seq, Some(record.seq))),
            ..Extent::default()
        }),
    })
}

/// How far [`Storage::append`] takes its records before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// They survive the end of the process.
    Written,
    /// They, and all before them, survive the loss of power.
    Durable,
}

/// How much more work a storage takes in.
///
/// What ends work that was taken in, and what states it again for a [`compact`](Storage::compact),
/// needs no room: for that the storage keeps a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room {
    /// Bytes on the disk, at least; how many an [`append`](Storage::append) takes is the storage's
    /// to say.
    pub bytes: u64,
    /// Bytes that a restatement may have, the reserve included.
    pub restatement: u64,
}

impl Room {
    /// Of a storage that has no bound of its own.
    pub const UNLIMITED: Self = Self { bytes: u64::MAX, restatement: u64::MAX };

    /// Of a storage that takes nothing.
    pub const NONE: Self = Self { bytes: 0, restatement: 0 };
}

/// Why a storage cannot go on. The broker ends on any of them: it never goes on without its log.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another broker has the storage. This one must not answer anybody any more.
    #[error("another broker has taken over the storage")]
    Fenced,
    /// Another process has the storage.
    #[error("{place} is in use by process {holder}")]
    InUse {
        /// Which storage.
        place: String,
        /// Its process id, or what is known of it.
        holder: String,
    },
    /// The storage was made by a program that knows more than this one.
    #[error("{place} cannot be opened by this version: {reason}")]
    Unsupported {
        /// Which storage.
        place: String,
        /// What this program does not know.
        reason: String,
    },
    /// The storage is where it cannot keep what it promises.
    #[error("{place} is on {reason}")]
    Untrusted {
        /// Which storage.
        place: String,
        /// Where that is, and what is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {doing}")]
    Io {
        /// Which operation on what.
        doing: String,
        /// What the system says.
        source: io::Error,
    },
    /// What is stored cannot be what was written.
    #[error("the storage is damaged at {place}: {reason}")]
    Damaged {
        /// Where: a file and an offset, or a position.
        place: String,
        /// What is wrong with it.
        reason: String,
        /// The same place, for programs.
        extent: Box<Extent>,
    },
}

/// Which part of a storage is damaged, as far as is known.
///
/// Shown as `file=/data/seg-0000000001 bytes=4096-8191 records=7-9`: the first and the last of each,
/// without the last one where nobody knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The file.
    pub file: Option<String>,
    /// Bytes of the file.
    pub bytes: Option<Range<u64>>,
    /// Positions of the first and the last record that are lost or cannot be read.
    pub records: Option<(Seq, Option<Seq>)>,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.file.as_ref().map(|file| format!("file={file}")));
        let bytes = self.bytes.as_ref().filter(|bytes| !bytes.is_empty());
        parts.extend(bytes.map(|bytes| format!("bytes={}-{}", bytes.start, bytes.end - 1)));
        parts.extend(self.records.map(|(first, last)| {
            let last = last.map_or_else(String::new, |last| last.to_string());
            format!("records={first}-{last}")
        }));
        f.write_str(&parts.join(" "))
    }
}

/// What is still to be done for records to survive the loss of power; see [`Storage::append_to_flush`].
pub trait Flush: fmt::Debug + Send + Sync {
    /// Does it, and waits for the disk.
    ///
    /// # Errors
    ///
    /// After any error nothing is known of the records, and the storage is of no more use.
    fn run(&self) -> Result<(), StorageError>;

    /// How far the log had got when this was made, in a measure of the storage's own.
    fn mark(&self) -> u64;
}

/// A journal of records that outlives the broker.
///
/// ```text
///   replay  ─▶  append, append, read, compact, append …
///   once        in the order of their positions
/// ```
///
/// An implementation must pass [`contract::check`].
pub trait Storage: Send + 'static {
    /// Shows every record to `visit`, in order, and returns the position of the last one that there
    /// ever was. After [`compact`](Self::compact) the first record shown is the one at its `from`.
    ///
    /// The first call on a storage. It takes the storage over: whoever had it before is fenced, or
    /// this call is refused.
    ///
    /// # Errors
    ///
    /// Those of the storage, and the first one that `visit` returns.
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<Seq, StorageError>;

    /// Shows the records at `wanted` to `visit`; those positions rise, none was forgotten, and all were
    /// appended, if not yet [`Durable`](Until::Durable).
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if one cannot be what was appended: it is not shown. Otherwise as for
    /// [`append`](Self::append).
    fn read(
        &mut self,
        wanted: &[Seq],
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError>;

    /// Adds `records`, whose positions follow on from the last one, and takes them and all before
    /// them as far as `until` says. With no records it only does the latter; called so when there is
    /// nothing else to do, it lets the storage put in order what it has written.
    ///
    /// # Errors
    ///
    /// After any error nothing is known of the records, and the storage is of no more use.
    fn append(&mut self, records: &[Record<'_>], until: Until) -> Result<(), StorageError>;

    /// Whether an [`append`](Self::append) of a small record, only [`Written`](Until::Written), is quickly
    /// done: it waits for no disk, and no thread needs to be kept from it.
    fn appends_at_once(&self) -> bool {
        false
    }

    /// Adds `records` as [`append`](Self::append) does, and leaves to the caller to make them and all
    /// before them durable, which may take long and needs no exclusive access: others append and flush
    /// meanwhile. Those who flush at the same time are in `lane`s of their own, from 0 on.
    ///
    /// `None` if they are durable on return.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    fn append_to_flush(
        &mut self,
        records: &[Record<'_>],
        lane: usize,
    ) -> Result<Option<Box<dyn Flush>>, StorageError> {
        let _ = lane;
        self.append(records, Until::Durable)?;
        Ok(None)
    }

    /// A flush has succeeded, and all that began before it.
    fn flushed(&mut self, flush: &dyn Flush) {
        let _ = flush;
    }

    /// What is appended from now on is to take the place of all before it, which
    /// [`compact`](Self::compact) then forgets: a storage that is made of pieces begins a new one.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    fn begin_anew(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Forgets the records before `from`, durably: whatever of them is still of use was stated again
    /// by records at or after it. Those, and all positions, stay as they are.
    ///
    /// `from` never goes back, and is at most the position after the last one: then no record is
    /// left.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    fn compact(&mut self, from: Seq) -> Result<(), StorageError>;

    /// How much new work may be appended. While callers keep to it, an append never fails for lack
    /// of space. A storage that was full looks here whether it still is.
    fn room(&mut self) -> Room {
        Room::UNLIMITED
    }

    /// How long it took to make one small write durable, half of the times, where that was measured
    /// before the replay.
    fn flush_time(&self) -> Option<Duration> {
        None
    }
}
