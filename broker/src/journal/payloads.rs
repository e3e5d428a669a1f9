//! Payloads that only the journal has: read back for the machine, and copied when it states its state
//! anew.

use std::collections::BTreeMap;

use ganger_machine::stated::Stated;
use ganger_machine::{Event, Load};
use ganger_shared::{Block, JobRange};

use crate::storage::{self, Extent, Record, Seq, Storage, StorageError};

/// Reads what is asked for: one payload for each job.
pub(super) fn read(
    storage: &mut dyn Storage,
    loads: Vec<Load>,
) -> Result<Vec<(JobRange, Block)>, StorageError> {
    let mut wanted: Vec<Seq> = loads.iter().flat_map(|load| load.records.iter().copied()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut there: BTreeMap<Seq, Vec<(JobRange, Block)>> = BTreeMap::new();
    storage.read(&wanted, &mut |record| {
        there.insert(record.seq, payloads(&record)?);
        Ok(())
    })?;
    let loaded = loads.into_iter().map(|Load { jobs, records }| {
        let found = records.iter().filter_map(|seq| there.get(seq)).flatten();
        let parts: Vec<Block> = found.filter_map(|found| common(jobs, found)).collect();
        let block = match <[Block; 1]>::try_from(parts) {
            Ok([block]) => block,
            Err(parts) => Block::concat(&parts),
        };
        if block.count() == jobs.count {
            return Ok((jobs, block));
        }
        Err(StorageError::Damaged {
            place: format!("records {records:?}"),
            reason: format!(
                "they have {} of the {} payloads from job {} on",
                block.count(),
                jobs.count,
                jobs.first
            ),
            extent: Box::new(Extent {
                records: records.first().map(|&first| (first, records.last().copied())),
                ..Extent::default()
            }),
        })
    });
    loaded.collect()
}

/// Puts payloads into the events of a restatement that lack them.
pub(super) fn fill(
    storage: &mut dyn Storage,
    events: &mut [Event],
    missing: Vec<(usize, Load)>,
) -> Result<(), StorageError> {
    let (places, loads): (Vec<usize>, Vec<Load>) = missing.into_iter().unzip();
    for (place, (_, payloads)) in places.into_iter().zip(read(storage, loads)?) {
        if let Event::Stated(Stated::Jobs(jobs)) = &mut events[place] {
            jobs.payloads = payloads;
        }
    }
    Ok(())
}

/// The jobs of a record, with their payloads.
fn payloads(record: &Record<'_>) -> Result<Vec<(JobRange, Block)>, StorageError> {
    let jobs = |event| match event {
        Event::Submitted { jobs, payloads, .. } => Some((jobs, payloads)),
        Event::Stated(Stated::Jobs(stated)) => Some((stated.jobs, stated.payloads)),
        _ => None,
    };
    Ok(storage::events(record)?.into_iter().filter_map(jobs).collect())
}

/// The payloads of those of `wanted` that are among these.
fn common(wanted: JobRange, (jobs, payloads): &(JobRange, Block)) -> Option<Block> {
    let start = wanted.first.seq.max(jobs.first.seq);
    let end = wanted.end_seq().min(jobs.end_seq());
    if wanted.first.session != jobs.first.session || start >= end {
        return None;
    }
    let offset = u32::try_from(start - jobs.first.seq).ok()?;
    Some(payloads.part(offset, u32::try_from(end - start).ok()?))
}
