//! The key file: made if there is none, and refused or warned of if others can read it.
//!
//! Not what a key is ([`ganger_shared::key`]).

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ganger_shared::key::Key;
use zeroize::Zeroizing;

use crate::folders;

/// Largest key file that is read: room for hundreds of keys and comments.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is missing and cannot be made.
    #[error("cannot make the key file {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no key.
    #[error(
        "{}, line {line}: not a key; expected gk1_ and 64 hex digits",
        path.display()
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
    },
    /// There is no key in it.
    #[error("the key file {} holds no key", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// Others can read it, and other machines can reach the broker.
    #[error("refusing the key file {}: others can read it (mode {mode:03o})", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// No place to look is known.
    #[error("no key file is named, and there is no $HOME to keep one in")]
    NoHome,
    /// The system has no random numbers.
    #[error("the system gives no random numbers for a key")]
    Random(#[from] getrandom::Error),
}

/// What was found in a key file.
#[derive(Debug)]
pub(crate) struct Found {
    /// At least one; the first is the one that clients use.
    pub(crate) keys: Vec<Key>,
    /// The permissions, if others can read the file.
    pub(crate) exposed: Option<u32>,
}

/// Where the key is if nobody says so: `ganger/key` in the user's configuration folder.
pub(crate) fn default_path(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, KeyFileError> {
    folders::config(variable).map(|folder| folder.join("key")).ok_or(KeyFileError::NoHome)
}

/// Reads the keys; `None` if there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Found>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let keys = Key::parse_file(&text).map_err(|line| match line {
        0 => KeyFileError::Empty { path: path.to_owned() },
        line => KeyFileError::Line { path: path.to_owned(), line },
    })?;
    Ok(Some(Found { keys, exposed: (mode & 0o077 != 0).then_some(mode) }))
}

/// What was found in a file with the key of Python programs.
pub(crate) struct FoundAuthKey {
    /// The bytes, without the end of the line.
    pub(crate) secret: Zeroizing<Vec<u8>>,
    /// The permissions, if others can read the file.
    pub(crate) exposed: Option<u32>,
}

/// Reads the key that Python programs have: any bytes.
pub(crate) fn read_authkey(path: &Path) -> Result<FoundAuthKey, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    let mut secret = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut secret).map_err(failed)?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.is_empty() {
        return Err(KeyFileError::Empty { path: path.to_owned() });
    }
    Ok(FoundAuthKey { secret, exposed: (mode & 0o077 != 0).then_some(mode) })
}

/// Makes a file with a fresh key that only its owner can read, and the folders to it.
pub(crate) fn make(path: &Path) -> Result<Key, KeyFileError> {
    let key = Key::generate()?;
    let text =
        format!("# The key of a ganger broker: whoever has it may use it.\n{}\n", key.to_text());
    write_new(path, &text)
        .map_err(|source| KeyFileError::Make { path: path.to_owned(), source })?;
    Ok(key)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Whole or not at all, and never over a key that another broker has just made.
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_key_is_read_back_and_only_the_owner_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/key");
        assert!(read(&path).unwrap().is_none());
        let key = make(&path).unwrap();
        let found = read(&path).unwrap().unwrap();
        assert_eq!((found.keys, found.exposed), (vec![key], None));
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a draft was left");
    }

    #[test]
    fn key_of_another_broker_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let first = make(&path).unwrap();
        assert!(matches!(make(&path), Err(KeyFileError::Make { .. })));
        assert_eq!(read(&path).unwrap().unwrap().keys, [first]);
    }
}
