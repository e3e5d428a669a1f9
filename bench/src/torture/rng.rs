//! Chance from one number.
//! Not the timing of processes and sockets: a seed repeats what is done, not when it arrives.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and every seed is a good one.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one, for the `number`th part of `what`; parts do not disturb each other.
    pub(crate) fn part(seed: u64, what: &str, number: u64) -> Self {
        let mut text = what.as_bytes().to_vec();
        text.extend(seed.to_le_bytes());
        text.extend(number.to_le_bytes());
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self::new(text.iter().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from a range.
    pub(crate) fn from(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    /// The same as a size.
    pub(crate) fn size(&mut self, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.from(range)).unwrap_or(usize::MAX)
    }

    /// So many milliseconds.
    pub(crate) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.from(range))
    }

    /// True so many times of a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    /// Fills a buffer with what no compression could shorten.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_seed_repeat_and_differ() {
        let first = |seed, what, number| Rng::part(seed, what, number).next();
        assert_eq!(first(1, "link", 2), first(1, "link", 2));
        let others = [first(2, "link", 2), first(1, "kill", 2), first(1, "link", 3)];
        assert!(!others.contains(&first(1, "link", 2)));
    }

    #[test]
    fn numbers_stay_within_their_range() {
        let mut rng = Rng::new(7);
        let numbers: Vec<u64> = (0..1_000).map(|_| rng.from(3..=5)).collect();
        assert!(numbers.iter().all(|n| (3..=5).contains(n)));
        assert!([3, 4, 5].iter().all(|n| numbers.contains(n)));
    }
}
