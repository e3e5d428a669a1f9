//! The file system, as little of it as the journal needs.
//!
//! Two traits, so that a test can be a disk that loses what was not synced, and that fails when it
//! is told to. Nothing here knows what is in a file.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

pub use super::probe::FileSystem;

/// Text of a lock file that is read, at most: a process id.
const HOLDER_BYTES_MAX: u64 = 64;

/// One flat directory.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// Makes the directory where there is none, and takes the lock file in it, whose text becomes
    /// `holder`.
    ///
    /// # Errors
    ///
    /// What the system says; that somebody else has the lock is no error.
    fn lock(&self, name: &str, holder: &str) -> io::Result<Lock>;

    /// The text of the lock file, if somebody has it.
    ///
    /// # Errors
    ///
    /// What the system says; a directory or a file that is missing is nobody's.
    fn holder(&self, name: &str) -> io::Result<Option<String>>;

    /// Names of all files.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes a file, open to read and write.
    ///
    /// # Errors
    ///
    /// What the system says; `AlreadyExists` where there is one.
    fn make(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file to read.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, which no file or one to be replaced has.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Cuts a file short, durably.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()>;

    /// Makes durable which files there are and what they are called.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// What keeps the directory, or would keep it where it is yet to be made.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn file_system(&self) -> io::Result<FileSystem> {
        Ok(FileSystem::Local)
    }

    /// Bytes that can still be allocated.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn free_bytes(&self) -> io::Result<u64>;

    /// What to call a file, or the directory for an empty name, when talking to a person.
    fn place(&self, name: &str) -> String;
}

/// What became of a try to lock.
#[derive(Debug)]
pub enum Lock {
    /// It is held until this is dropped.
    Taken(Box<dyn Held>),
    /// Somebody has it: the text of the lock file.
    HeldBy(String),
}

/// Something that is held until it is dropped.
pub trait Held: fmt::Debug + Send {}

impl<T: fmt::Debug + Send> Held for T {}

/// An open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Its length.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Reads some bytes; none only at the end of the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of the bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the file at least so long, with space of its own; what is added reads as zeros.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn allocate(&self, size_bytes: u64) -> io::Result<()>;

    /// Makes durable what is in the file, and its length.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Lets the system forget what it holds of the file in memory, where it can, so that what is
    /// read next is what the disk has.
    fn uncache(&self) {}

    /// Fills the whole buffer.
    ///
    /// # Errors
    ///
    /// What the system says, and `UnexpectedEof`.
    fn read_all_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all the bytes.
    ///
    /// # Errors
    ///
    /// What the system says, and `WriteZero`.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A directory of the system.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Files for Directory {
    fn lock(&self, name: &str, holder: &str) -> io::Result<Lock> {
        if !self.0.try_exists()? {
            fs::create_dir_all(&self.0)?;
            if let Some(parent) = self.0.canonicalize()?.parent() {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        let path = self.0.join(name);
        let mut file =
            fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(holder.as_bytes())?;
                Ok(Lock::Taken(Box::new(file)))
            }
            Err(fs::TryLockError::WouldBlock) => Ok(Lock::HeldBy(holder_in(&mut file)?)),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn holder(&self, name: &str) -> io::Result<Option<String>> {
        let mut file = match fs::File::open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(fs::TryLockError::WouldBlock) => holder_in(&mut file).map(Some),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn make(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let path = self.0.join(name);
        let file = fs::File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(fs::File::open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn truncate(&self, name: &str, size_bytes: u64) -> io::Result<()> {
        let file = fs::File::options().write(true).open(self.0.join(name))?;
        file.set_len(size_bytes)?;
        file.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.0)?.sync_all()
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        let path = std::path::absolute(&self.0)?;
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
        let magic = rustix::fs::statfs(there)?.f_type & 0xffff_ffff;
        Ok(u32::try_from(magic).map_or(FileSystem::Local, FileSystem::of_magic))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.0)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn place(&self, name: &str) -> String {
        if name.is_empty() {
            self.0.display().to_string()
        } else {
            self.0.join(name).display().to_string()
        }
    }
}

fn holder_in(file: &mut fs::File) -> io::Result<String> {
    let mut text = Vec::new();
    file.take(HOLDER_BYTES_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    // Between taking the lock and writing the text.
    Ok(if text.is_empty() { "unknown".to_owned() } else { text.into_owned() })
}

impl File for fs::File {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, size_bytes) {
            // Some file systems have no such thing. The zeros that are written will need the space.
            Err(rustix::io::Errno::OPNOTSUPP) => self.set_len(size_bytes),
            done => Ok(done?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn uncache(&self) {
        // Only a hint: a system without it reads from its memory.
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed);
    }
}
