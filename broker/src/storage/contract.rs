//! What every [`Storage`] must do, as checks that any implementation can be put through.
//!
//! Not about crashes: what survives the loss of power needs a disk that can lose some.

use super::{Record, Seq, Storage, StorageError, Until};

/// Puts a storage through every check.
///
/// `fresh` makes a place for an empty storage, and returns what opens the storage there, again and
/// again.
///
/// # Panics
///
/// When the storage breaks the contract; the message says where.
pub fn check<S: Storage, Open: FnMut() -> S>(mut fresh: impl FnMut() -> Open) {
    empty_storage_replays_nothing(&mut fresh());
    records_come_back_in_order_and_byte_for_byte(&mut fresh());
    numbers_go_on_after_a_restart(&mut fresh());
    append_of_nothing_adds_no_record(&mut fresh());
    number_out_of_order_is_refused(&mut fresh());
    compaction_forgets_what_is_before_it(&mut fresh());
    positions_go_on_when_all_is_forgotten(&mut fresh());
    compaction_never_goes_back(&mut fresh());
    error_of_the_visitor_ends_the_replay(&mut fresh());
    records_are_read_again_before_and_after_a_restart(&mut fresh());
    two_brokers_never_both_append(&mut fresh());
}

fn records(storage: &mut impl Storage) -> (Vec<(Seq, Vec<u8>)>, Seq) {
    let mut seen = Vec::new();
    let last = storage
        .replay(&mut |record| {
            seen.push((record.seq, record.body.to_vec()));
            Ok(())
        })
        .expect("a storage that was left in order replays");
    (seen, last)
}

fn append(storage: &mut impl Storage, bodies: &[(u64, &[u8])], until: Until) {
    let records: Vec<_> =
        bodies.iter().map(|&(seq, body)| Record { seq: Seq(seq), body }).collect();
    storage.append(&records, until).expect("numbers that follow on are appended");
}

fn empty_storage_replays_nothing<S: Storage>(open: &mut impl FnMut() -> S) {
    assert_eq!(records(&mut open()), (vec![], Seq::START), "an empty storage has records");
}

fn records_come_back_in_order_and_byte_for_byte<S: Storage>(open: &mut impl FnMut() -> S) {
    let long: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let bodies: [(u64, &[u8]); 5] =
        [(1, b"one"), (2, b""), (3, &long), (4, &[0; 4096]), (5, b"five")];
    let mut storage = open();
    records(&mut storage);
    append(&mut storage, &bodies[..2], Until::Written);
    append(&mut storage, &bodies[2..4], Until::Durable);
    append(&mut storage, &bodies[4..], Until::Durable);
    drop(storage);
    let expected = bodies.iter().map(|(seq, body)| (Seq(*seq), body.to_vec())).collect();
    assert!(records(&mut open()) == (expected, Seq(5)), "the records are not what was appended");
}

fn numbers_go_on_after_a_restart<S: Storage>(open: &mut impl FnMut() -> S) {
    for seq in 1..=4 {
        let mut storage = open();
        let (seen, last) = records(&mut storage);
        assert_eq!((seen.len() as u64, last), (seq - 1, Seq(seq - 1)), "a restart lost its place");
        append(&mut storage, &[(seq, b"x")], Until::Durable);
    }
}

fn append_of_nothing_adds_no_record<S: Storage>(open: &mut impl FnMut() -> S) {
    let mut storage = open();
    records(&mut storage);
    append(&mut storage, &[], Until::Durable);
    append(&mut storage, &[(1, b"one")], Until::Written);
    append(&mut storage, &[], Until::Durable);
    drop(storage);
    assert_eq!(records(&mut open()), (vec![(Seq(1), b"one".to_vec())], Seq(1)));
}

fn number_out_of_order_is_refused<S: Storage>(open: &mut impl FnMut() -> S) {
    let mut storage = open();
    records(&mut storage);
    let gap = storage.append(&[Record { seq: Seq(2), body: b"two" }], Until::Durable);
    assert!(gap.is_err(), "position 2 was taken before position 1");
}

fn compaction_forgets_what_is_before_it<S: Storage>(open: &mut impl FnMut() -> S) {
    let mut storage = open();
    records(&mut storage);
    append(&mut storage, &[(1, b"one"), (2, b"two"), (3, b"three")], Until::Written);
    storage.compact(Seq(2)).expect("two records are after it");
    append(&mut storage, &[(4, b"four")], Until::Durable);
    drop(storage);
    let left = [(2, "two"), (3, "three"), (4, "four")]
        .map(|(seq, body)| (Seq(seq), body.as_bytes().to_vec()));
    let mut storage = open();
    assert_eq!(records(&mut storage), (left.to_vec(), Seq(4)));
    storage.compact(Seq(4)).expect("a later one");
    drop(storage);
    assert_eq!(records(&mut open()), (vec![(Seq(4), b"four".to_vec())], Seq(4)));
}

