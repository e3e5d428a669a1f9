//! Room in the journal: new work is refused before the disk is full, so that what ends work never is.
//!
//! Not the bounds of queues, lists and memory, which hold without a journal too.

use ganger_shared::{Durability, Rejection};

use crate::machine::Machine;
use crate::output::Output;
use crate::queue::{QueueKey, Size};

/// Kept free for each job that is there and must survive: its lease and its ending without the
/// output, 128 bytes. Outputs are bounded by what the storage keeps back for whatever ends work.
const COMPLETION_BYTES: u64 = 128;

/// What one record takes on the disk beside what it says: a block of 4096 bytes that it may not share.
const RECORD_BYTES: u64 = 4_096;

/// What the journal takes.
#[derive(Debug)]
pub(crate) struct Room {
    /// Bytes for new work, less what was accepted since that was said.
    left: u64,
    /// Bytes of all that was ever accepted.
    taken: u64,
    /// Jobs that must survive.
    jobs: u64,
    /// A submit waits for more.
    awaited: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: u64::MAX, taken: 0, jobs: 0, awaited: false }
    }
}

impl Room {
    const fn needed(size: Size) -> u64 {
        let completions = size.jobs.saturating_mul(COMPLETION_BYTES);
        size.bytes.saturating_add(completions).saturating_add(RECORD_BYTES)
    }

    const fn free(&self) -> u64 {
        self.left.saturating_sub(self.jobs.saturating_mul(COMPLETION_BYTES))
    }
}

impl Machine {
    /// Jobs that are there and must survive the broker.
    #[must_use]
    pub const fn kept_jobs(&self) -> u64 {
        self.room.jobs
    }

    /// Bytes that were ever taken of the room: to be told with [`set_room`](Self::set_room), once what
    /// took them is in the journal.
    #[must_use]
    pub const fn room_taken(&self) -> u64 {
        self.room.taken
    }

    /// Says for how many bytes of new work the journal had room, when of all that was
    /// [`taken`](Self::room_taken) so much was in it. Without a word of it there is no end to the room.
    /// What waited for room is accepted.
    pub fn set_room(&mut self, bytes: u64, taken: u64, out: &mut Output) {
        let left = bytes.saturating_sub(self.room.taken - taken);
        let more = left > self.room.left;
        self.room.left = left;
        if more && std::mem::take(&mut self.room.awaited) {
            self.admit_all(out);
            self.conclude(out);
        }
    }

    /// Whether the journal takes something new.
    pub(crate) fn judge_storage(
        &self,
        durability: Durability,
        size: Size,
    ) -> Result<(), Rejection> {
        let (needed, left) = (Room::needed(size), self.room.free());
        if durability == Durability::Memory || needed <= left {
            return Ok(());
        }
        Err(Rejection::StorageFull { needed, left })
    }

    /// A submit waits, and the storage is what it waits for.
    pub(crate) const fn await_room(&mut self) {
        self.room.awaited = true;
    }

    /// Something was accepted that goes to the journal.
    pub(crate) fn take_room(&mut self, size: Size) {
        let needed = Room::needed(Size { jobs: 0, ..size });
        self.room.left = self.room.left.saturating_sub(needed);
        self.room.taken = self.room.taken.wrapping_add(needed);
    }

    /// Jobs have come to a queue.
    pub(crate) fn reserve_completions(&mut self, queue: QueueKey, count: u32) {
        if self.promise(queue) > Durability::Memory {
            self.room.jobs += u64::from(count);
        }
    }

    /// Jobs have left a queue for good.
    pub(crate) fn release_completions(&mut self, queue: QueueKey, count: u32) {
        if self.promise(queue) > Durability::Memory {
            self.room.jobs -= u64::from(count);
        }
    }

    pub(crate) fn check_room(&self) {
        let kept = self.runs.iter().filter(|(_, run)| self.promise(run.queue) > Durability::Memory);
        let jobs: u64 = kept.map(|(_, run)| u64::from(run.jobs.count)).sum();
        assert_eq!(self.room.jobs, jobs, "jobs whose completions have room");
    }
}
