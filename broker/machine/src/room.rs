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
    /// Jobs that must survive.
    jobs: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: u64::MAX, jobs: 0 }
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
    /// Says for how many bytes of new work the journal has room, what is on its way there left out.
    /// Without a word of it there is no end to the room. What waited for it is accepted.
    pub fn set_room(&mut self, bytes: u64, out: &mut Output) {
        let more = bytes > self.room.left;
        self.room.left = bytes;
        if more {
            for queue in (0..self.queues.len()).map(QueueKey) {
                self.admit_waiting(queue, out);
            }
            self.dispatch(out);
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

    /// Something was accepted that goes to the journal.
    pub(crate) fn take_room(&mut self, size: Size) {
        let needed = Room::needed(Size { jobs: 0, ..size });
        self.room.left = self.room.left.saturating_sub(needed);
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
