//! Clients on lossy links, a broker whose power fails, clocks that jump: whole lives from one seed.
//!
//! `SEED=n` runs one seed; `SIM_SEEDS=n` says how many. A failure prints its seed. At the end of
//! every life the faults stop and everything must come to an end in bounded simulated time; then
//! what the clients were told is compared with what the journal says ([`record`]).
//!
//! ```text
//!   client ── frames, late, in order, until the connection is cut ──▶ broker ── machine
//!      ▲                                                               │  journal (durable later)
//!      └───────────── responses, once what they promise is durable ◀───┘
//! ```

pub(crate) mod broker;
mod client;
mod plan;
pub(crate) mod record;
mod seen;
mod world;

use seen::Seen;
use world::World;

/// Seeds in an ordinary run: a few seconds of a debug build.
const SEEDS: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Prints the seed if the life under it panics.
struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed; repeat it with SEED={}", self.0);
        }
    }
}

fn live(seed: u64, seen: &mut Seen) -> blake3::Hash {
    let _on_panic = OnPanic(seed);
    let mut world = World::new(seed);
    world.live();
    seen.add(&world.seen);
    world.broker.hash.finalize()
}

#[test]
fn every_accepted_job_ends_once_and_no_result_is_lost_or_doubled() {
    let mut seen = Seen::default();
    if let Some(seed) = number("SEED") {
        live(seed, &mut seen);
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        live(seed, &mut seen);
    }
    // One that nobody has run before.
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let fresh = since.subsec_nanos().into();
    println!("fresh seed: SEED={fresh}");
    live(fresh, &mut seen);
    if seeds >= SEEDS {
        assert!(seen.missing().is_empty(), "never happened: {:?}", seen.missing());
    }
}

#[test]
fn the_same_seed_puts_out_the_same_bytes() {
    for seed in [1, 2, 3, 4, 5] {
        let mut seen = Seen::default();
        assert_eq!(live(seed, &mut seen), live(seed, &mut seen), "seed {seed}");
    }
}
