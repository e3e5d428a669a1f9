//! A segment as it is read: frame after frame, and what it means where they end.
//!
//! Not which segments there are and which of them count: that is the log's.

use std::sync::Arc;

use crate::storage::{Extent, Seq, StorageError};

use super::files::{File, Files};
use super::format::Store;
use super::frame::{
    self, BLOCK_BYTES, BODY_BYTES_MAX, HEADER_BYTES, Header, Kind, Records, SECTOR_BYTES,
    SegmentKey, Tag,
};
use super::{damaged, damaged_bytes, failed};

const PREFIX: &str = "seg-";

/// Bytes of a segment that are read at once, at least, if all of it is read. What a frame needs can
/// be more.
const WINDOW_BYTES: u64 = 1 << 20;

pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;

/// Segments, frames and records are never so many that one has this number; so whoever goes on
/// counting from what was read need not look whether it can.
const COUNT_END: u64 = 1 << 62;

/// Bytes that some blocks have.
pub(super) const fn bytes(blocks: u64) -> u64 {
    blocks * BLOCK
}

/// The name of a segment's file.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

/// The number of the segment whose file has this name.
pub(super) fn number(file: &str) -> Option<u64> {
    let number = file.strip_prefix(PREFIX)?.parse().ok()?;
    // Only one name is a number's.
    (name(number) == file).then_some(number)
}

/// What the body of a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) segment: u64,
    /// Of this segment's file.
    pub(super) blocks: u64,
    /// Number of the segment before; 0 for none.
    pub(super) previous: u64,
    /// How much of that one counts.
    pub(super) previous_blocks: u64,
}

impl Head {
    pub(super) const BYTES: usize = 32;

    pub(super) fn body(&self) -> [u8; Self::BYTES] {
        let mut body = [0; Self::BYTES];
        let numbers = [self.segment, self.blocks, self.previous, self.previous_blocks];
        for (bytes, number) in body.chunks_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        body
    }

    fn read(body: &[u8]) -> Option<Self> {
        let (numbers, rest) = body.as_chunks::<8>();
        let numbers = <&[_; 4]>::try_from(numbers).ok().filter(|_| rest.is_empty())?;
        let [segment, blocks, previous, previous_blocks] = numbers.map(u64::from_le_bytes);
        Some(Self { segment, blocks, previous, previous_blocks })
    }
}

/// The end of a chain of frames: what the next one has to follow on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Of the last frame; 0 before the first.
    pub(super) number: u64,
    pub(super) tag: Tag,
    /// Position of the next record.
    pub(super) next: Seq,
    pub(super) durable: u64,
    pub(super) start: Seq,
}

impl Link {
    /// Before the first frame of all.
    pub(super) const FIRST: Self =
        Self { number: 0, tag: [0; 16], next: Seq::FIRST, durable: 0, start: Seq::FIRST };

    /// After the frame of this header.
    pub(super) const fn after(header: &Header) -> Self {
        Self {
            number: header.number,
            tag: header.tag,
            next: Seq(header.first.0.saturating_add(header.count as u64)),
            durable: header.durable,
            start: header.start,
        }
    }

    /// Before the frame of this header, as far as it says so.
    pub(super) const fn before(header: &Header) -> Self {
        Self {
            number: header.number.saturating_sub(1),
            tag: header.before,
            next: header.first,
            durable: 0,
            start: header.start,
        }
    }

    /// Whether a frame follows on.
    fn is_followed_by(&self, header: &Header) -> bool {
        header.before == self.tag
            && self.number.checked_add(1) == Some(header.number)
            && header.first == self.next
            && (self.durable..header.number).contains(&header.durable)
            && (self.start..=Self::after(header).next).contains(&header.start)
    }
}

/// Why there is no good frame at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is the end of the file.
    End,
    /// The first sector was never written.
    Blank,
    /// What is there is no crash's work.
    Wrong(&'static str),
    /// The header is good, and some of the rest was never written. Blocks of the whole.
    Incomplete(u64),
}

impl Fault {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::End => "the file ends too early",
            Self::Blank | Self::Incomplete(_) => "bytes are missing",
            Self::Wrong(reason) => reason,
        }
    }
}

/// A segment that is being read.
pub(super) struct Segment {
    /// What a person calls it.
    pub(super) place: String,
    pub(super) head: Head,
    /// Of the head.
    pub(super) header: Header,
    pub(super) size_bytes: u64,
    /// Whole blocks of the file that the head knows.
    blocks: u64,
    file: Arc<dyn File>,
    key: SegmentKey,
    /// Bytes of the file from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
    /// How much of the file to read at once, at least.
    window_bytes: u64,
    /// The frame that was read last, with its body plain.
    plain: Vec<u8>,
}

