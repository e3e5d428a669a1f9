//! Standard input as batches of jobs, read on a thread of its own.
//!
//! Batches form by themselves: one ends where the input pauses. A slow producer's line leaves at
//! once; from a fast one, whole batches are read while earlier ones are under way. The channel and
//! with it the producer waits for whoever submits, so the memory needed is that of a few batches.

use std::io::{self, Read};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use ganger_rt::thread;
use ganger_shared::block::BlockBuilder;
use ganger_shared::{Block, JobOptions};

use crate::ndjson;

/// Bytes asked for in one read: 256 KiB, four times what a pipe holds.
const READ_BYTES: usize = 256 << 10;

/// Payload bytes of a batch: 1 MiB; larger frames are no faster.
const BATCH_BYTES: usize = 1 << 20;

/// Batches that were read and not taken.
const BATCHES_AHEAD: usize = 4;

/// Consecutive lines that become jobs with the same options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The number of the first line, from 1.
    pub(crate) first_line: u64,
    pub(crate) options: Arc<JobOptions>,
    pub(crate) payloads: Block,
}

/// A line that cannot become a job, or an input that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineError {
    /// From 1.
    pub(crate) line: u64,
    pub(crate) text: String,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A payload.
    Text,
    /// A JSON object with a payload and options; blank lines are passed over.
    Ndjson,
}

/// How lines become batches.
#[derive(Clone, Debug)]
pub(crate) struct Batching {
    pub(crate) form: Form,
    /// What jobs ask for unless their line says otherwise.
    pub(crate) options: Arc<JobOptions>,
    /// Lines in a batch, at most.
    pub(crate) count_max: u32,
    /// Bytes in a payload, at most.
    pub(crate) payload_max: usize,
}

/// Starts to read `input`; an error is the last thing that comes.
pub(crate) fn read(
    input: impl Read + Send + 'static,
    batching: Batching,
) -> io::Result<Receiver<Result<Batch, LineError>>> {
    let (sender, receiver) = async_channel::bounded(BATCHES_AHEAD);
    thread("stdin", move || {
        let mut batcher = Batcher::new(batching, sender);
        if let Err(Stop::Error(error)) = batcher.read(input) {
            let _ = batcher.flush();
            let _ = batcher.sender.send_blocking(Err(error));
        }
    })?;
    Ok(receiver)
}

/// Why reading ends early.
enum Stop {
    /// Nobody takes batches any more.
    Gone,
    Error(LineError),
}

struct Batcher {
    batching: Batching,
    sender: Sender<Result<Batch, LineError>>,
    /// The line that is being read, from 1.
    line: u64,
    /// Of the batch that is being filled.
    first_line: u64,
    options: Arc<JobOptions>,
    payloads: BlockBuilder,
}

impl Batcher {
    fn new(batching: Batching, sender: Sender<Result<Batch, LineError>>) -> Self {
        let options = Arc::clone(&batching.options);
        Self { batching, sender, line: 1, first_line: 1, options, payloads: Block::builder() }
    }

