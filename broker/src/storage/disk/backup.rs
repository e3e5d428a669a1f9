//! A copy of a journal, made while a broker may be writing it, and put back.
//!
//! ```text
//!   list the segments ─▶ find the end ─▶ copy, sync ─▶ check the copy ─▶ name its FORMAT
//!         ▲                                 │
//!         └── a segment was removed or cut ─┘
//! ```
//!
//! The copy is a prefix of the journal that has all that was acknowledged before the call: frames
//! are only ever added, in order, and read as they are written. No lock of the source is taken and
//! no broker is asked.
//!
//! A copy has no FORMAT before all of it is durable and was checked. So what an interrupted one
//! leaves is refused by whoever opens it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, ErrorKind};

use crate::storage::StorageError;

use super::files::{Files, Lock};
use super::format::{Access, Store};
use super::frame::BLOCK_BYTES;
use super::inspect::{Inspection, Summary};
use super::recovery::{Log, Part, find_moving_end};
use super::segment::{self, Segment};
use super::{LOCK, damaged, failed, names};

/// FORMAT before the copy is whole. Not FORMAT.new: that with segment 1 alone is a journal that was
/// never begun, which a broker makes again.
const UNFINISHED: &str = "FORMAT.copy";

/// What may be in an empty folder: a lock that nobody has, and what a file system puts in its root.
const OF_NO_JOURNAL: [&str; 2] = [LOCK, "lost+found"];

/// How often the list of segments is looked at anew. Each time the broker has filled or removed a
/// segment in the meantime, and what was copied of those that are left is kept.
const LISTS_MAX: u32 = 1_000;

/// Looks at a frame that is not good, in a journal that a broker has: a second.
const LOOKS_WHEN_HELD: u32 = 40;

/// Bytes that are read at once.
const STEP_BYTES: usize = 1 << 20;

/// Whose fault it is that a copy was not made.
enum Fault {
    /// The journal's: if it has changed, it is looked at again.
    Source(StorageError),
    /// The copy's.
    Copy(StorageError),
}

impl Inspection {
    /// Copies the journal to `out`, which must be empty or not there, and checks the copy as
    /// [`verify`](Self::verify) does. A broker may be writing the journal: the copy has all that it
    /// acknowledged before the call, and nothing that it did not write.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] names what of the journal is damaged; `Io` with
    /// [`ErrorKind::DirectoryNotEmpty`] if there is something in `out`. What was copied is removed
    /// then. A copy that was interrupted has no file FORMAT and is no journal.
    pub fn backup(&self, out: &dyn Files) -> Result<Summary, StorageError> {
        check_empty(out)?;
        let place = out.place("");
        let lock = out.lock(LOCK, &std::process::id().to_string());
        let _held = match lock.map_err(|error| failed(format!("make {place}"), error))? {
            Lock::Taken(held) => held,
            Lock::HeldBy(holder) => return Err(StorageError::InUse { place, holder }),
        };
        // Whoever had the lock a moment ago may have put something there.
        check_empty(out)?;
        let copied = self.copy(out);
        if copied.is_err() {
            // What cannot be removed is no journal either.
            let _ = names(out).map(|names| clear(out, &names));
        }
        copied
    }

    /// Makes `data`, which must be empty or not there, of the backup that this is, after a check of
    /// all of it. A broker then starts on it.
    ///
    /// # Errors
    ///
    /// As for [`backup`](Self::backup); damage of the backup leaves `data` untouched.
    pub fn restore(&self, data: &dyn Files) -> Result<Summary, StorageError> {
        check_empty(data)?;
        self.verify()?;
        self.backup(data)
    }

