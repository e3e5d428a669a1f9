//! The end of the log as it grows: frames, syncs, the change from one segment to the next.
//!
//! ```text
//!   spare ── zeros, durable ──▶ head, sync ──▶ rename, sync of the directory ──▶ frames …
//!                                                └── only now is it a segment
//! ```
//!
//! What is not durable is in the current segment only. Any error ends the writer: whoever gets one
//! drops it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustix::io::Errno;

use crate::storage::{Flush, Record, Room, Seq, StorageError, Until};

use super::files::{File, Files};
use super::format::Store;
use super::frame::{
    self, BODY_BYTES_MAX, Draft, Header, Kind, RECORD_OVERHEAD_BYTES, Records, SegmentKey,
};
use super::index::{Index, Spot};
use super::recovery::Log;
use super::segment::{self, BLOCK, Head, Link, Segment};
use super::spare::{self, Spare};
use super::{Options, damaged_bytes, failed, misplaced};

/// A segment that is smaller than it should be has so many eighths of that: the first one of a
/// start, which is waited for, and a spare where there is no space for a whole one.
const STEPS: u64 = 8;

/// Of a segment: its head, a frame, and the block that stays zeros.
const LEAST_BLOCKS: u64 = 3;

pub(super) struct Writer {
    files: Arc<dyn Files>,
    store: Store,
    options: Options,
    /// Segments that count, oldest first, with the position of their first record. The last one is
    /// the current one.
    segments: VecDeque<(u64, Seq)>,
    index: Index,
    current: Current,
    /// The last frame, whose `durable` is what its header says.
    link: Link,
    /// Frames up to this number are synced.
    synced: u64,
    /// Something was written that no later frame proves.
    unsealed: bool,
    /// `None` where there is no space for it.
    spare: Option<Spare>,
    /// How much was free when there was no space for a whole spare.
    refused_at: Option<u64>,
    /// What fits into further segments, if that is known to be something.
    further: Option<u64>,
    draft: Draft,
}

/// Makes durable the frames of the current segment up to one of them. Those of earlier segments are: a
/// segment begins when the one before is synced.
#[derive(Debug)]
pub(super) struct SegmentFlush {
    file: Arc<dyn File>,
    place: String,
    number: u64,
}

impl Flush for SegmentFlush {
    fn run(&self) -> Result<(), StorageError> {
        self.file.sync().map_err(|error| failed(format!("sync {}", self.place), error))
    }

    fn mark(&self) -> u64 {
        self.number
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    let error = Errno::from_io_error(error);
    matches!(error, Some(Errno::MFILE | Errno::NFILE))
}

/// The segment that is being written.
struct Current {
    number: u64,
    file: Arc<dyn File>,
    key: SegmentKey,
    blocks: u64,
    /// Where the next frame goes.
    next: u64,
    /// The same file, opened once more for each lane of flushes: of a write that fails later the system
    /// tells everyone who has opened the file, but each of them once only, and with one for all the
    /// flush that is told need not be the one whose records are lost.
    lanes: Vec<Option<Arc<dyn File>>>,
}

impl Current {
    const fn new(number: u64, file: Arc<dyn File>, key: SegmentKey, blocks: u64) -> Self {
        Self { number, file, key, blocks, next: 0, lanes: Vec::new() }
    }

    /// Blocks for further frames. The last one stays zeros, so that a segment that has a successor
    /// can always be cut shorter than its head says.
    const fn room(&self) -> u64 {
        self.blocks - self.next - 1
    }
}

impl Writer {
    /// Makes the first segment of a journal.
    pub(super) fn first(
        files: Arc<dyn Files>,
        store: Store,
        options: Options,
    ) -> Result<Self, StorageError> {
        let (spare, blocks) = Self::begin(&*files, options, frame::blocks(Head::BYTES))?;
        let head = Head { segment: 1, blocks, previous: 0, previous_blocks: 0 };
        let mut writer = Self::new(files, store, options, &head, spare, Link::FIRST);
        writer.write_head(&head)?;
        writer.publish()?;
        writer.begin_spare()?;
        Ok(writer)
    }

