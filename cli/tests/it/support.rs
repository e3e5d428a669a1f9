//! A broker in a folder of its own, and ways to run `ganger` against it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

pub(crate) const GANGER: &str = env!("CARGO_BIN_EXE_ganger");

/// `ganger` without what the environment of the tests says.
pub(crate) fn ganger<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(GANGER);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GANGER_")) {
            command.env_remove(name);
        }
    }
    command.args(args).env("GANGER_LOG", "warn").stdin(Stdio::null());
    command
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker on a port of its own.
#[derive(Debug)]
pub(crate) struct Broker {
    _process: Running,
    pub(crate) address: String,
    pub(crate) key: PathBuf,
    pub(crate) folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its standard output, where it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its standard error, where it ended with this code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) fn run_with(mut command: Command, input: &str) -> Done {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A command that fails early does not read it all.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done::new(output)
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Done {
    Done::new(command.output().unwrap())
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// A broker with this configuration file.
    pub(crate) fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, file) = (folder.path().join("key"), folder.path().join("broker.toml"));
        std::fs::write(&file, config).unwrap();
        let mut command = ganger(["broker", "--listen", "127.0.0.1:0", "--key-file"]);
        let command = command.arg(&key).arg("--config").arg(&file);
        // What the file says of the journal wins over this.
        let command = command.env("XDG_DATA_HOME", folder.path());
        // Where temporary files are in memory, a journal is refused; no test pulls the plug.
        let command = command.env("GANGER_ANY_FILESYSTEM", "true");
        let mut process = Running::start(command.stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once("listening on ").expect("the broker says where it listens");
        let (address, _) = rest.split_once(", key in ").unwrap();
        Self { _process: process, address: address.to_owned(), key, folder }
    }

    /// `ganger` with these words, which are parted at spaces.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = ganger(words.split(' '));
        command.env("GANGER_BROKER", &self.address).env("GANGER_KEY_FILE", &self.key);
        command
    }

    pub(crate) fn run(&self, words: &str) -> Done {
        run(self.command(words))
    }

    /// As [`run`](Self::run), with more words that may have spaces.
    pub(crate) fn run_words(&self, words: &str, more: &[&str]) -> Done {
        let mut command = self.command(words);
        command.args(more);
        run(command)
    }

    pub(crate) fn run_with(&self, words: &str, input: &str) -> Done {
        run_with(self.command(words), input)
    }

    /// A worker; `exec` is the rest of its command line, in one piece each.
    pub(crate) fn worker(&self, queue: &str, rest: &[&str]) -> Running {
        let mut command = self.command("worker --queue");
        Running::start(command.arg(queue).args(rest).stdout(Stdio::null()))
    }

    /// Asks for one number of a queue until it is `wanted`; the queue may not exist yet.
    pub(crate) fn until(&self, queue: &str, field: &str, wanted: u64) {
        let wanted = format!("\"{field}\":{wanted},");
        while !self.run(&format!("queue show {queue} -o json")).out.contains(&wanted) {}
    }
}
