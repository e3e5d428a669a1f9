//! The directory under which all servers of one call keep their data, and the process that removes
//! it however the benchmark ends.
//! Not the servers themselves: `server` stops each after its run.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// How often removal is tried: a server that is being killed may still create a file.
const TRIES: u32 = 50;

const TRY_EVERY: Duration = Duration::from_millis(20);

/// A directory that is gone once this is dropped, or once this process is.
#[derive(Debug)]
pub(crate) struct Premises {
    dir: PathBuf,
    /// Closing it tells the janitor to begin.
    alive: Option<ChildStdin>,
    janitor: Child,
}

impl Premises {
    /// Makes a directory in `parent`.
    ///
    /// # Errors
    ///
    /// `parent` is no directory that can be written.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let dir = TempDir::with_prefix_in("ganger-bench-", parent)
            .with_context(|| format!("no directory can be made in {}", parent.display()))?;
        let mut janitor = Command::new(std::env::current_exe()?)
            .arg("janitor")
            .arg(dir.path())
            .stdin(Stdio::piped())
            // Out of reach of the Ctrl-C that ends the benchmark.
            .process_group(0)
            .spawn()?;
        Ok(Self { dir: dir.keep(), alive: janitor.stdin.take(), janitor })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Premises {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.janitor.wait();
    }
}

/// Waits until the benchmark has ended, and removes `dir`.
///
/// # Errors
///
/// It cannot be removed.
pub(crate) fn wait_and_remove(dir: &Path) -> Result<()> {
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    let mut removed = fs::remove_dir_all(dir);
    for _ in 1..TRIES {
        if removed.is_ok() {
            break;
        }
        thread::sleep(TRY_EVERY);
        removed = fs::remove_dir_all(dir);
    }
    removed.with_context(|| format!("{} is left over", dir.display()))
}
