//! A disk whose flush takes longer, the same for every server whatever it is written in: strace holds
//! back each thread that has just flushed. Its other calls run as they are.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::peer::locate;
use crate::server::wrapped;

/// The calls that return when the disk has flushed.
const FLUSHES: &str = "fsync,fdatasync,sync_file_range,msync";

/// `command`, with flushes that take so much longer. The server is the process that is started, not
/// a child of it.
///
/// # Errors
///
/// strace is not installed.
pub(crate) fn slowed(command: &Command, longer: Duration) -> Result<Command> {
    let mut strace = Command::new(locate("strace", "--version", "strace")?.path);
    strace.args(["--daemonize", "--follow-forks", "--seccomp-bpf", "-qqq", "-o", "/dev/null"]);
    strace.arg("-e").arg(format!("trace={FLUSHES}"));
    strace.arg("-e").arg(format!("inject={FLUSHES}:delay_exit={}", longer.as_micros()));
    Ok(wrapped(strace.arg("--"), command))
}
