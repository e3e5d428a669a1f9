//! What one seed does: how many clients, which bounds, which faults. Every seed enables a part of
//! the faults, so that none always hides behind another.

use std::time::Duration;

use ganger_chance::Rng;
use ganger_machine::Config;
use ganger_machine::config::Available;
use ganger_shared::admin::QueueSettings;
use ganger_shared::{Durability, Name};

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) queues: Vec<Name>,
    pub(super) lists: Vec<Name>,
    pub(super) clients: usize,
    /// Simulated milliseconds before everything is mended.
    pub(super) faulty_ms: u64,
    /// Of a thousand frames, how many are the last of their connection.
    pub(super) cuts: u64,
    /// How much later than the cut either end notices it, at most.
    pub(super) notice_ms: u64,
    pub(super) delay_ms: u64,
    pub(super) clock_jumps: bool,
    pub(super) client_crashes: bool,
    pub(super) restarts: bool,
    pub(super) freezes: bool,
    pub(super) hangs: bool,
    pub(super) cancels: bool,
    pub(super) operators: bool,
    pub(super) small_queues: bool,
    pub(super) small_lists: bool,
    /// Jobs end with effects.
    pub(super) effects: bool,
    /// Jobs wait for others, a counter or a list.
    pub(super) holds: bool,
    /// The disk gets full now and then.
    pub(super) fills: bool,
    pub(super) slow_disk_ms: u64,
    /// Payloads beyond this are in the journal only.
    pub(super) cache_bytes: u64,
    // What the clients do; all three in most seeds.
    pub(super) submit: bool,
    pub(super) work: bool,
    pub(super) collect: bool,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| Name::new(name).unwrap()).collect();
        let half = |rng: &mut Rng| rng.chance(500);
        Self {
            queues: names(&["mail", "img/thumbs"]),
            lists: names(&["shared", "mail.results", "img/thumbs.results"]),
            clients: usize::try_from(rng.between(2..=5)).unwrap(),
            faulty_ms: rng.between(2_000..=10_000),
            cuts: if half(rng) { rng.between(2..=40) } else { 0 },
            notice_ms: rng.between(1..=1_500),
            delay_ms: *rng.pick(&[1, 5, 80]),
            clock_jumps: half(rng),
            client_crashes: half(rng),
            restarts: half(rng),
            freezes: half(rng),
            hangs: half(rng),
            cancels: half(rng),
            operators: half(rng),
            small_queues: half(rng),
            small_lists: half(rng),
            effects: half(rng),
            holds: half(rng),
            fills: half(rng),
            slow_disk_ms: *rng.pick(&[1, 10, 300]),
            cache_bytes: *rng.pick(&[0, 40, u64::MAX]),
            submit: true,
            work: true,
            collect: true,
        }
    }

    /// Whether jobs that are alike come out in their order: nothing is refused and tried again later,
    /// nothing waits for room in a list while others pass.
    pub(super) const fn keeps_order(&self) -> bool {
        !self.small_queues && !self.small_lists && !self.fills && !self.operators
    }

    pub(super) fn config(&self) -> Config {
        let mut config = Config {
            available: Available::All,
            grace: Duration::from_millis(1_000),
            session_memory: Duration::from_secs(60),
            cancel_grace: Duration::from_millis(700),
            finished_runs_max: 100_000,
            queue_defaults: QueueSettings {
                jobs_max: 1_000,
                bytes_max: 1 << 20,
                lease_ms: 3_000,
                dead_on: vec!["never".to_owned()],
                durability: Durability::Strict,
            },
            cache_bytes_max: self.cache_bytes,
            assign_jobs_max: 5,
            ..Config::default()
        };
        if self.small_queues {
            config.queue_defaults.jobs_max = 14;
        }
        if self.small_lists {
            config.list_items_max = 9;
        }
        config
    }
}
