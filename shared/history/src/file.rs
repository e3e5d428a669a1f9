//! Histories as text: one event a line, as JSON.

use std::io::{self, BufRead, Write};

use crate::event::Event;

/// Writes a history, line by line. It writes often and little: give it something that buffers.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes to `to`.
    pub const fn new(to: W) -> Self {
        Self { to, line: Vec::new() }
    }

    /// Adds one event.
    ///
    /// # Errors
    /// Those of what it writes to.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event)?;
        self.line.push(b'\n');
        self.to.write_all(&self.line)
    }

    /// What it writes to, after everything was handed on.
    ///
    /// # Errors
    /// Those of what it writes to.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }
}

/// A history that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read on.
    #[error("line {line} cannot be read")]
    Io {
        /// Which line, from 1.
        line: usize,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no event.
    #[error("line {line} is no event: {text}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Reads a history.
///
/// # Errors
/// The first line that is no event; a run that was interrupted may end in one.
pub fn read(from: impl BufRead) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    for (line, text) in (1..).zip(from.lines()) {
        let text = text.map_err(|source| ReadError::Io { line, source })?;
        let event = serde_json::from_str(&text).map_err(|source| {
            let text = text[..text.floor_char_boundary(60)].to_owned();
            ReadError::Line { line, text, source }
        })?;
        events.push(event);
    }
    Ok(events)
}
