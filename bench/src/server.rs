//! One server under test: started in an empty directory on a free port, stopped when dropped.
//! Not what the server is: its `Peer` knows the command.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::level::Level;
use crate::peer::{Peer, Program, Site};
use crate::slow_disk::slowed;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);

/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_micros(100);

/// The file in the server's directory that gets its output.
const LOG: &str = "output.log";

/// A running server and its directory.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    site: Site,
    /// From the start of the process until it answered.
    started_in: Duration,
    /// Removed after the process has ended: fields are dropped in order, and `drop` comes first.
    _dir: TempDir,
}

/// What starts a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// By way of this program, so that it ends when the benchmark is killed.
    Leashed,
    /// Directly, when the time it takes is measured.
    Bare,
}

impl Server {
    /// Starts the server of `peer` in a new directory under `parent` and waits until it answers.
    ///
    /// # Errors
    ///
    /// It ends at once or does not answer in time; the text has the last lines of its output.
    pub(crate) fn start(
        peer: &dyn Peer,
        program: &Program,
        parent: &Path,
        level: Level,
        start: Start,
    ) -> Result<Self> {
        let dir = TempDir::with_prefix_in(peer.name(), parent)
            .with_context(|| format!("no directory can be made in {}", parent.display()))?;
        let durability = level.durability();
        let site = Site { address: free_address()?, dir: dir.path().to_owned(), durability };
        peer.furnish(&site).with_context(|| format!("{} gets no configuration", peer.name()))?;
        let log = File::create(site.dir.join(LOG))?;
        let mut command = peer.command(program, &site);
        if let Some(longer) = level.flush_delay() {
            command = slowed(&command, longer)?;
        }
        if start == Start::Leashed {
            command = leashed(&command)?;
        }
        command.current_dir(&site.dir).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let since = Instant::now();
        let process = command
            .spawn()
            .with_context(|| format!("{} cannot be started", program.path.display()))?;
        let mut server = Self { process, site, started_in: Duration::ZERO, _dir: dir };
        server.wait_until_it_answers(peer, since)?;
        Ok(server)
    }

    /// Where the server lives.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The time from the start of the process until it answered.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    fn wait_until_it_answers(&mut self, peer: &dyn Peer, since: Instant) -> Result<()> {
        loop {
            match peer.ask(&self.site) {
                Ok(()) => {
                    self.started_in = since.elapsed();
                    return Ok(());
                }
                Err(error) if since.elapsed() > START_MAX => {
                    let log = self.last_words();
                    let what = format!("{} did not answer for {START_MAX:?}: {log}", peer.name());
                    return Err(error.context(what));
                }
                Err(_) => {}
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the server of {} ended with {status}: {}", peer.name(), self.last_words());
            }
            thread::sleep(ASK_EVERY);
        }
    }

    /// The end of the server's output.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.site.dir.join(LOG)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is thrown away: there is nothing to shut down in order.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Becomes `program`, after asking the kernel to end it when its parent ends. Returns only if that
/// fails.
pub(crate) fn become_leashed(program: &[std::ffi::OsString]) -> Result<()> {
    die_with_parent()?;
    let [name, arguments @ ..] = program else { bail!("there is no program to run") };
    Err(Command::new(name).args(arguments).exec())
        .with_context(|| format!("{} cannot be run", name.display()))
}

/// Asks the kernel to kill this process when its parent ends, however that happens.
///
/// # Errors
///
/// The kernel refuses.
pub(crate) fn die_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// The same command, run through this program.
fn leashed(command: &Command) -> Result<Command> {
    let mut leash = Command::new(std::env::current_exe()?);
    Ok(wrapped(leash.arg("leash").arg("--"), command))
}

/// The same command as the arguments of another, with its environment.
pub(crate) fn wrapped(by: &Command, command: &Command) -> Command {
    let mut wrapped = Command::new(by.get_program());
    wrapped.args(by.get_args()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// A loopback address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