    fn copy(&self, out: &dyn Files) -> Result<Summary, StorageError> {
        let mut copied = BTreeMap::new();
        let mut lists = 0;
        loop {
            lists += 1;
            let names = names(&*self.files)?;
            match self.copy_listed(out, &names, &mut copied) {
                Ok(summary) => return Ok(summary),
                Err(Fault::Copy(error)) => return Err(error),
                Err(Fault::Source(error)) if lists == LISTS_MAX => return Err(error),
                Err(Fault::Source(error)) => {
                    if segments(&names) == segments(&self::names(&*self.files)?) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Copies the journal as it is while its segments are these. `copied` are whole segments, and
    /// their blocks, that are in `out`.
    fn copy_listed(
        &self,
        out: &dyn Files,
        names: &[String],
        copied: &mut BTreeMap<u64, u64>,
    ) -> Result<Summary, Fault> {
        let files = &*self.files;
        // What may not be written by this version would not be copied whole.
        let store = self.store(names, Access::Write);
        let (store, format_is_whole) = store.map_err(Fault::Source)?;
        let held = files.holder(LOCK).is_ok_and(|holder| holder.is_some());
        let looks = if held { LOOKS_WHEN_HELD } else { 1 };
        let log = Log::find_up_to(files, &store, names, |last| find_moving_end(last, looks));
        let log = log.map_err(Fault::Source)?;

        let is_kept = |part: &Part| copied.get(&part.head.segment) == Some(&part.blocks);
        let kept: Vec<u64> =
            log.parts.iter().filter(|part| is_kept(part)).map(|part| part.head.segment).collect();
        copied.retain(|number, _| kept.contains(number));
        let others = self::names(out).map_err(Fault::Copy)?;
        let others = others.into_iter().filter(|name| {
            segment::number(name).is_none_or(|number| !copied.contains_key(&number))
        });
        clear(out, &others.collect::<Vec<_>>()).map_err(Fault::Copy)?;

        let (last, older) = log.parts.split_last().expect("a log has a segment");
        for part in older {
            if let Entry::Vacant(entry) = copied.entry(part.head.segment) {
                copy_segment(files, out, &store, part, part.blocks)?;
                entry.insert(part.blocks);
            }
        }
        copy_segment(files, out, &store, last, last.head.blocks)?;
        let synced = out.sync();
        synced.map_err(|error| Fault::Copy(failed(format!("sync {}", out.place("")), error)))?;

        if let Err(error) = check(out, &store, &log) {
            copied.clear();
            // It says where the journal is damaged, if it is.
            log.walk(files, &store, &mut |_, _| Ok(())).map_err(Fault::Source)?;
            return Err(Fault::Copy(error));
        }
        let named =
            store.write(out, UNFINISHED).and_then(|()| Store::publish_from(out, UNFINISHED));
        named.map_err(Fault::Copy)?;
        Ok(self.summary(&store, format_is_whole, &Log { torn_bytes: 0, ..log }))
    }
}

fn check_empty(out: &dyn Files) -> Result<(), StorageError> {
    let place = out.place("");
    let names = match out.names() {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(format!("list {place}"), error)),
    };
    let Some(name) = names.iter().find(|name| !OF_NO_JOURNAL.contains(&name.as_str())) else {
        return Ok(());
    };
    if let Ok(Some(holder)) = out.holder(LOCK) {
        return Err(StorageError::InUse { place, holder });
    }
    let error = io::Error::new(ErrorKind::DirectoryNotEmpty, format!("it has {name} in it"));
    Err(failed(format!("copy a journal into {place}, which is not empty"), error))
}

/// Removes what a copy is made of from among `names`.
fn clear(out: &dyn Files, names: &[String]) -> Result<(), StorageError> {
    let ours = |name: &&String| segment::number(name).is_some() || *name == UNFINISHED;
    for name in names.iter().filter(ours) {
        let removed = out.remove(name);
        removed.map_err(|error| failed(format!("remove {}", out.place(name)), error))?;
    }
    Ok(())
}

fn segments(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    numbers
}

/// Copies what counts of a segment into a file of `blocks`, of which the rest is zeros, durably.
fn copy_segment(
    files: &dyn Files,
    out: &dyn Files,
    store: &Store,
    part: &Part,
    blocks: u64,
) -> Result<(), Fault> {
    let number = part.head.segment;
    let from = Segment::open_headless(files, store, number).map_err(Fault::Source)?;
    let name = segment::name(number);
    let failed = |error| Fault::Copy(failed(format!("write {}", out.place(&name)), error));
    let to = out.make(&name).map_err(failed)?;
    let (end, mut at) = (segment::bytes(part.blocks), 0);
    let mut buffer = vec![0; STEP_BYTES];
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        from.read_stored(&mut buffer[..step], at).map_err(Fault::Source)?;
        to.write_all_at(&buffer[..step], at).map_err(failed)?;
        at += step as u64;
    }
    if part.blocks < blocks {
        // A hole before it reads as zeros too.
        to.write_all_at(&[0; BLOCK_BYTES], segment::bytes(blocks - 1)).map_err(failed)?;
    }
    to.sync().map_err(failed)?;
    to.uncache();
    Ok(())
}

/// Whether the copy is sound and ends where the journal did.
fn check(out: &dyn Files, store: &Store, log: &Log) -> Result<(), StorageError> {
    let copy = Log::find(out, store, &names(out)?)?;
    copy.walk(out, store, &mut |_, _| Ok(()))?;
    if copy.end == log.end && copy.parts.len() == log.parts.len() && copy.torn_bytes == 0 {
        return Ok(());
    }
    Err(damaged(out.place(""), "the copy ends in another place than the journal"))
}
