//! The outgoing side of one connection: frames leave together and nobody waits for the socket.
//!
//! Not a queue of messages: it holds bytes and does not know where a frame begins.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use event_listener::{Event, listener};
use ganger_shared::kept::Kept;

use crate::Stream;

/// How long [`Outgoing::flush`] leaves a full socket to the drain task before it tries again by
/// itself. Long enough that frames gather into large writes, short enough that a heartbeat from
/// its own thread leaves although the thread that drains is held up.
const LEFT_TO_DRAIN: Duration = Duration::from_millis(10);

/// The outgoing bytes of one connection; clones share them.
///
/// Anyone appends whole frames and flushes. A flush writes at once and without waiting when
/// nothing is stuck before it; what the socket does not take is written by the connection's
/// writer task, [`drain`](Self::drain). So a frame costs no task switch while the socket has room,
/// and frames that come while it is full leave in one write.
///
/// ```text
///              append, flush           flush: the socket is full
///   [ clear ] ───────────────▶ written ──────────────────────────▶ [ blocked ]
///       ▲                                                               │ drain
///       └───────────────────────────────────────────────────────────────┘ wrote all
///   close, or an error of the socket: [ ended ], bytes dropped, everybody woken
/// ```
///
/// The limit is watched, not enforced, for only the owner of the connection knows what to refuse:
/// ask [`over_limit`](Self::over_limit) before producing, or wait in [`below`](Self::below).
///
/// ```
/// use ganger_rt::{Outgoing, Stream};
///
/// ganger_rt::block_on(async {
///     let (stream, other) = Stream::pipe(1024);
///     let outgoing = Outgoing::new(stream, 1 << 20);
///     outgoing.append(|bytes| bytes.extend_from_slice(b"one "));
///     outgoing.append(|bytes| bytes.extend_from_slice(b"two"));
///     outgoing.flush()?;
///     let mut buf = [0; 16];
///     let n = other.read(&mut buf).await?;
///     assert_eq!(&buf[..n], b"one two");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Outgoing {
    shared: Arc<Shared>,
}

struct Shared {
    stream: Stream,
    limit_bytes: usize,
    /// Held for a write, which never waits, so that bytes of two threads cannot mix; never across
    /// an await.
    queue: Mutex<Queue>,
    /// There is something for `drain` to look at: the socket was full, or it is over.
    work: Event,
    /// The queue has become shorter, or it is over.
    room: Event,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    written: usize,
    kept: Kept,
    /// Set while the socket has left bytes behind: when it last took some, or first refused.
    blocked_since: Option<Instant>,
    ended: Option<End>,
}

#[derive(Clone, Copy)]
enum End {
    Closed,
    Failed(ErrorKind),
}

