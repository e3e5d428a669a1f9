//! Every call to the system fails in turn: what was acknowledged is there afterwards, and nothing
//! is acknowledged that is not; a full disk refuses new work and nothing else.

use std::sync::{Arc, Mutex};

use ganger_broker::storage::disk::Options;
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, Until};
use ganger_chance::Rng;

use crate::life::{Asked, Life, OPTIONS, open, replay};
use crate::sim::{Failure, Sim};

/// Lives a little on a disk that fails at its `call`th call. Says whether it did.
fn live(seed: u64, call: u64, failure: Failure) -> bool {
    let sim = Sim::new();
    sim.disk().failing = Some((call, failure));
    let asked = Arc::new(Mutex::new(Asked::default()));
    let mut rng = Rng::new(seed);
    if let Ok(mut life) = Life::begin(sim.clone(), Arc::clone(&asked)) {
        let ended = (0..40).find_map(|_| life.step(&mut rng).err());
        if ended.is_some() {
            // Nothing is retried: it stays ended.
            let next = Seq(asked.lock().unwrap().records.len() as u64 + 1);
            let further = Record { seq: next, body: b"further" };
            assert!(life.storage.append(&[further], Until::Durable).is_err());
            assert!(life.storage.append(&[], Until::Durable).is_err());
            assert!(life.storage.compact(Seq::FIRST).is_err());
            assert_eq!(life.storage.room().bytes, 0);
        } else if sim.disk().failed {
            assert!(
                failure != Failure::Io,
                "call {call}: an error of the disk went unnoticed (seed {seed})"
            );
        }
    }
    let failed = sim.disk().failed;
    sim.disk().failing = None;
    let context = |when: &str, reason: String| -> ! {
        panic!("{when}: {reason} (seed {seed}, {failure:?} at call {call})")
    };

    // Power fails then and there.
    let was = asked.lock().unwrap().clone();
    for keep in 0..3 {
        let crashed = sim.disk().crashed(|_| keep == 0 || keep == 1 && rng.chance(500));
        let shown = replay(&mut open(&crashed));
        let shown = shown.unwrap_or_else(|error| context("after a crash", error.to_string()));
        let judged = was.clone().judge(&shown, was.durable);
        judged.unwrap_or_else(|reason| context("after a crash", reason));
    }
    // The process starts anew and sees what the kernel shows, which the disk may not have; then
    // power fails.
    let shown = replay(&mut open(&sim));
    let shown = shown.unwrap_or_else(|error| context("after a restart", error.to_string()));
    let mut asked = was.clone();
    asked.judge(&shown, was.written).unwrap_or_else(|reason| context("after a restart", reason));
    let crashed = sim.disk().crashed(|_| false);
    let shown = replay(&mut open(&crashed));
    let shown = shown.unwrap_or_else(|error| context("after both", error.to_string()));
    let served = asked.durable;
    asked.judge(&shown, served).unwrap_or_else(|reason| context("after both", reason));
    failed
}

#[test]
fn no_failing_call_loses_what_was_acknowledged() {
    let mut runs = 0;
    for seed in 0..6 {
        for failure in [Failure::Io, Failure::Full, Failure::Short] {
            let calls = (1..).take_while(|&call| live(seed, call, failure)).count();
            assert!(calls > 100, "{failure:?}: only {calls} calls");
            runs += calls;
        }
    }
    println!("{runs} failing calls");
}

