//! The log: which segments count, where it ends, and every record of it in order.
//!
//! Reading only. What recovery then writes is the writer's.

use std::thread;
use std::time::Duration;

use crate::storage::{Extent, Record, Seq, StorageError};

use super::damaged;
use super::files::Files;
use super::format::Store;
use super::frame::{Header, Records};
use super::segment::{self, Fault, Head, Link, Segment};

/// Between two looks at a frame that may be half written: longer than a kernel takes to copy one.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A frame in its segment.
pub(super) struct Place<'a> {
    pub(super) segment: &'a Segment,
    pub(super) header: Header,
}

/// A segment that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) head: Head,
    /// Position of its first record, or of the next one.
    pub(super) first: Seq,
    /// How much of it counts.
    pub(super) blocks: u64,
    pub(super) size_bytes: u64,
}

/// What there is between the first record that is needed and the end.
#[derive(Debug)]
pub(super) struct Log {
    /// Segments that count, oldest first.
    pub(super) parts: Vec<Part>,
    /// Numbers of the segments that do not.
    pub(super) unneeded: Vec<u64>,
    /// After the last good frame.
    pub(super) end: Link,
    /// Bytes after it that were written and are not whole.
    pub(super) torn_bytes: u64,
    pub(super) sound: Sound,
}

/// How far the log is proven: what is after this may not have reached the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sound {
    pub(super) link: Link,
    /// Blocks of the last segment that are proven.
    pub(super) blocks: u64,
    /// Before the head of the last segment.
    pub(super) before_head: Link,
}

impl Log {
    /// Looks at the last segment, and at the heads of those before it that are needed. `names` are
    /// those of the files there are.
    pub(super) fn find(
        files: &dyn Files,
        store: &Store,
        names: &[String],
    ) -> Result<Self, StorageError> {
        Self::find_up_to(files, store, names, find_end)
    }

    /// As [`find`](Self::find), of a log that ends where `find_end` says that its last segment does.
    pub(super) fn find_up_to(
        files: &dyn Files,
        store: &Store,
        names: &[String],
        find_end: impl FnOnce(&mut Segment) -> Result<End, StorageError>,
    ) -> Result<Self, StorageError> {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let Some(last_number) = numbers.pop() else {
            return Err(damaged(files.place(""), "there is no segment"));
        };
        let mut last = Segment::open(files, store, last_number)?;
        last.check_size(None)?;
        let End { link: end, block: end_block, torn_bytes } = find_end(&mut last)?;
        let sound = find_sound(&mut last, &end, end_block)?;
        let mut parts = vec![Part {
            head: last.head,
            first: last.header.first,
            blocks: end_block,
            size_bytes: last.size_bytes,
        }];
        let mut unneeded = Vec::new();
        let mut oldest = last.head;
        let mut first = last.header.first;
        while first > end.start {
            let number = oldest.previous;
            if numbers.binary_search(&number).is_err() {
                let place = files.place(&segment::name(number));
                let before = Seq(first.0.saturating_sub(1));
                let reason =
                    format!("the segment with records {} to {before} is missing", end.start);
                let records = Some((end.start, Some(before)));
                let extent = Extent { file: Some(place.clone()), records, ..Extent::default() };
                return Err(StorageError::Damaged { place, reason, extent: Box::new(extent) });
            }
            let (newer, segment) = (oldest, Segment::open(files, store, number)?);
            (oldest, first) = (segment.head, segment.header.first);
            segment.check_size(Some(newer.previous_blocks))?;
            let (blocks, size_bytes) = (newer.previous_blocks, segment.size_bytes);
            parts.push(Part { head: oldest, first, blocks, size_bytes });
            if oldest.previous >= oldest.segment || newer.previous_blocks > oldest.blocks {
                return Err(damaged(segment.place, "the heads of two segments contradict"));
            }
        }
        parts.reverse();
        for number in numbers {
            if !parts.iter().any(|part| part.head.segment == number) {
                unneeded.push(number);
            }
        }
        Ok(Self { parts, unneeded, end, torn_bytes, sound })
    }

