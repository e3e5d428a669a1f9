//! The frame: what one call of append adds to a segment, at once or not at all.
//!
//! ```text
//!    0  magic u32 | kind u32 | body bytes u32 | count u32
//!   16  frame number u64 | durable u64
//!   32  first u64 | start u64
//!   48  block u64 | tag of the frame before [16]
//!   72  check [8]      keyed BLAKE3 of 0..72
//!   80  tag [16]       keyed BLAKE3 of the frame as stored, with zeros here
//!   96  body, zeros up to a multiple of 4096; whitened
//! ```
//!
//! docs/journal.md has the reason of each field. Not where frames lie, and not which of them count.

use std::ops::Range;

use ganger_shared::kept::Kept;

use crate::storage::{Record, Seq};

/// What a frame is a multiple of, and where it begins.
pub(super) const BLOCK_BYTES: usize = 4096;

/// What a disk writes wholly or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// Of the header, which is not whitened.
pub(super) const HEADER_BYTES: usize = 96;

/// Of a record in a body: its length and its CRC32C.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 8;

/// Of a body, at most: the largest message a broker can be told to take is 64 MiB, and one step of
/// the engine may carry one and what was read with it. A bound on the memory of a reader.
pub(super) const BODY_BYTES_MAX: usize = 128 << 20;

const MAGIC: [u8; 4] = *b"GJF1";

/// Where in a frame its tag is.
const TAG: Range<usize> = 80..96;

/// Identifies a frame, all of it, in its place.
pub(super) type Tag = [u8; 16];

/// Of one segment: what its frames are checked and whitened with.
#[derive(Clone)]
pub(super) struct SegmentKey {
    key: [u8; 32],
    whitening: Box<[u8; BLOCK_BYTES]>,
}

impl SegmentKey {
    pub(super) fn new(store: &[u8; 32], segment: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ganger journal 1: segment");
        let key = *hasher.update(store).update(&segment.to_le_bytes()).finalize().as_bytes();
        let mut whitening = Box::new([0; BLOCK_BYTES]);
        blake3::Hasher::new_keyed(&key)
            .update(b"whitening")
            .finalize_xof()
            .fill(whitening.as_mut_slice());
        Self { key, whitening }
    }

    /// Whitens what is plain, and the other way round. `frame` begins where a frame does.
    fn whiten(&self, frame: &mut [u8]) {
        let (first, others) = frame.split_at_mut(BLOCK_BYTES.min(frame.len()));
        xor(&mut first[HEADER_BYTES..], &self.whitening[HEADER_BYTES..]);
        for block in others.chunks_mut(BLOCK_BYTES) {
            xor(block, self.whitening.as_slice());
        }
    }

    fn check(&self, header: &[u8]) -> [u8; 8] {
        first(blake3::keyed_hash(&self.key, &header[..72]).as_bytes())
    }

    /// Of a frame that has zeros where its tag goes: all of it at once is hashed twice as fast as
    /// what is before and what is after.
    fn tag(&self, frame: &[u8]) -> Tag {
        first(blake3::keyed_hash(&self.key, frame).as_bytes())
    }
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    for (byte, with) in bytes.iter_mut().zip(with) {
        *byte ^= with;
    }
}

/// The first `N` of some bytes that are at least so many.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("callers give at least N bytes")
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first of a segment.
    Head,
    /// Records; without any, a seal or a compaction.
    Records,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) body_bytes: u32,
    pub(super) count: u32,
    /// Counted through all segments.
    pub(super) number: u64,
    /// All frames up to this number were synced when this one was written.
    pub(super) durable: u64,
    /// Position of the first record, or of the next one if there is none.
    pub(super) first: Seq,
    /// Position of the first record that is still needed.
    pub(super) start: Seq,
    pub(super) block: u64,
    /// Tag of the frame before.
    pub(super) before: Tag,
    pub(super) tag: Tag,
}

impl Header {
    /// Reads one, if what is there is a header whose check is right.
    pub(super) fn read(bytes: &[u8], key: &SegmentKey) -> Option<Self> {
        if !bytes.starts_with(&MAGIC) || first(&bytes[72..]) != key.check(bytes) {
            return None;
        }
        let u32_at = |at: usize| u32::from_le_bytes(first(&bytes[at..]));
        let u64_at = |at: usize| u64::from_le_bytes(first(&bytes[at..]));
        let kind = match u32_at(4) {
            1 => Kind::Head,
            2 => Kind::Records,
            _ => return None,
        };
        Some(Self {
            kind,
            body_bytes: u32_at(8),
            count: u32_at(12),
            number: u64_at(16),
            durable: u64_at(24),
            first: Seq(u64_at(32)),
            start: Seq(u64_at(40)),
            block: u64_at(48),
            before: first(&bytes[56..]),
            tag: first(&bytes[80..]),
        })
    }

