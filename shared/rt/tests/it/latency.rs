//! How long a round trip takes. Ignored, for it measures and does not judge:
//!
//! ```text
//! cargo test --release -p ganger-rt -- --ignored --nocapture round_trip
//! ```
//!
//! Two processes, one thread of ours in each, for that is how a broker and its client meet; the
//! test starts itself as the other process. The same with plain blocking sockets is the floor of
//! the machine: only the difference is ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ganger_rt::{Listener, Outgoing, Stream, block_on, spawn};

const SOON: Duration = Duration::from_secs(10);
const ROUNDS: usize = 50_000;
const FRAME: [u8; 64] = [7; 64];
const ECHO: &str = "latency::echo_process";

const KIND: &str = "GANGER_RT_ECHO";

/// Not a test: the other process, which ends with its first connection.
#[test]
#[ignore = "the other process of the round trips"]
fn echo_process() {
    match std::env::var(KIND).as_deref() {
        Ok("ours") => block_on(async {
            let listener = Listener::bind("127.0.0.1:0").await.expect("a free port");
            announce(listener.local_addr().expect("an open socket"));
            echo(listener).await;
        }),
        Ok("unix") => block_on(async {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let path = directory.path().join("door");
            let listener = Listener::bind_unix(&path).expect("an empty directory");
            announce(path.display());
            echo(listener).await;
        }),
        Ok("blocking") => echo_blocking(),
        _ => {}
    }
}

async fn echo(listener: Listener) {
    let (stream, _) = listener.accept().await.expect("a client");
    spawn(async move {
        let outgoing = Outgoing::new(stream.clone(), 1 << 20);
        let mut buf = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut buf).await {
            outgoing.append(|bytes| bytes.extend_from_slice(&buf[..n]));
            outgoing.flush().expect("a connection");
        }
    })
    .await;
}

fn echo_blocking() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    announce(listener.local_addr().expect("an open socket"));
    let (mut stream, _) = listener.accept().expect("a client");
    stream.set_nodelay(true).expect("a connection");
    let mut buf = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        stream.write_all(&buf[..n]).expect("a connection");
    }
}

#[expect(clippy::print_stdout, reason = "the pipe to the process that started this one")]
fn announce(address: impl std::fmt::Display) {
    println!("\naddress {address}");
}

/// The other process, its output (to be kept open as long as it may write) and its address.
#[expect(clippy::zombie_processes, reason = "the callers wait; a failed start fails the test")]
fn start(kind: &str) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut other = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--ignored", "--nocapture", "--exact", ECHO])
        .env(KIND, kind)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the same binary again");
    let mut output = BufReader::new(other.stdout.take().expect("a pipe"));
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "no address");
        if let Some(address) = line.trim().strip_prefix("address ") {
            return (other, output, address.to_owned());
        }
    }
}

#[test]
#[ignore = "measures; needs --release and a quiet machine"]
fn round_trip_of_64_bytes() {
    let (mut other, _output, address) = start("ours");
    let took = block_on(async { rounds(Stream::connect(&address, SOON).await.unwrap()).await });
    other.wait().unwrap();
    report("ours", took);
}

#[test]
#[ignore = "measures; needs --release and a quiet machine"]
fn round_trip_of_64_bytes_over_a_unix_socket() {
    let (mut other, _output, path) = start("unix");
    let took = block_on(async { rounds(Stream::connect_unix(&path, SOON).await.unwrap()).await });
    other.wait().unwrap();
    report("unix", took);
}

async fn rounds(stream: Stream) -> Vec<Duration> {
    spawn(async move {
        let mut took = Vec::with_capacity(ROUNDS);
        let mut buf = [0; 64];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            assert_eq!(stream.try_write(&FRAME).expect("a connection"), FRAME.len());
            let mut got = 0;
            while got < FRAME.len() {
                got += stream.read(&mut buf).await.expect("a connection");
            }
            took.push(start.elapsed());
        }
        took
    })
    .await
}

#[test]
#[ignore = "measures; needs --release and a quiet machine"]
fn round_trip_of_64_bytes_with_blocking_sockets() {
    let (mut other, _output, address) = start("blocking");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut took = Vec::with_capacity(ROUNDS);
    let mut buf = [0; 64];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        stream.write_all(&FRAME).unwrap();
        stream.read_exact(&mut buf).unwrap();
        took.push(start.elapsed());
    }
    drop(stream);
    other.wait().unwrap();
    report("blocking", took);
}

#[expect(clippy::print_stdout, reason = "what this measures is for a person")]
fn report(kind: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let (p50, p99) = (took[ROUNDS / 2], took[ROUNDS / 100 * 99]);
    println!("{kind}: p50 {p50:?}, p99 {p99:?}");
}
