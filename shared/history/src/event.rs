//! What can happen in a run. The format of a history's lines: its fields are documented here, and
//! pinned by a test.

use std::fmt;
use std::str::FromStr;

use ganger_shared::{Durability, JobId, LeaseId, Name};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds of one clock that all who write share and nobody sets.
    pub at_ns: u64,
    /// Who saw it, such as `worker-3`. One that starts anew has a new name.
    pub who: String,
    /// What it saw.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Arrays have one entry per job, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The run begins.
    Setup {
        /// What repeats it.
        seed: u64,
        /// What its broker promises.
        durability: Durability,
        /// Which scenario, in words.
        scenario: String,
    },
    /// Jobs are submitted, as a whole.
    Submit {
        /// Where.
        queue: Name,
        /// Whether they must come out in their order.
        order: Order,
        /// Their ids.
        jobs: Jobs,
        /// What they carry.
        payloads: Vec<Hash>,
        /// What becomes of their results.
        #[serde(default, skip_serializing_if = "Results::are_kept")]
        results: Results,
    },
    /// What came of a submit.
    Submitted {
        /// The same jobs.
        jobs: Jobs,
        /// Whether they were accepted.
        reply: Reply,
    },
    /// A worker was given jobs.
    Granted {
        /// From where.
        queue: Name,
        /// Which.
        jobs: Jobs,
        /// The lease of the first; the others follow on.
        #[serde(with = "hex")]
        lease: LeaseId,
        /// Which attempt it is for each, from 1.
        attempt: u32,
        /// What they carry.
        payloads: Vec<Hash>,
    },
    /// A worker ends leases.
    Settle {
        /// Of which jobs.
        jobs: Jobs,
        /// The lease of the first; the others follow on.
        #[serde(with = "hex")]
        lease: LeaseId,
        /// How.
        outcome: Outcome,
        /// Their results; none unless they are acked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        results: Vec<Hash>,
    },
    /// What came of a settlement.
    Settled {
        /// The same jobs.
        jobs: Jobs,
        /// The same lease.
        #[serde(with = "hex")]
        lease: LeaseId,
        /// Whether it took effect.
        reply: Reply,
    },
    /// Results were taken from a list.
    Read {
        /// Which.
        list: Name,
        /// They.
        items: Vec<Item>,
    },
    /// The broker knows that all that this reader took from the list before has arrived.
    Confirmed {
        /// Which list.
        list: Name,
    },
    /// The broker says that jobs are over: to whoever waited for them, or to an operator who looked.
    Ended {
        /// Which.
        jobs: Jobs,
        /// How.
        ending: Ending,
    },
    /// An operator has dead letters tried again. Which they were, nobody here was told.
    Redriven {
        /// Of which queue.
        queue: Name,
    },
    /// The broker answers.
    BrokerStarted,
    /// The broker is about to be killed.
    BrokerKilled,
    /// Something else has happened that loses leases which nobody here has seen: a worker left, a
    /// connection was cut. Orders across it are not judged.
    Disturbed {
        /// When it began.
        since_ns: u64,
    },
    /// All clients have come to rest: what is not here by now is lost.
    Drained,
}

/// Consecutive jobs of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// The first of them.
    #[serde(with = "text")]
    pub first: JobId,
    /// How many.
    pub count: u32,
}

impl Jobs {
    /// Just `job`.
    #[must_use]
    pub const fn one(job: JobId) -> Self {
        Self { first: job, count: 1 }
    }

    /// Every id, in order.
    pub fn iter(&self) -> impl Iterator<Item = JobId> + use<> {
        let JobId { session, seq } = self.first;
        (0..u64::from(self.count)).map(move |n| JobId { session, seq: seq.saturating_add(n) })
    }
}

/// Whether jobs of one submitter must be delivered in the order in which they were submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// They must, at their first delivery.
    Fifo,
    /// They have a delay or a priority of their own.
    Free,
}

/// What becomes of the results of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Results {
    /// They go to a list, which somebody reads.
    #[default]
    Kept,
    /// They go nowhere.
    Dropped,
}

impl Results {
    /// What a line does not say.
    fn are_kept(&self) -> bool {
        *self == Self::Kept
    }
}

/// How a job is over, as the broker says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Done.
    Acked,
    /// Given up: it is a dead letter, or was one.
    Dead,
    /// Cancelled, or purged.
    Cancelled,
}

/// What somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It happened.
    Ok,
    /// It did not: a refusal.
    Fail,
    /// Nothing: it may have happened.
    Unknown,
}

/// How a worker ends a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done, with a result.
    Ack,
    /// To be tried again.
    Nack,
    /// Given up for good.
    Dead,
    /// Given back.
    Release,
}

/// One item of a list, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its place, counted from the first ever appended.
    pub index: u64,
    /// Whose result it is.
    #[serde(with = "text")]
    pub job: JobId,
    /// What it is.
    pub result: Hash,
}

/// The first 64 bits of the BLAKE3 hash of some bytes: they tell what is the same, and fit a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(u64);

impl Hash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a BLAKE3 hash has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(hex_number(&String::deserialize(deserializer)?)?))
    }
}

fn hex_number<E: de::Error>(text: &str) -> Result<u64, E> {
    u64::from_str_radix(text, 16).map_err(|error| E::custom(format_args!("{text:?}: {error}")))
}

/// Ids as people read them: JSON readers must not round 64-bit numbers.
mod text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(id: &JobId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<JobId, D::Error> {
        JobId::from_str(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

mod hex {
    use super::*;

    pub(super) fn serialize<S: Serializer>(id: &LeaseId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LeaseId, D::Error> {
        Ok(LeaseId(hex_number(&String::deserialize(from)?)?))
    }
}
