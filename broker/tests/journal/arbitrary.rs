//! Files of arbitrary bytes, and sound ones with arbitrary changes: no panic, and no more work and
//! memory than the files are long.

use std::sync::Arc;

use ganger_broker::storage::disk::Inspection;
use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, Until};
use proptest::prelude::*;

use crate::life::{OPTIONS, open, replay};
use crate::sim::Sim;

/// Opens it in every way that there is. How much of it is read is bounded by how long it is.
fn look(sim: &Sim) {
    let bytes: usize = sim.contents().values().map(|bytes| bytes.len()).sum();
    let inspection = Inspection::on(sim.files());
    let _ = inspection.stat();
    let _ = inspection.verify();
    let _ = open(&Sim::holding(sim.contents())).replay(&mut |_| Ok(()));
    let read = usize::try_from(sim.disk().read_bytes).unwrap();
    assert!(read <= 8 * bytes + (64 << 10), "{read} bytes were read of {bytes}");
    let _ = inspection.salvage(DiskStorage::on(Sim::new().files(), OPTIONS));
}

fn journal() -> Sim {
    let sim = Sim::new();
    let mut storage = open(&sim);
    replay(&mut storage).unwrap();
    for seq in 1..=12 {
        let body = vec![7; usize::try_from(seq).unwrap() * 900 % 7_000];
        storage.append(&[Record { seq: Seq(seq), body: &body }], Until::Durable).unwrap();
    }
    sim
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let header = proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20_000),
        // What looks like a header at first sight.
        header.prop_map(|rest| [b"GJF1\x01\0\0\0".as_slice(), &rest, &[1; 9_000]].concat()),
        (0_usize..40_000).prop_map(|len| vec![0; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_files_are_refused_or_read(
        format in bytes(),
        segments in proptest::collection::vec((0_u64..5, bytes()), 0..4),
        spare in proptest::option::of(bytes()),
        whole_format: bool,
    ) {
        let mut contents = journal().contents();
        contents.retain(|name, _| name == "FORMAT" && whole_format);
        if !whole_format {
            contents.insert("FORMAT".to_owned(), Arc::new(format));
        }
        for (number, bytes) in segments {
            contents.insert(format!("seg-{number:010}"), Arc::new(bytes));
        }
        if let Some(spare) = spare {
            contents.insert("spare".to_owned(), Arc::new(spare));
        }
        look(&Sim::holding(contents));
    }

    #[test]
    fn arbitrary_changes_are_refused_or_harmless(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 1_usize..600), 1..12),
    ) {
        let sim = journal();
        let names: Vec<String> = sim.contents().into_keys().collect();
        for (name, at, byte, len) in changes {
            let name = name.get(&names);
            sim.damage(name, |bytes| {
                let at = at.index(bytes.len());
                let end = (at + len).min(bytes.len());
                bytes[at..end].fill(byte);
            });
        }
        look(&sim);
        if let Ok(shown) = replay(&mut open(&sim)) {
            for (index, record) in shown.records.iter().enumerate() {
                prop_assert_eq!(record.len(), (index + 1) * 900 % 7_000);
                prop_assert!(record.iter().all(|&byte| byte == 7));
            }
        }
    }
}
