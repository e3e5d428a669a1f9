//! A broker in a process of its own, that can be killed and comes back at the same place.
//! Not what is compared with others: `server` starts those.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ganger_shared::Durability;

use crate::procfs;

/// The broker's settings: short times, so that all of them pass in a run, and queues that get full.
const SETTINGS: &str = r#"
[sessions]
heartbeat = "1s"
grace = "1s"

[queues]
jobs_max = 2000
lease = "3s"
"#;

/// A broker, dead or alive.
#[derive(Debug)]
pub(crate) struct Broker {
    dir: PathBuf,
    address: SocketAddr,
    durability: Durability,
    process: Option<Child>,
    peak_bytes: u64,
}

impl Broker {
    /// One that keeps its files in `dir`; it is not started.
    pub(crate) fn new(dir: &Path, durability: Durability) -> Result<Self> {
        fs::write(dir.join("broker.toml"), SETTINGS)?;
        // Free a moment ago; a restarted broker needs the same.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self { dir: dir.to_owned(), address, durability, process: None, peak_bytes: 0 })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Made by the broker when it is first started.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// Starts it and waits until it answers; returns how long that took.
    ///
    /// It dies with the thread that calls this.
    pub(crate) fn start(&mut self) -> Result<Duration> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let program = std::env::current_exe()?;
        let mut command = Command::new(&program);
        command.args(["leash", "--"]).arg(&program).arg("serve");
        command.args(["--listen", &self.address.to_string()]);
        command.args(["--durability", &self.durability.to_string()]);
        command.arg("--config").arg(self.dir.join("broker.toml"));
        command.arg("--key-file").arg(self.key_file());
        if self.durability != Durability::Memory {
            command.arg("--data").arg(self.dir.join("data"));
        }
        // What the environment says of other brokers is not for this one.
        for name in ["GANGER_CONFIG", "GANGER_DATA", "GANGER_LOG"] {
            command.env_remove(name);
        }
        let since = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().context("the broker cannot be started")?;
        let mut line = String::new();
        let output = process.stdout.take().context("the broker has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        if !line.contains("listening on") {
            let status = process.wait()?;
            bail!("the broker did not start, {status}: {}", self.last_words());
        }
        self.process = Some(process);
        Ok(since.elapsed())
    }

    /// Kills it, as kill -9 does.
    ///
    /// # Errors
    ///
    /// It had ended by itself, which it must not.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.ensure_alive()?;
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Looks whether it lives, and at its memory.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else { bail!("the broker was not started") };
        if let Some(status) = process.try_wait()? {
            bail!("the broker ended by itself, {status}: {}", self.last_words());
        }
        self.peak_bytes = self.peak_bytes.max(procfs::peak_bytes(process.id())?);
        Ok(())
    }

    /// What its journal takes on the disk, in bytes of files; 0 without one.
    pub(crate) fn data_bytes(&self) -> u64 {
        let files = fs::read_dir(self.dir.join("data")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }

    /// The most memory that any of its lives had.
    pub(crate) const fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    fn log(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
