//! What a broker does with its journal, by chance, and what may be found in it afterwards.

use std::sync::{Arc, Mutex};

use ganger_broker::storage::disk::{Fill, Options};
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, StorageError, Until};
use ganger_chance::Rng;

use crate::sim::Sim;

/// Small, so that a short life has many segments.
pub(crate) const OPTIONS: Options =
    Options { segment_bytes: 16 << 10, min_free_bytes: 0, fill: Fill::AtOnce };

pub(crate) fn open(sim: &Sim) -> DiskStorage {
    DiskStorage::on(sim.files(), OPTIONS)
}

/// What was asked of a journal, and what it has answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// All records that were ever handed over and not cut off, the first one at position 1.
    pub(crate) records: Vec<Arc<Vec<u8>>>,
    /// How many of them survive the loss of power.
    pub(crate) durable: usize,
    /// How many of them survive the end of the process.
    pub(crate) written: usize,
    /// Where the last compaction that was answered begins, and the last that was asked for.
    pub(crate) start: (usize, usize),
    /// So that what was cut off differs from what takes its place.
    lives: u64,
}

/// What a journal has shown.
pub(crate) struct Shown {
    pub(crate) first: usize,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) last: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self { records: Vec::new(), durable: 0, written: 0, start: (1, 1), lives: 0 }
    }
}

pub(crate) fn replay(storage: &mut DiskStorage) -> Result<Shown, StorageError> {
    let mut shown = Shown { first: 0, records: Vec::new(), last: 0 };
    shown.last = index(storage.replay(&mut |record| {
        if shown.records.is_empty() {
            shown.first = index(record.seq);
        }
        assert_eq!(index(record.seq), shown.first + shown.records.len(), "a gap");
        shown.records.push(record.body.to_vec());
        Ok(())
    })?);
    if shown.records.is_empty() {
        shown.first = shown.last + 1;
    }
    Ok(shown)
}

pub(crate) fn index(seq: Seq) -> usize {
    usize::try_from(seq.0).unwrap()
}

impl Asked {
    /// Whether a journal may show this, of which at least `least` records must be there. After it
    /// has, what it has not shown must never be seen again.
    pub(crate) fn judge(&mut self, shown: &Shown, least: usize) -> Result<(), String> {
        let Shown { first, records, last } = shown;
        if *last < least {
            return Err(format!("lost: {least} records were acknowledged, {last} are there"));
        }
        if *last > self.records.len() {
            return Err(format!("made up: {last} records, {} were asked for", self.records.len()));
        }
        if !(self.start.0..=self.start.1).contains(first) {
            return Err(format!("it starts at {first}, asked for was {:?}", self.start));
        }
        if first + records.len() != last + 1 {
            return Err(format!("{} records from {first} on, the last is {last}", records.len()));
        }
        for (position, record) in (*first..).zip(records) {
            if *record != *self.records[position - 1] {
                return Err(format!("record {position} is not what was appended"));
            }
        }
        self.records.truncate(*last);
        (self.durable, self.written) = (*last, *last);
        self.start = (*first, *first);
        self.lives += 1;
        Ok(())
    }

    /// Makes up further records.
    fn extend(&mut self, rng: &mut Rng) -> Vec<Arc<Vec<u8>>> {
        let mut made = Vec::new();
        for _ in 0..rng.between(1..=4) {
            let size = match rng.below(100) {
                0 => rng.below(20_000),
                1..8 => rng.below(6_000),
                8..20 => 0,
                _ => rng.below(200),
            };
            let mut body =
                vec![if rng.chance(500) { 0 } else { 0xab }; usize::try_from(size).unwrap()];
            let mark = [self.lives, (self.records.len() + made.len()) as u64, rng.draw()];
            for (byte, mark) in body.iter_mut().zip(mark.map(u64::to_le_bytes).concat()) {
                *byte = mark;
            }
            made.push(Arc::new(body));
        }
        self.records.extend(made.iter().cloned());
        made
    }
}

