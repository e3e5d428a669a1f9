//! A storage in memory, for tests: it outlives the broker, not the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Record, Seq, Storage, StorageError, Until};

/// Records in memory. Clones share them, so a broker that is started on a clone finds what an
/// earlier one has left, as after a restart.
///
/// ```
/// use ganger_broker::Broker;
/// use ganger_broker::storage::MemoryStorage;
///
/// ganger_rt::block_on(async {
///     let storage = MemoryStorage::default();
///     let broker =
///         Broker::builder().listen("127.0.0.1:0").storage(storage.clone()).start().await?;
///     broker.stop().await?;
///     let again = Broker::builder().listen("127.0.0.1:0").storage(storage).start().await?;
///     again.stop().await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStorage {
    log: Arc<Mutex<Log>>,
    /// Which takeover of the log this one is; 0 before its replay.
    epoch: u64,
}

#[derive(Debug, Default)]
struct Log {
    records: VecDeque<(Seq, Vec<u8>)>,
    /// Records before it are forgotten.
    start: Seq,
    last: Seq,
    epoch: u64,
}

impl MemoryStorage {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("nothing panics while it holds the log")
    }

    fn leading(&self) -> Result<MutexGuard<'_, Log>, StorageError> {
        let log = self.log();
        if log.epoch == self.epoch { Ok(log) } else { Err(StorageError::Fenced) }
    }
}

impl Clone for MemoryStorage {
    /// The same records for a further broker, which takes them over when it replays them.
    fn clone(&self) -> Self {
        Self { log: Arc::clone(&self.log), epoch: 0 }
    }
}

impl Storage for MemoryStorage {
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<Seq, StorageError> {
        // The visitor is foreign code and does not run under the lock.
        let (records, last) = {
            let mut log = self.log.lock().expect("nothing panics while it holds the log");
            log.epoch += 1;
            self.epoch = log.epoch;
            (log.records.clone(), log.last)
        };
        for (seq, body) in &records {
            visit(Record { seq: *seq, body })?;
        }
        Ok(last)
    }

    fn read(
        &mut self,
        wanted: &[Seq],
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        for &seq in wanted {
            let body = {
                let log = self.leading()?;
                let at = log.records.binary_search_by_key(&seq, |(seq, _)| *seq);
                at.map(|at| log.records[at].1.clone()).map_err(|_| misplaced(seq, log.last))?
            };
            visit(Record { seq, body: &body })?;
        }
        Ok(())
    }

    fn append(&mut self, records: &[Record<'_>], _until: Until) -> Result<(), StorageError> {
        let mut log = self.leading()?;
        for record in records {
            if record.seq != log.last.next() {
                return Err(misplaced(record.seq, log.last));
            }
            log.last = record.seq;
            log.records.push_back((record.seq, record.body.to_vec()));
        }
        Ok(())
    }

    fn compact(&mut self, from: Seq) -> Result<(), StorageError> {
        let mut log = self.leading()?;
        if from < log.start || from > log.last.next() {
            return Err(misplaced(from, log.last));
        }
        log.start = from;
        while log.records.front().is_some_and(|(seq, _)| *seq < from) {
            log.records.pop_front();
        }
        Ok(())
    }
}

fn misplaced(seq: Seq, last: Seq) -> StorageError {
    StorageError::Damaged {
        place: format!("position {seq}"),
        reason: format!("the last position is {last}"),
        extent: Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_storage_keeps_the_contract() {
        super::super::contract::check(|| {
            let log = MemoryStorage::default();
            move || log.clone()
        });
    }
}