    /// Checks all frames, and shows each record that is needed.
    pub(super) fn walk(
        &self,
        files: &dyn Files,
        store: &Store,
        visit: &mut dyn FnMut(&Place<'_>, Record<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut link: Option<Link> = None;
        for part in &self.parts {
            let mut segment = Segment::open(files, store, part.head.segment)?;
            let mut end = link.unwrap_or_else(|| Link::before(&segment.header));
            let mut block = 0;
            while block < part.blocks {
                let header = match segment.frame(block, &end)? {
                    Ok(header) if header.blocks() <= part.blocks - block => header,
                    Ok(_) => {
                        let reason = "a frame reaches beyond where its segment ended";
                        return Err(segment.lost(block, part.blocks, &end, reason));
                    }
                    Err(fault) => {
                        let reason = fault.reason();
                        return Err(segment.lost(block, block, &end, reason));
                    }
                };
                end = Link::after(&header);
                block += header.blocks();
                let place = Place { segment: &segment, header };
                if end.next > self.end.start && header.count > 0 {
                    for record in Records::new(&header, segment.body()) {
                        let record =
                            record.map_err(|reason| damaged(segment.place.clone(), reason))?;
                        if record.seq >= self.end.start {
                            visit(&place, record)?;
                        }
                    }
                }
            }
            link = Some(end);
        }
        match link {
            Some(link) if link == self.end => Ok(()),
            Some(_) | None => {
                Err(damaged(files.place(""), "the log changed while it was being read"))
            }
        }
    }

    /// Shows the frames with records or compactions that no watermark proves.
    pub(super) fn unproven(
        &self,
        files: &dyn Files,
        store: &Store,
        mut copy: impl FnMut(&Header, &[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let last = self.last();
        let (mut link, mut block) = (self.sound.link, self.sound.blocks);
        if block >= last.blocks {
            return Ok(());
        }
        let mut segment = Segment::open(files, store, last.head.segment)?;
        while block < last.blocks {
            let header = segment
                .frame(block, &link)?
                .map_err(|fault| segment.lost(block, block, &link, fault.reason()))?;
            // A seal proves nothing here.
            if header.count > 0 || header.start > link.start {
                copy(&header, segment.body())?;
            }
            link = Link::after(&header);
            block += header.blocks();
        }
        Ok(())
    }

    /// The last segment.
    pub(super) fn last(&self) -> &Part {
        self.parts.last().expect("a log has a segment")
    }
}

/// Where the last segment ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// After the last good frame.
    link: Link,
    /// Where the next one would be.
    block: u64,
    /// What is there of it.
    torn_bytes: u64,
}

fn find_end(segment: &mut Segment) -> Result<End, StorageError> {
    let (link, block, fault) = first_fault(segment)?;
    Ok(End { link, block, torn_bytes: segment.torn_bytes(block, &link, fault)? })
}

/// Finds the end of a segment that a broker may be writing: the frame there may be half written when
/// it is read, and whole, with others behind it, a moment later. Looks again up to `looks` times
/// before it takes what it sees for damage.
///
/// What was acknowledged before the call is before that end: it was in the file before the first
/// look.
pub(super) fn find_moving_end(segment: &mut Segment, looks: u32) -> Result<End, StorageError> {
    let (link, block, mut fault) = first_fault(segment)?;
    for look in 0..looks {
        match segment.torn_bytes(block, &link, fault) {
            Err(StorageError::Damaged { .. }) => {}
            judged => return Ok(End { link, block, torn_bytes: judged? }),
        }
        if look > 0 {
            thread::sleep(LOOK_AGAIN);
        }
        segment.look_again();
        match segment.frame(block, &link)? {
            Ok(_) => return Ok(End { link, block, torn_bytes: 0 }),
            Err(found) => fault = found,
        }
    }
    Ok(End { link, block, torn_bytes: segment.torn_bytes(block, &link, fault)? })
}

/// Walks a segment up to what is no good frame: the link and the block before it, and what is wrong.
fn first_fault(segment: &mut Segment) -> Result<(Link, u64, Fault), StorageError> {
    let mut link = Link::after(&segment.header);
    let mut block = segment.header.blocks();
    loop {
        match segment.frame(block, &link)? {
            Ok(header) => {
                link = Link::after(&header);
                block += header.blocks();
            }
            Err(fault) => return Ok((link, block, fault)),
        }
    }
}

/// Finds the last frame that some watermark proves; the head always is.
fn find_sound(segment: &mut Segment, end: &Link, end_block: u64) -> Result<Sound, StorageError> {
    let before_head = Link::before(&segment.header);
    let mut link = Link::after(&segment.header);
    let mut blocks = segment.header.blocks();
    while link.number < end.durable && blocks < end_block {
        let header = segment.header_again(blocks)?;
        link = Link::after(&header);
        blocks += header.blocks();
    }
    Ok(Sound { link, blocks, before_head })
}
