//! What this package takes from async-std: the one file that names it.
//!
//! Not a place for semantics: those are ours and live in the modules that use these names. To
//! move to another library with the same foundations (smol), change this file.
//!
//! async-std's own executor stays unused on purpose. Its first use (`task::spawn`, `block_on`,
//! `spawn_blocking` and, through it, resolving a host name) starts one thread for each core, and
//! those threads take turns with ours at the reactor: an event they collect costs a thread switch
//! before its task runs. Nothing below starts them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(crate) use async_std::future::timeout;
use async_std::io::{Read, Write};
pub(crate) use async_std::net::{TcpListener, TcpStream};
pub(crate) use async_std::task::{sleep, yield_now};

/// Reads what is there into `buf`, or waits for it.
pub(crate) fn poll_read(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut tcp = tcp;
    Read::poll_read(Pin::new(&mut tcp), cx, buf)
}

/// Writes what fits into the socket, or waits for room.
pub(crate) fn poll_write(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    let mut tcp = tcp;
    Write::poll_write(Pin::new(&mut tcp), cx, bytes)
}
