//! One process group at work: fed, read and waited for at once.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use async_process::{Child, ChildStderr, ChildStdin, ChildStdout};
use bytes::Bytes;
use futures_lite::future::{try_zip, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ganger_shared::limits::ERROR_BYTES_MAX;
use rustix::process::{Pid, Signal, kill_process_group};

/// A process that leads a group. Dropped before it was waited for, it takes the group with it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    group: Group,
}

/// The group, while its leader has not been waited for.
#[derive(Debug)]
struct Group {
    leader: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It fails if the group has just ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Asks a group to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminator(Option<Pid>);

impl Terminator {
    /// Sends SIGTERM. Only while the [`Running`] it came from exists: later the number may be
    /// another's.
    pub(super) fn terminate(self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::TERM);
        }
    }
}

/// How it went.
#[derive(Debug)]
pub(super) enum Ended {
    /// It ended by itself.
    Exited {
        /// The exit status, or the signal that killed it.
        status: Result<i32, i32>,
        output: Bytes,
        /// The end of standard error, as far as it is text, trimmed.
        stderr: String,
    },
    /// It wrote too much, and was killed.
    OutputTooLarge,
}

impl Running {
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        let mut command = async_process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self { child, group: Group { leader } })
    }

    pub(super) fn group(&self) -> Terminator {
        Terminator(self.group.leader)
    }

    /// Hands over the payload and waits until the process has ended and its output is closed.
    ///
    /// A process that does not read its input, or not all of it, is none the worse for it.
    pub(super) async fn finish(
        mut self,
        payload: &[u8],
        output_bytes_max: usize,
    ) -> io::Result<Ended> {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let others = async { Ok(zip(write_all(stdin, payload), read_end(stderr)).await) };
        match try_zip(read_all(stdout, output_bytes_max), others).await {
            Ok((output, ((), stderr))) => {
                // Only here, at the end: a leader that has not been waited for keeps its number, so
                // that the group can be killed while others in it hold its output open.
                let status = self.child.status().await?;
                self.group.leader = None;
                let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
                Ok(Ended::Exited { status: code(status), output: output.into(), stderr })
            }
            Err(ReadError::TooLarge) => Ok(Ended::OutputTooLarge),
            Err(ReadError::System(error)) => Err(error),
        }
    }
}

fn code(status: ExitStatus) -> Result<i32, i32> {
    status.code().ok_or_else(|| status.signal().unwrap_or(0))
}

enum ReadError {
    TooLarge,
    System(io::Error),
}

async fn write_all(stdin: Option<ChildStdin>, payload: &[u8]) {
    if let Some(mut stdin) = stdin {
        // It fails if the process closes its input, which is its own affair.
        let _ = stdin.write_all(payload).await;
    }
}

async fn read_all(stdout: Option<ChildStdout>, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
    let Some(mut stdout) = stdout else { return Ok(Vec::new()) };
    let mut output = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        match stdout.read(&mut chunk).await.map_err(ReadError::System)? {
            0 => return Ok(output),
            n if output.len() + n > bytes_max => return Err(ReadError::TooLarge),
            n => output.extend_from_slice(&chunk[..n]),
        }
    }
}

/// The last bytes, as many as a failure's message may have.
async fn read_end(stderr: Option<ChildStderr>) -> Vec<u8> {
    let Some(mut stderr) = stderr else { return Vec::new() };
    let mut end = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut chunk).await {
        end.extend_from_slice(&chunk[..n]);
        end.drain(..end.len().saturating_sub(ERROR_BYTES_MAX));
    }
    end
}