#[test]
fn full_disk_has_no_room_for_new_work_and_takes_the_rest() {
    let sim = Sim::new();
    let segment = 24 << 10;
    let options = Options { segment_bytes: segment, ..OPTIONS };
    let open = |sim: &Sim| DiskStorage::on(sim.files(), options);
    // For the small one of a start, its spare and another one.
    sim.disk().free_bytes = Some(2 * segment + segment / 2);
    let mut storage = open(&sim);
    replay(&mut storage).unwrap();
    let mut seq = 0;
    let mut append = |storage: &mut dyn Storage, body: &[u8]| {
        seq += 1;
        storage.append(&[Record { seq: Seq(seq), body }], Until::Durable).unwrap();
        seq
    };
    // New work, as long as there is room.
    let mut taken = 0;
    while storage.room().bytes >= 4096 {
        append(&mut storage, b"new work");
        taken += 1;
        assert!(taken < 100, "the disk is full and has room");
    }
    assert_eq!(taken, 5, "there was room for the rest of the first segment and for another one");
    // What ends it needs none: it has the spare.
    let last = (0..3).map(|_| append(&mut storage, b"done")).last().unwrap();
    assert_eq!(storage.room().bytes, 0);
    // What is done is forgotten, and there is room again.
    storage.compact(Seq(last + 1)).unwrap();
    assert!(storage.room().bytes > 0, "segments were removed, and there is no room");
    append(&mut storage, b"new work");
    drop(storage);
    assert_eq!(replay(&mut open(&sim)).unwrap().records, [b"new work"]);
}

#[test]
fn full_disk_can_be_started_on_again_and_again() {
    let sim = Sim::new();
    let options = Options { segment_bytes: 512 << 10, ..OPTIONS };
    let open = || DiskStorage::on(sim.files(), options);
    let mut bodies = Vec::new();
    let append = |storage: &mut DiskStorage, bodies: &mut Vec<Vec<u8>>, until| {
        let seq = Seq(bodies.len() as u64 + 1);
        bodies.push(format!("record {seq}").into_bytes());
        storage.append(&[Record { seq, body: &bodies[bodies.len() - 1] }], until).unwrap();
    };
    let mut storage = open();
    replay(&mut storage).unwrap();
    append(&mut storage, &mut bodies, Until::Durable);
    // Others take all that is left.
    sim.disk().free_bytes = Some(0);
    drop(storage);
    for round in 0..12 {
        let mut storage = open();
        assert_eq!(replay(&mut storage).unwrap().records, bodies, "start {round}");
        if round > 0 {
            assert_eq!(storage.room().bytes, 0, "start {round}");
        }
        // What ends jobs goes on, in every round.
        append(&mut storage, &mut bodies, Until::Durable);
        append(&mut storage, &mut bodies, Until::Written);
        if round % 3 == 0 {
            storage.append(&[], Until::Durable).unwrap();
        }
    }
    let mut storage = open();
    replay(&mut storage).unwrap();
    assert_eq!(storage.room().bytes, 0);
    sim.disk().free_bytes = Some(1 << 20);
    assert!(storage.room().bytes > 0, "there is space and no room");
}

#[test]
fn system_is_asked_for_its_free_space_once_a_segment() {
    let sim = Sim::new();
    let options = Options { segment_bytes: 64 << 10, ..OPTIONS };
    let mut storage = DiskStorage::on(sim.files(), options);
    replay(&mut storage).unwrap();
    let (mut asked, mut appends, mut before) = (0, 0, storage.room().bytes);
    for seq in 1..=60 {
        storage.append(&[Record { seq: Seq(seq), body: b"x" }], Until::Durable).unwrap();
        let calls = sim.disk().calls;
        let room = storage.room().bytes;
        asked += u64::from(sim.disk().calls > calls);
        appends += 1;
        assert!(room < before || asked > 0, "what was appended took no room");
        before = room;
    }
    assert!((1..=10).contains(&asked), "{asked} looks for {appends} appends");
}

#[test]
fn space_that_is_kept_for_others_is_no_room() {
    let sim = Sim::new();
    let options = Options { min_free_bytes: 1 << 20, ..OPTIONS };
    let mut storage = DiskStorage::on(sim.files(), options);
    replay(&mut storage).unwrap();
    sim.disk().free_bytes = Some(1 << 19);
    assert_eq!(storage.room().bytes, 0);
    sim.disk().free_bytes = Some(1 << 21);
    assert!(storage.room().bytes > 1 << 19);
}