impl Segment {
    /// Opens the segment and reads its head, without which its file has no name.
    pub(super) fn open(
        files: &dyn Files,
        store: &Store,
        number: u64,
    ) -> Result<Self, StorageError> {
        let mut segment = Self::open_headless(files, store, number)?;
        let size = segment.size_bytes;
        let place = segment.place.clone();
        let bad = |reason: &str| damaged_bytes(&place, 0..BLOCK, None, reason);
        let found = segment.frame_here(0, size / BLOCK);
        let found = found.map_err(|error| failed(format!("read {}", segment.place), error))?;
        let header = match found {
            Ok(header) => header,
            Err(Fault::Wrong(reason)) => return Err(bad(reason)),
            Err(Fault::End) => return Err(bad("the file ends before its first frame does")),
            Err(Fault::Blank | Fault::Incomplete(_)) => {
                return Err(bad("the head of the segment is missing or incomplete"));
            }
        };
        let head = Head::read(segment.body()).filter(|head| {
            let is_counted = head.segment == number && number < COUNT_END;
            header.kind == Kind::Head && header.count == 0 && is_counted
        });
        let head = head.ok_or_else(|| bad("the first frame is no head"))?;
        segment.blocks = segment.blocks.min(head.blocks);
        segment.head = head;
        segment.header = header;
        Ok(segment)
    }

    /// Opens the segment without a look at what is in there. Its head says nothing.
    pub(super) fn open_headless(
        files: &dyn Files,
        store: &Store,
        number: u64,
    ) -> Result<Self, StorageError> {
        let name = name(number);
        let place = files.place(&name);
        let file = files.open(&name).map_err(|error| failed(format!("open {place}"), error))?;
        let size_bytes =
            file.size_bytes().map_err(|error| failed(format!("look at {place}"), error))?;
        let nothing = Header {
            kind: Kind::Head,
            body_bytes: 0,
            count: 0,
            number: 0,
            durable: 0,
            first: Seq::START,
            start: Seq::START,
            block: 0,
            before: Tag::default(),
            tag: Tag::default(),
        };
        Ok(Self {
            place,
            head: Head { segment: number, blocks: 0, previous: 0, previous_blocks: 0 },
            header: nothing,
            size_bytes,
            blocks: size_bytes / BLOCK,
            file,
            key: SegmentKey::new(&store.key, number),
            window: Vec::new(),
            window_at: 0,
            window_bytes: WINDOW_BYTES,
            plain: Vec::new(),
        })
    }

    /// Opens the segment to read some frames whose places are known, and nothing beside them.
    pub(super) fn open_to_pick(
        files: &dyn Files,
        store: &Store,
        number: u64,
    ) -> Result<Self, StorageError> {
        Ok(Self { window_bytes: 0, ..Self::open_headless(files, store, number)? })
    }

    /// Whether the file has the length that its head says, or, if it is known where the next
    /// segment begins, at least what is before that.
    pub(super) fn check_size(&self, ended: Option<u64>) -> Result<(), StorageError> {
        let whole = self.head.blocks.saturating_mul(BLOCK);
        let least = ended.map_or(whole, |blocks| blocks.saturating_mul(BLOCK));
        if (least..=whole).contains(&self.size_bytes) {
            return Ok(());
        }
        let reason = match ended {
            None if self.size_bytes < whole && self.size_bytes.is_multiple_of(BLOCK) => {
                "it was cut short, as when another segment follows: the next one is missing"
            }
            None | Some(_) => "it has another length than its head says",
        };
        let extent = Extent { file: Some(self.place.clone()), ..Extent::default() };
        Err(StorageError::Damaged {
            place: format!("{}, {} bytes", self.place, self.size_bytes),
            reason: reason.to_owned(),
            extent: Box::new(extent),
        })
    }

    /// The frame at a block, if it is good and follows on from `link`. Its body is then
    /// [`body`](Self::body).
    pub(super) fn frame(
        &mut self,
        block: u64,
        link: &Link,
    ) -> Result<Result<Header, Fault>, StorageError> {
        let found = self.any_frame(block, self.blocks)?;
        Ok(found.and_then(|header| match header.kind {
            _ if !link.is_followed_by(&header) => {
                Err(Fault::Wrong("the frame does not follow on from the one before"))
            }
            Kind::Head if block > 0 => Err(Fault::Wrong("there is a second head")),
            Kind::Head | Kind::Records => Ok(header),
        }))
    }

    /// The frame at a block, if it is good by itself.
    pub(super) fn any_frame(
        &mut self,
        block: u64,
        blocks: u64,
    ) -> Result<Result<Header, Fault>, StorageError> {
        self.frame_here(block, blocks)
            .map_err(|error| failed(format!("read {}", self.place), error))
    }

