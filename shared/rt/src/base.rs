//! What this package takes from async-std: the one file that names it.
//!
//! Not a place for semantics: those are ours and live in the modules that use these names. To
//! move to another library with the same foundations (smol), change this file.
//!
//! async-std's own executor stays unused on purpose. Its first use (`task::spawn`, `block_on`,
//! `spawn_blocking` and, through it, resolving a host name) starts one thread for each core, and
//! those threads are in the way of ours. Nothing below starts them. Nor does async-std keep a
//! connection once it is made: reading and writing wait in `reactor`.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

pub(crate) use async_std::future::timeout;
pub(crate) use async_std::net::TcpListener;
use async_std::net::TcpStream;
pub(crate) use async_std::os::unix::net::UnixListener;
pub(crate) use async_std::task::{sleep, yield_now};

/// Waits for the next connection, which is then ours alone.
pub(crate) async fn accept(
    listener: &TcpListener,
) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (tcp, peer) = listener.accept().await?;
    Ok((tcp.try_into()?, peer))
}

/// The same for a unix socket, whose peers have no address.
pub(crate) async fn accept_unix(listener: &UnixListener) -> io::Result<UnixStream> {
    let (unix, _) = listener.accept().await?;
    unix.try_into()
}

/// Connects to `address`, and the connection is then ours alone.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<std::net::TcpStream> {
    TcpStream::connect(address).await?.try_into()
}
