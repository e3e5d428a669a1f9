//! What the journal's threads do with records, and a start with all of them: `Bodies` and
//! `Writer::replay` in `broker/src/journal/writer.rs`.

use std::sync::Arc;

use ganger_broker::storage::disk::files::Directory;
use ganger_broker::storage::disk::{Fill, Options};
use ganger_broker::storage::{self, DiskStorage, Event, Record, Seq, Storage as _, Until};
use ganger_machine::{Machine, Replay};
use ganger_shared::codec;

use crate::driver::{self, NOW};

/// Of a name without chance in it, below the folder that it is called in.
const FOLDER: &str = "journal";

/// Records that wait for one append, as while many clients have something. One alone costs a block
/// of the disk, whose tag is most of what there is to count, whatever the code does.
const GROUP: usize = 64;

/// A journal on the disk.
pub(crate) struct Journal {
    storage: DiskStorage,
    last: Seq,
    /// The bodies of a group's records, end to end, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<(Seq, usize)>,
}

fn storage() -> DiskStorage {
    // Without a thread of its own, and whatever else is on the disk. All that is appended fits into
    // the first segment.
    let options = Options { min_free_bytes: 0, fill: Fill::AtOnce, ..Options::default() };
    DiskStorage::on(Arc::new(Directory::new(FOLDER)), options)
}

impl Journal {
    pub(crate) fn create() -> Self {
        let mut storage = storage();
        let last = storage.replay(&mut |_| Ok(())).expect("a new journal can be made");
        assert_eq!(last, Seq::START, "there is a journal already");
        Self { storage, last, bytes: Vec::new(), ends: Vec::new() }
    }

    /// Encodes `records` and appends them, some at a time.
    pub(crate) fn append(&mut self, records: Vec<Vec<Event>>) {
        for events in records {
            self.last = self.last.next();
            codec::append(&events, &mut self.bytes);
            self.ends.push((self.last, self.bytes.len()));
            if self.ends.len() == GROUP {
                self.write();
            }
        }
        self.write();
    }

    fn write(&mut self) {
        let mut start = 0;
        let record = |(seq, end)| {
            let body = &self.bytes[start..end];
            start = end;
            Record { seq, body }
        };
        let records: Vec<_> = self.ends.drain(..).map(record).collect();
        self.storage.append(&records, Until::Written).expect("the disk takes it");
        self.bytes.clear();
    }

    /// As at the end of a broker: everything is durable, and the log says so.
    pub(crate) fn close(mut self) {
        self.storage.append(&[], Until::Durable).expect("the disk takes it");
    }
}

/// A start with the journal that is there.
pub(crate) fn recover() -> Machine {
    let mut replay = Replay::new(driver::config(), NOW);
    let shown = storage().replay(&mut |record| {
        let events = storage::events(&record)?;
        events.into_iter().for_each(|event| replay.take(record.seq, event));
        Ok(())
    });
    shown.expect("the journal is sound");
    replay.finish()
}
