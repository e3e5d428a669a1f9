//! A directory that the first version made: every later one must read it.
//!
//! `UPDATE_GOLDEN=1` makes it again, which is only right before a version is released.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ganger_broker::storage::disk::files::Directory;
use ganger_broker::storage::disk::{Fill, Inspection, Options};
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, Until};

use crate::life::replay;

const OPTIONS: Options = Options { segment_bytes: 32 << 10, min_free_bytes: 0, fill: Fill::AtOnce };

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/journal-1"))
}

fn body(seq: u64) -> Vec<u8> {
    format!("record {seq} ").repeat(usize::try_from(seq * seq * 17 % 600).unwrap()).into_bytes()
}

fn storage(path: &Path) -> DiskStorage {
    DiskStorage::on(Arc::new(Directory::new(path)), OPTIONS)
}

fn append(storage: &mut DiskStorage, seqs: std::ops::Range<u64>, until: Until) {
    let bodies: Vec<_> = seqs.map(|seq| (seq, body(seq))).collect();
    let records: Vec<_> =
        bodies.iter().map(|(seq, body)| Record { seq: Seq(*seq), body }).collect();
    storage.append(&records, until).unwrap();
}

/// Segments, a large frame, compaction, a restart with an unproven tail, and at the end a tail that
/// is neither proven nor sealed.
fn make(path: &Path) {
    let mut journal = storage(path);
    replay(&mut journal).unwrap();
    append(&mut journal, 1..4, Until::Durable);
    append(&mut journal, 4..40, Until::Durable);
    append(&mut journal, 40..44, Until::Written);
    journal.compact(Seq(41)).unwrap();
    append(&mut journal, 44..46, Until::Durable);
    drop(journal);
    let mut journal = storage(path);
    replay(&mut journal).unwrap();
    append(&mut journal, 46..48, Until::Durable);
    append(&mut journal, 48..49, Until::Written);
    drop(journal);
    for name in ["LOCK", "spare"] {
        fs::remove_file(path.join(name)).unwrap();
    }
}

#[test]
fn directory_of_format_1_is_read() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(directory());
        make(directory());
    }
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let summary = Inspection::new(copy.path()).verify().unwrap();
    assert_eq!((summary.start, summary.last), (Seq(41), Seq(48)));
    assert!(summary.unproven > 0 && summary.format_is_whole);
    for last in [48, 49] {
        let mut journal = storage(copy.path());
        let shown = replay(&mut journal).unwrap();
        let expected: Vec<_> = (41..=last).map(body).collect();
        assert!(shown.first == 41 && shown.records == expected);
        append(&mut journal, last + 1..last + 2, Until::Durable);
    }
}
