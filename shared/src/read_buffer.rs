//! Where the bytes of a connection lie until they are understood.
//!
//! Not what they say: whoever reads the connection knows where a message ends.

use crate::kept::Kept;

/// Room for reads, and what they brought.
///
/// ```text
///   consumed │ what waits │ spare
///   0      start         end    len
/// ```
///
/// Memory follows the bytes that arrived, never a length that a peer declared: an idle connection
/// holds [`ReadBuffer::FIRST`] bytes, a busy one [`ReadBuffer::STEP`], one in the middle of a larger
/// message less than three times what has arrived of it, and what large messages needed is given back
/// once they have stopped ([`Kept`]).
///
/// ```
/// use ganger_shared::read_buffer::ReadBuffer;
///
/// let mut buffer = ReadBuffer::new();
/// buffer.spare(None)[..5].copy_from_slice(b"ab cd"); // as `read` does
/// buffer.filled(5);
/// assert_eq!(buffer.take(3), b"ab ");
/// assert_eq!(buffer.waiting(), b"cd");
/// ```
#[derive(Default)]
pub struct ReadBuffer {
    /// Invariant: `start <= end <= bytes.len()`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read filled all the room there was: more is waiting, so more room pays.
    full: bool,
    kept: Kept,
}

impl ReadBuffer {
    /// Room for the first reads: a connection that only beats its heart needs no more.
    pub const FIRST: usize = 4 << 10;

    /// Room once a read has filled the first: what one read of a busy socket brings.
    pub const STEP: usize = 64 << 10;

    /// An empty buffer. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0, full: false, kept: Kept::new() }
    }

    /// What has arrived and was not taken.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the first `count` bytes of what waits.
    ///
    /// # Panics
    /// If so much does not wait.
    pub fn take(&mut self, count: usize) -> &[u8] {
        let taken = self.start..self.start + count;
        assert!(taken.end <= self.end, "{count} bytes of {}", self.end - self.start);
        self.start = taken.end;
        &self.bytes[taken]
    }

    /// Gives memory back, where nothing waits. Before a wait for more.
    pub fn rest(&mut self) {
        if self.is_empty() {
            self.reclaim();
        }
    }

    /// Room to read into, never empty. `whole` is the size of the message at the front, as far as it is
    /// known: a message that is larger than the room gets more as it arrives.
    pub fn spare(&mut self, whole: Option<usize>) -> &mut [u8] {
        self.reclaim();
        let size = self.size_wanted(whole);
        if size > self.bytes.len() {
            self.bytes.reserve_exact(size - self.bytes.len());
            self.bytes.resize(size, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes over the first `count` bytes of the room that [`ReadBuffer::spare`] gave.
    ///
    /// # Panics
    /// If there was not so much room.
    pub fn filled(&mut self, count: usize) {
        let room = self.bytes.len() - self.end;
        assert!(count <= room, "{count} bytes read into a room of {room}");
        self.full = count == room;
        self.end += count;
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Moves what waits to the front, and gives memory back where nothing waits.
    fn reclaim(&mut self) {
        if self.start == 0 {
            return;
        }
        if self.is_empty() {
            self.kept.emptied(&mut self.bytes, self.end);
        } else {
            self.bytes.copy_within(self.start..self.end, 0);
        }
        self.end -= self.start;
        self.start = 0;
    }

    /// How large the buffer should be for the next read. Nothing is consumed: `start` is 0.
    fn size_wanted(&self, whole: Option<usize>) -> usize {
        let size = self.bytes.len();
        let room = size - self.end;
        if size == 0 {
            Self::FIRST
        } else if size < Self::STEP && self.full {
            Self::STEP
        } else if let Some(whole) = whole.filter(|&whole| whole > size) {
            // It does not fit. Doubling once three quarters are full copies each byte about once,
            // and a peer that declares much and sends little gets little.
            if room > size / 4 { size } else { (size * 2).min(whole.next_multiple_of(Self::STEP)) }
        } else if room == 0 {
            size + Self::STEP
        } else {
            size
        }
    }
}

impl core::fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReadBuffer")
            .field("waiting", &(self.end - self.start))
            .field("size", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
