//! Connections and where they come from.
//!
//! Not about frames or about who may connect: bytes in, bytes out.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::base::{self, TcpListener, UnixListener};
use crate::reactor::Socket;
use crate::unix::{self, PeerProcess, SocketFile};
use crate::{pipe, timeout, unblock};

/// Connections that the system may hold ready for [`Listener::accept`]: after a restart of the
/// broker all its workers and clients come back at once. The system cuts it to
/// `net.core.somaxconn`, whose default is the same number.
const BACKLOG: i32 = 4096;

/// A socket that accepts connections: TCP, or a unix socket.
#[derive(Debug)]
pub struct Listener {
    socket: Listening,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    /// In the order in which they are to be dropped.
    Unix {
        _file: SocketFile,
        socket: UnixListener,
    },
}

impl Listener {
    /// Listens on `address`: a `SocketAddr` or the text `host:port`; port 0 takes any free one.
    ///
    /// A restarted process can take the port of its predecessor at once (SO_REUSEADDR). Of several
    /// addresses of a host name the first that works is taken.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there, `InvalidInput` when the text has no port, and what
    /// the system says about looking up the name or opening the socket.
    pub async fn bind(address: impl fmt::Display) -> io::Result<Self> {
        Self::reserve(address).await?.listen()
    }

    /// Takes an address to listen on later: it is found out whether somebody listens there, and whoever connects is
    /// refused until [`Reserved::listen`]. For what has to be done before the first client.
    ///
    /// # Errors
    ///
    /// As for [`bind`](Self::bind).
    pub async fn reserve(address: impl fmt::Display) -> io::Result<Reserved> {
        let address = address.to_string();
        let mut last = None;
        for candidate in resolve(&address).await? {
            match reserve(candidate) {
                Ok(socket) => return Ok(Reserved { place: Place::Tcp(socket) }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| no_address(&address)))
    }

    /// Listens on a unix socket whose file is at `path`, for processes of this user and of root.
    ///
    /// The file has the permissions 0600, whatever the umask is, and is removed when the listener
    /// is dropped. One that a dead process left is replaced.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there, `AlreadyExists` when there is a file that is no
    /// socket, which is left alone, and what the system says about the path otherwise. A path has
    /// at most 108 bytes, counted from the root.
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::reserve_unix(path)?.listen()
    }

    /// Finds out whether `path` can be listened on later; whoever connects is refused, or finds no
    /// file, until [`Reserved::listen`]. As [`reserve`](Self::reserve), it keeps nobody else from
    /// listening there first.
    ///
    /// # Errors
    ///
    /// As for [`bind_unix`](Self::bind_unix).
    pub fn reserve_unix(path: impl AsRef<Path>) -> io::Result<Reserved> {
        Ok(Reserved { place: Place::Unix(unix::Place::find(path.as_ref())?) })
    }

    /// The address that is listened on, with the port that was chosen.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a unix socket: nothing was chosen there, its path is the one that was
    /// given. What the system says otherwise; nothing is known for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Listening::Tcp(socket) => socket.local_addr(),
            Listening::Unix { .. } => Err(io::Error::new(
                ErrorKind::Unsupported,
                "a unix socket has a path instead of an address",
            )),
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// What the system says. The listener stays usable: after "too many open files" wait a little
    /// before the next call, or it fails again at once. Connections that were gone before they
    /// could be accepted are skipped.
    ///
    /// # Cancel safety
    ///
    /// A connection that was not returned is returned by the next call.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        loop {
            match self.accept_one().await {
                Ok(stream) => {
                    let peer = stream.peer();
                    return Ok((stream, peer));
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn accept_one(&self) -> io::Result<Stream> {
        match &self.socket {
            Listening::Tcp(socket) => {
                let (tcp, peer) = base::accept(socket).await?;
                Stream::tcp(tcp, peer)
            }
            Listening::Unix { socket, .. } => Stream::unix(base::accept_unix(socket).await?.into()),
        }
    }
}

/// An address that is taken and not listened on: [`Listener::reserve`],
/// [`Listener::reserve_unix`].
#[derive(Debug)]
pub struct Reserved {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Tcp(OwnedFd),
    Unix(unix::Place),
}

impl Reserved {
    /// Listens there.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when another process has reserved the address too and listened first. Only of
    /// two that replace the same dead socket file in the same instant both may believe to have it,
    /// and the second has: who must be the only one holds a lock on something else.
    pub fn listen(self) -> io::Result<Listener> {
        let socket = match self.place {
            Place::Tcp(socket) => {
                rustix::net::listen(&socket, BACKLOG)?;
                Listening::Tcp(std::net::TcpListener::from(socket).into())
            }
            Place::Unix(place) => {
                let (file, socket) = place.listen(BACKLOG)?;
                let socket = std::os::unix::net::UnixListener::from(socket).into();
                Listening::Unix { _file: file, socket }
            }
        };
        Ok(Listener { socket })
    }
}

/// Who is at the other end of a [`Stream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A process at this address.
    Tcp(SocketAddr),
    /// This process of the same machine, through a unix socket.
    Unix(PeerProcess),
    /// The same process, through [`Stream::pipe`].
    Pipe,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(process) => write!(f, "unix({process})"),
            Self::Pipe => f.write_str("pipe"),
        }
    }
}

