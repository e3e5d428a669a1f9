//! The lives of the machine's simulation, with the journal in the format and the files of a real
//! broker, on a disk that loses what was not synced.
//!
//! The world is the one of `broker/machine/tests/it/simulation`; only where the journal lies is
//! another. `SEED=n` repeats a life, `SIM_SEEDS=n` says how many there are.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]
#![expect(clippy::print_stderr, reason = "a seed that failed is told to whoever runs the test")]

#[allow(dead_code, reason = "the tests of the journal do more to it")]
#[path = "../journal/sim.rs"]
mod sim;
#[allow(dead_code, reason = "the machine's own tests keep the journal in memory")]
#[path = "../../machine/tests/it/simulation"]
mod simulation {
    pub(crate) mod broker;
    mod client;
    pub(crate) mod disk;
    mod history;
    mod payloads;
    mod plan;
    pub(crate) mod record;
    pub(crate) mod seen;
    pub(crate) mod world;
}

use ganger_broker::storage::disk::{Fill, Options};
use ganger_broker::storage::{self, DiskStorage, Event, Record, Seq, Storage, Until};
use ganger_chance::Rng;

use sim::Sim;
use simulation::disk::{Disk, Left};
use simulation::seen::Seen;
use simulation::world::World;

/// Lives in an ordinary run: seconds. Crashes at every point of the disk's work are the matter of
/// the journal's own tests.
const SEEDS: u64 = 300;

/// Small, so that a short life has many segments.
const OPTIONS: Options = Options { segment_bytes: 16 << 10, min_free_bytes: 0, fill: Fill::AtOnce };

/// What a life must have met here at least once in all seeds.
const SOMETIMES: [&str; 5] = [
    "the broker lost what was not durable",
    "a restart began with a restatement",
    "the power failed in the middle of a restatement",
    "the power failed before a restatement took its place",
    "a full storage took an ack",
];

/// The broker's journal in its files.
struct Journal {
    sim: Sim,
    storage: DiskStorage,
    /// How many events there are up to each record, that included; of the first one at 0.
    ends: Vec<usize>,
}

impl Journal {
    fn new() -> Self {
        let mut journal = Self::on(Sim::new());
        assert_eq!(journal.storage.replay(&mut |_| Ok(())).unwrap(), Seq::START);
        journal
    }

    fn on(sim: Sim) -> Self {
        let storage = DiskStorage::on(sim.files(), OPTIONS);
        Self { sim, storage, ends: Vec::new() }
    }

    /// How many events there are before a record.
    fn before(&self, seq: Seq) -> usize {
        let records = usize::try_from(seq.0).unwrap() - 1;
        records.checked_sub(1).map_or(0, |last| self.ends[last])
    }
}

impl Disk for Journal {
    fn append(&mut self, events: &[Event]) {
        // A restatement has parts of about 1 MiB; here nothing is as large.
        let is_restatement = matches!(events.first(), Some(Event::Stated(_)));
        for part in events.chunks(if is_restatement { 5 } else { events.len() }) {
            let body = postcard::to_stdvec(part).unwrap();
            let seq = Seq(self.ends.len() as u64 + 1);
            self.storage.append(&[Record { seq, body: &body }], Until::Written).unwrap();
            self.ends.push(self.ends.last().copied().unwrap_or_default() + part.len());
        }
    }

    fn sync(&mut self) {
        self.storage.append(&[], Until::Durable).unwrap();
    }

    fn forget(&mut self, before: usize) {
        let records = self.ends.partition_point(|&end| end <= before);
        let from = Seq(records as u64 + 1);
        assert_eq!(self.before(from), before, "a restatement begins with a record");
        self.storage.compact(from).unwrap();
    }

    fn lose_power(&mut self, rng: &mut Rng) -> Left {
        let per_mille = *rng.pick(&[0, 300, 700, 1_000]);
        let crashed = self.sim.disk().crashed(|_| rng.chance(per_mille));
        let Self { sim, storage, .. } = Self::on(crashed);
        (self.sim, self.storage) = (sim, storage);
        let (mut first, mut events) = (None, Vec::new());
        let last = self.storage.replay(&mut |record| {
            first.get_or_insert(record.seq);
            events.extend(storage::events(&record)?);
            Ok(())
        });
        let last = last.unwrap();
        self.ends.truncate(usize::try_from(last.0).unwrap());
        Left { first: self.before(first.unwrap_or_else(|| last.next())), events }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_that_was_promised_is_lost_by_a_journal_in_files() {
    let mut seen = Seen::default();
    let mut live = |seed| {
        let mut world = World::new(seed, Box::new(Journal::new()));
        world.live();
        seen.add(&world.seen);
    };
    if let Some(seed) = number("SEED") {
        live(seed);
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    (0..seeds).for_each(&mut live);
    if seeds >= SEEDS {
        let missing = seen.missing();
        assert!(!SOMETIMES.iter().any(|what| missing.contains(what)), "{missing:?}");
    }
}
