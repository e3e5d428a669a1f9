//! For operators: what is in a directory, whether all of it is sound, and what can be saved of one
//! that is not.
//!
//! Reading only, but for the directory that [`Inspection::salvage`] makes. No lock is taken: a
//! journal that a broker has can be looked at, and what is just being written can look torn or wrong.

use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::{Record, Seq, Storage, StorageError, Until};

use super::files::{Directory, Files};
use super::format::{self, Access, Found, Store};
use super::frame::{Header, Kind, Records};
use super::recovery::Log;
use super::segment::{self, BLOCK, Fault, Link, Segment};
use super::{DiskStorage, LOCK, damaged, failed, names};

/// A look at the journal in a directory.
#[derive(Debug)]
pub struct Inspection {
    pub(super) files: Arc<dyn Files>,
}

/// What a journal consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Tells this journal from others.
    pub store_id: [u8; 16],
    /// Segments that count, oldest first.
    pub segments: Vec<SegmentSummary>,
    /// Segments that are there and not needed.
    pub unneeded: usize,
    /// Position of the first record that is needed.
    pub start: Seq,
    /// Position of the last record.
    pub last: Seq,
    /// The last of these records are proven durable by nothing that was written later; the next
    /// start writes them anew.
    pub unproven: u64,
    /// Bytes at the end that were not wholly written; the next start cuts them off.
    pub torn_bytes: u64,
    /// Whether both copies of the file FORMAT are sound.
    pub format_is_whole: bool,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its file.
    pub file: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// How much of it is used.
    pub used_bytes: u64,
    /// Position of its first record, or of the next one if it has none.
    pub first: Seq,
}

/// A record and its place.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The segment's file.
    pub file: &'a str,
    /// Where in it the record's frame begins.
    pub frame_offset: u64,
    /// The frame's number.
    pub frame: u64,
    /// The record.
    pub record: Record<'a>,
}

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// How many records the new journal has.
    pub records: u64,
    /// What it has not.
    pub lost: Vec<Lost>,
}

/// Records that could not be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Position of the first of them.
    pub from: Seq,
    /// Position of the last one; `None` if nothing is known of what followed.
    pub to: Option<Seq>,
    /// Which record of the new journal comes after the gap.
    pub before: Seq,
}