fn positions_go_on_when_all_is_forgotten<S: Storage>(open: &mut impl FnMut() -> S) {
    let mut storage = open();
    records(&mut storage);
    append(&mut storage, &[(1, b"one"), (2, b"two")], Until::Durable);
    storage.compact(Seq(3)).expect("all that there is may be forgotten");
    drop(storage);
    let mut storage = open();
    assert_eq!(records(&mut storage), (vec![], Seq(2)), "what was forgotten is shown");
    append(&mut storage, &[(3, b"three")], Until::Durable);
    drop(storage);
    assert_eq!(records(&mut open()), (vec![(Seq(3), b"three".to_vec())], Seq(3)));
}

fn compaction_never_goes_back<S: Storage>(open: &mut impl FnMut() -> S) {
    let bodies: [(u64, &[u8]); 2] = [(1, b"one"), (2, b"two")];
    let mut storage = open();
    records(&mut storage);
    append(&mut storage, &bodies, Until::Durable);
    assert!(storage.compact(Seq(4)).is_err(), "records that there are not were forgotten");
    drop(storage);
    let mut storage = open();
    records(&mut storage);
    storage.compact(Seq(2)).expect("a record is after it");
    storage.compact(Seq(2)).expect("the same again changes nothing");
    assert!(storage.compact(Seq(1)).is_err(), "a record came back");
}

fn error_of_the_visitor_ends_the_replay<S: Storage>(open: &mut impl FnMut() -> S) {
    let mut storage = open();
    records(&mut storage);
    append(&mut storage, &[(1, b"one"), (2, b"two")], Until::Durable);
    drop(storage);
    let mut seen = 0;
    let replayed = open().replay(&mut |record| {
        seen += 1;
        Err(StorageError::Damaged {
            place: record.seq.to_string(),
            reason: "a test".to_owned(),
            extent: Box::default(),
        })
    });
    assert!(matches!(replayed, Err(StorageError::Damaged { place, .. }) if place == "1"));
    assert_eq!(seen, 1, "the replay went on after an error");
}

fn records_are_read_again_before_and_after_a_restart<S: Storage>(open: &mut impl FnMut() -> S) {
    let body = |seq: u64| seq.to_string().repeat(1_000).into_bytes();
    let wanted = [Seq(3), Seq(4), Seq(7), Seq(19)];
    let check = |storage: &mut S| {
        let mut seen = Vec::new();
        let mut visit = |record: Record<'_>| {
            seen.push((record.seq, record.body.to_vec()));
            Ok(())
        };
        storage.read(&wanted, &mut visit).expect("records that are there can be read");
        assert!(seen == wanted.map(|seq| (seq, body(seq.0))), "other records were read");
        for gone in [Seq(2), Seq(21)] {
            let read = storage.read(&[gone], &mut |_| Ok(()));
            assert!(read.is_err(), "record {gone}, which there is not, was read");
        }
    };
    let mut storage = open();
    records(&mut storage);
    for seq in (1..20).step_by(2) {
        let bodies = [(seq, &body(seq)[..]), (seq + 1, &body(seq + 1)[..])];
        append(&mut storage, &bodies, if seq < 11 { Until::Durable } else { Until::Written });
    }
    storage.compact(Seq(3)).expect("many records are after it");
    check(&mut storage);
    drop(storage);
    let mut storage = open();
    records(&mut storage);
    check(&mut storage);
}

fn two_brokers_never_both_append<S: Storage>(open: &mut impl FnMut() -> S) {
    let mut first = open();
    records(&mut first);
    append(&mut first, &[(1, b"one")], Until::Durable);
    let mut second = open();
    if second.replay(&mut |_| Ok(())).is_ok() {
        let late = first.append(&[Record { seq: Seq(2), body: b"late" }], Until::Durable);
        assert!(matches!(late, Err(StorageError::Fenced)), "the first was not fenced: {late:?}");
        append(&mut second, &[(2, b"two")], Until::Durable);
    } else {
        append(&mut first, &[(2, b"two")], Until::Durable);
        drop(first);
    }
    drop(second);
    let (seen, _) = records(&mut open());
    assert_eq!(seen[1], (Seq(2), b"two".to_vec()));
}
