//! Many byte strings in one buffer: the payloads of a run of jobs, the items of a list.
//!
//! Not a collection to edit: a block is filled once, then only sliced.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize};

use crate::complaint::complain;
use crate::limits::RUN_COUNT_MAX;
use crate::pool;

/// Byte strings laid end to end in one buffer, with their sizes.
///
/// ```text
///   on the wire   Equal(3)               or   Each([2, 5, 1] as little-endian u32)
///   in memory     Equal(3)               or   Each { ends: [2, 7, 8], base: 0 }
///   bytes         a a a b b b c c c           a a b b b b b c
/// ```
///
/// Strings of one size say so once: a run of 16-byte payloads costs 16 bytes a job. Cloning and
/// slicing share the buffers and take the same time however many strings there are, which is why
/// memory has ends where the wire has sizes: large runs are given away piece by piece.
#[derive(Clone, Debug)]
pub struct Block {
    /// Invariant: it covers exactly `bytes`.
    shape: Shape,
    bytes: Bytes,
}

/// How many byte strings there are in a block and how large each is: a block without its bytes.
#[derive(Clone, Debug)]
pub struct Shape {
    count: u32,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    /// Every string has this size.
    Equal(u32),
    /// Where each string ends, as little-endian `u32`, and where the first one starts.
    Each { ends: Bytes, base: u32 },
}

/// [`Layout`] on the wire.
#[derive(Serialize, Deserialize)]
enum Sizes<'a> {
    Equal(u32),
    /// Little-endian `u32` each.
    #[serde(borrow)]
    Each(Wire<'a>),
}

/// Bytes that are lent when they are read and owned when they are made.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Wire<'a>(#[serde(borrow, with = "wire")] std::borrow::Cow<'a, [u8]>);

mod wire {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'de, [u8]>, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Cow::Borrowed)
    }
}

/// The parts of a block from the wire do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block of {count} strings with {sizes} does not fill its {bytes} bytes")]
pub struct BlockError {
    count: u32,
    sizes: &'static str,
    bytes: usize,
}

impl Shape {
    /// Of one string.
    const fn one(size: u32) -> Self {
        Self { count: 1, layout: Layout::Equal(size) }
    }

    /// How many strings.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of all strings together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match &self.layout {
            Layout::Equal(size) => *size as usize * self.count as usize,
            Layout::Each { .. } if self.count == 0 => 0,
            Layout::Each { ends, base } => (read(ends, self.count as usize - 1) - base) as usize,
        }
    }

    /// Bytes of the longest string; 0 if there is none.
    #[must_use]
    pub fn longest(&self) -> usize {
        match &self.layout {
            Layout::Equal(_) if self.count == 0 => 0,
            Layout::Equal(size) => *size as usize,
            Layout::Each { .. } => self.sizes().max().unwrap_or(0) as usize,
        }
    }

    /// Of the strings `offset .. offset + count`.
    ///
    /// # Panics
    /// If there are fewer than `offset + count` strings.
    #[must_use]
    pub fn part(&self, offset: u32, count: u32) -> Self {
        self.cut(offset, count).0
    }

    /// Of the strings of all `shapes`, one after the other.
    #[must_use]
    pub fn concat<'a>(shapes: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut builder = ShapeBuilder::default();
        for size in shapes.into_iter().flat_map(Self::sizes) {
            builder.push(size);
        }
        builder.finish()
    }

    /// The part `offset .. offset + count`, and where its bytes lie among all.
    fn cut(&self, offset: u32, count: u32) -> (Self, Range<usize>) {
        assert!(
            offset.checked_add(count).is_some_and(|end| end <= self.count),
            "part {offset}+{count} of a block of {}",
            self.count
        );
        let (from, n) = (offset as usize, count as usize);
        match &self.layout {
            Layout::Equal(size) => {
                let size_bytes = *size as usize;
                let shape = Self { count, layout: Layout::Equal(*size) };
                (shape, from * size_bytes..(from + n) * size_bytes)
            }
            Layout::Each { ends, base } => {
                // Where the string before `index` ends, which is where that one starts.
                let start = |index| if index == 0 { *base } else { read(ends, index - 1) };
                let (first, last) = (start(from), start(from + n));
                let ends = ends.slice(from * 4..(from + n) * 4);
                let shape = Self { count, layout: Layout::Each { ends, base: first } };
                (shape, (first - base) as usize..(last - base) as usize)
            }
        }
    }

    fn sizes(&self) -> impl Iterator<Item = u32> + '_ {
        let mut start = match &self.layout {
            Layout::Equal(_) => 0,
            Layout::Each { base, .. } => *base,
        };
        (0..self.count as usize).map(move |index| match &self.layout {
            Layout::Equal(size) => *size,
            Layout::Each { ends, .. } => {
                let end = read(ends, index);
                let size = end - start;
                start = end;
                size
            }
        })
    }
}

