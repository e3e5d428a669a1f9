//! The broker as a process with a journal, and `strace` that makes its system calls fail.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ganger_shared::key::Key;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;

/// Where a broker keeps its things, and how it is started.
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) data: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self { folder, data }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn arguments(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("GANGER_LOG", "warn");
        let config = self.path().join("broker.toml");
        fs::write(&config, "[journal]\nfree_min = \"8 MiB\"\n").unwrap();
        command.args(["--listen", "127.0.0.1:0", "--durability", "strict", "--config"]);
        command.arg(config).arg("--data").arg(&self.data);
    }

    pub(crate) fn start(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-broker"));
        self.arguments(&mut command);
        Daemon::start(&mut command)
    }

    /// What a broker says that does not start because these calls fail, as far as they are about
    /// `path`: standard error.
    pub(crate) fn refuse(&self, inject: &str, path: Option<&Path>) -> String {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("inject={inject}"));
        if let Some(path) = path {
            command.arg("-P").arg(path);
        }
        self.refused(command)
    }

    fn refused(&self, mut command: Command) -> String {
        // One that starts all the same is stopped.
        command.args(["timeout", "30", env!("CARGO_BIN_EXE_ganger-broker")]);
        self.arguments(&mut command);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "it started: {told}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "it served");
        told
    }
}

/// A daemon that serves.
pub(crate) struct Daemon {
    child: Child,
    address: String,
    key: Key,
}

impl Daemon {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(rest) = line.strip_prefix("ganger-broker listening on ") else {
            let mut told = String::new();
            child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            panic!("it does not serve: {line}{told}");
        };
        let (address, key) = rest.trim_end().split_once(", key in ").expect("the line");
        let key = Key::parse_file(&fs::read_to_string(key).unwrap()).unwrap().swap_remove(0);
        Self { child, address: address.to_owned(), key }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::tcp(&self.address, &self.key).await
    }

    /// From when this returns, these calls fail, as far as they are about `path`.
    pub(crate) fn inject(&self, inject: &str, path: &Path) -> Strace {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject={inject}"));
        command.arg("-P").arg(path);
        command.args(["-p", &self.child.id().to_string()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "strace cannot attach to the broker");
        }
        Strace { child, _told: told }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended by itself, not as one that was asked to, and returns its last line.
    pub(crate) fn last_line(mut self) -> String {
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(status.code().is_some_and(|code| code != 0), "{status}: {log}");
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets go of the broker when it is dropped.
pub(crate) struct Strace {
    child: Child,
    /// It would end if nobody read it any more.
    _told: BufReader<std::process::ChildStderr>,
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It detaches and ends; killed, it might leave the broker stopped.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}
