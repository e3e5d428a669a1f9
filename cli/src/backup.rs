//! `ganger backup` and `ganger restore`: a broker's data, copied while it runs, and put back. Needs
//! no broker.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use ganger_broker::storage::StorageError;
use ganger_broker::storage::disk::Summary;
use ganger_broker::storage::disk::files::Directory;
use ganger_worker::error::exit;
use serde_json::{Value, json};

use crate::args::Show;
use crate::exit::{Failure, Result};
use crate::journal::{failure, journal, records};
use crate::output::{self, Cell, Column, Output, grouped};

/// Runs `ganger backup`.
pub(crate) fn backup(show: &Show, data: &Path, out: &Path) -> Result {
    let (source, begun) = (journal(data)?, Instant::now());
    let summary = source.backup(&Directory::new(out)).map_err(|error| refused(error, data))?;
    let sentence = format!(
        "{} is a sound copy of {}: {} records",
        out.display(),
        data.display(),
        grouped(records(&summary))
    );
    report(show, &sentence, &Copy { summary, took: begun.elapsed() })
}

/// Runs `ganger restore`.
pub(crate) fn restore(show: &Show, backup: &Path, data: &Path) -> Result {
    if !backup.is_dir() {
        let sentence = format!("there is no folder {}", backup.display());
        return Err(Failure::new(exit::NOT_FOUND, sentence)
            .with_advice("name the folder that `ganger backup` has made"));
    }
    let (source, begun) = (journal(backup)?, Instant::now());
    let summary = source.restore(&Directory::new(data)).map_err(|error| refused(error, backup))?;
    let sentence = format!(
        "{} records were restored; start a broker with --data {}",
        grouped(records(&summary)),
        data.display()
    );
    report(show, &sentence, &Copy { summary, took: begun.elapsed() })
}

/// With what to try where a person can choose; `source` is what was to be copied.
fn refused(error: StorageError, source: &Path) -> Failure {
    let advice = match &error {
        StorageError::Damaged { .. } => {
            format!("ganger journal salvage {} NEW-DIR", source.display())
        }
        StorageError::InUse { .. } => {
            "stop that broker, or name a folder that is not there yet".to_owned()
        }
        StorageError::Io { source, .. } if source.kind() == ErrorKind::DirectoryNotEmpty => {
            "name a folder that is not there yet".to_owned()
        }
        StorageError::Fenced
        | StorageError::Unsupported { .. }
        | StorageError::Untrusted { .. }
        | StorageError::Io { .. } => {
            return failure(error);
        }
    };
    failure(error).with_advice(advice)
}

/// What was copied.
struct Copy {
    summary: Summary,
    took: Duration,
}

impl Copy {
    fn bytes(&self) -> u64 {
        self.summary.segments.iter().map(|segment| segment.used_bytes).sum()
    }

    fn took_ms(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }
}

fn report(show: &Show, sentence: &str, copy: &Copy) -> Result {
    if !show.quiet {
        output::note(sentence);
    }
    Output::new(show).one(copy, FIELDS, &as_json(copy))
}

const FIELDS: &[Column<Copy>] = &[
    Column { head: "segments", cell: |c| Cell::Number(c.summary.segments.len() as u64) },
    Column { head: "records", cell: |c| Cell::Number(records(&c.summary)) },
    Column { head: "first", cell: |c| Cell::Number(c.summary.start.0) },
    Column { head: "last", cell: |c| Cell::Number(c.summary.last.0) },
    Column { head: "bytes", cell: |c| Cell::Bytes(c.bytes()) },
    Column { head: "took", cell: |c| Cell::Millis(c.took_ms()) },
];

fn as_json(copy: &Copy) -> Value {
    json!({
        "segments": copy.summary.segments.len(),
        "records": records(&copy.summary),
        "first": copy.summary.start.0,
        "last": copy.summary.last.0,
        "bytes": copy.bytes(),
        "took_ms": copy.took_ms(),
    })
}
