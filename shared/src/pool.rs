//! Memory of large blocks, used again for the next.
//!
//! Not an allocator: whatever is small is left to that of the program.

#![expect(clippy::disallowed_types, reason = "memory is the whole program's, and says nothing")]

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// From this size on an allocator asks the system for fresh pages, which cost more than the bytes
/// that are copied into them: at 64 KiB a job, batched, a third of all processor time.
pub(crate) const LARGE_BYTES: usize = 128 << 10;

/// What may lie unused at a time, so that a program that has become quiet does not keep more.
const UNUSED_BYTES_MAX: usize = 16 << 20;

static UNUSED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A copy of `bytes`.
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    if bytes.len() < LARGE_BYTES {
        return Bytes::copy_from_slice(bytes);
    }
    let mut buffer = take(bytes.len());
    buffer.extend_from_slice(bytes);
    freeze(buffer)
}

/// An empty buffer with room for `size` bytes.
pub(crate) fn take(size: usize) -> Vec<u8> {
    if size >= LARGE_BYTES {
        let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
        // What waits in a queue is accounted for by its size, so little more may go with it.
        let fits = |buffer: &Vec<u8>| (size..=size + size / 4).contains(&buffer.capacity());
        if let Some(found) = unused.iter().rposition(fits) {
            return unused.swap_remove(found);
        }
    }
    Vec::with_capacity(size)
}

/// `buffer` as bytes that can be shared; if it is large, its memory comes back here with the last of them.
pub(crate) fn freeze(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < LARGE_BYTES { buffer.into() } else { Bytes::from_owner(Pooled(buffer)) }
}

struct Pooled(Vec<u8>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let lying: usize = unused.iter().map(Vec::capacity).sum();
        if lying + buffer.capacity() <= UNUSED_BYTES_MAX {
            unused.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal_whether_their_memory_was_used_before_or_not() {
        for round in 0..3_u8 {
            for size in [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 7, 3 << 20] {
                let bytes = vec![round; size];
                let copy = copy(&bytes);
                assert_eq!(copy.slice(size / 2..), bytes[size / 2..]);
                assert_eq!(copy, bytes);
            }
        }
    }

    #[test]
    fn memory_is_used_again_by_what_nearly_fills_it() {
        // Sizes that no other test has, for the pool is the whole program's.
        let size = 5_000_001;
        let address = copy(&vec![1; size]).as_ptr();
        let (far_smaller, nearly_as_large) = (take(size / 3), take(size - 1_000));
        assert_ne!(far_smaller.as_ptr(), address);
        assert_eq!(nearly_as_large.as_ptr(), address);
    }

    #[test]
    fn unused_memory_is_bounded() {
        let held: Vec<Bytes> = (0..40).map(|_| copy(&vec![1; 1 << 20])).collect();
        drop(held);
        let lying: usize = UNUSED.lock().unwrap().iter().map(Vec::capacity).sum();
        assert!(lying <= UNUSED_BYTES_MAX, "{lying}");
    }
}
