//! Unix sockets and the files that name them.
//!
//! Not about the bytes: a connected one is a socket like any other.
//!
//! A socket file outlives its process, and nothing in it tells whether somebody listens: that
//! shows only when one connects. So who wants to listen does that first, and replaces the file of
//! whom it finds dead.

use std::fmt;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::sleep;

/// Who may connect: the user that the listening process belongs to, and root.
const MODE: u32 = 0o600;

/// How long a connection that found the listener's queue full rests before it tries again. The
/// system makes a TCP connection wait by itself; here it offers that only to a thread that blocks.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

/// A path that nobody listens on, as far as can be seen.
///
/// Nothing is made there before [`listen`](Self::listen): a bound socket that does not listen
/// cannot be told from a dead one, and whoever else looks would take it away.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    address: SocketAddrUnix,
}

impl Place {
    pub(crate) fn find(path: &Path) -> io::Result<Self> {
        // The file is removed some day, wherever the process then is.
        let path = std::path::absolute(path)?;
        let address = SocketAddrUnix::new(&path)?;
        let place = Self { path, address };
        place.look()?;
        // As making the file will find, but before somebody has done much in vain.
        if let Some(directory) = place.path.parent() {
            rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?;
        }
        Ok(place)
    }

    pub(crate) fn listen(self, backlog: i32) -> io::Result<(SocketFile, OwnedFd)> {
        match self.look()? {
            Found::Nothing => {}
            Found::Dead => fs::remove_file(&self.path)?,
        }
        let socket = socket(SocketFlags::empty())?;
        rustix::net::bind(&socket, &self.address)?;
        // From here on a failure removes the file.
        let file = SocketFile::made_at(self.path)?;
        // The file was made with what the umask leaves, which may be access for all. Nobody gets in
        // by that: the system refuses every connection until the socket listens.
        fs::set_permissions(&file.path, Permissions::from_mode(MODE))?;
        rustix::net::listen(&socket, backlog)?;
        Ok((file, socket))
    }

    fn look(&self) -> io::Result<Found> {
        let path = self.path.display();
        match self.path.symlink_metadata() {
            Ok(file) if file.file_type().is_socket() => {}
            Ok(_) => {
                let text = format!("{path} is no socket");
                return Err(io::Error::new(ErrorKind::AlreadyExists, text));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        }
        match try_connect(&self.address) {
            Err(Errno::CONNREFUSED) => Ok(Found::Dead),
            Err(Errno::NOENT) => Ok(Found::Nothing),
            // Somebody is there, be it with a full queue or with a socket of another type.
            Ok(_) | Err(Errno::AGAIN | Errno::PROTOTYPE) => {
                let text = format!("another process listens on {path}");
                Err(io::Error::new(ErrorKind::AddrInUse, text))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What is at a path that can be listened on.
enum Found {
    Nothing,
    /// The file of a socket that no process has.
    Dead,
}

/// The file of a bound socket, removed when it is dropped.
///
/// To be dropped before the socket: as long as that is open its inode number is not given to
/// another file, so a file with this number is ours and not that of a successor.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn made_at(path: PathBuf) -> io::Result<Self> {
        let id = id(&path.symlink_metadata()?);
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|file| id(&file) == self.id) {
            // What is left behind is replaced by whoever listens here next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// A process at the other end of a unix socket, as it was when it connected or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerProcess {
    /// Its number, for people: by the time one looks, another process may have it. `None` when it
    /// has none here, for this process is in a container and the other one outside.
    pub pid: Option<u32>,
    /// The user that it belonged to.
    pub uid: u32,
}

impl PeerProcess {
    pub(crate) fn of(socket: &OwnedFd) -> io::Result<Self> {
        let seen = getsockopt(socket, PeerCredentials)?;
        let pid = u32::try_from(seen.pid()).ok().filter(|&pid| pid != 0);
        Ok(Self { pid, uid: seen.uid() })
    }
}

impl fmt::Display for PeerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid={pid},uid={}", self.uid),
            None => write!(f, "uid={}", self.uid),
        }
    }
}

pub(crate) async fn connect(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    loop {
        match try_connect(&address) {
            Err(Errno::AGAIN) => sleep(QUEUE_FULL_PAUSE).await,
            done => return Ok(done?),
        }
    }
}

/// Connects or fails at once: to a unix socket no connection is ever in progress.
fn try_connect(address: &SocketAddrUnix) -> rustix::io::Result<OwnedFd> {
    let socket = socket(SocketFlags::NONBLOCK)?;
    rustix::net::connect(&socket, address)?;
    Ok(socket)
}

fn socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}