    /// Goes on after a log: in a segment of its own, that begins with what was not proven.
    pub(super) fn after(
        files: Arc<dyn Files>,
        store: Store,
        options: Options,
        log: &Log,
        index: Index,
    ) -> Result<Self, StorageError> {
        let last = log.last();
        let unproven = last.blocks.saturating_sub(log.sound.blocks);
        let used = frame::blocks(Head::BYTES) + unproven;
        let (spare, blocks) = Self::begin(&*files, options, used)?;
        let segment = last.head.segment + 1;
        // A segment with nothing proven in it is not worth keeping.
        let is_empty = log.sound.blocks <= frame::blocks(Head::BYTES);
        let (head, link) = if is_empty {
            (Head { segment, blocks, ..last.head }, log.sound.before_head)
        } else {
            let (previous, previous_blocks) = (last.head.segment, log.sound.blocks);
            (Head { segment, blocks, previous, previous_blocks }, log.sound.link)
        };
        let mut writer = Self::new(files, store, options, &head, spare, link);
        writer.index = index;
        let kept = log.parts.len() - usize::from(is_empty);
        let older = log.parts[..kept].iter().map(|part| (part.head.segment, part.first));
        writer.segments = older.chain(writer.segments.iter().copied()).collect();
        writer.write_head(&head)?;
        log.unproven(&*writer.files.clone(), &writer.store.clone(), |header, body| {
            writer.draft.clear();
            writer.draft.copy(body, header.count);
            writer.write(Kind::Records, header.first, header.start)
        })?;
        writer.publish()?;
        if !is_empty {
            writer.cut(last.head.segment, log.sound.blocks)?;
        }
        let mut unneeded = log.unneeded.clone();
        unneeded.extend(is_empty.then_some(last.head.segment));
        writer.remove(unneeded)?;
        writer.forget_before(log.end.start)?;
        writer.begin_spare()?;
        Ok(writer)
    }

    fn new(
        files: Arc<dyn Files>,
        store: Store,
        options: Options,
        head: &Head,
        file: Arc<dyn File>,
        link: Link,
    ) -> Self {
        let number = head.segment;
        let key = SegmentKey::new(&store.key, number);
        Self {
            files,
            store,
            options,
            segments: VecDeque::from([(number, link.next)]),
            index: Index::default(),
            current: Current::new(number, file, key, head.blocks),
            link,
            synced: link.number,
            unsealed: false,
            spare: None,
            refused_at: None,
            further: None,
            draft: Draft::default(),
        }
    }

    /// Makes the file of the first segment to be written, of which some blocks are used at once. What
    /// an earlier start has left of one is of no use: it may not be zeros.
    ///
    /// It is a small one, for nobody is served before it is filled with zeros; and smaller still
    /// where there is no space for that.
    fn begin(
        files: &dyn Files,
        options: Options,
        used: u64,
    ) -> Result<(Arc<dyn File>, u64), StorageError> {
        let failed = |error| failed(format!("make {}", files.place(spare::NAME)), error);
        let names = files.names().map_err(failed)?;
        if names.iter().any(|name| name == spare::NAME) {
            files.remove(spare::NAME).map_err(failed)?;
        }
        // With room for a frame, and the block that stays zeros.
        let least = used + 2;
        let blocks = (options.segment_blocks() / STEPS).max(least);
        for blocks in [blocks, least] {
            let bytes = segment::bytes(blocks);
            if let Some(spare) = Spare::begin(files, bytes, options.fill).map_err(failed)? {
                let (file, bytes) = spare.finish(bytes).map_err(failed)?;
                return Ok((file, bytes / BLOCK));
            }
        }
        Err(failed(ErrorKind::StorageFull.into()))
    }

    /// Position of the last record.
    pub(super) const fn last(&self) -> Seq {
        Seq(self.link.next.0 - 1)
    }

    /// Whether a frame with so many bytes of records goes into the current segment.
    pub(super) const fn has_room_for(&self, bytes: usize) -> bool {
        frame::blocks(bytes) <= self.current.room()
    }

