//! What each shape of load is: who takes part, how they drive the peer, how many jobs there are and
//! which figure counts.
//! Not how it is carried out: `run` does that.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A shape of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// One job in flight, submit to result; what need not wait shares a write
    Latency,
    /// One job in flight, submit to result; every request waits for its reply
    LatencyPlain,
    /// 4 workers, one job per request; every request waits for its reply
    Unbatched,
    /// 4 workers, one job per receive; result, ack and next receive share a write
    UnbatchedPipelined,
    /// 2 workers; batches, pipelining and credit at the peer's best
    Best,
    /// The producer alone, in batches
    Enqueue,
    /// 2 workers and a collector empty a backlog, in batches
    Drain,
    /// Resident memory per queued job
    Memory,
    /// Resident memory per queued job, each submitted by itself
    MemorySingle,
    /// Milliseconds from the start of the server until its port answers
    Startup,
    /// Calls of a shared object, one in flight
    Calls,
    /// Calls of a shared object, 256 in flight on one connection
    CallsPipelined,
    /// The same, where those that leave together do so in one request
    CallsTogether,
    /// 4 callers of one shared object, each with one call in flight
    CallsOfMany,
    /// 4 callers of one shared object, each with 256 calls in flight
    CallsOfManyPipelined,
}

/// How a role drives its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Style {
    /// One job per request, and every request waits for its reply.
    Plain,
    /// One job per receive; requests that need not wait for each other share a write.
    Pipelined,
    /// Many jobs per request, several requests under way.
    Batched,
}

/// How many processes play each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cast {
    pub(crate) clients: u32,
    pub(crate) producers: u32,
    pub(crate) workers: u32,
    pub(crate) collectors: u32,
    pub(crate) callers: u32,
}

/// How many jobs a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// As many as take the wished time, by the rate of a first run of this many.
    Paced(u64),
    /// This many.
    Fixed(u64),
    /// None: the server is only started.
    None,
}

/// What the headline figure of a shape counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Microseconds, the median of one run's round trips.
    MicrosecondsP50,
    JobsPerSecond,
    CallsPerSecond,
    BytesPerJob,
    Milliseconds,
}

/// The most payload bytes of one run: a peer in memory may have to hold them all.
const BYTES_MAX: u64 = 2 << 30;

/// The most jobs of one run.
const JOBS_MAX: u64 = 32_000_000;

/// The most calls of one run, and the most payload bytes of them: a list may have to hold them all, and
/// what Ganger lets one have unless configured otherwise is a million items and 1 GiB.
const CALLS_MAX: u64 = 1_000_000;
const CALL_BYTES_MAX: u64 = 512 << 20;

