//! What a job asks for, and the ways a lease and a job can end.
//!
//! Not where jobs wait or run: that is the machine's.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::block::Block;
use crate::bounded;
use crate::complaint::complain;
use crate::id::LeaseRange;
use crate::limits::{ERROR_BYTES_MAX, ERROR_KIND_BYTES_MAX};
use crate::name::Name;
use crate::time::Time;

/// How urgent a job is: 0 (least) to 9 (most). Within one priority, first come, first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Priority(u8);

impl Priority {
    /// How many priorities there are.
    pub const COUNT: usize = 10;

    /// The priority `level`, or `None` above 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        if (level as usize) < Self::COUNT { Some(Self(level)) } else { None }
    }

    /// 0 to 9.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(4)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = u8::deserialize(deserializer)?;
        Self::new(level)
            .ok_or_else(|| complain(format_args!("priority {level} is not one of 0 to 9")))
    }
}

/// How long a failed job waits before it is tried again.
///
/// Exponential with full jitter: before try `n + 1` the wait is a number between 0 and
/// `min(cap, base × 2^(n-1))`, derived from the job's id and `n` so that it is the same on every
/// replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The bound after the first failure, in milliseconds.
    pub base_ms: u64,
    /// The bound that doubling stops at, in milliseconds.
    pub cap_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base_ms: 1_000, cap_ms: 300_000 }
    }
}

/// Where the results of a run of jobs go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResultsTo {
    /// To the list `<queue>.results`.
    #[default]
    QueueList,
    /// To this list.
    List(Name),
    /// Nowhere: whoever waits for the job gets its result, and then it is gone.
    Nowhere,
}

/// What the submitter asks of a run of jobs. Frozen on the wire: a further option is a further
/// variant of Submit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOptions {
    /// Which handler of a worker runs the jobs; a command worker runs them all.
    pub handler: Name,
    /// How urgent they are within their queue.
    pub priority: Priority,
    /// How long after the submit they may start, in milliseconds.
    pub delay_ms: u64,
    /// How long they may wait for their first start, in milliseconds; then they are dead letters.
    pub ttl_ms: Option<u64>,
    /// When they must have ended; then a waiting one is a dead letter and a running one is cancelled.
    pub deadline: Option<Time>,
    /// How long one attempt may take, in milliseconds; the worker ends it then, as a failure.
    pub time_limit_ms: Option<u64>,
    /// How many failures are followed by another try.
    pub retries: u32,
    /// How many crashes of the worker are followed by another try.
    pub crash_retries: u32,
    /// The wait after a failure.
    pub backoff: Backoff,
    /// Where results go.
    pub results: ResultsTo,
}

impl JobOptions {
    /// The defaults for jobs of `handler`: priority 4, no delay, no limits in time, 3 retries after
    /// failures and 3 after crashes, results to the queue's list.
    #[must_use]
    pub fn new(handler: Name) -> Self {
        Self {
            handler,
            priority: Priority::default(),
            delay_ms: 0,
            ttl_ms: None,
            deadline: None,
            time_limit_ms: None,
            retries: 3,
            crash_retries: 3,
            backoff: Backoff::default(),
            results: ResultsTo::default(),
        }
    }

    /// Those of items that are put into a queue: whoever takes one has it, and no result goes anywhere.
    #[must_use]
    pub fn item() -> Self {
        let handler = Name::new(crate::object::ITEM).expect("a constant that keeps the rules");
        Self { results: ResultsTo::Nowhere, ..Self::new(handler) }
    }
}

/// What an acknowledgement of a queue or object means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is in memory: kill -9 and power failure lose it.
    Memory,
    /// It was handed to the kernel, which is made to write it at least every 100 ms.
    Relaxed,
    /// It has survived an fdatasync.
    Strict,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Relaxed => "relaxed",
            Self::Strict => "strict",
        })
    }
}

/// Why an attempt did not succeed, for people and for policies. Decoding cuts both texts at their
/// limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A short, stable word that a queue's policy can match: `exit-1`, `panic`, `timeout`, `unknown-handler`.
    #[serde(deserialize_with = "bounded::cut::<_, ERROR_KIND_BYTES_MAX>")]
    pub kind: String,
    /// What happened.
    #[serde(deserialize_with = "bounded::cut::<_, ERROR_BYTES_MAX>")]
    pub message: String,
}

impl Failure {
    /// A failure of `kind`; both texts are cut at their limits.
    #[must_use]
    pub fn new(kind: &str, message: &str) -> Self {
        let cut = |text: &str, max: usize| text[..text.floor_char_boundary(max)].to_owned();
        Self { kind: cut(kind, ERROR_KIND_BYTES_MAX), message: cut(message, ERROR_BYTES_MAX) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// How a worker ends leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; one output per lease.
    Ack {
        /// The results.
        outputs: Block,
    },
    /// Failed; try again after the backoff, or after a time that the handler chose.
    Nack {
        /// What failed.
        failure: Failure,
        /// The handler's own wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// Failed for good.
    Dead {
        /// What failed.
        failure: Failure,
    },
    /// Given back untouched: costs no attempt, and the jobs keep their place.
    Release {
        /// How long they wait before they may start, in milliseconds.
        delay_ms: u64,
    },
    /// The handler took the worker down with it, as a panic does: counted as a crash, not as a failure.
    Crash {
        /// What is known of it.
        failure: Failure,
    },
}

/// The end of consecutive leases in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Which leases.
    pub leases: LeaseRange,
    /// How they end.
    pub outcome: Outcome,
}

/// Why a job was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeathReason {
    /// The handler said so.
    Handler,
    /// Its failures used up its retries.
    RetriesUsedUp,
    /// Its workers crashed more often than it allows.
    CrashesUsedUp,
    /// The queue's policy does not retry failures of this kind.
    Policy,
    /// It waited longer than its time to live.
    TimeToLive,
    /// Its deadline passed.
    Deadline,
    /// What it was to wait for cannot come any more.
    Dependency,
}

impl fmt::Display for DeathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "given up by its handler",
            Self::RetriesUsedUp => "out of retries",
            Self::CrashesUsedUp => "its workers crashed too often",
            Self::Policy => "the queue does not retry this kind of failure",
            Self::TimeToLive => "waited longer than its time to live",
            Self::Deadline => "passed its deadline",
            Self::Dependency => "what it waited for cannot come",
        })
    }
}

/// How consecutive jobs ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Done; one output per job.
    Acked {
        /// The results.
        outputs: Block,
    },
    /// Given up; they are among the dead letters.
    Dead {
        /// Why.
        reason: DeathReason,
        /// The last failure, where there was one.
        failure: Option<Failure>,
    },
    /// Cancelled on request, or purged with their queue.
    Cancelled,
    /// The broker does not know the jobs: never accepted, or ended too long ago to be remembered.
    Unknown,
}
