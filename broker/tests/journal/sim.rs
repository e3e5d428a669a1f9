//! A disk that loses what was not synced, fails when it is told to, and can be damaged.
//!
//! ```text
//!   write ─▶ sector, unsynced ── sync of the file ──▶ sector, safe
//!   make, rename, remove ─▶ entry, unsynced ── sync of the directory ──▶ entry, safe
//! ```
//!
//! After a crash any subset of what was unsynced is there: sectors of all files, new lengths of
//! files, and changes of entries, each wholly or not at all.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ganger_broker::storage::disk::files::{File, Files, Lock};

pub(crate) const SECTOR: usize = 512;

/// What a file holds, by name.
pub(crate) type Contents = BTreeMap<String, Arc<Vec<u8>>>;

/// Called before each change of the disk.
pub(crate) type Watch = Box<dyn FnMut(&Disk) + Send>;

#[derive(Clone)]
pub(crate) struct Sim(Arc<Shared>);

struct Shared {
    disk: Mutex<Disk>,
    watch: Mutex<Option<Watch>>,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Io,
    Full,
    /// A write takes half of its bytes; other calls are interrupted.
    Short,
}

#[derive(Clone, Default)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    /// Calls so far, of any kind.
    pub(crate) calls: u64,
    /// Bytes that were read so far.
    pub(crate) read_bytes: u64,
    /// Which call fails, and how.
    pub(crate) failing: Option<(u64, Failure)>,
    /// Whether it did.
    pub(crate) failed: bool,
    /// Space that is left, if there is a bound.
    pub(crate) free_bytes: Option<u64>,
}

#[derive(Clone, Default)]
struct Node {
    now: Arc<Vec<u8>>,
    safe: Arc<Vec<u8>>,
    /// Sectors written since the last sync, in order.
    dirty: Vec<usize>,
    /// How often a sync failed.
    failures: u64,
}

#[derive(Clone)]
enum Change {
    Make(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// Something that a crash keeps or loses.
#[derive(Clone, Copy)]
enum Item {
    Sector(usize, usize),
    Length(usize),
    Change(usize),
}

impl Disk {
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if node.now.len() != node.safe.len() {
                items.push(Item::Length(id));
            }
            items.extend(node.dirty.iter().map(|&sector| Item::Sector(id, sector)));
        }
        items.extend((0..self.changes.len()).map(Item::Change));
        items
    }

    /// How many things a crash would keep or lose.
    pub(crate) fn unsynced(&self) -> usize {
        self.items().len()
    }

    /// The disk after a crash that keeps those of the unsynced things that `keep` says.
    pub(crate) fn crashed(&self, mut keep: impl FnMut(usize) -> bool) -> Sim {
        let mut nodes: Vec<Arc<Vec<u8>>> =
            self.nodes.iter().map(|node| Arc::clone(&node.safe)).collect();
        let mut names = self.safe_names.clone();
        for (index, item) in self.items().into_iter().enumerate() {
            if !keep(index) {
                continue;
            }
            match item {
                Item::Length(id) => {
                    let bytes = Arc::make_mut(&mut nodes[id]);
                    bytes.resize(self.nodes[id].now.len(), 0);
                }
                Item::Sector(id, sector) => {
                    let now = &self.nodes[id].now;
                    let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(now.len()));
                    let bytes = Arc::make_mut(&mut nodes[id]);
                    if bytes.len() < to {
                        bytes.resize(now.len(), 0);
                    }
                    bytes[from..to].copy_from_slice(&now[from..to]);
                }
                Item::Change(index) => self.changes[index].apply(&mut names),
            }
        }
        let contents = names.into_iter().map(|(name, id)| (name, Arc::clone(&nodes[id])));
        Sim::holding(contents.collect())
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Make(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to, id) => {
                // What has the old name may be an earlier file.
                if names.get(from) == Some(id) {
                    names.remove(from);
                }
                names.insert(to.clone(), *id);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Sim {
    pub(crate) fn new() -> Self {
        Self::holding(Contents::new())
    }

    /// A disk with these files, all safe.
    pub(crate) fn holding(contents: Contents) -> Self {
        let mut disk = Disk::default();
        for (name, bytes) in contents {
            disk.names.insert(name, disk.nodes.len());
            disk.nodes.push(Node { safe: Arc::clone(&bytes), now: bytes, ..Node::default() });
        }
        disk.safe_names = disk.names.clone();
        Self(Arc::new(Shared { disk: Mutex::new(disk), watch: Mutex::new(None) }))
    }

    pub(crate) fn files(&self) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap()
    }

    pub(crate) fn watch(&self, watch: Option<Watch>) {
        *self.0.watch.lock().unwrap() = watch;
    }

    /// What the files hold as a process sees it.
    pub(crate) fn contents(&self) -> Contents {
        let disk = self.disk();
        disk.names
            .iter()
            .map(|(name, &id)| (name.clone(), Arc::clone(&disk.nodes[id].now)))
            .collect()
    }

    /// Changes a file behind the journal's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let id = disk.names[name];
        change(Arc::make_mut(&mut disk.nodes[id].now));
    }

    /// Counts a call that changes nothing.
    fn look(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk();
        match disk.count() {
            Some(Failure::Short) => Ok(disk),
            Some(failure) => Err(failure.error()),
            None => Ok(disk),
        }
    }

    /// Counts a call that changes the disk, unless it fails.
    fn change(&self) -> io::Result<(MutexGuard<'_, Disk>, Option<Failure>)> {
        if let Some(watch) = &mut *self.0.watch.lock().unwrap() {
            watch(&self.disk());
        }
        let mut disk = self.disk();
        let failure = disk.count();
        Ok((disk, failure))
    }
}

