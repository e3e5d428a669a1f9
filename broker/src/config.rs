//! What an operator decides: the settings and their defaults.
//!
//! Not their reasons: docs/broker.toml has them all, with the reason beside each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ganger_machine::config::{Available, Config as MachineConfig, Creation};
use ganger_shared::admin::QueueSettings;
use ganger_shared::limits::FRAME_BYTES_MAX;
use ganger_shared::time::millis;
use ganger_shared::{Durability, Name};
use serde::{Deserialize, Serialize};

mod load;
mod object;
mod python;
mod show;
mod units;

pub use load::{ConfigError, Flags, Loaded};
pub(crate) use load::{DURABILITIES, parse_durability};
pub use object::ObjectConfig;
pub use python::PythonConfig;
pub use show::Origin;
pub use units::{Size, Span, UnitError};

/// Every setting of a broker. [`Config::default`] is what a broker without a file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where to listen: `host:port`. Port 0 takes any free one.
    pub listen: String,
    /// The file with the key; `None` for the one in the user's configuration folder.
    pub key_file: Option<PathBuf>,
    /// The folder of the journal, which is made if there is none; `None` for no journal. The daemon
    /// takes the user's data folder if nobody names one and `durability` needs it.
    pub data: Option<PathBuf>,
    /// What new queues and lists promise.
    pub durability: Durability,
    /// Who makes queues and lists that do not exist.
    pub create: Create,
    /// How the journal uses its folder.
    pub journal: JournalConfig,
    /// Bounds, each of which ends in a refusal that says so, or in back-pressure.
    pub limits: Limits,
    /// What is expected of clients.
    pub sessions: Sessions,
    /// What new queues start with.
    pub queues: QueueDefaults,
    /// How long shared objects are kept.
    pub objects: ObjectDefaults,
    /// The door for Python programs.
    pub python: PythonConfig,
    /// Queues that exist from the start, with what differs from the defaults.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queue: BTreeMap<Name, QueueConfig>,
    /// Shared objects that exist from the start.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub object: BTreeMap<Name, ObjectConfig>,
}

/// Who makes queues and lists that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Create {
    /// Whoever uses them first.
    OnFirstUse,
    /// The operator alone: in the configuration, or with the `ganger` command.
    OperatorOnly,
}

/// How the journal uses its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalConfig {
    /// Free space that is left for others: with less, new work is refused.
    pub free_min: Size,
    /// Up to here the journal grows before what is of no more use is dropped from it.
    pub compact_after: Size,
    /// Keeps it also where it cannot survive: in memory, or on a network's file system.
    pub any_filesystem: bool,
}

/// Bounds of the broker as a whole and of each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections at once. The system's limit of open files may allow fewer.
    pub connections_max: usize,
    /// Connections at once whose peer has proven nothing yet; more wait their turn.
    pub handshakes_max: usize,
    /// From a connection's first byte to its open session.
    pub handshake_timeout: Span,
    /// One frame.
    pub frame_max: Size,
    /// One payload or item.
    pub payload_max: Size,
    /// Payloads of waiting jobs that are kept in memory although the journal has them.
    pub payload_cache: Size,
    /// All payloads and items in memory.
    pub memory_max: Size,
    /// Answers to one client that have not left, above which nothing is read from it.
    pub unsent_pause: Size,
    /// Answers to one client that have not left, above which it is given up.
    pub unsent_max: Size,
    /// How long a client may take none of its answers.
    pub write_stall: Span,
    /// Queues, and likewise lists.
    pub names_max: usize,
    /// Sessions, open or remembered.
    pub sessions_max: usize,
    /// Subscriptions, waits, follows and parked calls of one session.
    pub calls_max: usize,
    /// Submits that wait for room in one queue.
    pub submits_waiting_max: usize,
    /// Items in one list.
    pub list_items_max: u64,
    /// Bytes in one list.
    pub list_bytes_max: Size,
    /// Runs of ended jobs that can still be asked about.
    pub finished_runs_max: usize,
    /// Bytes of their results.
    pub finished_bytes_max: Size,
}

