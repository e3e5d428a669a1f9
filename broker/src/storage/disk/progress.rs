//! How much of a long log was read back, for whoever waits for the start: a line each second.

use std::time::{Duration, Instant};

use super::recovery::Log;

/// Between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// The clock is looked at after so many records, for a look costs as much as a small one, or after
/// so many blocks.
const RECORDS: u64 = 256;
const BLOCKS: u64 = 256;

pub(super) struct Progress {
    /// Records so far.
    pub(super) records: u64,
    /// Each segment's number, and the blocks before it.
    segments: Vec<(u64, u64)>,
    /// Of all.
    blocks: u64,
    /// The segment that is being read, and the blocks before it.
    current: (u64, u64),
    /// Blocks that were read when the clock was looked at.
    looked_at: u64,
    due: Instant,
}

impl Progress {
    pub(super) fn new(log: &Log, now: Instant) -> Self {
        Self::of(log.parts.iter().map(|part| (part.head.segment, part.blocks)), now)
    }

    /// Of segments with these numbers and blocks.
    fn of(parts: impl Iterator<Item = (u64, u64)>, now: Instant) -> Self {
        let mut blocks = 0;
        let segments = parts.map(|(segment, of_this)| {
            let before = blocks;
            blocks += of_this;
            (segment, before)
        });
        let segments: Vec<_> = segments.collect();
        let current = segments.first().copied().unwrap_or_default();
        Self { records: 0, segments, blocks, current, looked_at: 0, due: now + EVERY }
    }

    /// Counts a record, of a frame at this block of this segment. Returns the share of the log that
    /// was read, in percent, if it is time to tell it.
    pub(super) fn after_record(
        &mut self,
        segment: u64,
        block: u64,
        now: impl FnOnce() -> Instant,
    ) -> Option<u64> {
        self.records += 1;
        if segment != self.current.0 {
            let found = self.segments.iter().find(|(number, _)| *number == segment);
            self.current = found.copied().unwrap_or(self.current);
        }
        let read = self.current.1 + block;
        if !self.records.is_multiple_of(RECORDS) && read < self.looked_at + BLOCKS {
            return None;
        }
        self.looked_at = read;
        let now = now();
        if now < self.due {
            return None;
        }
        self.due = now + EVERY;
        Some(100 * read / self.blocks.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_told_each_second() {
        let begun = Instant::now();
        let mut progress = Progress::of([(3, 100), (5, 300)].into_iter(), begun);
        let mut told = Vec::new();
        for record in 0..RECORDS * 8 {
            // Half a second for as many records as are read between two looks.
            let now = begun + EVERY / 2 * u32::try_from(record / RECORDS).unwrap();
            let (segment, block) =
                if record < RECORDS * 4 { (3, record / RECORDS * 10) } else { (5, 100) };
            told.extend(progress.after_record(segment, block, || now));
        }
        assert_eq!(progress.records, RECORDS * 8);
        assert_eq!(told, [5, 50, 50]);
    }

    #[test]
    fn large_records_are_told_of_too() {
        let begun = Instant::now();
        let mut progress = Progress::of([(1, 4_000)].into_iter(), begun);
        let told = (0..4).filter_map(|second| {
            progress
                .after_record(1, second * 1_000, || begun + EVERY * u32::try_from(second).unwrap())
        });
        assert_eq!(told.collect::<Vec<_>>(), [25, 50, 75]);
    }
}