impl Inspection {
    /// Of the directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(Directory::new(path)))
    }

    /// Of some directory that may be no real one.
    pub fn on(files: Arc<dyn Files>) -> Self {
        Self { files }
    }

    /// Process id of the broker that has the journal, if one has.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn holder(&self) -> Result<Option<String>, StorageError> {
        let holder = self.files.holder(LOCK);
        holder.map_err(|error| failed(format!("look at {}", self.files.place(LOCK)), error))
    }

    /// Says what there is. Reads the last segment and one block of each other one.
    ///
    /// # Errors
    ///
    /// Damage that is met on the way, and errors of the system.
    pub fn stat(&self) -> Result<Summary, StorageError> {
        let (store, format_is_whole, log) = self.find()?;
        Ok(self.summary(&store, format_is_whole, &log))
    }

    /// Reads all that is needed, and checks every frame, record and invariant.
    ///
    /// # Errors
    ///
    /// The first damage that is met, and errors of the system.
    pub fn verify(&self) -> Result<Summary, StorageError> {
        self.dump(&mut |_| Ok(()))
    }

    /// Shows every record that is needed, in order, and checks all as [`verify`](Self::verify) does.
    ///
    /// # Errors
    ///
    /// Those of `verify`, and the first one that `visit` returns.
    pub fn dump(
        &self,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), StorageError>,
    ) -> Result<Summary, StorageError> {
        let (store, format_is_whole, log) = self.find()?;
        log.walk(&*self.files, &store, &mut |place, record| {
            visit(Entry {
                file: &place.segment.place,
                frame_offset: place.header.block * BLOCK,
                frame: place.header.number,
                record,
            })
        })?;
        Ok(self.summary(&store, format_is_whole, &log))
    }

    /// Makes a new journal of all records here that are sound, in order. They are counted anew, from
    /// 1, for positions have no gaps.
    ///
    /// It takes more for sound than a broker does: what comes after a damaged place, and an end
    /// that looks torn. So records can come back that were never acknowledged.
    ///
    /// # Errors
    ///
    /// The file FORMAT is lost, or `out` is not empty, and errors of the system.
    pub fn salvage(&self, out: DiskStorage) -> Result<Salvaged, StorageError> {
        let (store, _) = self.store(&names(&*self.files)?, Access::Read)?;
        let mut out = Salvage::begin(out)?;
        let mut numbers: Vec<u64> =
            names(&*self.files)?.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let start = self.greatest_start(&store, &numbers)?;
        out.expected = start;
        for (index, &number) in numbers.iter().enumerate() {
            // What the next sound segment says of this one.
            let next = numbers[index + 1..]
                .iter()
                .find_map(|&next| Segment::open(&*self.files, &store, next).ok());
            let (blocks, end) = match &next {
                Some(next) if next.head.previous == number => {
                    (next.head.previous_blocks, next.header.first)
                }
                // It does not count, or was taken into that one.
                Some(next) if next.head.previous < number => continue,
                Some(next) => (u64::MAX, next.header.first),
                None => (u64::MAX, Seq(u64::MAX)),
            };
            out.damage_after = false;
            self.frames(&store, number, blocks, |segment, found| {
                match found {
                    Ok(header) => {
                        out.damage_after = false;
                        out.known = out.known.max(Link::after(&header).next.min(end));
                        let body = match header.kind {
                            Kind::Head => return Ok(()),
                            Kind::Records => segment.body(),
                        };
                        for record in Records::new(&header, body).flatten() {
                            if (start..end).contains(&record.seq) {
                                out.take(record)?;
                            }
                        }
                    }
                    Err(Fault::Blank | Fault::End) => {}
                    Err(Fault::Wrong(_) | Fault::Incomplete(_)) => out.damage_after = true,
                }
                Ok(())
            })?;
        }
        out.finish()
    }

    pub(super) fn store(
        &self,
        names: &[String],
        access: Access,
    ) -> Result<(Store, bool), StorageError> {
        match format::read(&*self.files, names, access)? {
            Found::Sound(store) => Ok((store, true)),
            Found::OneCopy(store) => Ok((store, false)),
            Found::Nothing => Err(damaged(self.files.place(format::NAME), "there is no such file")),
        }
    }

    fn find(&self) -> Result<(Store, bool, Log), StorageError> {
        let names = names(&*self.files)?;
        let (store, format_is_whole) = self.store(&names, Access::Read)?;
        let log = Log::find(&*self.files, &store, &names)?;
        Ok((store, format_is_whole, log))
    }

    pub(super) fn summary(&self, store: &Store, format_is_whole: bool, log: &Log) -> Summary {
        let segments = log.parts.iter().map(|part| SegmentSummary {
            file: self.files.place(&segment::name(part.head.segment)),
            size_bytes: part.size_bytes,
            used_bytes: segment::bytes(part.blocks),
            first: part.first,
        });
        Summary {
            store_id: store.id,
            segments: segments.collect(),
            unneeded: log.unneeded.len(),
            start: log.end.start,
            last: Seq(log.end.next.0 - 1),
            unproven: log.end.next.0 - log.sound.link.next.0,
            torn_bytes: log.torn_bytes,
            format_is_whole,
        }
    }

    /// What the latest compaction said, of those that can be read.
    fn greatest_start(&self, store: &Store, numbers: &[u64]) -> Result<Seq, StorageError> {
        let mut start = Seq::FIRST;
        for &number in numbers {
            self.frames(store, number, u64::MAX, |_, found| {
                start = found.map_or(start, |header| start.max(header.start));
                Ok(())
            })?;
        }
        Ok(start)
    }

    /// Looks for frames at every block up to some, and shows what is there.
    fn frames(
        &self,
        store: &Store,
        number: u64,
        blocks: u64,
        mut show: impl FnMut(&Segment, Result<Header, Fault>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut segment = Segment::open_headless(&*self.files, store, number)?;
        let blocks = blocks.min(segment.size_bytes / BLOCK);
        let mut block = 0;
        while block < blocks {
            let found = segment.any_frame(block, blocks)?;
            block += found.as_ref().map_or(1, Header::blocks);
            show(&segment, found)?;
        }
        Ok(())
    }
}

/// A new journal that is being filled.
struct Salvage {
    out: DiskStorage,
    /// Position, in the old journal, of the record that comes next if none is lost.
    expected: Seq,
    /// Position, in the old journal, that some sound frame says comes next.
    known: Seq,
    /// Something that is not sound is at the end.
    damage_after: bool,
    /// In the new journal.
    last: Seq,
    lost: Vec<Lost>,
}

impl Salvage {
    fn begin(mut out: DiskStorage) -> Result<Self, StorageError> {
        let last = out.replay(&mut |_| Ok(()))?;
        if last != Seq::START {
            let reason = format!("it is not empty: it has records up to {last}");
            return Err(damaged(out.files.place(""), reason));
        }
        Ok(Self {
            out,
            expected: Seq::FIRST,
            known: Seq::FIRST,
            damage_after: false,
            last,
            lost: Vec::new(),
        })
    }

    fn take(&mut self, record: Record<'_>) -> Result<(), StorageError> {
        if record.seq < self.expected {
            // A copy of one that was taken.
            return Ok(());
        }
        let seq = self.last.next();
        if record.seq > self.expected {
            let to = Some(Seq(record.seq.0 - 1));
            self.lost.push(Lost { from: self.expected, to, before: seq });
        }
        self.out.append(&[Record { seq, body: record.body }], Until::Written)?;
        self.last = seq;
        self.expected = record.seq.next();
        Ok(())
    }

    fn finish(mut self) -> Result<Salvaged, StorageError> {
        if self.known > self.expected || self.damage_after {
            let to = (self.known > self.expected).then(|| Seq(self.known.0 - 1));
            self.lost.push(Lost { from: self.expected, to, before: self.last.next() });
        }
        self.out.append(&[], Until::Durable)?;
        Ok(Salvaged { records: self.last.0, lost: self.lost })
    }
}
