//! Why a broker does not start, and why one ends by itself.

use std::io;
use std::path::PathBuf;

use ganger_shared::{Durability, Name, Rejection};

use crate::key_file::KeyFileError;
use crate::storage::{Extent, StorageError};

/// Why a broker did not start. Nothing is left behind but, at most, a key file.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Other machines could reach a broker that nobody has a key for.
    #[error(
        "refusing to listen on {address} without a key: other machines can reach it, and there is \
         no key file {}",
        path.display()
    )]
    NoKey {
        /// As configured.
        address: String,
        /// Where the key was looked for.
        path: PathBuf,
    },
    /// The default durability cannot be kept.
    #[error("durability {durability} is not available: {reason}")]
    Durability {
        /// As configured.
        durability: Durability,
        /// Why not.
        reason: String,
    },
    /// There must be a journal, and no place for it is known.
    #[error("no folder is named for the journal, and there is no $HOME to keep one in")]
    NoFolder,
    /// The machine refuses a configured queue.
    #[error("the configuration of queue {queue} is refused")]
    Queue {
        /// Which.
        queue: Name,
        /// Why.
        #[source]
        rejection: Rejection,
    },
    /// The machine refuses an object that is to exist from the start.
    #[error("object {object} cannot be registered")]
    Object {
        /// Which.
        object: Name,
        /// Why.
        #[source]
        rejection: Rejection,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Settings(String),
    /// The storage cannot be read.
    #[error("cannot read the journal back")]
    Storage(#[from] StorageError),
    /// The system refuses a thread.
    #[error("cannot start a journal thread")]
    Thread(#[source] io::Error),
    /// The system has no random numbers, so no secrets can be made.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// What the daemon exits with where it is no 1, by the names of sysexits(3).
mod exit {
    pub(super) const FAILED: u8 = 1;
    /// EX_DATAERR: the journal is damaged.
    pub(super) const DAMAGED: u8 = 65;
    /// EX_CANTCREAT: there can be no journal in that folder.
    pub(super) const CANNOT_MAKE: u8 = 73;
    /// EX_IOERR: the disk refuses.
    pub(super) const IO: u8 = 74;
    /// EX_TEMPFAIL: somebody else has the journal; later it may be free.
    pub(super) const IN_USE: u8 = 75;
    /// EX_CONFIG: that folder is none for this program.
    pub(super) const CONFIGURED: u8 = 78;
}

impl StorageError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Damaged { .. } => exit::DAMAGED,
            Self::InUse { .. } | Self::Fenced => exit::IN_USE,
            Self::Unsupported { .. } | Self::Untrusted { .. } => exit::CONFIGURED,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::NotADirectory => exit::CANNOT_MAKE,
                _ => exit::IO,
            },
        }
    }

    /// Which part of the journal is damaged, if that is what it is.
    const fn extent(&self) -> Option<&Extent> {
        match self {
            Self::Damaged { extent, .. } => Some(extent),
            Self::InUse { .. }
            | Self::Fenced
            | Self::Unsupported { .. }
            | Self::Untrusted { .. }
            | Self::Io { .. } => None,
        }
    }
}

impl StartError {
    /// What the daemon exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Storage(error) => error.exit_code(),
            Self::Listen { .. }
            | Self::Key(_)
            | Self::NoKey { .. }
            | Self::Durability { .. }
            | Self::NoFolder
            | Self::Queue { .. }
            | Self::Object { .. }
            | Self::Settings(_)
            | Self::Thread(_)
            | Self::Random(_) => exit::FAILED,
        }
    }

    /// Which part of the journal is damaged, if that is why.
    pub(crate) fn extent(&self) -> Option<&Extent> {
        match self {
            Self::Storage(error) => error.extent(),
            _ => None,
        }
    }

    /// What a person at the command line can try, where there is something.
    pub(crate) fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "stop the process that listens there, or choose another port with --listen"
                }
                io::ErrorKind::InvalidInput => "write the address as 127.0.0.1:7117",
                io::ErrorKind::PermissionDenied => "choose a port from 1024 on with --listen",
                _ => "choose another address with --listen",
            },
            Self::Key(KeyFileError::Exposed { path, .. }) => {
                return Some(format!("chmod 600 {}", path.display()));
            }
            Self::Key(KeyFileError::Empty { .. }) => "remove the file, and the broker makes one",
            Self::Key(
                KeyFileError::Read { .. } | KeyFileError::Make { .. } | KeyFileError::NoHome,
            ) => "name another file with --key-file",
            Self::NoKey { .. } => {
                "start the broker once on 127.0.0.1, which makes one, or name another file with \
                 --key-file"
            }
            Self::Durability { .. } | Self::NoFolder => {
                "--data DIR, which keeps a journal there, or --durability memory, which keeps jobs \
                 until the broker ends"
            }
            Self::Storage(StorageError::InUse { .. }) => {
                "stop the other broker, or name another folder with --data"
            }
            Self::Storage(StorageError::Untrusted { .. }) => {
                "name a folder on a disk of this machine with --data, or say any_filesystem = true \
                 under [journal] in the configuration to take the risk"
            }
            Self::Storage(StorageError::Unsupported { .. }) => {
                "start the newer version that has made it, or name another folder with --data"
            }
            Self::Storage(StorageError::Damaged { .. }) => {
                "keep a copy of the folder before anything else: the broker has changed nothing"
            }
            Self::Object { rejection: Rejection::WrongType { .. }, .. } => {
                "register it under another name, or take it out of the configuration, start, and \
                 remove what has its name with ganger object rm"
            }
            Self::Object { .. } => {
                "ganger object types shows what there is, what it is made with, and its methods"
            }
            Self::Key(KeyFileError::Line { .. } | KeyFileError::Random(_))
            | Self::Queue { .. }
            | Self::Settings(_)
            | Self::Storage(StorageError::Fenced | StorageError::Io { .. })
            | Self::Thread(_)
            | Self::Random(_) => return None,
        };
        Some(advice.to_owned())
    }
}

/// Why a running broker has ended by itself. It has answered nobody since.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The journal cannot be written. What was acknowledged before is safe.
    #[error("the journal cannot be written")]
    Storage(#[source] StorageError),
    /// A bug: the machine or the storage panicked, and what the broker holds is of no more use.
    #[error("the broker has panicked; the message is above this one")]
    Panicked,
}

impl BrokerError {
    /// What the daemon exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            // It was written before, so nothing is wrong with where it is.
            Self::Storage(StorageError::Io { .. }) => exit::IO,
            Self::Storage(error) => error.exit_code(),
            Self::Panicked => exit::FAILED,
        }
    }
}