/// A connection: TCP, a unix socket, or a pipe inside the process with the same manners.
///
/// Clones share it; it is closed when the last one is dropped or by [`close`](Self::close). One
/// task may read while another one writes. Two tasks that wait in the same direction at once stay
/// correct but keep waking each other.
#[derive(Clone, Debug)]
pub struct Stream {
    wire: Wire,
    /// Kept, for the system forgets it when the connection ends.
    peer: Peer,
}

#[derive(Clone, Debug)]
enum Wire {
    Socket(Arc<Socket>),
    Pipe(Arc<pipe::End>),
}

impl Stream {
    /// Connects to `address` (`host:port`), looking up the name and trying its addresses in turn,
    /// all of it `within` that time.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` when nobody listens there, `TimedOut` when the time was over first,
    /// `InvalidInput` when the text has no port, and what the system says otherwise.
    ///
    /// # Cancel safety
    ///
    /// A dropped attempt leaves no connection behind.
    pub async fn connect(address: &str, within: Duration) -> io::Result<Self> {
        in_time(connect(address), address, within).await
    }

    /// Connects to the unix socket whose file is at `path`, `within` that time.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no file, `ConnectionRefused` when nobody listens there,
    /// `PermissionDenied` when it is another user's, `TimedOut` when as many connections as the
    /// listener allows were waiting for it all the time, and what the system says otherwise.
    ///
    /// # Cancel safety
    ///
    /// A dropped attempt leaves no connection behind.
    pub async fn connect_unix(path: impl AsRef<Path>, within: Duration) -> io::Result<Self> {
        let path = path.as_ref();
        let connecting = async { Self::unix(unix::connect(path).await?) };
        in_time(connecting, path.display(), within).await
    }

