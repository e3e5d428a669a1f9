//! Standard output for streams of data: collected in a buffer, written off the runtime's thread.
//!
//! Whoever reads our output may be slow. While a write waits for them the runtime must go on, or
//! the broker would take this client for dead.

use std::io::{self, IsTerminal, Write};

use crate::exit::{Failure, Result};
use crate::output;
use crate::progress::Progress;

/// Bytes at which a buffer is written without waiting for more: 64 KiB, what a pipe takes at once.
const FULL: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Sink {
    buffer: Vec<u8>,
    /// A person reads it, so it must not steer the terminal, nor tear the progress bar.
    terminal: bool,
    progress: Option<Progress>,
}

impl Sink {
    pub(crate) fn new(progress: Option<Progress>) -> Self {
        let terminal = io::stdout().is_terminal();
        Self { buffer: Vec::with_capacity(2 * FULL), terminal, progress }
    }

    /// Adds bytes that strangers may have written, and a newline.
    pub(crate) fn line(&mut self, bytes: &[u8]) {
        if self.terminal {
            let shown = output::printable(&String::from_utf8_lossy(bytes));
            self.buffer.extend_from_slice(shown.as_bytes());
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.buffer.push(b'\n');
    }

    /// Adds bytes of our own making.
    pub(crate) const fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// For tests that look into [`raw`](Self::raw).
    #[cfg(test)]
    pub(crate) const fn set_plain(&mut self) {
        self.terminal = false;
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Writes what there is.
    pub(crate) async fn flush(&mut self) -> Result {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let progress = self.progress.clone().filter(|_| self.terminal);
        let written = ganger_rt::unblock(move || {
            let write = || {
                let mut out = io::stdout().lock();
                out.write_all(&buffer)?;
                out.flush()
            };
            match progress {
                Some(progress) => progress.suspend(write),
                None => write(),
            }?;
            buffer.clear();
            Ok(buffer)
        });
        self.buffer = written.await.map_err(|e| Failure::io("cannot write the output", &e))?;
        Ok(())
    }
}
