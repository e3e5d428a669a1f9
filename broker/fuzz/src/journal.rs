//! The recovery of a journal from whatever is in its folder.
//!
//! The bytes are a list of changes of a sound journal, or files as they are. Nothing in the broker is
//! switched off for it: who made the changes has the journal's key, and can seal what it changed.

mod disk;
mod image;

use ganger_broker::storage::disk::{Fill, Inspection, Options};
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, StorageError, Until};

use self::disk::Disk;
use self::image::Image;
use crate::{Measure, Target};

/// This target.
pub const TARGET: Target = Target { name: "journal", run: target, read: measure, memory_max };

const OPTIONS: Options = Options { segment_bytes: 32 << 10, min_free_bytes: 0, fill: Fill::AtOnce };

/// Bytes at the beginning, before any change.
const SPARE_BYTES: usize = 32 << 10;

/// A reader holds a window on a segment and one frame of it, and while it goes back from segment to
/// segment the last one too; the window has a mebibyte at least, where the file has so much. So it
/// never grows with a log of many segments; where files are as short as here, it is less than four
/// times what they have. What is written counts as input too, for this disk keeps it in memory.
const fn memory_max(bytes: usize) -> usize {
    4 * bytes + (64 << 10)
}

fn measure(bytes: &[u8], measured: &mut Measure<'_>) -> usize {
    let image = Image::new(bytes);
    let disk = Disk::holding(&image);
    measured(&mut || drop(storage(&disk).replay(&mut |_| Ok(()))));
    image.bytes() + disk.written_bytes()
}

fn storage(disk: &Disk) -> DiskStorage {
    DiskStorage::on(disk.files(), OPTIONS)
}

/// What a journal shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    records: Vec<(Seq, Vec<u8>)>,
    last: Seq,
}

fn replay(storage: &mut DiskStorage) -> Result<Shown, StorageError> {
    let mut records: Vec<(Seq, Vec<u8>)> = Vec::new();
    let last = storage.replay(&mut |record| {
        if let Some((before, _)) = records.last() {
            assert_eq!(record.seq, before.next(), "a gap");
        }
        records.push((record.seq, record.body.to_vec()));
        Ok(())
    })?;
    if let Some((seq, _)) = records.last() {
        assert_eq!(*seq, last, "the last record is another one");
    }
    Ok(Shown { records, last })
}

/// Panics where a promise is broken: damage is refused, and what is taken stays as it was taken.
///
/// # Panics
///
/// That is what it is for.
pub fn target(bytes: &[u8]) {
    let image = Image::new(bytes);
    let looked = look(&image);
    let disk = Disk::holding(&image);
    let shown = {
        let mut journal = storage(&disk);
        let shown = replay(&mut journal);
        let bound = 8 * image.bytes() + (64 << 10);
        assert!(disk.read_bytes() <= bound, "{} bytes read, of {bound}", disk.read_bytes());
        // Restarts do not fill a disk: the tail is copied, and a segment and a spare are made.
        let bound = 2 * image.bytes() + 4 * SPARE_BYTES;
        assert!(disk.written_bytes() <= bound, "{} written, of {bound}", disk.written_bytes());
        shown
    };
    let shown = match (shown, looked) {
        (Ok(shown), Some(last)) => {
            assert_eq!(shown.last, last, "a look and a start see another end");
            shown
        }
        // Without the file FORMAT there is nothing to look at, and a start makes a journal.
        (Ok(shown), None) => {
            assert!(!image.files.contains_key("FORMAT"), "what is taken was found damaged");
            assert_eq!(shown, Shown { records: Vec::new(), last: Seq::START });
            shown
        }
        (Err(StorageError::Unsupported { .. }), _) | (Err(_), None) => return,
        (Err(error), Some(_)) => panic!("what was found sound is refused: {error}"),
    };
    live_on(&disk, shown);
}

/// What a start has shown is shown by every later one, with what is added.
fn live_on(disk: &Disk, mut shown: Shown) {
    let mut journal = storage(disk);
    let again = replay(&mut journal).unwrap_or_else(|error| panic!("the next start: {error}"));
    assert_eq!(again, shown, "the next start shows something else");
    let (seq, body) = (shown.last.next(), b"one more".as_slice());
    let added = journal.append(&[Record { seq, body }], Until::Durable);
    added.unwrap_or_else(|error| panic!("one more record: {error}"));
    drop(journal);
    shown.records.push((seq, body.to_vec()));
    shown.last = seq;
    let again = replay(&mut storage(disk)).unwrap_or_else(|error| panic!("a third start: {error}"));
    assert_eq!(again, shown, "a third start shows something else");
}

/// Looks at it as operators do. The last position, if all is sound.
fn look(image: &Image) -> Option<Seq> {
    let disk = Disk::holding(image);
    let inspection = Inspection::on(disk.files());
    let stat = inspection.stat();
    let verified = inspection.verify();
    if let (Ok(stat), Ok(verified)) = (&stat, &verified) {
        assert_eq!(stat, verified);
    }
    assert!(stat.is_ok() || verified.is_err(), "a closer look finds less");
    let saved = Disk::default();
    if let Ok(salvaged) = inspection.salvage(storage(&saved)) {
        let shown = replay(&mut storage(&saved)).unwrap_or_else(|error| panic!("saved: {error}"));
        assert_eq!(shown.last, Seq(salvaged.records), "the saved journal has other records");
    }
    assert_eq!(disk.written_bytes(), 0, "a look changes nothing");
    verified.ok().map(|summary| summary.last)
}

/// The last position of the journal that the bytes make, if it is found sound.
#[must_use]
pub fn last_of(bytes: &[u8]) -> Option<Seq> {
    look(&Image::new(bytes))
}
