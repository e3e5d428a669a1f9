//! Shared objects held against what they are meant to be: plain models of their types, the journal
//! that must make the same of them again, and the rules of those that make callers wait.
//!
//! `SEED=n` runs one history of each kind, `OBJECT_SEEDS=n` says how many; a failure prints its seed.

mod desk;
mod golden;
mod history;
mod many;
mod model;
mod replay;
mod sync;
mod unnamed;
mod values;
mod watching;

use ganger_chance::Rng;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Prints the seed of a history that fails.
struct Told<'a>(&'a str, u64);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} failed; repeat it with SEED={}", self.0, self.1);
        }
    }
}

/// Runs `test` with the chance of each seed.
fn each_seed(what: &str, seeds: u64, mut test: impl FnMut(&mut Rng)) {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OBJECT_SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let _told = Told(what, seed);
        test(&mut Rng::part(seed, what, 0));
    }
}