impl Outgoing {
    /// Starts with an empty queue; `limit_bytes` is what [`over_limit`](Self::over_limit)
    /// compares with.
    pub fn new(stream: Stream, limit_bytes: usize) -> Self {
        let shared = Shared {
            stream,
            limit_bytes,
            queue: Mutex::default(),
            work: Event::new(),
            room: Event::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lets `write` add whole frames to the end of the queue, and returns the bytes then queued.
    ///
    /// Nothing is sent before [`flush`](Self::flush). `write` must only append, and be short: it
    /// holds the queue. After the end it is not called, and the answer is 0.
    ///
    /// # Panics
    ///
    /// When `write` does. The next call of anything here then ends the connection, for a torn frame
    /// may not be sent.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut queue = self.lock();
        if queue.ended.is_none() {
            write(&mut queue.bytes);
        }
        queue.queued()
    }

    /// Writes what is queued, as far as the socket takes it at once; never waits, so any thread
    /// may call it.
    ///
    /// What is left goes to [`drain`](Self::drain).
    ///
    /// # Errors
    ///
    /// `BrokenPipe` after [`close`](Self::close), otherwise what ended the connection. Every later
    /// call fails in the same way. A full socket is no error.
    pub fn flush(&self) -> io::Result<()> {
        let mut queue = self.lock();
        queue.check()?;
        if queue.queued() == 0 {
            return Ok(());
        }
        if let Some(since) = queue.blocked_since
            && since.elapsed() < LEFT_TO_DRAIN
        {
            return Ok(());
        }
        match self.shared.stream.try_write(queue.rest()) {
            Ok(n) => {
                let was_blocked = queue.blocked_since.is_some();
                queue.advance(n);
                let blocked = queue.blocked_since.is_some();
                drop(queue);
                self.shared.room.notify(usize::MAX);
                if blocked && !was_blocked {
                    self.shared.work.notify(usize::MAX);
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if queue.blocked_since.is_none() {
                    queue.blocked_since = Some(Instant::now());
                    drop(queue);
                    self.shared.work.notify(usize::MAX);
                }
                Ok(())
            }
            Err(error) => Err(self.fail(queue, error)),
        }
    }

    /// Writes what [`flush`](Self::flush) had to leave, until the connection ends: the body of its
    /// writer task.
    ///
    /// One task at a time should run it.
    ///
    /// # Errors
    ///
    /// What ended the connection; `Ok` after [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost; another call goes on at the same byte.
    pub async fn drain(&self) -> io::Result<()> {
        loop {
            listener!(self.shared.work => work);
            let writing = poll_fn(|cx| self.poll_drain(cx));
            let woken = async {
                work.await;
                None
            };
            if let Some(ended) = futures_lite::future::or(writing, woken).await {
                return ended;
            }
        }
    }

    /// Writes until nothing is left behind; ready only at the end of the connection.
    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        loop {
            let mut queue = self.lock();
            match queue.ended {
                Some(End::Closed) => return Poll::Ready(Some(Ok(()))),
                Some(End::Failed(kind)) => return Poll::Ready(Some(Err(kind.into()))),
                None => {}
            }
            if queue.blocked_since.is_none() {
                return Poll::Pending;
            }
            match self.shared.stream.poll_write(cx, queue.rest()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) => {
                    queue.advance(n);
                    drop(queue);
                    self.shared.room.notify(usize::MAX);
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Err(self.fail(queue, error))));
                }
            }
        }
    }

    /// The bytes that are waiting to be written.
    pub fn queued(&self) -> usize {
        self.lock().queued()
    }

    /// Says whether more bytes are waiting than the limit allows.
    pub fn over_limit(&self) -> bool {
        self.queued() > self.shared.limit_bytes
    }

    /// How long the socket has taken none of the bytes it left behind; `None` while it keeps up.
    pub fn stalled_for(&self) -> Option<Duration> {
        self.lock().blocked_since.map(|since| since.elapsed())
    }

    /// Waits until fewer than `bytes` are queued, or the connection has ended.
    ///
    /// `below(1)` before [`close`](Self::close) sends everything first. It needs somebody who runs
    /// [`drain`](Self::drain), and flushed frames.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn below(&self, bytes: usize) {
        // `below(0)` could never be true of a queue that is merely empty.
        let bytes = bytes.max(1);
        while self.queued() >= bytes {
            listener!(self.shared.room => room);
            if self.queued() >= bytes {
                room.await;
            }
        }
    }

    /// Ends the connection: what is still queued is dropped, everybody who waits is woken.
    pub fn close(&self) {
        let queue = self.lock();
        self.end(queue, End::Closed);
    }

    /// Says whether the connection has ended on this side, by [`close`](Self::close) or by an
    /// error.
    pub fn is_closed(&self) -> bool {
        self.lock().ended.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(|poisoned| {
            // Only the function given to `append` can panic under the lock. It may have left half
            // a frame, so this connection is over; the others are not.
            self.shared.queue.clear_poison();
            let queue = poisoned.into_inner();
            self.end(queue, End::Failed(ErrorKind::InvalidData));
            self.lock()
        })
    }

    fn fail(&self, queue: MutexGuard<'_, Queue>, error: io::Error) -> io::Error {
        self.end(queue, End::Failed(error.kind()));
        error
    }

    /// The first reason stands.
    fn end(&self, mut queue: MutexGuard<'_, Queue>, end: End) {
        if queue.ended.is_none() {
            *queue = Queue { ended: Some(end), ..Queue::default() };
        }
        drop(queue);
        self.shared.stream.close();
        self.shared.work.notify(usize::MAX);
        self.shared.room.notify(usize::MAX);
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("peer", &self.shared.stream.peer())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Queue {
    fn queued(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn check(&self) -> io::Result<()> {
        match self.ended {
            None => Ok(()),
            Some(End::Closed) => Err(ErrorKind::BrokenPipe.into()),
            Some(End::Failed(kind)) => Err(kind.into()),
        }
    }

    /// Forgets the `n` bytes that the socket took.
    fn advance(&mut self, n: usize) {
        self.written += n;
        if self.written == self.bytes.len() {
            self.kept.clear(&mut self.bytes);
            self.written = 0;
            self.blocked_since = None;
            return;
        }
        self.blocked_since = Some(Instant::now());
        // A queue that is never empty must not keep all it ever wrote. Moving the rest only when it
        // is the smaller part makes it at most one copy of every byte.
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }
}
