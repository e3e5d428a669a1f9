//! Deep backlogs: of jobs that wait for long, only the journal has the payloads.
//!
//! Not where the journal keeps them: the machine knows the records, and whoever has the storage
//! reads them.
//!
//! ```text
//!   Submitted ─▶ granted in the same step: never leaves memory
//!           └──▶ still waiting, and the cache is full: unloaded
//!                    └──▶ its turn is near, and somebody takes jobs: Output::loads ─▶ loaded
//! ```
//!
//! What comes in last is unloaded first, for it is needed last. What is leased while the machine runs
//! is in memory, and so is what no journal has.

use ganger_shared::{Block, Durability, JobRange};

use crate::machine::Machine;
use crate::output::Output;
use crate::payloads::Payloads;
use crate::queue::QueueKey;
use crate::run::{Phase, Run, RunKey};
use crate::seq::Seq;

/// Payload bytes that are asked for at once, unless a single run has more: 2 MiB, some milliseconds'
/// work for a queue's workers, and for the disk.
const LOAD_BYTES: usize = 2 << 20;

/// What the machine wants read from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Payloads of these jobs, to be given to [`Machine::load`].
    pub jobs: JobRange,
    /// The records that have them between them, in order: in events `Submitted` and stated `Jobs`.
    pub records: Vec<Seq>,
}

/// Payloads that could be unloaded.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Bytes in memory of payloads that a journal has too.
    pub(crate) loaded_bytes: u64,
    /// Runs that began to wait while the cache was full.
    crowded: Vec<RunKey>,
}

/// Bytes that unloading the run would save.
fn unloadable_bytes(run: &Run) -> u64 {
    if run.records.as_slice().is_empty() { 0 } else { run.payloads.memory_bytes() }
}

impl Machine {
    /// Counts what a run has in memory.
    pub(crate) fn count_payloads(&mut self, key: RunKey) {
        let run = &self.runs[key];
        self.bytes += run.payloads.memory_bytes();
        self.backlog.loaded_bytes += unloadable_bytes(run);
    }

    /// Takes back what [`count_payloads`](Self::count_payloads) has counted, before that changes.
    pub(crate) fn uncount_payloads(&mut self, key: RunKey) {
        let run = &self.runs[key];
        self.bytes -= run.payloads.memory_bytes();
        self.backlog.loaded_bytes -= unloadable_bytes(run);
    }

    /// A run begins to wait. If the cache is full, it will be unloaded at the end of the step, if it
    /// is not granted before.
    ///
    /// The rest of a run of which a part was granted waits already: it is next, and would only be
    /// loaded again.
    pub(crate) fn note_crowding(&mut self, key: RunKey) {
        let is_full = self.backlog.loaded_bytes > self.config.cache_bytes_max;
        if is_full && unloadable_bytes(&self.runs[key]) > 0 {
            self.backlog.crowded.push(key);
        }
    }

    /// Unloads what began to wait in this step, as far as the cache is too small for it.
    pub(crate) fn unload_crowded(&mut self) {
        while let Some(key) = self.backlog.crowded.pop() {
            if self.backlog.loaded_bytes <= self.config.cache_bytes_max {
                self.backlog.crowded.clear();
                return;
            }
            // A key may have gone to another run by now, which may be unloaded just as well.
            let Some(run) = self.runs.get(key) else { continue };
            if unloadable_bytes(run) > 0 && !matches!(run.phase, Phase::Leased(_)) {
                let shape = run.payloads.shape().clone();
                self.set_payloads(key, Payloads::unloaded(shape));
            }
        }
    }

    fn set_payloads(&mut self, key: RunKey, payloads: Payloads) {
        self.uncount_payloads(key);
        self.runs[key].payloads = payloads;
        self.count_payloads(key);
    }

    /// Asks for the payloads of the runs whose turn is next in a queue.
    pub(crate) fn ask_for_next(&mut self, queue: QueueKey, out: &mut Output) {
        let mut bytes = 0;
        let mut wanted = Vec::new();
        for key in self.queues[queue.0].ready.in_order() {
            wanted.push(key);
            bytes += self.runs[key].payloads.size_bytes();
            if bytes >= LOAD_BYTES {
                break;
            }
        }
        for key in wanted {
            let run = &mut self.runs[key];
            if let Payloads::Unloaded { is_asked, .. } = &mut run.payloads
                && !*is_asked
            {
                *is_asked = true;
                let records = run.records.as_slice().to_vec();
                out.loads.push(Load { jobs: run.jobs, records });
            }
        }
    }

    /// Takes payloads that were [asked for](Load), one for each of `jobs`, and hands out what can be
    /// handed out. Of jobs that are gone by now they are dropped.
    pub fn load(&mut self, jobs: JobRange, payloads: &Block, out: &mut Output) {
        let keys: Vec<RunKey> = self.runs.overlapping(jobs).collect();
        for key in keys {
            let run = &self.runs[key];
            // What was asked for is split since, if anything; it is not joined.
            let offset = run.jobs.first.seq.checked_sub(jobs.first.seq);
            let offset = offset.and_then(|offset| u32::try_from(offset).ok());
            let Some(offset) = offset.filter(|_| run.jobs.end_seq() <= jobs.end_seq()) else {
                continue;
            };
            if matches!(run.payloads, Payloads::Unloaded { .. }) {
                self.awake.insert(run.queue);
                let loaded = payloads.part(offset, run.jobs.count);
                self.set_payloads(key, Payloads::Loaded(loaded));
            }
        }
        self.conclude(out);
    }

    /// The record that a run of `queue` is in, if it is in one that `out` becomes.
    pub(crate) fn record_of(&self, queue: QueueKey, out: &Output) -> Option<Seq> {
        out.record.filter(|_| self.promise(queue) > Durability::Memory)
    }

    pub(crate) fn check_backlog(&self) {
        let mut loaded = 0;
        for (_, run) in self.runs.iter() {
            loaded += unloadable_bytes(run);
            let is_away = run.payloads.loaded().is_none();
            assert!(
                !is_away || !run.records.as_slice().is_empty(),
                "{} is in no journal",
                run.jobs.first
            );
        }
        assert_eq!(self.backlog.loaded_bytes, loaded, "bytes that could be unloaded");
    }
}
