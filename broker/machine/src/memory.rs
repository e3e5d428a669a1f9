//! Memory: submitters that can wait are made to before it is full, others are refused when it is.
//!
//! ```text
//!   0 ──────────────── four fifths ──────── memory_bytes_max
//!     all come in          │  those who can wait, wait  │  refused
//! ```
//!
//! Jobs that are running go on in any case, and so do their results.

use crate::machine::Machine;
use crate::output::Output;

/// What waits for memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Payload bytes of the submits that wait, for whatever. They are in memory too.
    pub(crate) parked_bytes: u64,
    /// A submit waits, and memory is what it waits for.
    awaited: bool,
}

impl Machine {
    /// Bytes above which those wait that can.
    const fn waiting_line(&self) -> u64 {
        self.config.memory_bytes_max / 5 * 4
    }

    /// Whether a submit of so many bytes has to wait, if it can.
    pub(crate) const fn is_crowded(&self, more: u64) -> bool {
        let line = self.waiting_line();
        // What is never below the line need not wait for that.
        more <= line && self.bytes - self.memory.parked_bytes > line - more
    }

    /// A submit waits, and memory is what it waits for.
    pub(crate) const fn await_memory(&mut self) {
        self.memory.awaited = true;
    }

    /// Accepts what waited for memory, as far as there is some.
    pub(crate) fn admit_for_memory(&mut self, out: &mut Output) {
        while self.memory.awaited && !self.is_crowded(0) {
            self.memory.awaited = false;
            let before = self.memory.parked_bytes;
            self.admit_all(out);
            self.dispatch(out);
            self.unload_crowded();
            if self.memory.parked_bytes == before {
                return;
            }
        }
    }
}
