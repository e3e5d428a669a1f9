//! A directory in memory that loses nothing and counts what is read.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ganger_broker::storage::disk::files::{File, Files, Lock};

use super::image::Image;

/// The directory; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    names: Arc<Mutex<BTreeMap<String, Arc<Open>>>>,
    count: Arc<Mutex<Count>>,
}

#[derive(Debug, Default)]
struct Count {
    read_bytes: usize,
    written_bytes: usize,
}

#[derive(Debug)]
struct Open {
    bytes: Mutex<Vec<u8>>,
    count: Arc<Mutex<Count>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}

impl Disk {
    pub(super) fn holding(image: &Image) -> Self {
        let disk = Self::default();
        for (name, bytes) in &image.files {
            let open = Open { bytes: Mutex::new(bytes.clone()), count: Arc::clone(&disk.count) };
            held(&disk.names).insert(name.clone(), Arc::new(open));
        }
        disk
    }

    pub(super) fn files(&self) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }

    /// Bytes that were read so far.
    pub(super) fn read_bytes(&self) -> usize {
        held(&self.count).read_bytes
    }

    /// Bytes that were written so far.
    pub(super) fn written_bytes(&self) -> usize {
        held(&self.count).written_bytes
    }

    fn named(&self, name: &str) -> io::Result<Arc<Open>> {
        held(&self.names).get(name).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Files for Disk {
    fn lock(&self, _name: &str, _holder: &str) -> io::Result<Lock> {
        Ok(Lock::Taken(Box::new(())))
    }

    fn holder(&self, _name: &str) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(held(&self.names).keys().cloned().collect())
    }

    fn make(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let open = Arc::new(Open { bytes: Mutex::default(), count: Arc::clone(&self.count) });
        let before = held(&self.names).insert(name.to_owned(), Arc::clone(&open));
        assert!(before.is_none(), "{name} is made and there is one");
        Ok(open)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.named(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = held(&self.names);
        let file = names.remove(from).ok_or(ErrorKind::NotFound)?;
        names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = held(&self.names).remove(name);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()> {
        held(&self.named(name)?.bytes).truncate(size(size_bytes)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn place(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl File for Open {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(held(&self.bytes).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = held(&self.bytes);
        let from = size(offset)?.min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        held(&self.count).read_bytes += count;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut file = held(&self.bytes);
        let from = size(offset)?;
        if file.len() < from + bytes.len() {
            file.resize(from + bytes.len(), 0);
        }
        file[from..from + bytes.len()].copy_from_slice(bytes);
        held(&self.count).written_bytes += bytes.len();
        Ok(bytes.len())
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        let size = size(size_bytes)?;
        let mut file = held(&self.bytes);
        assert!(size <= 1 << 28, "{size} bytes are allocated");
        if file.len() < size {
            file.resize(size, 0);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
