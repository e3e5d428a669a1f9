//! The daemon: its command line, its signals, what it prints and how it ends.
//!
//! Also what `ganger broker` runs.
//!
//! | on | what |
//! | --- | --- |
//! | standard output | one line once it serves: `ganger-broker listening on ADDRESS, key in PATH`, where ADDRESS has the port that was chosen; or the configuration, for `--print-config` |
//! | standard error | the log (`GANGER_LOG`, default `info`), and why it did not start |
//! | exit code | 0 after SIGTERM or SIGINT; otherwise as below |
//!
//! | code | why it did not start or go on | what helps |
//! | --- | --- | --- |
//! | 1 | what has no code of its own: the address, the key, a setting, a panic | the message says |
//! | 2 | the command line or the configuration cannot be understood | the message names the place |
//! | 65 | the journal is damaged; the last line of standard error is `damage: file=… bytes=… records=…`, as far as each is known | a backup, or `ganger journal salvage` |
//! | 73 | the folder of the journal cannot be made or written | its permissions, or another one |
//! | 74 | the disk refused to read or write the journal, at the start or later | the disk; what was acknowledged is there |
//! | 75 | another process has the journal | try again when it has ended |
//! | 78 | the folder is of a later version, or where a journal cannot survive | that version; another folder |

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use futures_lite::future::or;
use ganger_rt::{Signal, Signals};
use ganger_shared::Durability;

use crate::config::{self, Config, Flags, Loaded};
use crate::storage::Extent;
use crate::{Broker, BrokerError, Replayed, StartError};
use crate::{folders, key_file};

/// What the command line says. Each has a variable of the environment too, which it wins over.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Take settings from this file; unknown ones are warned of [env: GANGER_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Listen here; port 0 takes any free one [env: GANGER_LISTEN] [default: 127.0.0.1:7117]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,

    /// Keep the journal in this folder; made if missing [env: GANGER_DATA]
    /// [default: ganger in $XDG_DATA_HOME or ~/.local/share; none if all is in memory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Take clients that have a key of this file; made if missing [env: GANGER_KEY_FILE]
    /// [default: ganger/key in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,

    /// What new queues promise [env: GANGER_DURABILITY] [default: strict]
    #[arg(long, value_name = "LEVEL", value_parser = durability())]
    pub durability: Option<Durability>,

    /// Print every setting and where it comes from, and exit
    #[arg(long)]
    pub print_config: bool,
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(config::DURABILITIES).try_map(|text| config::parse_durability(&text))
}

/// Runs the daemon until a signal or an error ends it.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let Args { config, listen, data, key_file, durability, print_config } = args;
    let flags = Flags { config, listen, data, key_file, durability };
    let mut loaded = match Loaded::load(&flags, |name| env::var_os(name)) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error, None, 2),
    };
    if loaded.config.key_file.is_none() {
        match key_file::default_path(|name| env::var_os(name)) {
            Ok(path) => loaded.config.key_file = Some(path),
            Err(error) => {
                let error = StartError::from(error);
                return complain(&error, error.advice(), 1);
            }
        }
    }
    if loaded.config.data.is_none() && loaded.config.needs_journal() {
        match folders::data(|name| env::var_os(name)) {
            Some(path) => loaded.config.data = Some(path),
            None => return complain(&StartError::NoFolder, StartError::NoFolder.advice(), 1),
        }
    }
    start_log();
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    if print_config {
        return match print(&loaded.to_toml()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error, None, 1),
        };
    }
    if !loaded.config.needs_journal() {
        log::info!("nothing outlives this process: durability is memory");
    }
    raise_file_limit(&loaded.config);
    match ganger_rt::block_on(serve(loaded.config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Start(error)) => {
            let code = complain(&error, error.advice(), error.exit_code());
            report(error.extent());
            code
        }
        Err(Failure::Broker(error)) => complain(&error, None, error.exit_code()),
        Err(Failure::System(error)) => complain(&error, None, 1),
    }
}

enum Failure {
    Start(StartError),
    Broker(BrokerError),
    System(io::Error),
}

async fn serve(config: Config) -> Result<(), Failure> {
    // Before the broker: a signal that comes while it starts must not kill it halfway.
    let mut signals = Signals::new().map_err(Failure::System)?;
    let broker = Broker::builder().config(config).start().await.map_err(Failure::Start)?;
    let key_file = broker.key_file().unwrap_or_else(|| Path::new("nowhere")).display();
    let line = format!("ganger-broker listening on {}, key in {key_file}\n", broker.addr());
    if let Some(Replayed { records, bytes, jobs, took, flush_time }) = broker.replayed() {
        let seconds = took.as_secs_f64();
        let flush_us =
            flush_time.map_or_else(|| "?".to_owned(), |time| time.as_micros().to_string());
        log::info!(records, bytes, jobs, seconds, flush_us:%; "journal read back");
    }
    log::info!(address:% = broker.addr(), version = env!("CARGO_PKG_VERSION"); "started");
    print(&line).map_err(Failure::System)?;
    loop {
        let signal = async { Ok(signals.next().await) };
        match or(signal, async { Err(broker.failed().await) }).await {
            Ok(Signal::Hangup) => match broker.reload_keys() {
                Ok(()) => log::info!("keys read again"),
                Err(error) => log::error!(error:%; "the keys stay as they were"),
            },
            Ok(signal @ (Signal::Interrupt | Signal::Terminate)) => {
                log::info!(signal:?; "stopping");
                return broker.stop().await.map_err(Failure::Broker);
            }
            Err(error) => return Err(Failure::Broker(error)),
        }
    }
}

/// As far as the system lets us go without privileges: many start processes with a soft limit of
/// 1,024, which is theirs to raise.
fn raise_file_limit(config: &Config) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wished = config.limits.connections_max as u64 + 128;
    let raised = limit.maximum.map_or(wished, |most| most.min(wished));
    if limit.current.is_some_and(|current| current < raised) {
        // If it fails, fewer connections are taken, and the start says so.
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    }
}

fn start_log() {
    let level = env_logger::Env::new().filter_or("GANGER_LOG", "info");
    // A program that embeds this may have a log of its own, which then stands.
    let _ = env_logger::Builder::from_env(level).format_target(false).try_init();
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Which part of the journal is damaged, for programs.
#[expect(clippy::print_stderr, reason = "this is what a supervisor reads")]
fn report(extent: Option<&Extent>) {
    if let Some(extent) = extent {
        eprintln!("damage: {extent}");
    }
}

/// One sentence with its causes, and what to try.
#[expect(clippy::print_stderr, reason = "this is what a person at the terminal reads")]
fn complain(error: &dyn Error, advice: Option<String>, code: u8) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    eprintln!("error: {text}");
    if let Some(advice) = advice {
        eprintln!("try: {advice}");
    }
    ExitCode::from(code)
}
