//! Where a report goes, and what a page of documentation has beside its tables.
//! Not the tables: each report draws its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::Output;

/// A report in every form there is; as JSON it is what it serializes to.
pub(crate) trait Shown: Serialize {
    /// As SVG.
    fn plot(&self) -> Result<String>;
    /// As Markdown.
    fn page(&self, page: &Page) -> String;
    /// For a terminal.
    fn table(&self) -> String;
}

/// What the command line says of where a report goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Destination {
    /// What to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Also write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page of Markdown; if NAME-notes.md is beside NAME.md, it is included
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write a plot
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Destination {
    /// Writes `report` to the files that were asked for, and prints it.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or a figure is not a number.
    pub(crate) fn deliver(&self, report: &impl Shown) -> Result<()> {
        if let Some(path) = &self.json {
            write(path, &serde_json::to_string_pretty(report)?)?;
        }
        if let Some(path) = &self.svg {
            write(path, &report.plot()?)?;
        }
        if let Some(path) = &self.markdown {
            write(path, &report.page(&Page::at(path, self.svg.as_deref())))?;
        }
        match self.output {
            Output::Table => print!("{}", report.table()),
            Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
        }
        Ok(())
    }
}

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
    fn at(path: &Path, plot: Option<&Path>) -> Self {
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

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
