//! `ganger journal`: what is in a journal's folder, whether it is sound, and what can be saved of one
//! that is not. Needs no broker.

use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use ganger_broker::storage::disk::{Entry, Inspection, Lost, SegmentSummary, Summary};
use ganger_broker::storage::{self, DiskStorage, StorageError};
use ganger_worker::error::exit;
use serde_json::{Value, json};

use crate::args::{JournalVerb, Show};
use crate::exit::{Failure, Result};
use crate::output::{self, Cell, Column, Output, Tone, grouped};

/// Runs the command.
pub(crate) fn run(show: &Show, verb: JournalVerb) -> Result {
    let out = Output::new(show);
    match verb {
        JournalVerb::Stat { dir } => {
            let summary = journal(&dir)?.stat().map_err(failure)?;
            warn_of_holder(&dir)?;
            out.one(&summary, FIELDS, &as_json(&summary))
        }
        JournalVerb::Verify { dir } => {
            let summary = journal(&dir)?.verify().map_err(|error| {
                let salvage = format!("ganger journal salvage {} NEW-DIR", dir.display());
                failure(error).with_advice(salvage)
            })?;
            warn_of_holder(&dir)?;
            let records = grouped(records(&summary));
            if !show.quiet {
                output::note(&format!("{} is sound: {records} records", dir.display()));
            }
            out.one(&summary, FIELDS, &as_json(&summary))
        }
        JournalVerb::Segments { dir } => {
            let summary = journal(&dir)?.stat().map_err(failure)?;
            out.list("segments", &summary.segments, SEGMENTS, segment_json, |_| Tone::Plain)
        }
        JournalVerb::Dump { dir } => dump(&dir),
        JournalVerb::Salvage { dir, out: into } => salvage(show, &dir, into),
    }
}

/// A missing folder is said here: to the journal it is a new one.
pub(crate) fn journal(dir: &Path) -> Result<Inspection> {
    if !dir.is_dir() {
        let sentence = format!("there is no folder {}", dir.display());
        return Err(Failure::new(exit::NOT_FOUND, sentence)
            .with_advice("name the folder that ganger-broker got with --data"));
    }
    Ok(Inspection::new(dir))
}

fn warn_of_holder(dir: &Path) -> Result {
    if let Some(holder) = journal(dir)?.holder().map_err(failure)? {
        output::warn(&format!(
            "process {holder} is writing to {}: its end may look torn",
            dir.display()
        ));
    }
    Ok(())
}

/// One line of JSON per record, whatever the format: there may be millions.
fn dump(dir: &Path) -> Result {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let summary = journal(dir)?.dump(&mut |entry| {
        let line = record_json(&entry)?;
        if written.is_ok() {
            written = writeln!(out, "{}", output::versioned(line));
        }
        Ok(())
    });
    written
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("cannot write the output", &error))?;
    summary.map(|_| ()).map_err(failure)
}

fn record_json(entry: &Entry<'_>) -> Result<Value, StorageError> {
    Ok(json!({
        "record": entry.record.seq.0,
        "bytes": entry.record.body.len(),
        "file": entry.file,
        "frame": entry.frame,
        "offset": entry.frame_offset,
        "events": output::json(&storage::events(&entry.record)?),
    }))
}

fn salvage(show: &Show, dir: &Path, into: PathBuf) -> Result {
    let shown = into.display().to_string();
    let salvaged = journal(dir)?.salvage(DiskStorage::new(into)).map_err(failure)?;
    let lost: Vec<Value> = salvaged.lost.iter().map(lost_json).collect();
    let out = Output::new(show);
    for lost in &salvaged.lost {
        output::warn(&lost_sentence(lost));
    }
    let sentence = format!(
        "{} records were saved into {shown}; start a broker with --data {shown}",
        grouped(salvaged.records)
    );
    if out.is_json() {
        out.document(&[("records", salvaged.records.into()), ("lost", lost.into())])?;
    } else {
        out.done(show.quiet, &sentence, salvaged.records)?;
    }
    if salvaged.lost.is_empty() { Ok(()) } else { Err(Failure::silent(exit::PARTIAL)) }
}

fn lost_sentence(lost: &Lost) -> String {
    match lost.to {
        Some(to) if to == lost.from => format!("record {to} is lost"),
        Some(to) => format!("records {} to {to} are lost", lost.from),
        None => format!("whatever followed record {} is lost", lost.from.0.saturating_sub(1)),
    }
}

fn lost_json(lost: &Lost) -> Value {
    json!({ "from": lost.from.0, "to": lost.to.map(|to| to.0), "before": lost.before.0 })
}

pub(crate) fn failure(error: StorageError) -> Failure {
    let code = match &error {
        StorageError::InUse { .. } | StorageError::Fenced => exit::CONFLICT,
        StorageError::Io { source, .. } if source.kind() == ErrorKind::DirectoryNotEmpty => {
            exit::CONFLICT
        }
        StorageError::Damaged { .. }
        | StorageError::Unsupported { .. }
        | StorageError::Untrusted { .. }
        | StorageError::Io { .. } => exit::FAILED,
    };
    Failure::new(code, ganger_worker::error::sentence(&error))
}

pub(crate) fn records(summary: &Summary) -> u64 {
    (summary.last.0 + 1).saturating_sub(summary.start.0)
}

const FIELDS: &[Column<Summary>] = &[
    Column { head: "records", cell: |s| Cell::Number(records(s)) },
    Column { head: "first", cell: |s| Cell::Number(s.start.0) },
    Column { head: "last", cell: |s| Cell::Number(s.last.0) },
    Column { head: "unproven", cell: |s| Cell::Number(s.unproven) },
    Column { head: "torn", cell: |s| Cell::Bytes(s.torn_bytes) },
    Column { head: "segments", cell: |s| Cell::Number(s.segments.len() as u64) },
    Column { head: "unneeded", cell: |s| Cell::Number(s.unneeded as u64) },
    Column {
        head: "used",
        cell: |s| Cell::Bytes(s.segments.iter().map(|segment| segment.used_bytes).sum()),
    },
    Column { head: "format_file", cell: |s| Cell::text(format_file(s)) },
    Column { head: "store", cell: |s| Cell::text(store_id(s)) },
];

const fn format_file(summary: &Summary) -> &'static str {
    if summary.format_is_whole { "sound" } else { "one copy is damaged; the next start mends it" }
}

fn store_id(summary: &Summary) -> String {
    summary.store_id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_json(summary: &Summary) -> Value {
    json!({
        "records": records(summary),
        "first": summary.start.0,
        "last": summary.last.0,
        "unproven": summary.unproven,
        "torn_bytes": summary.torn_bytes,
        "unneeded_segments": summary.unneeded,
        "format_is_whole": summary.format_is_whole,
        "store": store_id(summary),
        "segments": summary.segments.iter().map(segment_json).collect::<Vec<_>>(),
    })
}

const SEGMENTS: &[Column<SegmentSummary>] = &[
    Column { head: "FILE", cell: |s| Cell::text(&s.file) },
    Column { head: "FIRST RECORD", cell: |s| Cell::Number(s.first.0) },
    Column { head: "USED", cell: |s| Cell::Bytes(s.used_bytes) },
    Column { head: "SIZE", cell: |s| Cell::Bytes(s.size_bytes) },
];

fn segment_json(segment: &SegmentSummary) -> Value {
    json!({
        "file": segment.file,
        "first": segment.first.0,
        "used_bytes": segment.used_bytes,
        "size_bytes": segment.size_bytes,
    })
}