    fn frame_here(&mut self, block: u64, blocks: u64) -> std::io::Result<Result<Header, Fault>> {
        if block >= blocks {
            return Ok(Err(Fault::End));
        }
        self.load(block, 1, blocks)?;
        let start = self.bytes(block, 1);
        let Some(header) = Header::read(start, &self.key).filter(|header| header.block == block)
        else {
            let is_blank = frame::is_blank(&start[..SECTOR_BYTES]);
            return Ok(Err(if is_blank {
                Fault::Blank
            } else {
                Fault::Wrong("there is no header of a frame")
            }));
        };
        if header.body_bytes as usize > BODY_BYTES_MAX || header.blocks() > blocks - block {
            return Ok(Err(Fault::Wrong("the frame is longer than it can be")));
        }
        if header.number >= COUNT_END || Link::after(&header).next >= Seq(COUNT_END) {
            return Ok(Err(Fault::Wrong("the frame's numbers are beyond all counting")));
        }
        self.load(block, header.blocks(), blocks)?;
        let mut plain = std::mem::take(&mut self.plain);
        let bytes = self.bytes(block, header.blocks());
        let is_good = frame::open(bytes, &header, &self.key, &mut plain);
        let verdict = if is_good {
            if header.kind == Kind::Records
                && let Some(Err(reason)) =
                    Records::new(&header, &plain[HEADER_BYTES..]).find(Result::is_err)
            {
                Err(Fault::Wrong(reason))
            } else {
                Ok(header)
            }
        } else if frame::has_blank_sector(bytes) {
            Err(Fault::Incomplete(header.blocks()))
        } else {
            Err(Fault::Wrong("the frame is not what was written"))
        };
        self.plain = plain;
        Ok(verdict)
    }

    /// The header of a frame that was found to be good.
    pub(super) fn header_again(&mut self, block: u64) -> Result<Header, StorageError> {
        let read = self.load(block, 1, self.blocks);
        read.map_err(|error| failed(format!("read {}", self.place), error))?;
        let header = Header::read(self.bytes(block, 1), &self.key);
        header.ok_or_else(|| damaged(self.place.clone(), "the log changed while it was being read"))
    }

    /// Forgets what was read, which a broker that writes to the file may have changed since.
    pub(super) fn look_again(&mut self) {
        self.window.clear();
    }

    /// Fills `buffer` with what is stored, whatever that is.
    pub(super) fn read_stored(&self, buffer: &mut [u8], offset: u64) -> Result<(), StorageError> {
        let read = self.file.read_all_at(buffer, offset);
        read.map_err(|error| failed(format!("read {}", self.place), error))
    }

    /// Of the frame that was read last.
    pub(super) fn body(&self) -> &[u8] {
        &self.plain[HEADER_BYTES..]
    }

    /// Judges the end of the last segment: the frame at `block`, which would follow on from `link`,
    /// has this fault. Returns how many bytes of a torn tail there are.
    pub(super) fn torn_bytes(
        &mut self,
        block: u64,
        link: &Link,
        fault: Fault,
    ) -> Result<u64, StorageError> {
        let missing = link.number.saturating_add(1);
        let mut end = block;
        for at in block..self.blocks {
            let read = self.load(at, 1, self.blocks);
            read.map_err(|error| failed(format!("read {}", self.place), error))?;
            let bytes = self.bytes(at, 1);
            if !frame::is_blank(bytes) {
                end = at + 1;
            }
            if at == block {
                continue;
            }
            let later = Header::read(bytes, &self.key).filter(|header| header.block == at);
            if let Some(later) = later.filter(|header| header.durable >= missing) {
                let lost = (later.first > link.next).then(|| Seq(later.first.0 - 1));
                let told = lost.map_or_else(
                    || "no record".to_owned(),
                    |last| format!("records {} to {last}", link.next),
                );
                let reason = fault.reason();
                let reason =
                    format!("{reason}; frame {missing} with {told} was durable and is lost");
                let records = lost.map(|last| (link.next, Some(last)));
                let bytes = block * BLOCK..at * BLOCK;
                return Err(damaged_bytes(&self.place, bytes, records, reason));
            }
        }
        match fault {
            Fault::End | Fault::Blank | Fault::Incomplete(_) => Ok((end - block) * BLOCK),
            Fault::Wrong(reason) => Err(self.lost(block, end, link, reason)),
        }
    }

    /// Damage from one block up to another, where there should be the next frame.
    pub(super) fn lost(&self, block: u64, end: u64, link: &Link, reason: &str) -> StorageError {
        let bytes = block * BLOCK..end.max(block + 1) * BLOCK;
        let frame = link.number.saturating_add(1);
        let reason = format!("{reason}; frame {frame} with records from {} is lost", link.next);
        damaged_bytes(&self.place, bytes, Some((link.next, None)), reason)
    }

    /// Brings blocks into the window.
    fn load(&mut self, block: u64, count: u64, blocks: u64) -> std::io::Result<()> {
        let (from, to) = (block * BLOCK, (block + count) * BLOCK);
        if from >= self.window_at && to <= self.window_at + self.window.len() as u64 {
            return Ok(());
        }
        let len = (to - from).max(self.window_bytes).min(blocks.saturating_mul(BLOCK) - from);
        let len = usize::try_from(len).map_err(std::io::Error::other)?;
        self.window.resize(len, 0);
        self.window_at = from;
        let read = self.file.read_all_at(&mut self.window, from);
        if read.is_err() {
            self.window.clear();
        }
        read
    }

    /// Blocks that are in the window.
    fn bytes(&self, block: u64, count: u64) -> &[u8] {
        let at = |block: u64| {
            usize::try_from(block * BLOCK - self.window_at).expect("the window is in memory")
        };
        &self.window[at(block)..at(block + count)]
    }
}

const _: () = assert!(HEADER_BYTES <= SECTOR_BYTES, "a header is whole or not there");
