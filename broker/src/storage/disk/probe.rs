//! What is known of a disk before a journal trusts it: its file system, and how long a flush takes.
//!
//! Not whether it keeps what it flushed: nothing but the loss of power shows that. But a disk that
//! answers faster than any disk can is worth a word.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::storage::StorageError;

use super::files::Files;
use super::frame::BLOCK_BYTES;
use super::{Accept, failed};

/// The file that is written and removed.
const NAME: &str = "probe";

/// Flushes: enough for a median, and some milliseconds on a disk that a journal should be on.
const FLUSHES: usize = 32;

/// No device with a promise to keep is faster: the fastest take 20 µs, over PCIe, with a capacitor
/// for their memory.
const TOO_FAST: Duration = Duration::from_micros(15);

/// What keeps the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Nothing is known against it.
    Local,
    /// In memory: gone with the power. Its name.
    Volatile(&'static str),
    /// Over a network, whose locks may keep nobody out and whose flushes may promise nothing. Its
    /// name.
    Network(&'static str),
    /// A program's own (FUSE), which may be anything.
    Program,
}

impl FileSystem {
    /// What Linux calls this number; `statfs(2)` and `linux/magic.h` have them all.
    pub(super) const fn of_magic(magic: u32) -> Self {
        match magic {
            0x0102_1994 => Self::Volatile("tmpfs"),
            0x8584_58f6 => Self::Volatile("ramfs"),
            0x0000_6969 => Self::Network("nfs"),
            0x0000_517b | 0xfe53_4d42 | 0xff53_4d42 => Self::Network("smb"),
            0x0102_1997 => Self::Network("9p"),
            0x786f_4256 => Self::Network("vboxsf"),
            0x6573_5546 => Self::Program,
            _ => Self::Local,
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Volatile(name) | Self::Network(name) => name,
            Self::Program => "fuse",
        })
    }
}

/// Refuses file systems that cannot keep what a journal promises, unless any is accepted.
pub(super) fn check_file_system(files: &dyn Files, accept: Accept) -> Result<(), StorageError> {
    let place = files.place("");
    let kind = files.file_system();
    let kind =
        kind.map_err(|error| failed(format!("look at the file system of {place}"), error))?;
    let reason = match kind {
        FileSystem::Local => return Ok(()),
        FileSystem::Program => {
            log::warn!(
                directory = place;
                "a program keeps this file system (FUSE): does it keep what it has flushed?"
            );
            return Ok(());
        }
        FileSystem::Volatile(_) => "which is memory: all of it is gone with the power",
        FileSystem::Network(_) => "whose locks and flushes cannot be trusted",
    };
    match accept {
        Accept::Trusted => {
            Err(StorageError::Untrusted { place, reason: format!("{kind}, {reason}") })
        }
        Accept::Any => {
            log::warn!(directory = place, file_system:% = kind; "accepted as configured, {reason}");
            Ok(())
        }
    }
}

/// Writes a block and flushes it, again and again; returns the median of the times.
pub(super) fn flush_time(files: &dyn Files) -> Result<Duration, StorageError> {
    let place = files.place(NAME);
    let median = measure(files).map_err(|error| failed(format!("write {place}"), error))?;
    let p50_us = u64::try_from(median.as_micros()).unwrap_or(u64::MAX);
    if median < TOO_FAST {
        log::warn!(directory = files.place(""), p50_us; "this disk may report flushes it has not done");
    }
    Ok(median)
}

fn measure(files: &dyn Files) -> io::Result<Duration> {
    // What an interrupted start has left.
    if files.names()?.iter().any(|name| name == NAME) {
        files.remove(NAME)?;
    }
    let file = files.make(NAME)?;
    // As in a journal: blocks that are there, so that a flush is of data and not of lengths.
    file.write_all_at(&[0; FLUSHES * BLOCK_BYTES], 0)?;
    file.sync()?;
    let mut times = [Duration::ZERO; FLUSHES];
    for (at, time) in (0..).step_by(BLOCK_BYTES).zip(&mut times) {
        let begun = Instant::now();
        file.write_all_at(&[1; BLOCK_BYTES], at)?;
        file.sync()?;
        *time = begun.elapsed();
    }
    drop(file);
    files.remove(NAME)?;
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}

#[cfg(test)]
mod tests {
    use super::super::files::Directory;
    use super::*;

    #[test]
    fn probe_measures_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a directory for the test");
        std::fs::write(folder.path().join(NAME), "left by a start that was killed").unwrap();
        let files = Directory::new(folder.path());
        assert!(flush_time(&files).unwrap() > Duration::ZERO);
        assert_eq!(files.names().unwrap(), [""; 0]);
    }

    #[test]
    fn file_systems_have_their_names() {
        assert_eq!(FileSystem::of_magic(0xef53), FileSystem::Local);
        assert_eq!(FileSystem::of_magic(0x0102_1994), FileSystem::Volatile("tmpfs"));
        assert_eq!(FileSystem::of_magic(0xff53_4d42).to_string(), "smb");
        let shm = std::path::Path::new("/dev/shm");
        if shm.is_dir() {
            // Also of a folder that is yet to be made.
            let of_missing = Directory::new(shm.join("no/such/folder")).file_system().unwrap();
            assert_eq!(Directory::new(shm).file_system().unwrap(), of_missing);
        }
    }
}
