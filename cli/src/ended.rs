//! Jobs that have ended, as they are shown: results in the order of the input, or as they come.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::{DeathReason, Failure as FailureOfJob, JobId};
use ganger_worker::JobFailed;
use ganger_worker::error::{exit, sentence};
use serde::Serialize;

use crate::args::Format;
use crate::exit::{Failure, Result};
use crate::output::{self, Shown};
use crate::progress::Progress;
use crate::sink::Sink;

/// Failures that are told one by one on standard error: 10; of the others the number is told.
const TOLD_MAX: u64 = 10;

/// A job's place in the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Counted over all jobs, from 0: the order of the output.
    pub(crate) number: u64,
    /// As people count, from 1: blank lines of the input count too.
    pub(crate) line: u64,
}

/// Shows jobs that have ended.
#[derive(Debug)]
pub(crate) struct Ended {
    format: Format,
    sink: Sink,
    progress: Progress,
    quiet: bool,
    /// The number of the next job to be shown, where the order of the input is kept.
    next: u64,
    /// What came before its turn: its result, or that it has none. Copies, so that a small result
    /// does not hold the large frame it came in.
    early: BTreeMap<u64, Option<Box<[u8]>>>,
    early_bytes: usize,
    done: u64,
    failed: u64,
    /// The code that all failures share so far.
    code: Option<u8>,
    codes_differ: bool,
    first_failure: Option<Failure>,
}

impl Ended {
    pub(crate) fn new(format: Format, progress: Progress, quiet: bool) -> Self {
        let mut sink = Sink::new(Some(progress.clone()));
        if format == Format::Json {
            let head = format!("{{\"v\":{},\"jobs\":[", output::VERSION);
            sink.raw().extend_from_slice(head.as_bytes());
        }
        Self {
            format,
            sink,
            progress,
            quiet,
            next: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            done: 0,
            failed: 0,
            code: None,
            codes_differ: false,
            first_failure: None,
        }
    }

    /// Bytes that wait for their turn.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.early_bytes
    }

    /// Jobs that have ended and wait for their turn.
    pub(crate) fn held(&self) -> usize {
        self.early.len()
    }

    pub(crate) const fn count(&self) -> u64 {
        self.done + self.failed
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.sink.is_full()
    }

    /// Takes the end of one job.
    pub(crate) fn push(&mut self, place: Place, job: JobId, result: Result<Bytes, JobFailed>) {
        match self.format {
            Format::Table | Format::Plain => {
                self.in_turn(place.number, result.as_ref().ok().map(|bytes| &**bytes));
            }
            Format::Json | Format::Ndjson => self.write_json(place.line, job, &result),
        }
        match result {
            Ok(_) => self.done += 1,
            Err(failed) => self.fail(place.line, failed),
        }
    }

    fn in_turn(&mut self, number: u64, result: Option<&[u8]>) {
        if number != self.next {
            self.early_bytes += result.map_or(0, <[u8]>::len);
            self.early.insert(number, result.map(Box::from));
            return;
        }
        self.sink.line(result.unwrap_or_default());
        self.next += 1;
        while let Some(entry) = self.early.first_entry()
            && *entry.key() == self.next
        {
            let result = entry.remove().unwrap_or_default();
            self.early_bytes -= result.len();
            self.sink.line(&result);
            self.next += 1;
        }
    }

    fn write_json(&mut self, line: u64, job: JobId, result: &Result<Bytes, JobFailed>) {
        let first = self.count() == 0;
        let ndjson = self.format == Format::Ndjson;
        let buffer = self.sink.raw();
        if !ndjson && !first {
            buffer.push(b',');
        }
        // A Vec takes every write, and our shapes are all JSON.
        let _ = serde_json::to_writer(&mut *buffer, &Shape::new(line, job, result));
        if ndjson {
            buffer.push(b'\n');
        }
    }

    fn fail(&mut self, line: u64, failed: JobFailed) {
        self.failed += 1;
        let code = failed.exit_code();
        self.codes_differ |= *self.code.get_or_insert(code) != code;
        let failure = Failure::from(failed);
        if self.first_failure.is_none() {
            self.first_failure = Some(failure);
            return;
        }
        // The first one is told when a second one shows that it is not the only one.
        if self.quiet || self.failed > TOLD_MAX {
            return;
        }
        self.progress.suspend(|| output::warn(&format!("line {line}: {}", failure.sentence())));
    }

    /// Writes what can be written.
    pub(crate) async fn flush(&mut self) -> Result {
        self.sink.flush().await
    }

    /// Writes what is left, and says how the whole of it went.
    pub(crate) async fn finish(mut self) -> Result {
        // Jobs that never came to an end leave a gap, which those after it step over.
        for (_, result) in std::mem::take(&mut self.early) {
            self.sink.line(&result.unwrap_or_default());
        }
        if self.format == Format::Json {
            self.sink.raw().extend_from_slice(b"]}\n");
        }
        self.flush().await?;
        let Some(first) = self.first_failure.take() else { return Ok(()) };
        if self.count() == 1 {
            return Err(first);
        }
        let code = match (self.done, self.codes_differ) {
            (0, false) => first.code(),
            (0, true) => exit::JOB_FAILED,
            (_, _) => exit::PARTIAL,
        };
        let (failed, all) = (output::grouped(self.failed), output::grouped(self.count()));
        let sentence =
            format!("{failed} of {all} jobs have no result; the first: {}", first.sentence());
        Err(Failure::new(code, sentence).with_advice("ganger dead ls"))
    }
}

