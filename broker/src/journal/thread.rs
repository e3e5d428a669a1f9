//! The journal's thread: takes what waits, has it written, and syncs what is volatile.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use async_channel::{Receiver, RecvError, Sender};

use super::progress::Progress;
use super::writer::Writer;
use super::{Entry, Replay, Replayed};
use crate::error::BrokerError;
use crate::storage::{Seq, StorageError, Until};

/// Events in one message of a replay.
const REPLAY_BATCH: usize = 256;

/// The thread's own.
pub(super) struct Keeper {
    pub(super) writer: Arc<Mutex<Writer>>,
    pub(super) entries: Receiver<Entry>,
    /// Taken from the entries, and has its turn after what is being written.
    pub(super) held: Option<Entry>,
    pub(super) progress: Arc<Progress>,
}

impl Keeper {
    pub(super) fn run(mut self, starter: &Sender<Replay>) {
        let replayed = self.replay(starter);
        let is_sound = replayed.is_ok();
        // If nobody listens any more, the broker was given up while it started.
        let listened = starter.send_blocking(Replay::All(replayed)).is_ok();
        starter.close();
        if is_sound
            && listened
            && let Err(error) = self.write()
        {
            self.progress.fail(BrokerError::Storage(error));
        }
    }

    fn replay(&self, starter: &Sender<Replay>) -> Result<(Seq, Replayed), StorageError> {
        let mut batch = Vec::new();
        let send = |batch: &mut Vec<_>| {
            // A starter that is gone is noticed at the end of the replay.
            let _ = starter.send_blocking(Replay::Events(std::mem::take(batch)));
        };
        let replayed = self.writer().replay(|seq, events| {
            batch.extend(events.into_iter().map(|event| (seq, event)));
            if batch.len() >= REPLAY_BATCH {
                send(&mut batch);
            }
        });
        send(&mut batch);
        replayed
    }

    /// Writes until the engine has dropped its end, and then what is left.
    fn write(&mut self) -> Result<(), StorageError> {
        loop {
            let due = self.writer().due();
            let Some(first) = self.next(due) else { break };
            let writer = Arc::clone(&self.writer);
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut until, mut forget) = match first {
                Next::Entry(Entry::Load(loads)) => {
                    writer.load(loads)?;
                    continue;
                }
                Next::Entry(Entry::Look) => continue,
                Next::Entry(entry) => writer.push(entry)?,
                // The engine has written meanwhile: something else is due.
                Next::Due if writer.due() != due => continue,
                Next::Due => (Until::Durable, None),
            };
            while forget.is_none() && !writer.is_full() {
                let Ok(entry) = self.entries.try_recv() else { break };
                if entry.looks_back() {
                    self.held = Some(entry);
                    break;
                }
                let pushed = writer.push(entry)?;
                (until, forget) = (until.max(pushed.0), pushed.1);
            }
            writer.append(until, forget)?;
        }
        self.writer().finish()
    }

    /// What comes first: an entry, or the time at which something is due.
    fn next(&mut self, due: Option<Instant>) -> Option<Next> {
        if let Some(entry) = self.held.take() {
            return Some(Next::Entry(entry));
        }
        let Some(due) = due else {
            return self.entries.recv_blocking().ok().map(Next::Entry);
        };
        match receive_until(&self.entries, due) {
            Some(received) => received.ok().map(Next::Entry),
            None => Some(Next::Due),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Whoever panics with it is this thread, or the engine, and neither goes on.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    /// Whatever ended the thread, nobody must wait for it.
    fn drop(&mut self) {
        self.entries.close();
        if thread::panicking() {
            self.progress.fail(BrokerError::Panicked);
        }
    }
}

enum Next {
    Entry(Entry),
    Due,
}

/// Waits for an entry, at most until `due`. Blocks this thread and nothing else: a timer of the
/// runtime would cost every append a message to its reactor.
fn receive_until(entries: &Receiver<Entry>, due: Instant) -> Option<Result<Entry, RecvError>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut received = pin!(entries.recv());
    loop {
        let polled = received.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(received) = polled {
            return Some(received);
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