/// What is expected of clients, and how long the broker is patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// How often a client shows life. After three of these in silence its connection is closed.
    pub heartbeat: Span,
    /// How long the leases of a session outlive its connection.
    pub grace: Span,
    /// How long the numbers of a session outlive it.
    pub memory: Span,
    /// How long a cancelled handler may take to stop.
    pub cancel_grace: Span,
}

/// How long shared objects are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectDefaults {
    /// How long one without a name of its own is kept that nobody uses and nothing refers to.
    pub unnamed_idle: Span,
}

/// What new queues start with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueDefaults {
    /// Unsettled and dead jobs together.
    pub jobs_max: u64,
    /// Their payloads together.
    pub bytes_max: Size,
    /// How long a lease lasts without a sign of life of its session.
    pub lease: Span,
    /// Kinds of failure that are never retried.
    pub dead_on: Vec<String>,
}

/// What differs in one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueConfig {
    /// See [`QueueDefaults::jobs_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_max: Option<u64>,
    /// See [`QueueDefaults::bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<Size>,
    /// See [`QueueDefaults::lease`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// See [`QueueDefaults::dead_on`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_on: Option<Vec<String>>,
    /// See [`Config::durability`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
}

const MIB: u64 = 1 << 20;

const fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7117".to_owned(),
            key_file: None,
            data: None,
            durability: Durability::Strict,
            create: Create::OnFirstUse,
            journal: JournalConfig::default(),
            limits: Limits::default(),
            sessions: Sessions::default(),
            queues: QueueDefaults::default(),
            objects: ObjectDefaults::default(),
            python: PythonConfig::default(),
            queue: BTreeMap::new(),
            object: BTreeMap::new(),
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { free_min: Size(1 << 30), compact_after: Size(256 * MIB), any_filesystem: false }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let machine = MachineConfig::default();
        Self {
            connections_max: 10_000,
            handshakes_max: 256,
            handshake_timeout: seconds(5),
            frame_max: Size(64 * MIB),
            payload_max: Size(machine.payload_bytes_max),
            payload_cache: Size(machine.cache_bytes_max),
            memory_max: Size(machine.memory_bytes_max),
            unsent_pause: Size(MIB),
            unsent_max: Size(256 * MIB),
            write_stall: seconds(30),
            names_max: machine.names_max,
            sessions_max: machine.sessions_max,
            calls_max: machine.calls_per_session_max,
            submits_waiting_max: machine.submits_waiting_max,
            list_items_max: machine.list_items_max,
            list_bytes_max: Size(machine.list_bytes_max),
            finished_runs_max: machine.finished_runs_max,
            finished_bytes_max: Size(machine.finished_bytes_max as u64),
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        let machine = MachineConfig::default();
        Self {
            heartbeat: Span(machine.heartbeat),
            grace: Span(machine.grace),
            memory: Span(machine.session_memory),
            cancel_grace: Span(machine.cancel_grace),
        }
    }
}

impl Default for ObjectDefaults {
    fn default() -> Self {
        Self { unnamed_idle: Span(MachineConfig::default().unnamed_idle) }
    }
}

impl Default for QueueDefaults {
    fn default() -> Self {
        let queue = MachineConfig::default().queue_defaults;
        Self {
            jobs_max: queue.jobs_max,
            bytes_max: Size(queue.bytes_max),
            lease: Span(Duration::from_millis(queue.lease_ms)),
            dead_on: queue.dead_on,
        }
    }
}

