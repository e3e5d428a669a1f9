//! Chance from one number: a seed repeats what a test does.
//! Not for secrets, which come from the operating system.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and every seed is a good one.
///
/// ```
/// use ganger_chance::Rng;
///
/// let (mut one, mut other) = (Rng::new(7), Rng::new(7));
/// assert_eq!(one.draw(), other.draw());
/// assert!((3..=5).contains(&one.between(3..=5)));
/// ```
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The chance of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one, for the `number`th part of `what`; parts do not disturb each other.
    #[must_use]
    pub fn part(seed: u64, what: &str, number: u64) -> Self {
        let mut text = what.as_bytes().to_vec();
        text.extend(seed.to_le_bytes());
        text.extend(number.to_le_bytes());
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self::new(text.iter().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// Any number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from 0 up to, but without, `bound`.
    ///
    /// # Panics
    /// If there is none.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A number from a range.
    pub const fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        *range.start() + self.below(*range.end() - *range.start() + 1)
    }

    /// The same as a size.
    pub fn size(&mut self, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.between(range)).unwrap_or(usize::MAX)
    }

    /// So many milliseconds.
    pub const fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// Whether something happens that happens so many times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Whether something happens that happens so many times in a hundred.
    pub const fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.size(0..=from.len() as u64 - 1)]
    }

    /// Fills a buffer with what no compression could shorten.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            piece.copy_from_slice(&self.draw().to_le_bytes()[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_means_the_same_for_ever() {
        // The values that the authors' own program gives.
        let mut rng = Rng::new(1_234_567);
        let drawn = [rng.draw(), rng.draw(), rng.draw()];
        let known =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(drawn, known);
    }

    #[test]
    fn parts_of_a_seed_repeat_and_differ() {
        let first = |seed, what, number| Rng::part(seed, what, number).draw();
        assert_eq!(first(1, "link", 2), first(1, "link", 2));
        let others = [first(2, "link", 2), first(1, "kill", 2), first(1, "link", 3)];
        assert!(!others.contains(&first(1, "link", 2)));
    }

    #[test]
    fn numbers_stay_within_their_range() {
        let mut rng = Rng::new(7);
        let numbers: Vec<u64> = (0..1_000).map(|_| rng.between(3..=5)).collect();
        assert!(numbers.iter().all(|n| (3..=5).contains(n)));
        assert!([3, 4, 5].iter().all(|n| numbers.contains(n)));
    }
}
