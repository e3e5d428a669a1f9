//! The signals that tell a process to stop or to read its configuration again.
//!
//! Not for any other signal: those keep what the system does with them.

use std::io;

use futures_lite::StreamExt;

/// What the outside world asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: a person at the terminal pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor asks for an orderly end.
    Terminate,
    /// SIGHUP: read the configuration again.
    Hangup,
}

/// The stream of [`Signal`]s.
///
/// While one exists, these signals end nothing by themselves. Of several signals of one kind that
/// arrive before they are read, the system may deliver only one.
#[derive(Debug)]
pub struct Signals {
    signals: async_signal::Signals,
}

impl Signals {
    /// Takes over SIGINT, SIGTERM and SIGHUP.
    ///
    /// # Errors
    ///
    /// When the system refuses the handler or its descriptor.
    pub fn new() -> io::Result<Self> {
        use async_signal::Signal::{Hup, Int, Term};
        Ok(Self { signals: async_signal::Signals::new([Int, Term, Hup])? })
    }

    /// Waits for the next signal.
    ///
    /// A source that fails counts as [`Signal::Terminate`]: a process that nobody can stop in an
    /// orderly way any longer should do so while it can.
    ///
    /// # Cancel safety
    ///
    /// A signal that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Signal {
        use async_signal::Signal::{Hup, Int};
        match self.signals.next().await {
            Some(Ok(Hup)) => Signal::Hangup,
            Some(Ok(Int)) => Signal::Interrupt,
            // SIGTERM, the only other one asked for, or a failed source.
            Some(_) | None => Signal::Terminate,
        }
    }
}
