//! A storage in memory whose steps a test holds back, refuses, or watches.

use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ganger_broker::storage::{
    Flush, MemoryStorage, Record, Room, Seq, Storage, StorageError, Until,
};

/// So long that a flush is worth another one beside it.
const SLOW: Duration = Duration::from_millis(5);

/// What stands before or after a step.
type Hook<A, R> = Box<dyn FnMut(A) -> R + Send>;

/// A storage in memory, with a hook at each step.
pub(crate) struct Hooked {
    inner: MemoryStorage,
    replays: Hook<(), ()>,
    appends: Hook<(usize, Until), io::Result<()>>,
    appended: Hook<(usize, Until), ()>,
    room: Hook<(), Room>,
    at_once: bool,
    flushes: Option<FlushHook>,
}

/// Before a flush, which is told its lane.
type FlushHook = Arc<dyn Fn(usize) + Send + Sync>;

/// Of a storage in memory, where there is nothing to do.
struct HookedFlush {
    lane: usize,
    before: FlushHook,
}

impl fmt::Debug for HookedFlush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookedFlush").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl Flush for HookedFlush {
    fn run(&self) -> Result<(), StorageError> {
        (self.before)(self.lane);
        Ok(())
    }

    fn mark(&self) -> u64 {
        0
    }
}

impl Hooked {
    pub(crate) fn new(inner: MemoryStorage) -> Self {
        Self {
            inner,
            replays: Box::new(|()| ()),
            appends: Box::new(|_| Ok(())),
            appended: Box::new(|_| ()),
            room: Box::new(|()| Room::UNLIMITED),
            at_once: false,
            flushes: None,
        }
    }

    /// Before everything is read back.
    pub(crate) fn replays(self, mut hook: impl FnMut() + Send + 'static) -> Self {
        Self { replays: Box::new(move |()| hook()), ..self }
    }

    /// Before so many records are appended, and safe to some degree.
    pub(crate) fn appends(
        self,
        hook: impl FnMut((usize, Until)) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self { appends: Box::new(hook), ..self }
    }

    /// After they were.
    pub(crate) fn appended(self, hook: impl FnMut((usize, Until)) + Send + 'static) -> Self {
        Self { appended: Box::new(hook), ..self }
    }

    /// Says that a small append is quickly done.
    pub(crate) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// Lets others append while it flushes, which it says takes long.
    pub(crate) fn flushes(self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { flushes: Some(Arc::new(hook)), ..self }
    }

    /// How much room it says that it has.
    pub(crate) fn with_room(self, mut room: impl FnMut() -> Room + Send + 'static) -> Self {
        Self { room: Box::new(move |()| room()), ..self }
    }
}

impl Storage for Hooked {
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<Seq, StorageError> {
        (self.replays)(());
        self.inner.replay(visit)
    }

    fn read(
        &mut self,
        wanted: &[Seq],
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.inner.read(wanted, visit)
    }

    fn append(&mut self, records: &[Record<'_>], until: Until) -> Result<(), StorageError> {
        let permit = (self.appends)((records.len(), until));
        let doing = "write the journal".to_owned();
        permit.map_err(|source| StorageError::Io { doing, source })?;
        self.inner.append(records, until)?;
        (self.appended)((records.len(), until));
        Ok(())
    }

    fn append_to_flush(
        &mut self,
        records: &[Record<'_>],
        lane: usize,
    ) -> Result<Option<Box<dyn Flush>>, StorageError> {
        let Some(before) = self.flushes.clone() else {
            self.append(records, Until::Durable)?;
            return Ok(None);
        };
        self.append(records, Until::Written)?;
        Ok(Some(Box::new(HookedFlush { lane, before })))
    }

    fn flush_time(&self) -> Option<Duration> {
        self.flushes.is_some().then_some(SLOW)
    }

    fn appends_at_once(&self) -> bool {
        self.at_once
    }

    fn compact(&mut self, from: Seq) -> Result<(), StorageError> {
        self.inner.compact(from)
    }

    fn room(&mut self) -> Room {
        (self.room)(())
    }
}

/// One that has to be permitted to append records, until the other end is dropped.
pub(crate) fn asking() -> (Hooked, mpsc::Sender<io::Result<()>>) {
    let (permit, permits) = mpsc::channel();
    let ask = move |(records, _)| match records {
        0 => Ok(()),
        _ => permits.recv().unwrap_or(Ok(())),
    };
    (Hooked::new(MemoryStorage::default()).appends(ask), permit)
}

/// One that tells how many records it has appended, and how far.
pub(crate) fn telling() -> (Hooked, mpsc::Receiver<(usize, Until)>) {
    let (told, tells) = mpsc::channel();
    let tell = move |appended| {
        let _ = told.send(appended);
    };
    (Hooked::new(MemoryStorage::default()).appended(tell), tells)
}

/// One whose replay says that it has begun, and goes on when it may.
pub(crate) fn slow() -> (Hooked, async_channel::Receiver<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = async_channel::bounded(1);
    let (permit, go_on) = mpsc::channel();
    let replays = move || {
        begun.send_blocking(()).unwrap();
        go_on.recv().unwrap();
    };
    (Hooked::new(MemoryStorage::default()).replays(replays), has_begun, permit)
}
