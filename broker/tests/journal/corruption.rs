//! Damage: every bit, every block, every length. It is found, or it changes nothing; what was not
//! written is never served.

use std::sync::Arc;

use ganger_broker::storage::disk::{Inspection, Options};
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, StorageError, Until};
use ganger_chance::Rng;

use crate::life::{OPTIONS, index, open, replay};
use crate::sim::{Contents, SECTOR, Sim};

const BLOCK: usize = 4096;

/// Whether the last frame is proven by a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Sealed,
    Unsealed,
}

/// A journal of some 64 KiB in several segments, and its records.
fn journal(last: Last) -> (Sim, Vec<Vec<u8>>) {
    let mut rng = Rng::new(7);
    let sim = Sim::new();
    let mut storage = open(&sim);
    replay(&mut storage).unwrap();
    let mut bodies = Vec::new();
    for size in [0, 100, 5_000, 40, 9_000, 700, 6_000, 12, 77, 33] {
        let body: Vec<u8> = (0..size).map(|_| if rng.chance(500) { 0 } else { 0xff }).collect();
        bodies.push(body);
        append(&mut storage, &bodies[bodies.len() - 1..], bodies.len(), Until::Durable);
    }
    if last == Last::Sealed {
        storage.append(&[], Until::Durable).unwrap();
    }
    drop(storage);
    let summary = Inspection::on(sim.files()).stat().unwrap();
    assert!(summary.segments.last().unwrap().first <= summary.last, "the last one has records");
    (sim, bodies)
}

fn append(storage: &mut DiskStorage, bodies: &[Vec<u8>], first: usize, until: Until) {
    let records: Vec<_> =
        (first as u64..).zip(bodies).map(|(seq, body)| Record { seq: Seq(seq), body }).collect();
    storage.append(&records, until).unwrap();
}

fn segments(sim: &Sim) -> Vec<String> {
    sim.contents().into_keys().filter(|name| name.starts_with("seg-")).collect()
}

/// What became of some damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Found,
    Harmless,
}

/// Looks at a journal, without opening it.
fn look(sim: &Sim, bodies: &[Vec<u8>]) -> Outcome {
    let mut seen = Seen { bodies, count: 0, wrong: false };
    let looked = Inspection::on(sim.files()).dump(&mut |entry| seen.see(entry.record));
    seen.outcome(looked.map(|summary| summary.last))
}

/// Opens a copy of a journal, as a broker does.
fn start(sim: &Sim, bodies: &[Vec<u8>]) -> Outcome {
    let mut seen = Seen { bodies, count: 0, wrong: false };
    let replayed = open(&Sim::holding(sim.contents())).replay(&mut |record| seen.see(record));
    seen.outcome(replayed)
}

struct Seen<'a> {
    bodies: &'a [Vec<u8>],
    count: usize,
    wrong: bool,
}

