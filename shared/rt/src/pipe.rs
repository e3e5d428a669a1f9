//! A connection inside the process, with the manners of a socket.
//!
//! Not a channel of messages: bytes, bounded each way, that end when either side closes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// One end; dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct End {
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
}

/// The bytes of one direction.
#[derive(Debug)]
struct Lane {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At most `capacity` bytes, written and not read.
    bytes: VecDeque<u8>,
    closed: bool,
    /// Like a socket of the reactor, a direction remembers one waiting reader and one waiting
    /// writer; another one takes the place and wakes the first, which then asks again.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends that are each other's peer, with `capacity` bytes between them each way.
pub(crate) fn pair(capacity: usize) -> (End, End) {
    let lane = || Arc::new(Lane { capacity: capacity.max(1), state: Mutex::default() });
    let (there, back) = (lane(), lane());
    (
        End { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) },
        End { incoming: there, outgoing: back },
    )
}

impl End {
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.incoming.lock();
        if state.bytes.is_empty() && !state.closed && !buf.is_empty() {
            let other = state.reader.replace(cx.waker().clone());
            drop(state);
            wake_other(other, cx);
            return Poll::Pending;
        }
        let n = state.bytes.read(buf)?;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Ok(n))
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.outgoing.lock();
        match state.put(self.outgoing.capacity, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let other = state.writer.replace(cx.waker().clone());
                drop(state);
                wake_other(other, cx);
                Poll::Pending
            }
            done => {
                let reader = state.reader.take();
                drop(state);
                wake(reader);
                Poll::Ready(done)
            }
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.outgoing.lock();
        let n = state.put(self.outgoing.capacity, bytes)?;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(n)
    }

    pub(crate) fn close(&self) {
        for lane in [&self.incoming, &self.outgoing] {
            let mut state = lane.lock();
            state.closed = true;
            let waiting = [state.reader.take(), state.writer.take()];
            drop(state);
            waiting.into_iter().for_each(wake);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }
}

impl State {
    fn put(&mut self, capacity: usize, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(capacity - self.bytes.len());
        if n == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.bytes.extend(&bytes[..n]);
        Ok(n)
    }
}

// Wakers are foreign code: they are woken and dropped only after the lock is released, for what
// they own may be the last clone of an end, and dropping that takes the lock.

fn wake(waiting: Option<Waker>) {
    if let Some(waker) = waiting {
        waker.wake();
    }
}

fn wake_other(other: Option<Waker>, cx: &Context<'_>) {
    wake(other.filter(|waker| !waker.will_wake(cx.waker())));
}
