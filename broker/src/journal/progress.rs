//! What the journal's threads tell the engine.

use std::sync::{Mutex, MutexGuard};

use event_listener::{Event as Notice, listener};

use ganger_shared::{Block, JobRange};

use crate::error::BrokerError;
use crate::storage::Seq;

/// How far the journal has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Up to here the end of the process loses nothing.
    pub(crate) written: Seq,
    /// Up to here the loss of power loses nothing.
    pub(crate) durable: Seq,
}

impl Reached {
    /// Takes in what was heard, of which something else may have been heard before that is further.
    pub(crate) fn advance(&mut self, heard: Self) {
        self.written = self.written.max(heard.written);
        self.durable = self.durable.max(heard.durable);
    }
}

/// How much new work the storage takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// For new work, in bytes.
    pub(crate) bytes: u64,
    /// What the machine had taken of it when it made the last record that is in the storage.
    pub(crate) taken: u64,
}

/// The log is long: the engine may state everything anew, or else decline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Long {
    /// Bytes of the log.
    pub(crate) bytes: u64,
    /// Bytes that a restatement may have.
    pub(crate) room: u64,
}

/// What the thread has to say since the last time that it was asked.
#[derive(Debug)]
pub(crate) struct Report {
    /// Counts the reports, from 1.
    pub(crate) number: u64,
    pub(crate) reached: Reached,
    pub(crate) room: Room,
    pub(crate) long: Option<Long>,
    /// Payloads that were asked for, one for each of the jobs.
    pub(crate) loaded: Vec<(JobRange, Block)>,
}

/// What the thread tells the engine.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Notice,
}

#[derive(Debug)]
struct State {
    report: Report,
    declined: bool,
    error: Option<BrokerError>,
}

impl Default for Progress {
    fn default() -> Self {
        let room = Room { bytes: 0, taken: 0 };
        let (reached, loaded) = (Reached::default(), Vec::new());
        let report = Report { number: 0, reached, room, long: None, loaded };
        Self {
            state: Mutex::new(State { report, declined: false, error: None }),
            changed: Notice::new(),
        }
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the progress")
    }

    /// The latest report. An error, a log that is long, and payloads are told once.
    pub(crate) fn take(&self) -> Result<Report, BrokerError> {
        let mut state = self.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let Report { number, reached, room, long, loaded } = &mut state.report;
        let (long, loaded) = (long.take(), std::mem::take(loaded));
        Ok(Report { number: *number, reached: *reached, room: *room, long, loaded })
    }

    /// The engine does not state everything anew now.
    pub(crate) fn decline(&self) {
        self.lock().declined = true;
    }

    /// Whether the engine has declined since the last call.
    pub(super) fn take_declined(&self) -> bool {
        std::mem::take(&mut self.lock().declined)
    }

    /// How far the journal has come, whatever has happened to it.
    pub(crate) fn seen(&self) -> Reached {
        self.lock().report.reached
    }

    /// Waits until there is a report after the one of this number.
    pub(crate) async fn beyond(&self, number: u64) {
        let news = |state: &State| state.report.number != number || state.error.is_some();
        while !news(&self.lock()) {
            listener!(self.changed => changed);
            if !news(&self.lock()) {
                changed.await;
            }
        }
    }

    pub(super) fn report(&self, reached: Reached, room: Room, long: Option<Long>) {
        let mut state = self.lock();
        let report = &mut state.report;
        report.number += 1;
        (report.reached, report.room) = (reached, room);
        report.long = long.or(report.long);
        drop(state);
        self.changed.notify(usize::MAX);
    }

    pub(super) fn loaded(&self, payloads: Vec<(JobRange, Block)>) {
        let mut state = self.lock();
        state.report.number += 1;
        state.report.loaded.extend(payloads);
        drop(state);
        self.changed.notify(usize::MAX);
    }

    pub(super) fn fail(&self, error: BrokerError) {
        self.lock().error.get_or_insert(error);
        self.changed.notify(usize::MAX);
    }
}