impl PartialEq for Shape {
    /// As many strings of the same sizes; how that is said does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.sizes().eq(other.sizes())
    }
}

impl Eq for Shape {}

impl Block {
    /// A block of just `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB or longer; frames are far shorter.
    #[must_use]
    pub fn one(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { shape: Shape::one(len_u32(bytes.len())), bytes }
    }

    /// `count` empty strings.
    #[must_use]
    pub const fn empties(count: u32) -> Self {
        Self { shape: Shape { count, layout: Layout::Equal(0) }, bytes: Bytes::new() }
    }

    /// Starts a block to be filled string by string.
    #[must_use]
    pub fn builder() -> BlockBuilder {
        BlockBuilder::default()
    }

    /// What it is without its bytes.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many strings.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.shape.count
    }

    /// Bytes of all strings together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the longest string; 0 for an empty block.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.shape.longest()
    }

    /// Every string, in order, sharing the buffer.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut start = 0;
        self.shape.sizes().map(move |size| {
            let part = self.bytes.slice(start..start + size as usize);
            start += size as usize;
            part
        })
    }

    /// Every string, in order, borrowed.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.shape.sizes().map(move |size| {
            let part = &self.bytes[start..start + size as usize];
            start += size as usize;
            part
        })
    }

    /// The string at `index`, sharing the buffer.
    ///
    /// # Panics
    /// If there are not so many strings.
    #[must_use]
    pub fn get(&self, index: u32) -> Bytes {
        self.part(index, 1).bytes
    }

    /// The strings `offset .. offset + count`, sharing the buffer.
    ///
    /// # Panics
    /// If the block has fewer than `offset + count` strings.
    #[must_use]
    pub fn part(&self, offset: u32, count: u32) -> Self {
        let (shape, range) = self.shape.cut(offset, count);
        Self { shape, bytes: self.bytes.slice(range) }
    }

    /// The strings of all `blocks`, one after the other, in a buffer of their own.
    #[must_use]
    pub fn concat<'a>(blocks: impl IntoIterator<Item = &'a Self>) -> Self {
        let blocks: Vec<&Self> = blocks.into_iter().collect();
        let mut builder = Self::builder();
        builder.reserve(blocks.iter().map(|block| block.size_bytes()).sum());
        for block in blocks {
            for slice in block.slices() {
                builder.push(slice);
            }
        }
        builder.finish()
    }
}

impl PartialEq for Block {
    /// The same strings; how they are laid out does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.shape == other.shape
    }
}

impl Eq for Block {}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is at most 64 MiB, and so are the blocks made from one")
}

/// The number at `index` of little-endian `u32`s.
fn read(numbers: &[u8], index: usize) -> u32 {
    let four = numbers[index * 4..].first_chunk().expect("there are as many numbers as strings");
    u32::from_le_bytes(*four)
}

/// Fills a [`Block`] string by string.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    shape: ShapeBuilder,
    bytes: Vec<u8>,
}

impl BlockBuilder {
    /// Makes room for `bytes` more at once, where what is to come is known: a buffer that grows is
    /// copied as it does.
    pub fn reserve(&mut self, bytes: usize) {
        if self.bytes.is_empty() {
            self.bytes = pool::take(bytes);
        } else {
            self.bytes.reserve(bytes);
        }
    }

    /// Adds one string.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.shape.push(len_u32(string.len()));
    }

    /// Strings so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.shape.count
    }

    /// Bytes so far.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The finished block; the builder is empty again.
    pub fn finish(&mut self) -> Block {
        Block { shape: self.shape.finish(), bytes: pool::freeze(std::mem::take(&mut self.bytes)) }
    }
}

#[derive(Debug, Default)]
struct ShapeBuilder {
    count: u32,
    /// The size of every string so far, while they are all alike.
    equal: u32,
    /// Where each string ends, from the first one whose size differs.
    ends: BytesMut,
    end: usize,
}

impl ShapeBuilder {
    fn push(&mut self, size: u32) {
        self.end += size as usize;
        let end = len_u32(self.end);
        if self.count == 0 {
            self.equal = size;
        } else if self.ends.is_empty() && size != self.equal {
            for number in 1..=self.count {
                self.ends.extend_from_slice(&(number * self.equal).to_le_bytes());
            }
        }
        if !self.ends.is_empty() {
            self.ends.extend_from_slice(&end.to_le_bytes());
        }
        self.count += 1;
    }