/// A job that has ended, as JSON.
#[derive(Serialize)]
struct Shape<'a> {
    v: u32,
    line: u64,
    job: JobId,
    status: &'static str,
    #[serde(flatten)]
    result: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<DeathReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a FailureOfJob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Shape<'a> {
    fn new(line: u64, job: JobId, result: &'a Result<Bytes, JobFailed>) -> Self {
        let shape = |status| Self {
            v: output::VERSION,
            line,
            job,
            status,
            result: None,
            reason: None,
            failure: None,
            error: None,
        };
        match result {
            Ok(bytes) => Self { result: Some(Shown::result(bytes)), ..shape("done") },
            Err(JobFailed::Dead { reason, failure, .. }) => {
                Self { reason: Some(*reason), failure: failure.as_ref(), ..shape("dead") }
            }
            Err(JobFailed::Cancelled { .. }) => shape("cancelled"),
            Err(JobFailed::Unknown { .. }) => shape("unknown"),
            Err(failed @ (JobFailed::Output { .. } | JobFailed::NoAnswer(_))) => {
                Self { error: Some(sentence(failed)), ..shape("unknown") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use ganger_shared::SessionId;

    fn ended(format: Format) -> Ended {
        let args = crate::args::Ganger::parse_from(["ganger", "demo", "--quiet"]);
        let crate::args::Verb::Demo(demo) = args.verb else { unreachable!() };
        let mut ended = Ended::new(format, Progress::new(&demo.show, "jobs"), true);
        ended.sink.set_plain();
        ended
    }

    const fn job(seq: u64) -> JobId {
        JobId { session: SessionId(1), seq }
    }

    fn push(ended: &mut Ended, number: u64, result: &'static str) {
        let place = Place { number, line: number + 1 };
        ended.push(place, job(number), Ok(Bytes::from_static(result.as_bytes())));
    }

    fn text(ended: &mut Ended) -> String {
        String::from_utf8(std::mem::take(ended.sink.raw())).unwrap()
    }

    #[test]
    fn plain_results_wait_for_their_turn_and_a_failure_leaves_an_empty_line() {
        let mut ended = ended(Format::Plain);
        push(&mut ended, 2, "c");
        assert_eq!((text(&mut ended).as_str(), ended.held_bytes()), ("", 1));
        push(&mut ended, 0, "a");
        assert_eq!(text(&mut ended), "a\n");
        let cancelled = JobFailed::Cancelled { job: job(1) };
        ended.push(Place { number: 1, line: 2 }, job(1), Err(cancelled));
        assert_eq!((text(&mut ended).as_str(), ended.held_bytes()), ("\nc\n", 0));
    }

    #[test]
    fn json_lines_come_as_jobs_end() {
        let mut ended = ended(Format::Ndjson);
        push(&mut ended, 1, "b");
        let line = "{\"v\":1,\"line\":2,\"job\":\"0000000000000001-1\",\"status\":\"done\",\"result\":\"b\"}\n";
        assert_eq!(text(&mut ended), line);
    }

    #[test]
    fn exit_code_tells_all_failed_from_some() {
        let code = |results: &[Result<&'static str, JobFailed>]| {
            let mut ended = ended(Format::Ndjson);
            for (number, result) in (0..).zip(results) {
                let result = result.clone().map(|text| Bytes::from_static(text.as_bytes()));
                ended.push(Place { number, line: number + 1 }, job(number), result);
            }
            ended.sink.raw().clear();
            ganger_rt::block_on(ended.finish()).map_or_else(|failure| failure.code(), |()| 0)
        };
        let cancelled = || Err(JobFailed::Cancelled { job: job(0) });
        let unknown = || Err(JobFailed::Unknown { job: job(0) });
        assert_eq!(code(&[Ok("a"), Ok("b")]), 0);
        assert_eq!(code(&[cancelled()]), exit::CANCELLED);
        assert_eq!(code(&[cancelled(), cancelled()]), exit::CANCELLED);
        assert_eq!(code(&[Ok("a"), cancelled()]), exit::PARTIAL);
        assert_eq!(code(&[unknown(), cancelled()]), exit::JOB_FAILED);
    }
}
