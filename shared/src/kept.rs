//! How much memory a buffer keeps that is filled and emptied over and over.
//!
//! Not a pool: each buffer has its owner, and keeps its own.

/// Gives the memory of a buffer back once it has not been needed for a while.
///
/// Not after each use, since fresh pages cost more than what is copied into them. Not never, since
/// with thousands of connections one burst each would hold its memory for good. An idle connection's
/// heartbeats are uses that need little, so it gives back what it had.
///
/// ```
/// use ganger_shared::kept::Kept;
///
/// let mut kept = Kept::default();
/// let mut buffer = vec![7; 1 << 20];
/// kept.emptied(&mut buffer, 1 << 20);
/// assert_eq!(buffer.capacity(), 1 << 20);
/// for _ in 0..Kept::SMALL_USES {
///     kept.emptied(&mut buffer, 100);
/// }
/// assert_eq!(buffer.capacity(), Kept::LEAST_BYTES);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// In a row.
    small_uses: u8,
}

impl Kept {
    /// What every buffer may keep.
    pub const LEAST_BYTES: usize = 256 << 10;

    /// After so many uses that needed less than a quarter of it, the rest is given back.
    pub const SMALL_USES: u8 = 16;

    /// Of a buffer that was not used yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { small_uses: 0 }
    }

    /// Empties `buffer`.
    pub fn clear(&mut self, buffer: &mut Vec<u8>) {
        let used = buffer.len();
        self.emptied(buffer, used);
        buffer.clear();
    }

    /// Notes that `buffer`, of which nothing is needed any more, had been filled with `used` bytes.
    /// Shortens it where it gives memory back, and else leaves its length alone.
    pub fn emptied(&mut self, buffer: &mut Vec<u8>, used: usize) {
        if used >= buffer.capacity() / 4 || buffer.capacity() <= Self::LEAST_BYTES {
            self.small_uses = 0;
            return;
        }
        self.small_uses += 1;
        if self.small_uses >= Self::SMALL_USES {
            self.small_uses = 0;
            buffer.truncate(Self::LEAST_BYTES);
            buffer.shrink_to(Self::LEAST_BYTES);
        }
    }
}