    /// The finished shape; the builder is empty again.
    fn finish(&mut self) -> Shape {
        let layout = if self.ends.is_empty() {
            Layout::Equal(self.equal)
        } else {
            Layout::Each { ends: self.ends.split().freeze(), base: 0 }
        };
        let shape = Shape { count: self.count, layout };
        (self.count, self.equal, self.end) = (0, 0, 0);
        shape
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Block {
    fn from_iter<I: IntoIterator<Item = T>>(strings: I) -> Self {
        let mut builder = Self::builder();
        for string in strings {
            builder.push(string.as_ref());
        }
        builder.finish()
    }
}

impl Serialize for Block {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sizes = match &self.shape.layout {
            Layout::Equal(size) => Sizes::Equal(*size),
            Layout::Each { .. } => {
                let sizes: Vec<u8> = self.shape.sizes().flat_map(u32::to_le_bytes).collect();
                Sizes::Each(Wire(sizes.into()))
            }
        };
        (self.count(), sizes, &self.bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (count, sizes, Wire(bytes)) = Deserialize::deserialize(deserializer)?;
        if count > RUN_COUNT_MAX {
            let error = format!("block of {count} strings is over the limit of {RUN_COUNT_MAX}");
            return Err(complain(error));
        }
        let layout = match &sizes {
            Sizes::Equal(size) => {
                let fits = (*size as usize).checked_mul(count as usize) == Some(bytes.len());
                fits.then_some(Layout::Equal(*size))
            }
            Sizes::Each(Wire(sizes)) => ends(count, sizes, bytes.len())
                .map(|ends| Layout::Each { ends: ends.freeze(), base: 0 }),
        };
        let Some(layout) = layout else {
            let sizes = match sizes {
                Sizes::Equal(_) => "one size",
                Sizes::Each(_) => "a size each",
            };
            return Err(complain(BlockError { count, sizes, bytes: bytes.len() }));
        };
        Ok(Self { shape: Shape { count, layout }, bytes: pool::copy(&bytes) })
    }
}

/// Where strings of these sizes end, if there are `count` of them and together they have `len` bytes.
fn ends(count: u32, sizes: &[u8], len: usize) -> Option<BytesMut> {
    if sizes.len() != (count as usize).checked_mul(4)? {
        return None;
    }
    let mut ends = BytesMut::with_capacity(sizes.len());
    let mut end = 0_u32;
    for index in 0..count as usize {
        end = end.checked_add(read(sizes, index))?;
        ends.extend_from_slice(&end.to_le_bytes());
    }
    (end as usize == len).then_some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(strings: &[&str]) -> Block {
        strings.iter().collect()
    }

    fn strings(block: &Block) -> Vec<String> {
        block.slices().map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
    }

    #[test]
    fn strings_come_back_in_order_whether_sizes_are_alike_or_not() {
        for list in [vec![], vec!["abc"], vec!["abc", "def"], vec!["", "a", "", "bcd"]] {
            let block = block(&list);
            assert_eq!(strings(&block), list);
            let wire = postcard::to_stdvec(&block).unwrap();
            assert_eq!(postcard::from_bytes::<Block>(&wire).unwrap(), block);
        }
    }

    #[test]
    fn a_part_holds_exactly_its_strings() {
        for list in [["aa", "bb", "cc", "dd"], ["a", "", "ccc", "dd"]] {
            let block = block(&list);
            for offset in 0..=4 {
                for count in 0..=(4 - offset) {
                    let part = block.part(offset, count);
                    let expected = &list[offset as usize..(offset + count) as usize];
                    assert_eq!(strings(&part), expected);
                    assert_eq!(part.size_bytes(), expected.concat().len());
                    assert_eq!(part.shape().size_bytes(), part.size_bytes());
                    assert_eq!(*part.shape(), block.shape().part(offset, count));
                    let rest = block.shape().part(0, offset);
                    let joined = Shape::concat([&rest, part.shape()]);
                    assert_eq!(joined, block.shape().part(0, offset + count));
                }
            }
        }
    }

    #[test]
    fn longest_of_no_strings_is_zero_whatever_size_they_would_have() {
        assert_eq!(block(&["abc", "def"]).part(2, 0).longest(), 0);
        assert_eq!(block(&["a", "bcd", "ef"]).longest(), 3);
    }

    #[test]
    fn sizes_that_do_not_fill_the_bytes_are_refused() {
        let lie = |count: u32, sizes: Sizes<'_>, bytes: &'static [u8]| {
            let wire = postcard::to_stdvec(&(count, sizes, Bytes::from_static(bytes))).unwrap();
            postcard::from_bytes::<Block>(&wire).is_err()
        };
        assert!(lie(2, Sizes::Equal(3), b"12345"));
        assert!(lie(u32::MAX, Sizes::Equal(u32::MAX), b""));
        assert!(lie(2, Sizes::Each(Wire([1, 0, 0, 0][..].into())), b"1"));
        assert!(lie(1, Sizes::Each(Wire([255, 255, 255, 255][..].into())), b"1"));
    }
}
