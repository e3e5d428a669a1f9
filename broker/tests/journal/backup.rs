//! A backup has all that was acknowledged before it began, whatever the journal is doing; one that
//! was interrupted is no journal.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ganger_broker::storage::disk::files::Directory;
use ganger_broker::storage::disk::{Fill, Inspection, Options};
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, StorageError, Until};

use crate::life::{Asked, Life, open, replay};
use crate::sim::Sim;
use ganger_chance::Rng;

/// Copies what is on a disk to a disk of its own.
fn backup(from: &Sim) -> Result<Sim, StorageError> {
    let to = Sim::new();
    Inspection::on(from.files()).backup(&to).map(|_| to)
}

/// A journal with some segments, a compaction and an unproven end, and what was asked of it.
fn lived(seed: u64) -> (Sim, Asked) {
    let asked = Arc::new(Mutex::new(Asked::default()));
    let mut rng = Rng::new(seed);
    let mut life = Life::begin(Sim::new(), Arc::clone(&asked)).unwrap();
    for _ in 0..60 {
        life.step(&mut rng).unwrap();
    }
    life.append(&mut rng, Until::Durable).unwrap();
    let asked = asked.lock().unwrap().clone();
    (life.sim, asked)
}

#[test]
fn backup_between_any_two_calls_has_all_that_was_written() {
    let backups = Arc::new(AtomicU64::new(0));
    for seed in 0..20 {
        let (sim, asked) = (Sim::new(), Arc::new(Mutex::new(Asked::default())));
        let (watched, counted) = (Arc::clone(&asked), Arc::clone(&backups));
        sim.watch(Some(Box::new(move |disk| {
            let mut asked = watched.lock().unwrap().clone();
            match backup(&disk.crashed(|_| true)) {
                Ok(copy) => {
                    // Power fails right after.
                    let copy = copy.disk().crashed(|_| false);
                    let (shown, least) = (replay(&mut open(&copy)).unwrap(), asked.written);
                    asked.judge(&shown, least).unwrap_or_else(|error| panic!("{error} ({seed})"));
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                // While it is being made.
                Err(error) => assert_eq!(asked.written, 0, "{error} (seed {seed})"),
            }
        })));
        let (mut rng, mut life) = (Rng::new(seed), Life::begin(sim, asked).unwrap());
        for _ in 0..40 {
            life.step(&mut rng).unwrap();
        }
        life.sim.watch(None);
    }
    assert!(backups.load(Ordering::Relaxed) > 2_000, "{backups:?} backups");
}

#[test]
fn interrupted_backup_is_no_journal_or_a_whole_one() {
    for seed in 0..10 {
        let (sim, asked) = lived(seed);
        let (whole, interrupted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (to, mut rng) = (Sim::new(), Rng::new(seed));
        let (counts, judge) = ((Arc::clone(&whole), Arc::clone(&interrupted)), asked.clone());
        to.watch(Some(Box::new(move |disk| {
            for kept in [0, 300, 700, 1_000] {
                let image = disk.crashed(|_| rng.chance(kept));
                let names = image.contents();
                if names.contains_key("FORMAT") {
                    let shown = replay(&mut open(&image)).unwrap();
                    judge.clone().judge(&shown, judge.written).unwrap();
                    counts.0.fetch_add(1, Ordering::Relaxed);
                } else if names.keys().any(|name| name.starts_with("seg-")) {
                    let refused = replay(&mut open(&image)).err();
                    assert!(matches!(refused, Some(StorageError::Damaged { .. })), "{refused:?}");
                    counts.1.fetch_add(1, Ordering::Relaxed);
                }
            }
        })));
        Inspection::on(sim.files()).backup(&to).unwrap();
        to.watch(None);
        assert!(interrupted.load(Ordering::Relaxed) > 10 && whole.load(Ordering::Relaxed) > 0);
        let shown = replay(&mut open(&to.disk().crashed(|_| false))).unwrap();
        asked.clone().judge(&shown, asked.written).unwrap();
    }
}

#[test]
fn copy_is_exactly_as_long_as_its_heads_say() {
    let (sim, _) = lived(7);
    let copy = backup(&sim).unwrap();
    let (was, is) = (sim.contents(), copy.contents());
    let summary = Inspection::on(copy.files()).verify().unwrap();
    assert_eq!((summary.unneeded, summary.torn_bytes, summary.format_is_whole), (0, 0, true));
    let (last, older) = summary.segments.split_last().unwrap();
    assert!(!older.is_empty(), "one segment shows nothing");
    for segment in older {
        assert_eq!(segment.size_bytes, segment.used_bytes, "{}", segment.file);
        assert_eq!(was[&segment.file], is[&segment.file]);
    }
    assert_eq!(was[&last.file].len(), is[&last.file].len());
    assert_eq!(was["FORMAT"], is["FORMAT"]);
    assert_eq!(is.len(), summary.segments.len() + 1, "{:?}", is.keys());
}

#[test]
fn damage_is_refused_by_name_and_nothing_is_left_of_the_copy() {
    let (sim, _) = lived(3);
    let summary = Inspection::on(sim.files()).verify().unwrap();
    assert!(summary.segments.len() > 1);
    for segment in &summary.segments {
        for at in [100, 4096 + 200] {
            if at + 100 > segment.used_bytes {
                continue;
            }
            let damaged = Sim::holding(sim.contents());
            damaged.damage(&segment.file, |bytes| bytes[usize::try_from(at).unwrap()] ^= 1);
            let to = Sim::new();
            let error = Inspection::on(damaged.files()).backup(&to).unwrap_err();
            let StorageError::Damaged { place, .. } = &error else { panic!("{error}") };
            assert!(place.starts_with(&segment.file), "{error}");
            assert!(to.contents().is_empty(), "{:?}", to.contents().keys());
            let error = Inspection::on(damaged.files()).restore(&to).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        }
    }
}

#[test]
fn full_disk_ends_a_backup_and_leaves_nothing() {
    let (sim, _) = lived(5);
    let calls = {
        let to = Sim::new();
        Inspection::on(sim.files()).backup(&to).unwrap();
        to.disk().calls
    };
    let mut refused = 0;
    for call in 1..=calls {
        let to = Sim::new();
        to.disk().failing = Some((call, crate::sim::Failure::Full));
        if let Err(error) = Inspection::on(sim.files()).backup(&to) {
            assert!(matches!(error, StorageError::Io { .. }), "{error}");
            assert!(!to.contents().keys().any(|name| name.starts_with("seg-")));
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn folder_with_something_in_it_is_refused() {
    let (sim, _) = lived(1);
    let to = Sim::new();
    to.files().make("seg-0000000009").unwrap();
    let error = Inspection::on(sim.files()).backup(&to).unwrap_err();
    let StorageError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::DirectoryNotEmpty);
    assert!(source.to_string().contains("seg-0000000009"), "{source}");
}

/// Backups, one after the other, of a journal of tiny segments that another thread appends to and
/// compacts as fast as it can.
#[test]
fn backup_of_a_journal_that_is_written_meanwhile_has_all_that_was_acknowledged() {
    const BACKUPS: u64 = 40;
    let options = Options { segment_bytes: 32 << 10, min_free_bytes: 0, fill: Fill::OnAThread };
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(Directory::new(folder.path().join("data")));
    let mut journal = DiskStorage::on(data.clone(), options);
    journal.replay(&mut |_| Ok(())).unwrap();
    let (acknowledged, start) = (AtomicU64::new(0), AtomicU64::new(1));
    let stop = AtomicBool::new(false);
    let body = |seq: u64| vec![b'a' + (seq % 26) as u8; usize::try_from(seq * 37 % 3_000).unwrap()];
    let mut cut = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 1;
            while !stop.load(Ordering::Relaxed) {
                let bodies: Vec<_> =
                    (next..next + 1 + next % 7).map(|seq| (seq, body(seq))).collect();
                let records: Vec<_> =
                    bodies.iter().map(|(seq, body)| Record { seq: Seq(*seq), body }).collect();
                // Mostly without a sync, which is many times as fast.
                let until = if next % 10 == 0 { Until::Durable } else { Until::Written };
                journal.append(&records, until).unwrap();
                next += records.len() as u64;
                acknowledged.store(next - 1, Ordering::SeqCst);
                if next % 23 == 0 {
                    let from = next.saturating_sub(200).max(1);
                    start.store(from, Ordering::SeqCst);
                    journal.compact(Seq(from)).unwrap();
                }
            }
        });
        for round in 0..BACKUPS {
            let (least, oldest) =
                (acknowledged.load(Ordering::SeqCst), start.load(Ordering::SeqCst));
            let out = folder.path().join(format!("backup-{round}"));
            let copied = Inspection::on(data.clone()).backup(&Directory::new(&out));
            let summary = copied.unwrap_or_else(|error| {
                stop.store(true, Ordering::Relaxed);
                panic!("backup {round}: {error}")
            });
            let mut shown = Vec::new();
            let last = DiskStorage::on(Arc::new(Directory::new(&out)), options)
                .replay(&mut |record| {
                    assert_eq!(record.body, body(record.seq.0));
                    shown.push(record.seq);
                    Ok(())
                })
                .unwrap();
            stop.store(last.0 < least, Ordering::Relaxed);
            assert!(last.0 >= least, "backup {round}: {least} were acknowledged, {last} are there");
            assert_eq!(summary.last, last);
            // A compaction that began meanwhile may be in it or not.
            assert!(summary.start.0 <= oldest.max(start.load(Ordering::SeqCst)));
            assert_eq!(shown.first().copied().unwrap_or_else(|| last.next()), summary.start);
            cut += u64::from(summary.start.0 > 1);
            std::fs::remove_dir_all(out).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(cut > BACKUPS / 2, "the journal was compacted before {cut} of the backups only");
}