/// A journal on a disk that is being used, and what was asked of it.
pub(crate) struct Life {
    pub(crate) sim: Sim,
    pub(crate) asked: Arc<Mutex<Asked>>,
    pub(crate) storage: DiskStorage,
}

impl Life {
    /// Opens what is on the disk.
    pub(crate) fn begin(sim: Sim, asked: Arc<Mutex<Asked>>) -> Result<Self, StorageError> {
        let storage = open(&sim);
        let mut life = Self { sim, asked, storage };
        life.reopen()?;
        Ok(life)
    }

    pub(crate) fn reopen(&mut self) -> Result<(), StorageError> {
        // As when the process ends, all that was written is there.
        self.storage = open(&self.sim);
        let shown = replay(&mut self.storage)?;
        let mut asked = self.asked.lock().unwrap();
        let least = asked.written;
        asked.judge(&shown, least).unwrap();
        Ok(())
    }

    /// Does one thing.
    pub(crate) fn step(&mut self, rng: &mut Rng) -> Result<(), StorageError> {
        match rng.below(40) {
            0 => self.reopen(),
            1..5 => self.compact(rng),
            5..10 => {
                self.storage.append(&[], Until::Durable)?;
                let mut asked = self.asked.lock().unwrap();
                (asked.durable, asked.written) = (asked.records.len(), asked.records.len());
                Ok(())
            }
            10..18 => self.append(rng, Until::Durable),
            18..25 => self.flush(rng),
            _ => self.append(rng, Until::Written),
        }
    }

    pub(crate) fn append(&mut self, rng: &mut Rng, until: Until) -> Result<(), StorageError> {
        let (first, bodies) = {
            let mut asked = self.asked.lock().unwrap();
            (asked.records.len() + 1, asked.extend(rng))
        };
        let records: Vec<_> = (first as u64..)
            .zip(&bodies)
            .map(|(seq, body)| Record { seq: Seq(seq), body })
            .collect();
        self.storage.append(&records, until)?;
        let mut asked = self.asked.lock().unwrap();
        asked.written = asked.records.len();
        if until == Until::Durable {
            asked.durable = asked.written;
        }
        Ok(())
    }

    /// Has a thread flush what was appended, while others append.
    fn flush(&mut self, rng: &mut Rng) -> Result<(), StorageError> {
        self.append(rng, Until::Written)?;
        let durable = self.asked.lock().unwrap().written;
        let lane = usize::try_from(rng.below(2)).unwrap();
        // None where it was synced at once.
        if let Some(flush) = self.storage.append_to_flush(&[], lane)? {
            for _ in 0..rng.below(3) {
                self.append(rng, Until::Written)?;
            }
            let outcome = flush.run();
            for _ in 0..rng.below(3) {
                self.append(rng, Until::Written)?;
            }
            if let Err(error) = outcome {
                // Whoever runs it appends nothing more.
                self.storage = open(&Sim::new());
                return Err(error);
            }
            self.storage.flushed(&*flush);
        }
        let mut asked = self.asked.lock().unwrap();
        asked.durable = asked.durable.max(durable);
        Ok(())
    }

    fn compact(&mut self, rng: &mut Rng) -> Result<(), StorageError> {
        let from = {
            let mut asked = self.asked.lock().unwrap();
            let next = asked.records.len() as u64 + 1;
            // Near the end, so that logs stay short and the many replays of them are quick.
            let from = rng.between((asked.start.0 as u64).max(next.saturating_sub(8))..=next);
            asked.start.1 = usize::try_from(from).unwrap();
            from
        };
        self.storage.compact(Seq(from))?;
        let mut asked = self.asked.lock().unwrap();
        asked.start.0 = asked.start.1;
        // A compaction that changes something is durable, and so is all before it.
        Ok(())
    }
}
