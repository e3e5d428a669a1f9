//! The machine's settings and bounds, each with its default and its reason.

use core::time::Duration;

use ganger_shared::Durability;
use ganger_shared::admin::QueueSettings;
use ganger_shared::limits::PAYLOAD_BYTES_MAX;

use crate::registry::Registry;

/// Whether queues and lists that nobody has configured are made on first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// They are.
    OnFirstUse,
    /// They are refused as not found.
    ByOperatorOnly,
}

/// Everything an operator decides about the machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Reported by Status.
    pub version: String,
    /// Whether names are made by use.
    pub creation: Creation,
    /// What a new queue starts with. Its durability is also that of new lists.
    pub queue_defaults: QueueSettings,
    /// Durabilities the broker's storage can keep, with the reason why it cannot keep the others.
    pub available: Available,
    /// Queues and lists, at most each: 100,000. A name costs about 500 bytes.
    pub names_max: usize,
    /// Sessions, open or remembered, at most: 100,000.
    pub sessions_max: usize,
    /// How often a client must show life: 10 s.
    pub heartbeat: Duration,
    /// How long after a broken connection a session's leases are kept for it: 1 s.
    pub grace: Duration,
    /// How long a session's numbers are remembered after it was last seen: 10 min. A submit that is
    /// repeated later is taken for a new one.
    pub session_memory: Duration,
    /// How long an object without a name of its own is kept that nobody uses and nothing refers to: 10 min.
    pub unnamed_idle: Duration,
    /// How long a cancelled handler may take to stop: 10 s.
    pub cancel_grace: Duration,
    /// Largest frame that is read, in bytes, as told to clients: 64 MiB.
    pub frame_bytes_max: u32,
    /// Largest payload or item: 16 MiB.
    pub payload_bytes_max: u64,
    /// Payload bytes of waiting jobs that are kept in memory although a journal has them, at most:
    /// 256 MiB, and what is about to be handed out.
    pub cache_bytes_max: u64,
    /// Payload bytes in memory, at most: 4 GiB. Above, submits and appends are refused and jobs go on.
    pub memory_bytes_max: u64,
    /// Items of one list, at most: 1,000,000. A full results list holds its jobs back.
    pub list_items_max: u64,
    /// Bytes of one list, at most: 1 GiB.
    pub list_bytes_max: u64,
    /// Runs of jobs that have ended whose outcome can still be asked for, at most: 10,000.
    pub finished_runs_max: usize,
    /// Bytes of their outputs, at most: 16 MiB.
    pub finished_bytes_max: usize,
    /// Which types of objects there are, and which objects from the start.
    pub registry: Registry,
    /// Subscriptions, waits, follows and parked calls of one session, at most: 65,536.
    pub calls_per_session_max: usize,
    /// Submits that wait for room in one queue, at most: 1,024.
    pub submits_waiting_max: usize,
    /// Jobs in one Assign, at most: 1,024; larger ones would hold back other workers' share.
    pub assign_jobs_max: u32,
    /// Payload bytes in one Assign, at most, unless a single job has more: 1 MiB.
    pub assign_bytes_max: usize,
}

/// Which durabilities can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Available {
    /// All three: the broker has a journal.
    All,
    /// Only `memory`, and why.
    MemoryOnly {
        /// Told to whoever asks for more.
        reason: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            creation: Creation::OnFirstUse,
            queue_defaults: QueueSettings {
                jobs_max: 10_000_000,
                bytes_max: 4 << 30,
                lease_ms: 30_000,
                dead_on: Vec::new(),
                durability: Durability::Memory,
            },
            available: Available::MemoryOnly {
                reason: "this broker has no journal; use memory".to_owned(),
            },
            names_max: 100_000,
            sessions_max: 100_000,
            heartbeat: Duration::from_secs(10),
            grace: Duration::from_secs(1),
            session_memory: Duration::from_secs(600),
            unnamed_idle: Duration::from_secs(600),
            cancel_grace: Duration::from_secs(10),
            frame_bytes_max: 64 << 20,
            payload_bytes_max: PAYLOAD_BYTES_MAX as u64,
            cache_bytes_max: 256 << 20,
            memory_bytes_max: 4 << 30,
            list_items_max: 1_000_000,
            list_bytes_max: 1 << 30,
            finished_runs_max: 10_000,
            finished_bytes_max: 16 << 20,
            registry: Registry::default(),
            calls_per_session_max: 1 << 16,
            submits_waiting_max: 1_024,
            assign_jobs_max: 1_024,
            assign_bytes_max: 1 << 20,
        }
    }
}