impl Shape {
    /// Every shape, in the order of reports.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Those about shared objects.
    pub(crate) fn of_calls() -> Vec<Self> {
        Self::all().into_iter().filter(|shape| shape.is_of_calls()).collect()
    }

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::LatencyPlain => "latency-plain",
            Self::Unbatched => "unbatched",
            Self::UnbatchedPipelined => "unbatched-pipelined",
            Self::Best => "best",
            Self::Enqueue => "enqueue",
            Self::Drain => "drain",
            Self::Memory => "memory",
            Self::MemorySingle => "memory-single",
            Self::Startup => "startup",
            Self::Calls => "calls",
            Self::CallsPipelined => "calls-pipelined",
            Self::CallsTogether => "calls-together",
            Self::CallsOfMany => "calls-of-many",
            Self::CallsOfManyPipelined => "calls-of-many-pipelined",
        }
    }

    /// Who does what, and what counts, for the report.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Latency => {
                "One client, one worker, one job in flight: from submit to result, the median. \
                 The worker's result, its ack and its next receive share a write."
            }
            Self::LatencyPlain => "The same, but every request waits for its reply.",
            Self::Unbatched => {
                "One producer, 4 workers, one collector. One job per request, and every request \
                 waits for its reply."
            }
            Self::UnbatchedPipelined => {
                "The same, but the worker's result, its ack and its next receive share a write."
            }
            Self::Best => {
                "One producer, 2 workers, one collector, with batches, pipelining and credit as \
                 suits each peer best."
            }
            Self::Enqueue => "The producer alone, in batches, until every job is confirmed.",
            Self::Drain => "2 workers and one collector empty a backlog, in batches.",
            Self::Memory => {
                "How much the server's resident memory grows by jobs that are queued in batches, \
                 per job, payload included."
            }
            Self::MemorySingle => "The same, with each job submitted by itself.",
            Self::Startup => {
                "From the start of the process until it answers a request; beside it the resident \
                 memory of the idle server."
            }
            Self::Calls => {
                "One caller of one shared object, one call in flight: from call to answer, the \
                 median."
            }
            Self::CallsPipelined => {
                "The same, with up to 256 calls in flight on the one connection: Ganger's are 256 \
                 futures that are awaited in turn, Redis' a pipeline that is filled up by halves. \
                 Python's proxies know no pipeline and wait for each answer."
            }
            Self::CallsTogether => {
                "The same, where the 128 calls that leave together do so in one request, and are still \
                 calls of their own: Ganger's `call_many`. Redis has its pipeline."
            }
            Self::CallsOfMany => {
                "4 callers of the same object, each with a connection of its own and one call in \
                 flight."
            }
            Self::CallsOfManyPipelined => {
                "The same, with up to 256 calls in flight on each connection, where there are \
                 pipelines."
            }
        }
    }

    /// Who takes part while the clock runs.
    pub(crate) fn cast(self) -> Cast {
        let nobody = Cast::default();
        match self {
            Self::Latency | Self::LatencyPlain => Cast { clients: 1, workers: 1, ..nobody },
            Self::Unbatched | Self::UnbatchedPipelined => {
                Cast { producers: 1, workers: 4, collectors: 1, ..nobody }
            }
            Self::Best => Cast { producers: 1, workers: 2, collectors: 1, ..nobody },
            Self::Enqueue | Self::Memory | Self::MemorySingle => Cast { producers: 1, ..nobody },
            Self::Drain => Cast { workers: 2, collectors: 1, ..nobody },
            Self::Startup => nobody,
            Self::Calls | Self::CallsPipelined | Self::CallsTogether => {
                Cast { callers: 1, ..nobody }
            }
            Self::CallsOfMany | Self::CallsOfManyPipelined => Cast { callers: 4, ..nobody },
        }
    }

    /// Whether it is about calls of shared objects, and not about jobs.
    pub(crate) fn is_of_calls(self) -> bool {
        self.cast().callers > 0
    }

    /// Whether all jobs are queued before the clock starts.
    pub(crate) fn has_backlog(self) -> bool {
        self == Self::Drain
    }

    /// How the roles drive the peer.
    pub(crate) fn style(self) -> Style {
        match self {
            Self::LatencyPlain | Self::Unbatched | Self::Calls | Self::CallsOfMany => Style::Plain,
            Self::Latency
            | Self::UnbatchedPipelined
            | Self::MemorySingle
            | Self::CallsPipelined
            | Self::CallsOfManyPipelined => Style::Pipelined,
            Self::Best
            | Self::Enqueue
            | Self::Drain
            | Self::Memory
            | Self::Startup
            | Self::CallsTogether => Style::Batched,
        }
    }

    /// How many jobs a run has.
    pub(crate) fn amount(self) -> Amount {
        match self {
            Self::Latency | Self::LatencyPlain | Self::Calls => Amount::Paced(500),
            Self::Unbatched | Self::UnbatchedPipelined | Self::CallsOfMany => Amount::Paced(2_000),
            Self::Best
            | Self::CallsPipelined
            | Self::CallsTogether
            | Self::CallsOfManyPipelined => Amount::Paced(20_000),
            Self::Enqueue | Self::Drain => Amount::Fixed(200_000),
            Self::Memory => Amount::Fixed(1_000_000),
            Self::MemorySingle => Amount::Fixed(100_000),
            Self::Startup => Amount::None,
        }
    }

    /// What the headline figure counts.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Latency | Self::LatencyPlain | Self::Calls => Unit::MicrosecondsP50,
            Self::Unbatched
            | Self::UnbatchedPipelined
            | Self::Best
            | Self::Enqueue
            | Self::Drain => Unit::JobsPerSecond,
            Self::Memory | Self::MemorySingle => Unit::BytesPerJob,
            Self::Startup => Unit::Milliseconds,
            Self::CallsPipelined
            | Self::CallsTogether
            | Self::CallsOfMany
            | Self::CallsOfManyPipelined => Unit::CallsPerSecond,
        }
    }

    /// `jobs` or calls, as far as their payloads of `payload` bytes fit in the bounds of one run.
    pub(crate) fn bounded(self, jobs: u64, payload: usize) -> u64 {
        let payload = u64::try_from(payload).unwrap_or(u64::MAX).max(1);
        let (most, bytes_max) = match self.is_of_calls() {
            true => (CALLS_MAX, CALL_BYTES_MAX),
            false => (JOBS_MAX, BYTES_MAX),
        };
        jobs.min(bytes_max / payload).clamp(1, most)
    }
}

impl Unit {
    /// The unit's name in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MicrosecondsP50 => "µs p50",
            Self::JobsPerSecond => "jobs/s",
            Self::CallsPerSecond => "calls/s",
            Self::BytesPerJob => "bytes/job",
            Self::Milliseconds => "ms",
        }
    }

    /// Whether a higher figure is the better one.
    pub(crate) fn higher_is_better(self) -> bool {
        matches!(self, Self::JobsPerSecond | Self::CallsPerSecond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_the_one_of_the_command_line() {
        for shape in Shape::all() {
            let on_command_line = shape.to_possible_value().unwrap();
            assert_eq!(on_command_line.get_name(), shape.name());
        }
    }

    #[test]
    fn large_payloads_mean_fewer_jobs() {
        assert_eq!(Shape::Best.bounded(200_000, 16), 200_000);
        assert_eq!(Shape::Best.bounded(200_000, 64 << 10), 32_768);
        assert_eq!(Shape::Best.bounded(u64::MAX, 16), 32_000_000);
        assert_eq!(Shape::Calls.bounded(u64::MAX, 16), 1_000_000);
    }
}