    /// Two ends of a connection inside the process, with room for `capacity` bytes (at least one)
    /// each way.
    ///
    /// Bytes written before an end was closed can still be read from the other one.
    ///
    /// ```
    /// ganger_rt::block_on(async {
    ///     let (one, other) = ganger_rt::Stream::pipe(4);
    ///     assert_eq!(one.try_write(b"hello")?, 4);
    ///     drop(one);
    ///     let mut buf = [0; 8];
    ///     assert_eq!(other.read(&mut buf).await?, 4);
    ///     assert_eq!(other.read(&mut buf).await?, 0);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pipe(capacity: usize) -> (Self, Self) {
        let (one, other) = pipe::pair(capacity);
        let stream = |end| Self { wire: Wire::Pipe(Arc::new(end)), peer: Peer::Pipe };
        (stream(one), stream(other))
    }

    fn tcp(tcp: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        // Frames are batched by us and must not wait for an acknowledgement of the ones before.
        // The only reason to fail is a connection that is already gone, which reading will say.
        let _ = tcp.set_nodelay(true);
        Self::socket(tcp.into(), Peer::Tcp(peer))
    }

    fn unix(unix: OwnedFd) -> io::Result<Self> {
        let peer = Peer::Unix(PeerProcess::of(&unix)?);
        Self::socket(unix, peer)
    }

    fn socket(fd: OwnedFd, peer: Peer) -> io::Result<Self> {
        Ok(Self { wire: Wire::Socket(Arc::new(Socket::new(fd)?)), peer })
    }

    /// Reads what is there, at least one byte, waiting for it; 0 means the end.
    ///
    /// # Errors
    ///
    /// What the system says of the connection, such as `ConnectionReset`.
    ///
    /// # Cancel safety
    ///
    /// A dropped read took nothing.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| match &self.wire {
            Wire::Socket(socket) => socket.poll_read(cx, buf),
            Wire::Pipe(end) => end.poll_read(cx, buf),
        })
        .await
    }

    /// Has the system acknowledge at once what comes next, and what has come; for [`read`](Self::read)
    /// on connections whose peer we did not write.
    ///
    /// A peer that leaves Nagle's algorithm on and writes a message in two parts, a header of four
    /// bytes and the body, sends the body only when the header is acknowledged (or when it has a
    /// full segment of it). The system puts acknowledgements off, for an answer may take them
    /// along, and there is none to half a message: so each message takes 40 ms. Our own peers write
    /// frames whole and switch Nagle's algorithm off.
    ///
    /// The system goes back to putting off as soon as bytes go out (`TCP_QUICKACK` in tcp(7)), so
    /// this is to be called before each read amid a message. A whole one is acknowledged by its answer:
    /// there it would cost a system call and a packet. Without effect on what is not TCP, and on a
    /// connection that is over.
    pub fn quick_ack(&self) {
        if let (Wire::Socket(socket), Peer::Tcp(_)) = (&self.wire, self.peer) {
            // It fails only on a connection that is already gone, which reading will say.
            let _ = socket.quick_ack();
        }
    }

    /// Writes what fits at once and says how much that was; never waits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits, `BrokenPipe` when an end is closed, and what the system
    /// says otherwise.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.wire {
            Wire::Socket(socket) => socket.try_write(bytes),
            Wire::Pipe(end) => end.try_write(bytes),
        }
    }

    /// Writes what fits, at least one byte, waiting for room.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when an end is closed, and what the system says otherwise.
    ///
    /// # Cancel safety
    ///
    /// A dropped write wrote nothing.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, bytes)).await
    }

    /// Writes all bytes, waiting for room.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not safe: a dropped call may have written a part. [`Outgoing`](crate::Outgoing) writes
    /// frames whole.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = self.write(rest).await?;
            rest = &rest[n..];
        }
        Ok(())
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &self.wire {
            Wire::Socket(socket) => socket.poll_write(cx, bytes),
            Wire::Pipe(end) => end.poll_write(cx, bytes),
        }
    }

    /// Ends the connection in both directions and wakes whoever waits at either end.
    ///
    /// The other end can still read what was written before, unless it had itself sent something
    /// that was never read here: TCP then resets the connection. Closing twice does nothing.
    pub fn close(&self) {
        match &self.wire {
            Wire::Socket(socket) => {
                // It fails only when the peer was faster.
                let _ = socket.shutdown();
            }
            Wire::Pipe(end) => end.close(),
        }
    }

    /// Who is at the other end; known also after the connection has ended.
    pub fn peer(&self) -> Peer {
        self.peer
    }
}

async fn in_time(
    connecting: impl Future<Output = io::Result<Stream>>,
    to: impl fmt::Display,
    within: Duration,
) -> io::Result<Stream> {
    timeout(within, connecting).await.unwrap_or_else(|_| {
        let text = format!("no connection to {to} within {within:?}");
        Err(io::Error::new(ErrorKind::TimedOut, text))
    })
}

async fn connect(address: &str) -> io::Result<Stream> {
    let mut last = None;
    for candidate in resolve(address).await? {
        match base::connect(candidate).await.and_then(|tcp| Stream::tcp(tcp, candidate)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| no_address(address)))
}

/// The addresses of `host:port`; only a name goes to the blocking pool.
async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let name = address.to_owned();
    unblock(move || Ok(name.to_socket_addrs()?.collect())).await
}

fn no_address(name: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{name} has no address"))
}

/// What `TcpListener::bind` does, except that its backlog is 128.
fn reserve(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}
