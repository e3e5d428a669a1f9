//! Ctrl-C while jobs go on: says that they do, and ends the command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_lite::future::block_on;
use ganger_rt::{Signal, Signals, thread};
use ganger_worker::error::exit;

use crate::progress::Progress;

/// What there is to say when the command is interrupted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Jobs that the broker has accepted, or that are waited for.
    pub(crate) accepted: AtomicU64,
    /// Those of them that have ended.
    pub(crate) ended: AtomicU64,
}

impl Tally {
    /// `3 of 10 jobs have ended; the others go on`.
    pub(crate) fn sentence(&self) -> String {
        let accepted = self.accepted.load(Ordering::Relaxed);
        let ended = self.ended.load(Ordering::Relaxed);
        match (accepted, ended) {
            (0, _) => "no job was accepted".to_owned(),
            (1, 0) => "the job goes on".to_owned(),
            (accepted, 0) => format!("{accepted} jobs were accepted and go on"),
            (accepted, ended) if accepted == ended => format!("all {accepted} jobs have ended"),
            (accepted, ended) => {
                format!("{ended} of {accepted} jobs have ended; the others go on")
            }
        }
    }
}

/// From here on Ctrl-C ends the process with a word about its jobs.
///
/// On a thread of its own, so that it works even while output is written to somebody who does not
/// read it.
pub(crate) fn watch(tally: Arc<Tally>, progress: Progress, quiet: bool) {
    // Without it Ctrl-C still ends the process, without a word.
    let Ok(mut signals) = Signals::new() else { return };
    let _ = thread("interrupt", move || {
        let code = match block_on(signals.next()) {
            Signal::Interrupt => i32::from(exit::INTERRUPTED),
            Signal::Terminate => 128 + 15,
            Signal::Hangup => 128 + 1,
        };
        progress.clear();
        if !quiet {
            crate::output::warn(&format!("interrupted: {}", tally.sentence()));
        }
        std::process::exit(code);
    });
}