impl Config {
    /// Looks for settings that do not go together; says the first in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Limits { frame_max, payload_max, unsent_pause, unsent_max, .. } = &self.limits;
        if frame_max.bytes() > FRAME_BYTES_MAX {
            let most = Size(FRAME_BYTES_MAX as u64);
            return Err(format!("limits.frame_max is {frame_max}; the protocol allows {most}"));
        }
        // What is in a frame beside one payload.
        let least = Size(payload_max.0.saturating_add(64 << 10));
        if *frame_max < least {
            return Err(format!(
                "limits.frame_max is {frame_max} and must be at least 64KiB above \
                 limits.payload_max, {payload_max}"
            ));
        }
        if unsent_max < unsent_pause {
            return Err(format!(
                "limits.unsent_max is {unsent_max}, below limits.unsent_pause, {unsent_pause}"
            ));
        }
        let spans = [
            ("limits.handshake_timeout", self.limits.handshake_timeout),
            ("limits.write_stall", self.limits.write_stall),
            ("sessions.heartbeat", self.sessions.heartbeat),
            ("queues.lease", self.queues.lease),
            ("objects.unnamed_idle", self.objects.unnamed_idle),
        ];
        if let Some((key, _)) = spans.iter().find(|(_, span)| millis(span.0) == 0) {
            return Err(format!("{key} is 0s; it must be at least 1ms"));
        }
        let counts = [
            ("limits.connections_max", self.limits.connections_max),
            ("limits.handshakes_max", self.limits.handshakes_max),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("{key} is 0; nobody could connect"));
        }
        let mut classes = self.python.classes.iter().flatten();
        if let Some(class) = classes.find(|class| !class.contains('.')) {
            return Err(format!(
                "python.classes has {class:?}; say its module too, such as __main__.{class}"
            ));
        }
        Ok(())
    }

    /// Whether there is a queue from the start, or by default, that must outlive the process.
    pub(crate) fn needs_journal(&self) -> bool {
        let mut queues = self.queue.values().filter_map(|queue| queue.durability);
        let mut objects = self.object.values().filter_map(|object| object.durability);
        self.durability > Durability::Memory
            || queues.any(|queue| queue > Durability::Memory)
            || objects.any(|object| object > Durability::Memory)
    }

    /// The settings of the machine among these.
    pub(crate) fn machine(&self, available: Available) -> MachineConfig {
        let Limits { frame_max, payload_max, memory_max, .. } = self.limits;
        MachineConfig {
            creation: match self.create {
                Create::OnFirstUse => Creation::OnFirstUse,
                Create::OperatorOnly => Creation::ByOperatorOnly,
            },
            queue_defaults: self.queue_settings(&QueueConfig::default()),
            available,
            names_max: self.limits.names_max,
            sessions_max: self.limits.sessions_max,
            heartbeat: self.sessions.heartbeat.0,
            grace: self.sessions.grace.0,
            session_memory: self.sessions.memory.0,
            cancel_grace: self.sessions.cancel_grace.0,
            unnamed_idle: self.objects.unnamed_idle.0,
            frame_bytes_max: u32::try_from(frame_max.0).unwrap_or(u32::MAX),
            payload_bytes_max: payload_max.0,
            cache_bytes_max: self.limits.payload_cache.0,
            memory_bytes_max: memory_max.0,
            list_items_max: self.limits.list_items_max,
            list_bytes_max: self.limits.list_bytes_max.0,
            finished_runs_max: self.limits.finished_runs_max,
            finished_bytes_max: self.limits.finished_bytes_max.bytes(),
            calls_per_session_max: self.limits.calls_max,
            submits_waiting_max: self.limits.submits_waiting_max,
            ..MachineConfig::default()
        }
    }

    /// All settings of a queue.
    pub(crate) fn queue_settings(&self, queue: &QueueConfig) -> QueueSettings {
        let defaults = &self.queues;
        QueueSettings {
            jobs_max: queue.jobs_max.unwrap_or(defaults.jobs_max),
            bytes_max: queue.bytes_max.unwrap_or(defaults.bytes_max).0,
            lease_ms: millis(queue.lease.unwrap_or(defaults.lease).0),
            dead_on: queue.dead_on.clone().unwrap_or_else(|| defaults.dead_on.clone()),
            durability: queue.durability.unwrap_or(self.durability),
        }
    }
}
