//! Clients on lossy links, a broker whose power fails, clocks that jump: whole lives from one seed.
//!
//! `SEED=n` runs one seed; `SIM_SEEDS=n` says how many. A failure prints its seed. At the end of
//! every life the faults stop and everything must come to an end in bounded simulated time; then
//! what the clients were told is compared with what the journal says ([`record`]), and what they
//! have seen is judged as that of clients of a real broker is ([`history`]).
//!
//! ```text
//!   client ── frames, late, in order, until the connection is cut ──▶ broker ── machine
//!      ▲                                                               │  journal (durable later)
//!      └───────────── responses, once what they promise is durable ◀───┘
//! ```

pub(crate) mod broker;
mod client;
mod disk;
mod history;
pub(crate) mod payloads;
mod plan;
pub(crate) mod record;
mod seen;
mod world;

use ganger_history::{Example, Rule, What, check};

use disk::Memory;
use seen::Seen;
use world::World;

/// Seeds in an ordinary run: a few seconds of a debug build.
const SEEDS: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn live(seed: u64, seen: &mut Seen) -> World {
    let mut world = World::new(seed, Box::new(Memory::default()));
    world.live();
    seen.add(&world.seen);
    world
}

/// Lives all seeds below this number, on every processor there is.
fn live_all(seeds: u64) -> Seen {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let some = |first: u64| {
        let mut seen = Seen::default();
        for seed in (first..seeds).step_by(threads) {
            live(seed, &mut seen);
        }
        seen
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads as u64).map(|first| scope.spawn(move || some(first))).collect();
        let mut all = Seen::default();
        for thread in threads {
            all.add(&thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

#[test]
fn every_accepted_job_ends_once_and_no_result_is_lost_or_doubled() {
    if let Some(seed) = number("SEED") {
        live(seed, &mut Seen::default());
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let mut seen = live_all(seeds);
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
        let mut hash = || live(seed, &mut seen).broker.hash.finalize();
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

#[test]
fn accepted_job_that_is_left_out_of_a_history_is_lost() {
    let world = live(1, &mut Seen::default());
    let job = *world.accepted().first().expect("somebody has submitted a job");
    let mut history = world.history.events.clone();
    history.retain(|event| match &event.what {
        What::Granted { jobs, .. }
        | What::Settle { jobs, .. }
        | What::Settled { jobs, .. }
        | What::Ended { jobs, .. } => !jobs.iter().any(|other| other == job),
        What::Read { items, .. } => !items.iter().any(|item| item.job == job),
        _ => true,
    });
    let verdict = check(&history);
    let lost = |example: &Example| {
        example.rule == Rule::Lost && example.text.starts_with(&format!("{job} was accepted"))
    };
    assert!(verdict.examples.iter().any(lost), "{verdict:#?}");
    assert!(world.history.verdict().passed);
}