impl Seen<'_> {
    fn see(&mut self, record: Record<'_>) -> Result<(), StorageError> {
        self.wrong |= index(record.seq) != self.count + 1;
        self.wrong |= self.bodies.get(self.count).is_none_or(|body| body != record.body);
        self.count += 1;
        Ok(())
    }

    /// What is shown before an error is served by nobody.
    fn outcome(&self, last: Result<Seq, StorageError>) -> Outcome {
        match last {
            Ok(last) => {
                assert!(!self.wrong, "wrong bytes were served");
                let all = self.bodies.len();
                assert_eq!((index(last), self.count), (all, all), "records were lost silently");
                Outcome::Harmless
            }
            Err(StorageError::Damaged { .. } | StorageError::Unsupported { .. }) => Outcome::Found,
            Err(error) => panic!("damage is told as another error: {error}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_found_or_harmless() {
    for last in [Last::Unsealed, Last::Sealed] {
        let (sim, bodies) = journal(last);
        assert_eq!(look(&sim, &bodies), Outcome::Harmless);
        let contents = sim.contents();
        // For each segment a copy and a thread.
        let counts: Vec<[u64; 2]> = std::thread::scope(|scope| {
            let spawn = |name: &String| {
                let (sim, name) = (Sim::holding(contents.clone()), name.clone());
                let (bytes, bodies) = (&contents[&name], &bodies);
                scope.spawn(move || flip_all(&sim, &name, bytes, bodies, last))
            };
            let threads: Vec<_> = segments(&sim).iter().map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let [found, harmless] =
            [0, 1].map(|which| counts.iter().map(|count| count[which]).sum::<u64>());
        println!("{last:?}: {found} flips found, {harmless} harmless, 0 unnoticed");
        assert!(found + harmless >= if last == Last::Sealed { 1 << 19 } else { 1 << 15 });
    }
}

/// Returns how many flips were found, and how many were harmless.
fn flip_all(sim: &Sim, name: &str, bytes: &[u8], bodies: &[Vec<u8>], last: Last) -> [u64; 2] {
    let mut counts = [0, 0];
    // All bits of what is sealed; else a part of them, for their number.
    for bit in (0..bytes.len() * 8).step_by(if last == Last::Sealed { 1 } else { 13 }) {
        let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
        sim.damage(name, flip);
        let outcome = look(sim, bodies);
        if bit % 509 == 0 {
            assert_eq!(start(sim, bodies), outcome, "{name}, bit {bit}");
        }
        sim.damage(name, flip);
        if bytes[bit / 8 / SECTOR * SECTOR..][..SECTOR].iter().any(|&byte| byte != 0) {
            assert_eq!(outcome, Outcome::Found, "{last:?}, {name}, bit {bit}");
        }
        counts[usize::from(outcome == Outcome::Harmless)] += 1;
    }
    counts
}

/// Every sector of a frame that was wholly written differs from zeros, whatever its records are; so
/// where one has changed, the frame is no torn tail.
#[test]
fn last_frame_that_has_changed_is_no_torn_tail_though_nothing_proves_it() {
    let sim = Sim::new();
    let mut storage = open(&sim);
    replay(&mut storage).unwrap();
    let bodies = [vec![0; 2_000]];
    append(&mut storage, &bodies, 1, Until::Durable);
    drop(storage);
    for sector in 0..BLOCK / SECTOR {
        let flip = |bytes: &mut Vec<u8>| bytes[BLOCK + sector * SECTOR + 100] ^= 1;
        sim.damage("seg-0000000001", flip);
        assert_eq!(start(&sim, &bodies), Outcome::Found, "sector {sector}");
        sim.damage("seg-0000000001", flip);
    }
    assert_eq!(start(&sim, &bodies), Outcome::Harmless);
}

#[test]
fn every_block_that_is_zeroed_swapped_or_doubled_is_found_or_harmless() {
    let (sim, bodies) = journal(Last::Sealed);
    let blocks: Vec<(String, usize)> = sim
        .contents()
        .iter()
        .filter(|(name, _)| name.starts_with("seg-"))
        .flat_map(|(name, bytes)| (0..bytes.len() / BLOCK).map(|block| (name.clone(), block)))
        .collect();
    let contents = sim.contents();
    let bytes = |(name, block): &(String, usize)| contents[name][block * BLOCK..][..BLOCK].to_vec();
    let put = |(name, block): &(String, usize), bytes: &[u8]| {
        sim.damage(name, |file| file[block * BLOCK..][..BLOCK].copy_from_slice(bytes));
    };
    let mut found = 0;
    let mut judge = |what: &str| {
        let outcome = look(&sim, &bodies);
        assert_eq!(start(&sim, &bodies), outcome, "{what}");
        found += usize::from(outcome == Outcome::Found);
    };
    for one in &blocks {
        let was = bytes(one);
        put(one, &[0; BLOCK]);
        judge("zeroed");
        for sector in 0..BLOCK / SECTOR {
            let mut part = was.clone();
            part[sector * SECTOR..][..SECTOR].fill(0);
            put(one, &part);
            judge("a sector zeroed");
        }
        for other in &blocks {
            put(one, &bytes(other));
            judge("doubled");
            put(other, &was);
            judge("swapped");
            put(other, &bytes(other));
        }
        put(one, &was);
    }
    println!("{} blocks, {found} damages found", blocks.len());
    assert_eq!(look(&sim, &bodies), Outcome::Harmless, "the test put all back");
}

#[test]
fn a_file_cut_short_anywhere_is_found() {
    let (sim, bodies) = journal(Last::Sealed);
    for name in segments(&sim) {
        let whole = sim.contents()[&name].clone();
        for len in 0..whole.len() {
            sim.damage(&name, |bytes| bytes.truncate(len));
            assert_eq!(look(&sim, &bodies), Outcome::Found, "{name} cut to {len}");
            sim.damage(&name, |bytes| bytes.extend_from_slice(&whole[len..]));
        }
    }
    let last = segments(&sim).pop().unwrap();
    sim.damage(&last, |bytes| bytes.push(0));
    assert_eq!(look(&sim, &bodies), Outcome::Found, "{last} is longer");
}

#[test]
fn a_segment_that_is_missing_is_found() {
    let (sim, bodies) = journal(Last::Sealed);
    for name in segments(&sim) {
        let mut contents = sim.contents();
        contents.remove(&name);
        assert_eq!(look(&Sim::holding(contents), &bodies), Outcome::Found, "{name}");
    }
}

#[test]
fn a_damaged_copy_of_the_format_changes_nothing_and_is_written_again() {
    let (sim, bodies) = (Sim::new(), vec![b"one".to_vec()]);
    let mut storage = open(&sim);
    replay(&mut storage).unwrap();
    append(&mut storage, &bodies, 1, Until::Durable);
    drop(storage);
    for bit in 0..2 * BLOCK * 8 {
        let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
        sim.damage("FORMAT", flip);
        assert_eq!(look(&sim, &bodies), Outcome::Harmless, "bit {bit}");
        if bit % 997 == 0 {
            let copy = Sim::holding(sim.contents());
            replay(&mut open(&copy)).unwrap();
            sim.damage("FORMAT", flip);
            assert!(copy.contents()["FORMAT"] == sim.contents()["FORMAT"]);
        } else {
            sim.damage("FORMAT", flip);
        }
    }
    for len in (0..2 * BLOCK).step_by(7) {
        let mut contents = sim.contents();
        Arc::make_mut(contents.get_mut("FORMAT").unwrap()).truncate(len);
        let expected = if len < BLOCK { Outcome::Found } else { Outcome::Harmless };
        assert_eq!(look(&Sim::holding(contents), &bodies), expected, "cut to {len}");
    }
    let mut contents = sim.contents();
    contents.remove("FORMAT");
    assert_eq!(start(&Sim::holding(contents), &bodies), Outcome::Found, "it is missing");
}

/// Writes something into both copies of FORMAT, as a program would that knows more than this one.
fn format_with(change: impl Fn(&mut [u8])) -> Contents {
    let (sim, _) = journal(Last::Sealed);
    let mut contents = sim.contents();
    for copy in Arc::make_mut(contents.get_mut("FORMAT").unwrap()).chunks_mut(BLOCK) {
        change(copy);
        let hash = blake3::hash(&copy[..BLOCK - 32]);
        copy[BLOCK - 32..].copy_from_slice(hash.as_bytes());
    }
    contents
}

#[test]
fn what_a_later_version_made_is_refused_by_name() {
    let refused = |contents: Contents| match replay(&mut open(&Sim::holding(contents))) {
        Err(StorageError::Unsupported { reason, .. }) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => "it is not refused".to_owned(),
    };
    let newer = format_with(|copy| copy[8] = 2);
    assert_eq!(refused(newer), "its format is 2.0, known is 1");
    let incompatible = format_with(|copy| copy[16] = 4);
    assert_eq!(refused(incompatible), "it has the unknown features 0x4");
    let read_only = format_with(|copy| copy[24] = 2);
    assert_eq!(
        refused(read_only.clone()),
        "it has the unknown features 0x2 that forbid to write it"
    );
    let inspection = Inspection::on(Sim::holding(read_only).files());
    inspection.verify().unwrap();
    let copied = inspection.backup(&Sim::new());
    assert!(matches!(copied, Err(StorageError::Unsupported { .. })), "{copied:?}");
    let compatible = format_with(|copy| copy[32] = 255);
    replay(&mut open(&Sim::holding(compatible))).unwrap();
}

#[test]
fn a_segment_of_another_history_of_the_same_journal_is_found() {
    // Two brokers were started on copies of one directory, and went different ways.
    let (sim, bodies) = journal(Last::Sealed);
    let mut histories = Vec::new();
    for byte in [1, 2] {
        let copy = Sim::holding(sim.contents());
        let mut storage = open(&copy);
        replay(&mut storage).unwrap();
        let mut all = bodies.clone();
        for _ in 0..12 {
            all.push(vec![byte; 2_000]);
            append(&mut storage, &all[all.len() - 1..], all.len(), Until::Durable);
        }
        drop(storage);
        histories.push((copy, all));
    }
    let [(one, bodies), (other, _)] = &histories[..] else { unreachable!() };
    let names: Vec<_> =
        segments(one).into_iter().filter(|name| !segments(&sim).contains(name)).collect();
    assert!(names.len() > 2);
    for name in &names {
        let mut contents = one.contents();
        contents.insert(name.clone(), Arc::clone(&other.contents()[name]));
        assert_eq!(look(&Sim::holding(contents), bodies), Outcome::Found, "{name}");
    }
    // And blocks of it.
    let contents = (one.contents(), other.contents());
    for name in &names {
        for block in 0..contents.0[name].len() / BLOCK {
            let stale = &contents.1[name][block * BLOCK..][..BLOCK];
            let was = contents.0[name][block * BLOCK..][..BLOCK].to_vec();
            if was != stale && was.iter().any(|&byte| byte != 0) {
                one.damage(name, |file| file[block * BLOCK..][..BLOCK].copy_from_slice(stale));
                assert_eq!(look(one, bodies), Outcome::Found, "{name}, block {block}");
                one.damage(name, |file| file[block * BLOCK..][..BLOCK].copy_from_slice(&was));
            }
        }
    }
}

#[test]
fn damage_is_named_by_segment_bytes_and_records() {
    let (sim, _) = journal(Last::Sealed);
    sim.damage("seg-0000000002", |bytes| bytes[BLOCK + 700] ^= 1);
    let error = replay(&mut open(&sim)).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the storage is damaged at seg-0000000002, bytes 4096 to 8192: \
         the frame is not what was written; frame 4 with records from 2 is lost"
    );
    let sim = Sim::new();
    // The frame and its seal in one segment.
    let options = Options { segment_bytes: 128 << 10, ..OPTIONS };
    let mut storage = DiskStorage::on(sim.files(), options);
    replay(&mut storage).unwrap();
    append(&mut storage, &[b"one".to_vec(), b"two".to_vec()], 1, Until::Durable);
    storage.append(&[], Until::Durable).unwrap();
    let last = "seg-0000000001";
    sim.damage(last, |bytes| bytes[BLOCK..2 * BLOCK].fill(0));
    let error = replay(&mut open(&sim)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(last) && error.contains("bytes 4096 to "), "{error}");
    assert!(error.contains("records 1 to 2"), "{error}");
}

#[test]
fn salvage_saves_what_is_sound_and_lists_what_is_lost() {
    let (sim, bodies) = journal(Last::Sealed);
    let whole = Inspection::on(sim.files()).stat().unwrap();
    assert_eq!((whole.last, whole.unproven, whole.torn_bytes), (Seq(10), 0, 0));
    for name in segments(&sim) {
        for block in 0..sim.contents()[&name].len() / BLOCK {
            let was = sim.contents();
            if was[&name][block * BLOCK..][..BLOCK].iter().all(|&byte| byte == 0) {
                continue;
            }
            sim.damage(&name, |bytes| bytes[block * BLOCK + 99] ^= 0x40);
            let out = Sim::new();
            let saved =
                Inspection::on(sim.files()).salvage(DiskStorage::on(out.files(), OPTIONS)).unwrap();
            let mut expected = bodies.clone();
            for lost in saved.lost.iter().rev() {
                let to = lost.to.map_or(bodies.len(), index);
                assert_eq!(index(lost.before), index(lost.from), "only one gap here");
                expected.drain(index(lost.from) - 1..to);
            }
            assert!(bodies.len() - expected.len() <= 1, "more is lost than the frame that is bad");
            let shown = replay(&mut open(&out)).unwrap();
            let sizes = |all: &[Vec<u8>]| all.iter().map(Vec::len).collect::<Vec<_>>();
            assert_eq!(sizes(&shown.records), sizes(&expected), "{name}, block {block}: {saved:?}");
            assert!(shown.records == expected, "{name}, block {block}: {saved:?}");
            sim.damage(&name, |bytes| bytes[block * BLOCK + 99] ^= 0x40);
        }
    }
}
