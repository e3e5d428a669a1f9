//! The runtime of Ganger: a facade of about fifteen names over async-std, with our semantics.
//!
//! Not a general runtime: it offers what Ganger uses and nothing else. Only the private module
//! `base` names async-std, so that the library below can be exchanged in one file.
//!
//! Three rules hold everywhere:
//!
//! - **The caller's thread is the runtime.** A task that was [`spawn`]ed runs on a thread that is
//!   inside [`block_on`], and that thread collects the events of all streams, also for whoever
//!   awaits one in another executor: without such a thread nothing moves, and
//!   [`drive_in_background`] makes one. A program with one such thread runs all its tasks there,
//!   one at a time.
//! - **Tasks are owned.** Dropping a [`Task`] stops it; whoever wants otherwise says
//!   [`detach`](Task::detach).
//! - **What says `try` or `flush` never waits**, and may be called from any thread.
//!
//! ```
//! use std::time::Duration;
//!
//! let echoed = ganger_rt::block_on(async {
//!     let listener = ganger_rt::Listener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?.to_string();
//!     let server = ganger_rt::spawn(async move {
//!         let (stream, _) = listener.accept().await?;
//!         let mut buf = [0; 16];
//!         let n = stream.read(&mut buf).await?;
//!         stream.write_all(&buf[..n]).await
//!     });
//!     let stream = ganger_rt::Stream::connect(&address, Duration::from_secs(5)).await?;
//!     stream.try_write(b"hello")?;
//!     let mut buf = [0; 16];
//!     let n = stream.read(&mut buf).await?;
//!     server.await?;
//!     Ok::<_, std::io::Error>(buf[..n].to_vec())
//! })?;
//! assert_eq!(echoed, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

mod base;
mod block;
mod net;
mod outgoing;
mod pipe;
mod reactor;
mod signals;
mod tasks;
mod time;
mod unix;

pub use block::block_on;
pub use net::{Listener, Peer, Reserved, Stream};
pub use outgoing::Outgoing;
pub use signals::{Signal, Signals};
pub use tasks::{Task, drive_in_background, spawn, thread, unblock, yield_now};
pub use time::{TimedOut, sleep, sleep_until, timeout};
pub use unix::PeerProcess;
