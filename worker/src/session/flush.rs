//! When frames leave: at once while little is under way, together while much is.
//!
//! A write costs several microseconds of the system's time, and of the broker's for reading it, so the
//! frames of many tasks should share one. The task that writes is woken behind those that are ready to
//! run, and so finds in the queue what they have added.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_listener::{Event, listener};
use ganger_rt::Outgoing;

use super::Session;

/// Unanswered calls up to which each leaves at once: with so few, nobody else is about to add more.
const FEW: usize = 2;

/// Frames wait for each other only this soon after a write: 100 µs. Where a handler keeps the runtime
/// to itself for long, what is settled before it leaves before it.
const SOON: Duration = Duration::from_micros(100);

/// The way out of one connection.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) out: Outgoing,
    written: Instant,
}

/// What to do about a frame once the session's lock is released.
#[derive(Debug)]
#[must_use = "the frame may not leave otherwise"]
pub(super) enum Leave {
    /// Write what is queued.
    Now(Outgoing),
    /// Leave it to the task.
    Together,
    /// There is no connection; the frame is kept with its call or is not needed.
    Not,
}

impl Outlet {
    pub(super) fn new(out: Outgoing) -> Self {
        Self { out, written: Instant::now() }
    }

    /// Says how a frame leaves that was just queued, when so many calls are not answered.
    pub(super) fn leave(&mut self, unanswered: usize) -> Leave {
        if unanswered > FEW {
            let now = Instant::now();
            if now.duration_since(self.written) < SOON {
                return Leave::Together;
            }
            self.written = now;
        }
        Leave::Now(self.out.clone())
    }
}

/// Wakes the task that writes.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    asked: AtomicBool,
    event: Event,
}

impl Flusher {
    /// Has frames leave; without the session's lock.
    pub(super) fn carry_out(&self, leave: Leave) {
        match leave {
            // An error here ends the stream, and then the reader finds out.
            Leave::Now(out) => drop(out.flush()),
            Leave::Together => {
                if !self.asked.swap(true, Ordering::AcqRel) {
                    self.event.notify(1);
                }
            }
            Leave::Not => {}
        }
    }
}

impl Session {
    /// Writes for whoever asks, until the connection ends.
    pub(crate) async fn flush_together(&self, out: Outgoing) {
        loop {
            while self.flusher.asked.swap(false, Ordering::AcqRel) {
                {
                    let mut state = self.lock();
                    state.send_gathered();
                    state.send_confirms();
                }
                if out.flush().is_err() {
                    return;
                }
            }
            listener!(self.flusher.event => event);
            if !self.flusher.asked.load(Ordering::Acquire) {
                event.await;
            }
        }
    }
}
