//! The Python door as real Pythons meet it: each that is on the path or in pyenv, from 3.8 on, with
//! nothing but its standard library.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod cpython;
mod door;
mod fixtures;
mod hostile;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use ganger_broker::config::{Config, PythonConfig};
use ganger_broker::python::Serializer;
use ganger_broker::{Broker, Builder};

/// Longer than anything here takes; a test that hangs fails instead.
const LONG: Duration = Duration::from_secs(240);

const AUTHKEY: &str = "abracadabra";

/// The Pythons, oldest first.
static PYTHONS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let pyenv = Command::new("pyenv").arg("root").output().ok();
    let root = pyenv.and_then(|output| String::from_utf8(output.stdout).ok());
    let versions = root.and_then(|root| Path::new(root.trim()).join("versions").read_dir().ok());
    let installed = versions.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<([u32; 2], PathBuf)> = installed
        .map(|path| path.join("bin/python"))
        .chain(["/usr/bin/python3".into(), "python3".into()])
        .filter_map(|python| Some((version(&python)?, python)))
        .filter(|(version, _)| *version >= [3, 8])
        .collect();
    found.sort();
    // Of each version one is enough.
    found.dedup_by(|(one, _), (other, _)| one == other);
    assert!(!found.is_empty(), "there is no Python of at least 3.8 on the path or in pyenv");
    found.into_iter().map(|(_, python)| python).collect()
});

/// Its version: 3.12 as two numbers.
fn version(python: &Path) -> Option<[u32; 2]> {
    let said = Command::new(python)
        .args(["-c", "import sys; print(sys.version_info[0], sys.version_info[1])"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let numbers: Vec<u32> = said.split_whitespace().filter_map(|part| part.parse().ok()).collect();
    numbers.try_into().ok()
}

/// A broker whose Python door has these lines of the configuration.
struct House {
    broker: Broker,
    /// Gone with it.
    _folder: tempfile::TempDir,
}

impl House {
    async fn open(names: &str) -> Self {
        Self::with(names, |_, _| {}, |builder| builder).await
    }

    /// With a configuration that `change` has seen, and its folder, and with `more`.
    async fn with(
        names: &str,
        change: impl FnOnce(&mut Config, &Path),
        more: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Self::config(names, folder.path());
        change(&mut config, folder.path());
        let builder = Broker::builder().config(config).pipes_only().in_memory();
        let broker = more(builder).start().await.unwrap();
        Self { broker, _folder: folder }
    }

    /// A configuration whose Python door has these lines, and a key that lies in `folder`.
    fn config(names: &str, folder: &Path) -> Config {
        let authkey_file = folder.join("authkey");
        std::fs::write(&authkey_file, format!("{AUTHKEY}\n")).unwrap();
        let python = PythonConfig {
            listen: Some("127.0.0.1:0".to_owned()),
            listen_xmlrpc: Some("127.0.0.1:0".to_owned()),
            authkey_file: Some(authkey_file),
            ..toml::from_str(names).unwrap()
        };
        Config { python, ..Config::default() }
    }

    /// Where it is, as `host:port` or a path.
    fn address(&self) -> String {
        address(&self.broker, Serializer::Pickle)
    }

    fn program(&self, python: &Path, script: impl AsRef<Path>) -> Command {
        program(&self.broker, python, script)
    }
}

fn address(broker: &Broker, serializer: Serializer) -> String {
    broker.python_addr(serializer).unwrap().to_string()
}

/// A program that finds the address and the key in its environment.
fn program(broker: &Broker, python: &Path, script: impl AsRef<Path>) -> Command {
    let mut command = Command::new(python);
    command
        .arg(script.as_ref())
        .env("GANGER_PYTHON", address(broker, Serializer::Pickle))
        .env("GANGER_XMLRPC", address(broker, Serializer::XmlRpc))
        .env("GANGER_AUTHKEY", AUTHKEY)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program has said, which has to end well.
fn succeeded(program: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed: {said}\n{complained}");
    said
}

/// Runs a program to its end.
async fn ran(mut command: Command) -> Output {
    ganger_rt::unblock(move || command.output().unwrap()).await
}

/// A script of this folder.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// An example for Python.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python").join(name)
}

/// Runs a test on a runtime, within [`LONG`].
fn run<T>(test: impl Future<Output = T>) -> T {
    ganger_rt::block_on(async {
        ganger_rt::timeout(LONG, test).await.expect("the test ends by itself")
    })
}
