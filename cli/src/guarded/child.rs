//! The command that runs while something is held, on the terminal that we are on.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as Process, Command};

use futures_lite::future::or;
use ganger_rt::{Signal, Signals, unblock};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::exit::{Failure, Result};

/// As a shell says of a command that is there and cannot be run.
const NOT_EXECUTABLE: u8 = 126;

/// As a shell says of a command that is not there.
const NO_COMMAND: u8 = 127;

#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    signals: Option<Signals>,
}

impl Child {
    /// Starts it; signals to this process are its from here on.
    pub(super) fn start(command: &[OsString], token: u64) -> Result<Self> {
        let (program, args) = command.split_first().expect("clap asks for one at least");
        // Without them a signal ends us, and what is held is released with the session.
        let signals = Signals::new().ok();
        let mut command = Command::new(program);
        let command = command.args(args).env("GANGER_LOCK_TOKEN", token.to_string());
        match command.spawn() {
            Ok(process) => Ok(Self { process, signals }),
            Err(error) => {
                let missing = error.kind() == ErrorKind::NotFound;
                let code = if missing { NO_COMMAND } else { NOT_EXECUTABLE };
                let program = program.display();
                Err(Failure::new(code, format!("the command {program} cannot be run: {error}")))
            }
        }
    }

    /// Waits until it has ended and passes signals on; returns its status, or 128 and the signal that
    /// killed it.
    pub(super) async fn finish(mut self) -> u8 {
        let pid = Pid::from_child(&self.process);
        // It keeps its number until it is waited for below, so that no signal goes astray.
        let ended = unblock(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(rustix::process::waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        });
        let signals = self.signals.take();
        or(ended, pass_on(signals, pid)).await;
        let Ok(status) = self.process.wait() else { return crate::exit::UNKNOWN };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::exit::UNKNOWN)
    }
}

/// Passes signals on; never ends.
async fn pass_on<T>(signals: Option<Signals>, pid: Pid) -> T {
    let Some(mut signals) = signals else { return std::future::pending().await };
    loop {
        let signal = match signals.next().await {
            // The terminal has sent it to the command, too.
            Signal::Interrupt if in_foreground() => continue,
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Hangup => rustix::process::Signal::HUP,
        };
        // It fails if the command has ended, of which we are about to hear.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether Ctrl-C on a terminal reaches this process and, being in its group, the command.
fn in_foreground() -> bool {
    let own = rustix::process::getpgrp();
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    input.is_terminal() && rustix::termios::tcgetpgrp(&input) == Ok(own)
        || output.is_terminal() && rustix::termios::tcgetpgrp(&output) == Ok(own)
        || error.is_terminal() && rustix::termios::tcgetpgrp(&error) == Ok(own)
}
