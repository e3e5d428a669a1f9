//! The journal's threads: whichever rests takes what waits, has it written, and waits for the disk.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use async_channel::{Receiver, RecvError, Sender};

use super::writer::{Turn, Writer};
use super::{Replay, Replayed};
use crate::error::BrokerError;
use crate::storage::{Seq, StorageError};

/// Events in one message of a replay.
const REPLAY_BATCH: usize = 256;

/// One thread's own.
pub(super) struct Keeper {
    lane: usize,
    writer: Arc<Mutex<Writer>>,
    bell: Receiver<()>,
}

impl Keeper {
    pub(super) fn new(lane: usize, writer: Arc<Mutex<Writer>>, bell: Receiver<()>) -> Self {
        Self { lane, writer, bell }
    }

    /// Shows what the storage has kept, and then goes on like the others.
    pub(super) fn replay(self, starter: &Sender<Replay>) {
        let replayed = self.read_back(starter);
        let is_sound = replayed.is_ok();
        // If nobody listens any more, the broker was given up while it started.
        let listened = starter.send_blocking(Replay::All(replayed)).is_ok();
        starter.close();
        if is_sound && listened {
            self.run();
        }
    }

    fn read_back(&self, starter: &Sender<Replay>) -> Result<(Seq, Replayed), StorageError> {
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
    pub(super) fn run(self) {
        let mut is_open = true;
        while is_open {
            is_open = self.wait();
            loop {
                let turn = self.writer().turn(self.lane);
                match turn {
                    Turn::Flush(number, flush) => {
                        let outcome = flush.run();
                        self.writer().flushed(number, outcome);
                    }
                    Turn::Done => {}
                    Turn::Nothing => break,
                }
            }
        }
        self.writer().finish();
    }

    /// Waits until there may be something to do; `false` if that is for the last time.
    fn wait(&self) -> bool {
        let due = self.writer().due();
        match due {
            None => self.bell.recv_blocking().is_ok(),
            Some(due) => receive_until(&self.bell, due).is_none_or(|rung| rung.is_ok()),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Whoever panics with it is one of these threads, or the engine, and then the broker ends.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    /// Whatever ended the thread, nobody must wait for it.
    fn drop(&mut self) {
        if thread::panicking() {
            self.writer().fail(BrokerError::Panicked);
        }
        self.writer().close();
    }
}

/// Waits for the bell, at most until `due`. Blocks this thread and nothing else: a timer of the
/// runtime would cost every append a message to its reactor.
fn receive_until(bell: &Receiver<()>, due: Instant) -> Option<Result<(), RecvError>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut received = pin!(bell.recv());
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