impl Disk {
    fn count(&mut self) -> Option<Failure> {
        self.calls += 1;
        let (call, failure) = self.failing?;
        (call == self.calls).then(|| {
            self.failed = true;
            failure
        })
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::from_raw_os_error(5),
            Self::Full => ErrorKind::StorageFull.into(),
            Self::Short => ErrorKind::Interrupted.into(),
        }
    }
}

/// Fails a call that does not know interruptions.
fn fail(failure: Option<Failure>) -> io::Result<()> {
    match failure {
        None | Some(Failure::Short) => Ok(()),
        Some(failure) => Err(failure.error()),
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sim")
    }
}

impl Files for Sim {
    fn lock(&self, _name: &str, _holder: &str) -> io::Result<Lock> {
        let _disk = self.look()?;
        Ok(Lock::Taken(Box::new(())))
    }

    fn holder(&self, _name: &str) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.look()?.names.keys().cloned().collect())
    }

    fn make(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let (mut disk, failure) = self.change()?;
        fail(failure)?;
        if disk.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = disk.nodes.len();
        disk.nodes.push(Node::default());
        disk.names.insert(name.to_owned(), id);
        disk.changes.push(Change::Make(name.to_owned(), id));
        Ok(Open::new(self, &disk, id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.look()?;
        let id = *disk.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Open::new(self, &disk, id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut disk, failure) = self.change()?;
        fail(failure)?;
        let id = disk.names.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), id);
        disk.changes.push(Change::Rename(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut disk, failure) = self.change()?;
        fail(failure)?;
        let id = disk.names.remove(name).ok_or(ErrorKind::NotFound)?;
        let size = disk.nodes[id].now.len() as u64;
        if let Some(free) = &mut disk.free_bytes {
            *free += size;
        }
        disk.changes.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()> {
        let (mut disk, failure) = self.change()?;
        fail(failure)?;
        let id = *disk.names.get(name).ok_or(ErrorKind::NotFound)?;
        let size = usize::try_from(size_bytes).unwrap();
        let node = &mut disk.nodes[id];
        let cut = (node.now.len() - size) as u64;
        Arc::make_mut(&mut node.now).truncate(size);
        Arc::make_mut(&mut node.safe).truncate(size);
        node.dirty.retain(|sector| sector * SECTOR < size);
        if let Some(free) = &mut disk.free_bytes {
            *free += cut;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut disk, failure) = self.change()?;
        fail(failure)?;
        disk.safe_names = disk.names.clone();
        disk.changes.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.look()?.free_bytes.unwrap_or(1 << 40))
    }

    fn place(&self, name: &str) -> String {
        name.to_owned()
    }
}

struct Open {
    sim: Sim,
    id: usize,
    /// Of how many failed syncs this one knows. Linux tells each that has a file open of each failure,
    /// once.
    told: AtomicU64,
}

impl Open {
    fn new(sim: &Sim, disk: &Disk, id: usize) -> Arc<Self> {
        Arc::new(Self { sim: sim.clone(), id, told: AtomicU64::new(disk.nodes[id].failures) })
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.id)
    }
}

impl File for Open {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.sim.look()?.nodes[self.id].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.sim.disk();
        match disk.count() {
            Some(Failure::Short) => return Err(Failure::Short.error()),
            failure => fail(failure)?,
        }
        let bytes = &disk.nodes[self.id].now;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        disk.read_bytes += len as u64;
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut disk, failure) = self.sim.change()?;
        fail(failure)?;
        // Of a write that is cut short.
        let len = if failure.is_some() { bytes.len().div_ceil(2) } else { bytes.len() };
        let from = usize::try_from(offset).unwrap();
        let node = &mut disk.nodes[self.id];
        let now = Arc::make_mut(&mut node.now);
        if now.len() < from + len {
            now.resize(from + len, 0);
        }
        now[from..from + len].copy_from_slice(&bytes[..len]);
        for sector in from / SECTOR..(from + len).div_ceil(SECTOR) {
            if !node.dirty.contains(&sector) {
                node.dirty.push(sector);
            }
        }
        Ok(len)
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        let (mut disk, failure) = self.sim.change()?;
        fail(failure)?;
        let size = usize::try_from(size_bytes).unwrap();
        let node = &mut disk.nodes[self.id];
        if node.now.len() < size {
            let more = (size - node.now.len()) as u64;
            if disk.free_bytes.is_some_and(|free| free < more) {
                return Err(ErrorKind::StorageFull.into());
            }
            if let Some(free) = &mut disk.free_bytes {
                *free -= more;
            }
            Arc::make_mut(&mut disk.nodes[self.id].now).resize(size, 0);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut disk, failure) = self.sim.change()?;
        let node = &mut disk.nodes[self.id];
        if failure.is_some_and(|failure| failure != Failure::Short) {
            // As Linux does it: what could not be written is taken for written.
            node.dirty.clear();
            node.failures += 1;
            self.told.store(node.failures, Ordering::Relaxed);
            return fail(failure);
        }
        if self.told.swap(node.failures, Ordering::Relaxed) < node.failures {
            return fail(Some(Failure::Io));
        }
        if node.safe.len() != node.now.len() {
            Arc::make_mut(&mut node.safe).resize(node.now.len(), 0);
        }
        let dirty = std::mem::take(&mut node.dirty);
        // A sector that an earlier sync failed to write is not written by this one.
        for sector in dirty {
            let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(node.now.len()));
            let (now, safe) = (&node.now, Arc::make_mut(&mut node.safe));
            safe[from..to].copy_from_slice(&now[from..to]);
        }
        Ok(())
    }
}