    fn write(&self, bytes: &mut [u8], key: &SegmentKey) {
        let kind: u32 = match self.kind {
            Kind::Head => 1,
            Kind::Records => 2,
        };
        bytes[..4].copy_from_slice(&MAGIC);
        for (at, number) in [(4, kind), (8, self.body_bytes), (12, self.count)] {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let numbers =
            [self.number, self.durable, self.first.0, self.start.0, self.block].into_iter();
        for (at, number) in (16..).step_by(8).zip(numbers) {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[56..72].copy_from_slice(&self.before);
        let check = key.check(bytes);
        bytes[72..80].copy_from_slice(&check);
    }

    /// Blocks that the frame takes.
    pub(super) const fn blocks(&self) -> u64 {
        blocks(self.body_bytes as usize)
    }
}

/// Blocks of a frame with so large a body.
pub(super) const fn blocks(body_bytes: usize) -> u64 {
    (HEADER_BYTES + body_bytes).div_ceil(BLOCK_BYTES) as u64
}

/// A frame that is being put together, in memory that is used again for the next.
#[derive(Debug, Default)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    count: u32,
    kept: Kept,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.kept.clear(&mut self.bytes);
        self.bytes.resize(HEADER_BYTES, 0);
        self.count = 0;
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn add(&mut self, record: Record<'_>) {
        let len = u32::try_from(record.body.len()).expect("a body is bounded by less than 4 GiB");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&crc(record).to_le_bytes());
        self.bytes.extend_from_slice(record.body);
        self.count += 1;
    }

    /// Takes a whole body as it is.
    pub(super) fn copy(&mut self, body: &[u8], count: u32) {
        self.bytes.extend_from_slice(body);
        self.count = count;
    }

    /// Completes the frame that `header` is of, but for what follows from its body. Returns its tag
    /// and its bytes, as they are stored.
    pub(super) fn finish(&mut self, header: Header, key: &SegmentKey) -> (Tag, &[u8]) {
        let body_bytes = self.body_bytes();
        let header = Header {
            body_bytes: u32::try_from(body_bytes).expect("a body is bounded by less than 4 GiB"),
            count: self.count,
            ..header
        };
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        key.whiten(&mut self.bytes);
        header.write(&mut self.bytes, key);
        let tag = key.tag(&self.bytes);
        self.bytes[TAG].copy_from_slice(&tag);
        (tag, &self.bytes)
    }
}

/// Whether `frame`, all of it as stored, has the tag in its header. If so its plain body is in
/// `plain`, after [`HEADER_BYTES`] of something else.
pub(super) fn open(frame: &[u8], header: &Header, key: &SegmentKey, plain: &mut Vec<u8>) -> bool {
    plain.clear();
    plain.extend_from_slice(frame);
    plain[TAG].fill(0);
    let is_good = key.tag(plain) == header.tag;
    key.whiten(plain);
    plain.truncate(HEADER_BYTES + header.body_bytes as usize);
    is_good
}

/// The records of a body.
#[derive(Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
    left: u32,
    next: Seq,
}

impl<'a> Records<'a> {
    pub(super) const fn new(header: &Header, body: &'a [u8]) -> Self {
        Self { rest: body, left: header.count, next: header.first }
    }

    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let (len, rest) = self.rest.split_first_chunk().ok_or("a record is cut off")?;
        let (stored, rest) = rest.split_first_chunk().ok_or("a record is cut off")?;
        let len = u32::from_le_bytes(*len) as usize;
        let (body, rest) = rest.split_at_checked(len).ok_or("a record is cut off")?;
        let record = Record { seq: self.next, body };
        if crc(record) != u32::from_le_bytes(*stored) {
            return Err("a record has another checksum");
        }
        self.rest = rest;
        self.left -= 1;
        self.next = self.next.next();
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left > 0 {
            return Some(self.read());
        }
        let more = !std::mem::take(&mut self.rest).is_empty();
        more.then_some(Err("there is more than its records"))
    }
}

/// Of the position and the bytes, so that a record in another's place is noticed.
fn crc(record: Record<'_>) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record.seq.0.to_le_bytes()), record.body)
}

/// Whether some sector of a frame was never written.
pub(super) fn has_blank_sector(frame: &[u8]) -> bool {
    frame.chunks(SECTOR_BYTES).any(is_blank)
}

/// Whether all bytes, at most a block of them, are zeros.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    bytes == &ZEROS[..bytes.len()]
}
