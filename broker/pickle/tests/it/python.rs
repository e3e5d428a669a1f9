//! What real Pythons pickle, there and back: `values.py` makes values up, and compares what it is
//! given back with each of its unpicklers.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use ganger_pickle::write::{self, Item, Reply};
use ganger_pickle::{Limits, Request, Values, fragment, repr};
use ganger_shared::Value;

/// Values that go through the first Python that is found, and through each of the others.
const COUNTS: [u64; 2] = [10_000, 800];

/// A script that runs, and the way to it and from it.
pub(crate) struct Python {
    child: Child,
    pub(crate) from: BufReader<ChildStdout>,
    pub(crate) to: BufWriter<ChildStdin>,
}

impl Python {
    pub(crate) fn start(python: &Path, script: &str, arguments: &[String]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(script);
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let to = BufWriter::new(child.stdin.take().unwrap());
        Self { child, from, to }
    }

    pub(crate) fn finish(mut self) {
        drop(self.to);
        assert!(self.child.wait().unwrap().success());
    }
}

/// Every Python from 3.6 on: the one on the path, and those that pyenv has.
pub(crate) fn pythons() -> Vec<PathBuf> {
    let pyenv = Command::new("pyenv").arg("root").output().ok();
    let root = pyenv.and_then(|output| String::from_utf8(output.stdout).ok());
    let versions = root.map(|root| Path::new(root.trim()).join("versions"));
    let mut found: Vec<PathBuf> = versions
        .and_then(|versions| std::fs::read_dir(versions).ok())
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"3."))
        })
        .map(|path| path.join("bin/python"))
        .collect();
    found.sort();
    found.insert(0, "python3".into());
    let recent = "import sys; sys.exit(sys.version_info < (3, 6))";
    found.retain(|python| {
        Command::new(python)
            .args(["-c", recent])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    assert!(
        !found.is_empty(),
        "no Python of at least 3.6 is on the path or in pyenv, and without one nothing says that Python agrees"
    );
    found
}

pub(crate) fn receive(from: &mut impl Read) -> Bytes {
    let mut size = [0; 4];
    from.read_exact(&mut size).expect("the script has stopped; what it says stands above");
    let mut message = vec![0; u32::from_be_bytes(size) as usize];
    from.read_exact(&mut message).unwrap();
    message.into()
}

pub(crate) fn send(to: &mut impl Write, message: &[u8]) {
    to.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    to.write_all(message).unwrap();
}

/// The arguments of a request and its one keyword, as values.
fn values_of(message: Bytes, limits: &Limits) -> Vec<Value> {
    let request = Request::read(message, limits).unwrap();
    let mut values = Values::new(&request.graph, limits);
    let parts = request.arguments.iter().chain(request.keywords.iter().map(|(_, id)| id));
    let converted = parts.map(|id| {
        let value = values.value(*id, &mut |_| None).unwrap();
        assert_eq!(values.packed(*id, &mut |_| None), Ok(value.pack().unwrap()));
        // Whatever it is, it can be a fragment; and that of what a fragment says is the same again.
        let code: Bytes = values.fragment(*id).unwrap().into();
        let again = fragment::read_fragment(&code, limits).unwrap();
        let again = Values::new(&again, limits).fragment(again.root()).unwrap();
        assert!(again == code, "{code:?} comes back as {again:?}");
        value
    });
    converted.collect()
}

fn is_the_same(values: &[Value], others: &[Value]) -> bool {
    values.iter().zip(others).all(|(a, b)| a.pack() == b.pack())
}

fn go_through(python: &Path, seed: u64, count: u64) {
    let arguments = [seed.to_string(), count.to_string()];
    let mut child = Python::start(python, "values.py", &arguments);
    let limits = Limits::default();
    let (mut batch, mut opaque, mut all) = (Vec::new(), 0, 0);
    loop {
        let requests = receive(&mut child.from);
        if let Ok(requests) = requests[..].try_into().map(u32::from_be_bytes) {
            if requests == 0 {
                break;
            }
            let values = values_of(receive(&mut child.from), &limits);
            for _ in 1..requests {
                let other = values_of(receive(&mut child.from), &limits);
                assert!(is_the_same(&values, &other), "another protocol: {values:?}, {other:?}");
            }
            all += 1;
            opaque += usize::from(matches!(values[0], Value::Opaque { .. }));
            batch.push(values);
            continue;
        }
        for values in &batch {
            let reply = Reply::Return(Item::Tuple(values.iter().map(Item::Value).collect()));
            send(&mut child.to, &write::reply(&reply, &limits, &|_| None).unwrap());
            send(&mut child.to, repr(&values[0], 1 << 20, &limits).as_bytes());
        }
        let firsts = batch.drain(..).map(|mut values| values.swap_remove(0)).collect();
        let all = Value::List(firsts);
        let reply = Reply::Return(Item::Value(&all));
        send(&mut child.to, &write::reply(&reply, &limits, &|_| None).unwrap());
        child.to.flush().unwrap();
    }
    child.finish();
    assert!(opaque * 4 > all && opaque * 10 < all * 9, "{opaque} of {all} were opaque");
}

#[test]
fn what_python_pickles_comes_back_as_it_was() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    // Another part of the numbers each time.
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) * 100_000);
    println!("SEED={seed}");
    for (index, python) in pythons().iter().enumerate() {
        println!("{}", python.display());
        go_through(python, seed, COUNTS[index.min(1)]);
    }
}