    pub(super) fn append(
        &mut self,
        records: &[Record<'_>],
        until: Until,
    ) -> Result<(), StorageError> {
        let mut first = self.link.next;
        let mut next = first;
        self.draft.clear();
        for &record in records {
            if record.seq != next {
                return Err(misplaced(record.seq, Seq(next.0 - 1)));
            }
            let bytes = record.body.len().saturating_add(RECORD_OVERHEAD_BYTES);
            if bytes > BODY_BYTES_MAX {
                let error = io::Error::new(
                    ErrorKind::FileTooLarge,
                    format!("it has {} bytes, the limit is {BODY_BYTES_MAX}", record.body.len()),
                );
                return Err(failed(format!("append record {}", record.seq), error));
            }
            if bytes > BODY_BYTES_MAX - self.draft.body_bytes() {
                self.write(Kind::Records, first, self.link.start)?;
                self.draft.clear();
                first = next;
            }
            self.draft.add(record);
            next = next.next();
        }
        if self.draft.count() > 0 {
            self.write(Kind::Records, first, self.link.start)?;
        }
        match until {
            Until::Written => Ok(()),
            Until::Durable => {
                self.sync()?;
                if records.is_empty() && self.unsealed {
                    self.seal()?;
                }
                Ok(())
            }
        }
    }

    /// Appends, and returns what makes all frames so far durable; nothing if they are.
    pub(super) fn append_to_flush(
        &mut self,
        records: &[Record<'_>],
        lane: usize,
    ) -> Result<Option<SegmentFlush>, StorageError> {
        self.append(records, Until::Written)?;
        let name = segment::name(self.current.number);
        let lanes = &mut self.current.lanes;
        lanes.resize(lanes.len().max(lane + 1), None);
        if lanes[lane].is_none() {
            lanes[lane] = match self.files.open(&name) {
                Ok(file) => Some(file),
                // Nor are there any for connections; this one file will do.
                Err(error) if is_out_of_files(&error) => None,
                Err(error) => return Err(self.failed("open", error)),
            };
        }
        let Some(file) = lanes[lane].clone() else {
            return self.sync().map(|()| None);
        };
        let (place, number) = (self.files.place(&name), self.link.number);
        Ok(Some(SegmentFlush { file, place, number }))
    }

    /// Frames up to this number are durable.
    pub(super) fn flushed(&mut self, number: u64) {
        self.synced = self.synced.max(number.min(self.link.number));
    }

    pub(super) fn compact(&mut self, from: Seq) -> Result<(), StorageError> {
        if from < self.link.start || from > self.link.next {
            return Err(misplaced(from, self.last()));
        }
        if from > self.link.start {
            self.draft.clear();
            self.write(Kind::Records, self.link.next, from)?;
            self.sync()?;
        }
        self.forget_before(from)
    }

    /// Shows records that were written, in order.
    pub(super) fn read(
        &self,
        wanted: &[Seq],
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        // Opened anew each time: what is read ahead of the current segment is not there yet.
        let mut segment: Option<Segment> = None;
        let mut rest = wanted;
        while let Some(&seq) = rest.first() {
            let there = self.link.start..=self.last();
            let spot = self.index.find(seq).filter(|_| there.contains(&seq));
            let spot = spot.ok_or_else(|| misplaced(seq, self.last()))?;
            let segment = match &mut segment {
                Some(segment) if segment.head.segment == spot.segment => segment,
                other => {
                    let files = &*self.files;
                    other.insert(Segment::open_to_pick(files, &self.store, spot.segment)?)
                }
            };
            let found = segment.any_frame(spot.block, u64::MAX)?;
            let damaged = |blocks, reason| {
                let bytes = segment::bytes(spot.block)..segment::bytes(spot.block + blocks);
                damaged_bytes(&segment.place, bytes, Some((seq, None)), reason)
            };
            let header = found.map_err(|fault| damaged(1, fault.reason()))?;
            let before = rest.len();
            for record in Records::new(&header, segment.body()) {
                let record = record.map_err(|reason| damaged(header.blocks(), reason))?;
                if rest.first() == Some(&record.seq) {
                    visit(record)?;
                    rest = &rest[1..];
                }
            }
            if rest.len() == before {
                return Err(damaged(header.blocks(), "the record is not there"));
            }
        }
        Ok(())
    }

    /// How much new work fits; none where the spare is missing.
    pub(super) fn room(&mut self) -> Result<Room, StorageError> {
        if !self.has_whole_spare() {
            self.enlarge_spare()?;
        }
        if self.current.room() == 0 && self.spare.is_some() {
            // It may hold nothing that is needed, and give its space back.
            self.change_segment(1)?;
        }
        let here = segment::bytes(self.current.room());
        let spare = self.spare.as_ref().map_or(0, Spare::size_bytes).saturating_sub(2 * BLOCK);
        let (bytes, more) = match self.further_room()? {
            Some(more) if self.has_whole_spare() => (here.saturating_add(more), more),
            // What is left for others is there for what ends work.
            Some(_) | None => (0, self.segments_in(self.free_bytes()?)),
        };
        Ok(Room { bytes, restatement: here.max(spare.saturating_add(more)) })
    }

    /// Goes on in the next segment, if that has more room: then compaction gives back all of this one.
    pub(super) fn begin_anew(&mut self) -> Result<(), StorageError> {
        let spare = self.spare.as_ref().map_or(0, Spare::size_bytes);
        if spare / BLOCK > self.current.room() + frame::blocks(Head::BYTES) + 1 {
            self.change_segment(1)?;
        }
        Ok(())
    }

    /// What fits into whole segments in so much space. Each has a head, and a block that stays zeros.
    fn segments_in(&self, free: u64) -> u64 {
        let segment = segment::bytes(self.options.segment_blocks());
        (free / segment).saturating_mul(segment - 2 * BLOCK)
    }

    /// What fits into further segments; `None` if others need what is free.
    ///
    /// Asked of the system once for each segment, or each time where there is none: what is appended
    /// meanwhile goes where its space was allocated, whatever others do with the rest.
    fn further_room(&mut self) -> Result<Option<u64>, StorageError> {
        if self.further.is_none() {
            let free = self.free_bytes()?;
            let Some(free) = free.checked_sub(self.options.min_free_bytes) else { return Ok(None) };
            let more = self.segments_in(free);
            self.further = (more > 0).then_some(more);
        }
        Ok(Some(self.further.unwrap_or(0)))
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        let free = self.files.free_bytes();
        free.map_err(|error| failed(format!("look at {}", self.files.place("")), error))
    }

    /// Proves by a frame without records all that was written.
    fn seal(&mut self) -> Result<(), StorageError> {
        self.draft.clear();
        self.write(Kind::Records, self.link.next, self.link.start)?;
        self.unsealed = false;
        self.sync()
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.synced < self.link.number {
            self.current.file.sync().map_err(|error| self.failed("sync", error))?;
            self.synced = self.link.number;
        }
        Ok(())
    }

    /// Writes the draft as the next frame.
    fn write(&mut self, kind: Kind, first: Seq, start: Seq) -> Result<(), StorageError> {
        let blocks = frame::blocks(self.draft.body_bytes());
        if blocks > self.current.room() {
            let draft = std::mem::take(&mut self.draft);
            self.change_segment(blocks)?;
            self.draft = draft;
        }
        let header = Header {
            kind,
            body_bytes: 0,
            count: 0,
            number: self.link.number + 1,
            durable: self.synced,
            first,
            start,
            block: self.current.next,
            before: self.link.tag,
            tag: [0; 16],
        };
        let count = self.draft.count();
        let (tag, bytes) = self.draft.finish(header, &self.current.key);
        let written = self.current.file.write_all_at(bytes, segment::bytes(self.current.next));
        written.map_err(|error| self.failed("write", error))?;
        self.link = Link::after(&Header { tag, count, ..header });
        if count > 0 {
            let (segment, block) = (self.current.number, self.current.next);
            self.index.add(Spot { first, segment, block });
        }
        self.current.next += blocks;
        self.unsealed = kind == Kind::Records;
        Ok(())
    }

    fn write_head(&mut self, head: &Head) -> Result<(), StorageError> {
        self.draft.clear();
        self.draft.copy(&head.body(), 0);
        self.write(Kind::Head, self.link.next, self.link.start)
    }

    /// Goes on in the next segment, which has room for a frame of `blocks` beside its head.
    fn change_segment(&mut self, blocks: u64) -> Result<(), StorageError> {
        self.sync()?;
        if self.spare.is_none() {
            self.begin_spare()?;
        }
        let spare = self.spare.take();
        let spare = spare.ok_or_else(|| self.failed("extend", ErrorKind::StorageFull.into()))?;
        let needed = segment::bytes(frame::blocks(Head::BYTES) + blocks + 1);
        let (file, bytes) = spare.finish(needed).map_err(|error| self.failed("extend", error))?;
        let (previous, previous_blocks) = (self.current.number, self.current.next);
        let segment = previous + 1;
        let head = Head { segment, blocks: bytes / BLOCK, previous, previous_blocks };
        let key = SegmentKey::new(&self.store.key, segment);
        self.current = Current::new(segment, file, key, head.blocks);
        self.further = None;
        self.segments.push_back((segment, self.link.next));
        self.write_head(&head)?;
        self.publish()?;
        self.cut(previous, previous_blocks)?;
        // The segment before may have been the last one with nothing that is needed.
        self.forget_before(self.link.start)?;
        self.begin_spare()
    }

    /// Makes the current segment, which is the spare so far, one that counts.
    fn publish(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        let name = segment::name(self.current.number);
        self.files
            .rename(spare::NAME, &name)
            .and_then(|()| self.files.sync())
            .map_err(|error| self.failed("name", error))
    }

    /// Gives back what a segment that has a successor does not use. From then on it shows that there
    /// must be one.
    fn cut(&self, segment: u64, blocks: u64) -> Result<(), StorageError> {
        let name = segment::name(segment);
        let cut = self.files.truncate(&name, segment::bytes(blocks));
        cut.map_err(|error| failed(format!("cut {}", self.files.place(&name)), error))
    }

    /// Whether the next segment has the size that it should have.
    fn has_whole_spare(&self) -> bool {
        let whole = segment::bytes(self.options.segment_blocks());
        self.spare.as_ref().is_some_and(|spare| spare.size_bytes() >= whole)
    }

    /// Makes the next segment, of the largest size that there is space for.
    fn begin_spare(&mut self) -> Result<(), StorageError> {
        let failed = |error| failed(format!("make {}", self.files.place(spare::NAME)), error);
        let whole = self.options.segment_blocks();
        let mut tried = 0;
        for step in (1..=STEPS).rev() {
            let blocks = (whole * step / STEPS).max(LEAST_BLOCKS);
            if blocks == tried {
                continue;
            }
            tried = blocks;
            let bytes = segment::bytes(blocks);
            self.spare = Spare::begin(&*self.files, bytes, self.options.fill).map_err(failed)?;
            if self.spare.is_some() {
                break;
            }
        }
        self.refused_at = None;
        if !self.has_whole_spare() {
            self.refused_at = Some(self.free_bytes()?);
            let bytes = self.spare.as_ref().map_or(0, Spare::size_bytes);
            log::warn!(directory = self.files.place(""), bytes; "no space for a whole next segment");
        }
        Ok(())
    }

    /// Makes the next segment anew where there was too little space for it and there is more.
    fn enlarge_spare(&mut self) -> Result<(), StorageError> {
        let free = self.free_bytes()?;
        let whole = segment::bytes(self.options.segment_blocks());
        let had = self.spare.as_ref().map_or(0, Spare::size_bytes);
        if self.refused_at.is_some_and(|refused_at| free <= refused_at) || free + had < whole {
            return Ok(());
        }
        if self.spare.take().is_some() {
            let removed = self.files.remove(spare::NAME);
            let place = self.files.place(spare::NAME);
            removed.map_err(|error| failed(format!("remove {place}"), error))?;
        }
        self.begin_spare()
    }

    /// Removes the segments that hold only records before `from`.
    fn forget_before(&mut self, from: Seq) -> Result<(), StorageError> {
        self.index.forget_before(from);
        let mut unneeded = Vec::new();
        while self.segments.get(1).is_some_and(|&(_, first)| first <= from) {
            unneeded.extend(self.segments.pop_front().map(|(number, _)| number));
        }
        self.remove(unneeded)
    }

    fn remove(&mut self, segments: Vec<u64>) -> Result<(), StorageError> {
        if segments.is_empty() {
            return Ok(());
        }
        self.further = None;
        for number in segments {
            let name = segment::name(number);
            self.files
                .remove(&name)
                .map_err(|error| failed(format!("remove {}", self.files.place(&name)), error))?;
        }
        let synced = self.files.sync();
        synced.map_err(|error| failed(format!("sync {}", self.files.place("")), error))
    }

    fn failed(&self, doing: &str, error: io::Error) -> StorageError {
        let place = self.files.place(&segment::name(self.current.number));
        failed(format!("{doing} {place}"), error)
    }
}