    fn read(&mut self, mut input: impl Read) -> Result<(), Stop> {
        // As JSON a payload may be longer, by escapes or base64.
        let line_max = match self.batching.form {
            Form::Text => self.batching.payload_max,
            Form::Ndjson => self.batching.payload_max.saturating_mul(2).saturating_add(64 << 10),
        };
        let mut buffer = vec![0; READ_BYTES];
        // `buffer[..filled]` was read, and has no newline before `searched`.
        let (mut filled, mut searched) = (0, 0);
        loop {
            let n = match input.read(&mut buffer[filled..]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.error(format!("cannot be read: {error}"))),
            };
            filled += n;
            let mut start = 0;
            while let Some(end) = memchr::memchr(b'\n', &buffer[searched..filled]) {
                self.line(&buffer[start..searched + end])?;
                start = searched + end + 1;
                searched = start;
            }
            buffer.copy_within(start..filled, 0);
            filled -= start;
            searched = filled;
            if filled > line_max {
                return Err(self.error(format!("is longer than {line_max} bytes")));
            }
            if n == 0 {
                if filled > 0 {
                    self.line(&buffer[..filled])?;
                }
                return self.flush();
            }
            self.flush()?;
            if filled == buffer.len() {
                buffer.resize(filled * 2, 0);
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        match self.batching.form {
            Form::Text => {
                let options = Arc::clone(&self.batching.options);
                self.job(&options, line)?;
            }
            Form::Ndjson if line.trim_ascii().is_empty() => self.flush()?,
            Form::Ndjson => {
                let job = ndjson::parse(line, &self.batching.options);
                let job = job.map_err(|text| self.error(text))?;
                self.job(&job.options, &job.payload)?;
            }
        }
        self.line += 1;
        Ok(())
    }

    fn job(&mut self, options: &Arc<JobOptions>, payload: &[u8]) -> Result<(), Stop> {
        let max = self.batching.payload_max;
        if payload.len() > max {
            let size = payload.len();
            return Err(self.error(format!("has a payload of {size} bytes; the limit is {max}")));
        }
        let other = !Arc::ptr_eq(options, &self.options) && *options != self.options;
        let full = self.payloads.count() >= self.batching.count_max
            || self.payloads.size_bytes() + payload.len() > BATCH_BYTES;
        if other || full {
            self.flush()?;
        }
        if self.payloads.count() == 0 {
            self.first_line = self.line;
            self.options = Arc::clone(options);
        }
        self.payloads.push(payload);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.payloads.count() == 0 {
            return Ok(());
        }
        let batch = Batch {
            first_line: self.first_line,
            options: Arc::clone(&self.options),
            payloads: self.payloads.finish(),
        };
        self.sender.send_blocking(Ok(batch)).map_err(|_| Stop::Gone)
    }

    fn error(&self, text: String) -> Stop {
        Stop::Error(LineError { line: self.line, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::Name;

    fn batching(form: Form) -> Batching {
        let options = Arc::new(JobOptions::new(Name::new("h").unwrap()));
        Batching { form, options, count_max: 3, payload_max: 1 << 20 }
    }

    /// Gives its pieces one read at a time, as a pipe does.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0).as_bytes();
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    /// Each batch as `first line: payloads`, and the error.
    fn batches(batching: Batching, pieces: &[&'static str]) -> Vec<String> {
        let receiver = read(Pieces(pieces.to_vec()), batching).unwrap();
        std::iter::from_fn(|| receiver.recv_blocking().ok())
            .map(|batch| match batch {
                Ok(batch) => {
                    let text = |s: &[u8]| String::from_utf8(s.to_vec()).unwrap();
                    let payloads: Vec<_> = batch.payloads.slices().map(text).collect();
                    format!("{}: {}", batch.first_line, payloads.join("|"))
                }
                Err(error) => format!("{}! {}", error.line, error.text),
            })
            .collect()
    }

    #[test]
    fn batch_ends_where_the_input_pauses_or_the_batch_is_full() {
        let pieces = ["a\nb\nc\nd\ne", "e\n", "f\n"];
        assert_eq!(batches(batching(Form::Text), &pieces), ["1: a|b|c", "4: d", "5: ee", "6: f"]);
    }

    #[test]
    fn empty_lines_are_jobs_and_the_last_newline_may_be_missing() {
        assert_eq!(batches(batching(Form::Text), &["a\n\nb"]), ["1: a|", "3: b"]);
        assert_eq!(batches(batching(Form::Text), &[]), [""; 0]);
    }

    #[test]
    fn line_over_the_limit_is_named_and_earlier_ones_are_kept() {
        let batching = Batching { payload_max: 3, ..batching(Form::Text) };
        let found = batches(batching, &["a\nlong\nb\n"]);
        assert_eq!(found, ["1: a", "2! has a payload of 4 bytes; the limit is 3"]);
    }

    #[test]
    fn unending_line_is_refused_before_it_fills_the_memory() {
        let batching = Batching { payload_max: 1000, ..batching(Form::Text) };
        let receiver = read(io::repeat(b'x'), batching).unwrap();
        assert_eq!(receiver.recv_blocking().unwrap().unwrap_err().line, 1);
    }

    #[test]
    fn options_of_a_line_part_the_batch() {
        let text =
            "{\"payload\":\"a\"}\n{\"payload\":\"b\",\"priority\":9}\n\n{\"payload\":{\"x\":1}}\n";
        let found = batches(batching(Form::Ndjson), &[text]);
        assert_eq!(found, ["1: a", "2: b", "4: {\"x\":1}"]);
    }

    #[test]
    fn line_that_is_no_job_is_named() {
        let found = batches(batching(Form::Ndjson), &["{\"payload\":\"a\"}\n{\"prio\":9}\n"]);
        assert_eq!(found[0], "1: a");
        assert!(found[1].starts_with("2! ") && found[1].contains("prio"), "{}", found[1]);
    }
}
