//! Many byte strings in one buffer: the payloads of a run of jobs, the items of a list.
//!
//! Not a collection to edit: a block is filled once, then only sliced.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize};

use crate::complaint::complain;
use crate::limits::RUN_COUNT_MAX;

/// Byte strings laid end to end in one buffer, with their sizes.
///
/// ```text
///   sizes   Equal(3)                or   Each([2, 5, 1] as little-endian u32)
///   bytes   a a a b b b c c c            a a b b b b b c
/// ```
///
/// Strings of one size say so once: a run of 16-byte payloads costs 16 bytes a job. Cloning and
/// slicing share the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Invariant: `sizes` times `count` (or summed) is `bytes.len()`.
    count: u32,
    sizes: Sizes,
    bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Sizes {
    Equal(u32),
    Each(Bytes),
}

/// The parts of a block from the wire do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block of {count} strings with {sizes} does not fill its {bytes} bytes")]
pub struct BlockError {
    count: u32,
    sizes: &'static str,
    bytes: usize,
}

impl Block {
    /// A block of just `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB or longer; frames are far shorter.
    #[must_use]
    pub fn one(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { count: 1, sizes: Sizes::Equal(len_u32(bytes.len())), bytes }
    }

    /// `count` empty strings.
    #[must_use]
    pub const fn empties(count: u32) -> Self {
        Self { count, sizes: Sizes::Equal(0), bytes: Bytes::new() }
    }

    /// Starts a block to be filled string by string.
    #[must_use]
    pub fn builder() -> BlockBuilder {
        BlockBuilder::default()
    }

    /// How many strings.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of all strings together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the longest string; 0 for an empty block.
    #[must_use]
    pub fn longest(&self) -> usize {
        match &self.sizes {
            Sizes::Equal(_) if self.count == 0 => 0,
            Sizes::Equal(size) => *size as usize,
            Sizes::Each(sizes) => read_sizes(sizes).max().unwrap_or(0),
        }
    }

    /// Every string, in order, sharing the buffer.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut start = 0;
        (0..self.count as usize).map(move |i| {
            let size = self.size_of(i);
            let part = self.bytes.slice(start..start + size);
            start += size;
            part
        })
    }

    /// Every string, in order, borrowed.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        (0..self.count as usize).map(move |i| {
            let size = self.size_of(i);
            let part = &self.bytes[start..start + size];
            start += size;
            part
        })
    }

    /// The strings `offset .. offset + count`, sharing the buffer.
    ///
    /// # Panics
    /// If the block has fewer than `offset + count` strings.
    #[must_use]
    pub fn part(&self, offset: u32, count: u32) -> Self {
        assert!(
            offset.checked_add(count).is_some_and(|end| end <= self.count),
            "part {offset}+{count} of a block of {}",
            self.count
        );
        let (from, n) = (offset as usize, count as usize);
        match &self.sizes {
            Sizes::Equal(size) => {
                let size_bytes = *size as usize;
                let bytes = self.bytes.slice(from * size_bytes..(from + n) * size_bytes);
                Self { count, sizes: Sizes::Equal(*size), bytes }
            }
            Sizes::Each(sizes) => {
                let start: usize = read_sizes(&sizes[..from * 4]).sum();
                let part = sizes.slice(from * 4..(from + n) * 4);
                let len: usize = read_sizes(&part).sum();
                Self {
                    count,
                    bytes: self.bytes.slice(start..start + len),
                    sizes: Sizes::Each(part),
                }
            }
        }
    }

    /// The strings of all `blocks`, one after the other, in a buffer of their own.
    #[must_use]
    pub fn concat<'a>(blocks: impl IntoIterator<Item = &'a Self>) -> Self {
        let blocks: Vec<&Self> = blocks.into_iter().collect();
        let mut builder = Self::builder();
        builder.bytes.reserve(blocks.iter().map(|block| block.size_bytes()).sum());
        for block in blocks {
            for slice in block.slices() {
                builder.push(slice);
            }
        }
        builder.finish()
    }

    fn size_of(&self, i: usize) -> usize {
        match &self.sizes {
            Sizes::Equal(size) => *size as usize,
            Sizes::Each(sizes) => read_size(&sizes[i * 4..i * 4 + 4]),
        }
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is at most 64 MiB, and no string is longer than its frame")
}

fn read_size(four: &[u8]) -> usize {
    let four = four.try_into().expect("chunks of exactly four bytes");
    u32::from_le_bytes(four) as usize
}

fn read_sizes(sizes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    sizes.chunks_exact(4).map(read_size)
}

/// Fills a [`Block`] string by string.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    count: u32,
    /// The size of every string so far, while they are all alike.
    equal: u32,
    /// The size of each string, from the first one that differs.
    each: BytesMut,
    bytes: BytesMut,
}

impl BlockBuilder {
    /// Adds one string.
    pub fn push(&mut self, string: &[u8]) {
        self.push_with(|buffer| buffer.extend_from_slice(string));
    }

    /// Adds the one string that `write` appends to the buffer.
    pub fn push_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let size = len_u32(self.bytes.len() - start);
        if self.count == 0 {
            self.equal = size;
        } else if self.each.is_empty() && size != self.equal {
            for _ in 0..self.count {
                self.each.extend_from_slice(&self.equal.to_le_bytes());
            }
        }
        if !self.each.is_empty() {
            self.each.extend_from_slice(&size.to_le_bytes());
        }
        self.count += 1;
    }

    /// Strings so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The finished block; the builder is empty again.
    pub fn finish(&mut self) -> Block {
        let sizes = if self.each.is_empty() {
            Sizes::Equal(self.equal)
        } else {
            Sizes::Each(self.each.split().freeze())
        };
        let block = Block { count: self.count, sizes, bytes: self.bytes.split().freeze() };
        (self.count, self.equal) = (0, 0);
        block
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
        (self.count, &self.sizes, &self.bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (count, sizes, bytes) = <(u32, Sizes, Bytes)>::deserialize(deserializer)?;
        let fits = match &sizes {
            Sizes::Equal(size) => (*size as usize).checked_mul(count as usize) == Some(bytes.len()),
            // The sizes are summed in u64, where 2^32 sizes of 2^32 cannot wrap.
            Sizes::Each(each) => {
                Some(each.len()) == (count as usize).checked_mul(4)
                    && read_sizes(each).map(|s| s as u64).sum::<u64>() == bytes.len() as u64
            }
        };
        if count > RUN_COUNT_MAX {
            let error = format!("block of {count} strings is over the limit of {RUN_COUNT_MAX}");
            return Err(complain(error));
        }
        if !fits {
            let sizes = match sizes {
                Sizes::Equal(_) => "one size",
                Sizes::Each(_) => "a size each",
            };
            let error = BlockError { count, sizes, bytes: bytes.len() };
            return Err(complain(error));
        }
        Ok(Self { count, sizes, bytes })
    }
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
        let lie = |count: u32, sizes: Sizes, bytes: &'static [u8]| {
            let wire = postcard::to_stdvec(&(count, sizes, Bytes::from_static(bytes))).unwrap();
            postcard::from_bytes::<Block>(&wire).is_err()
        };
        assert!(lie(2, Sizes::Equal(3), b"12345"));
        assert!(lie(u32::MAX, Sizes::Equal(u32::MAX), b""));
        assert!(lie(2, Sizes::Each(Bytes::from_static(&[1, 0, 0, 0])), b"1"));
        assert!(lie(1, Sizes::Each(Bytes::from_static(&[255, 255, 255, 255])), b"1"));
    }
}
