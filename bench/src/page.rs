//! Writing what was measured to files, and what a page of documentation has beside its tables.
//! Not the tables: each report draws its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// What a page has beside its report.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The command that made the report.
    pub(crate) command: String,
    /// The name of a plot beside the page.
    pub(crate) plot: Option<String>,
    /// The name of the file beside the page that a person writes.
    pub(crate) notes_name: String,
    /// What is in there, as Markdown.
    pub(crate) notes: Option<String>,
}

impl Page {
    /// Of the page at `path`: the command that is running, its `plot`, and what a person has
    /// written beside the page.
    pub(crate) fn at(path: &Path, plot: Option<&Path>) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let notes_name = format!("{stem}-notes.md");
        let notes = fs::read_to_string(path.with_file_name(&notes_name));
        let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        Self {
            command: format!("cargo run --release -p ganger-bench -- {arguments}"),
            // A plot elsewhere is not linked: the page would not find it where it is read.
            plot: plot
                .filter(|plot| plot.parent() == path.parent())
                .and_then(|plot| Some(plot.file_name()?.to_str()?.to_owned())),
            notes_name,
            notes: notes.ok(),
        }
    }
}

/// Writes `text` to the file at `path`.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
