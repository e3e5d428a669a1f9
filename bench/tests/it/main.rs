//! The benchmark as a process: every peer that is installed gives every result back.

#![expect(clippy::unwrap_used, reason = "a test that finds something else fails")]

mod growth;
mod objects;
mod torture;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_ganger-bench");
    Command::new(program).args(arguments).output().expect("the benchmark is built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the shapes of one peer once, with few jobs, and returns its series.
fn series_of(peer: &str, more: &[&str]) -> Vec<Value> {
    let common = ["vs", peer, "--runs", "1", "--jobs", "300", "--output", "json"];
    let output = bench(&[&common, more].concat());
    assert!(output.status.success(), "{peer}: {}{}", text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["series"].as_array().unwrap().clone()
}

fn is_installed(peer: &str) -> bool {
    let listing = text(&bench(&["peers"]).stdout);
    let line = listing.lines().find(|line| line.starts_with(peer)).unwrap();
    !line.contains("is not installed")
}

/// Whether a peer says that it cannot promise what is asked for: only an old NATS may, and Python's
/// manager, which promises nothing.
fn is_lacking(peer: &str, series: &Value) -> bool {
    let Some(why) = series["unavailable"].as_str() else { return false };
    match (peer, series["load"]["durability"].as_str().unwrap()) {
        ("nats", "strict") => assert!(why.contains("since 2.10"), "{series}"),
        ("python-manager", "relaxed" | "strict") => assert!(why.contains("on a disk"), "{series}"),
        _ => panic!("{peer}: {series}"),
    }
    true
}

/// What comes back is checked by the benchmark itself; here, that it has measured everything.
fn assert_all_results_come_back(peer: &str) {
    if !is_installed(peer) {
        return;
    }
    let loads: [&[&str]; 2] = [
        &["--payload", "16,64KiB"],
        &["--durability", "relaxed,strict", "--shape", "latency,latency-plain,unbatched,best"],
    ];
    for load in loads {
        let series = series_of(peer, load);
        assert!(series.len() >= 6, "{peer} has {} series", series.len());
        for series in series {
            let runs = if is_lacking(peer, &series) { 0 } else { 1 };
            assert_eq!(series["runs"].as_array().unwrap().len(), runs, "{series}");
            assert_eq!(series["failures"].as_array().unwrap().len(), 0, "{series}");
            // So few jobs may fit into memory that the server has already: then nothing compares.
            let fits = series["unit"] == "bytes-per-job" && series["figure"]["median"] == 0.0;
            let ratio = (runs > 0 && !fits).then_some(1.0);
            assert_eq!(series["ratio"].as_f64(), ratio, "{series}");
            if let Some(results) = series["results"].as_object() {
                let found = ["expected", "lost", "duplicates"].map(|name| results[name].as_u64());
                // Nothing is left of a list of which everything was popped.
                let is_empty = series["load"]["call"] == "list-pop";
                assert_eq!(found[0] == Some(0), is_empty, "{series}");
                assert_eq!(found[1..], [Some(0); 2], "{series}");
            }
        }
    }
}

#[test]
fn ganger_gives_all_results_back() {
    assert_all_results_come_back("ganger");
}

/// A broker in a process of its own, ended when dropped.
struct Broker {
    process: Child,
    address: String,
    key_file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("key");
        let mut process = Command::new(env!("CARGO_BIN_EXE_ganger-bench"))
            .args(["serve", "--listen", "127.0.0.1:0", "--key-file"])
            .arg(&key_file)
            .arg("--data")
            .arg(dir.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("listening on ").unwrap().1.split_once(',').unwrap().0;
        Self { process, address: address.to_owned(), key_file, _dir: dir }
    }

    fn load(&self, more: &[&str]) -> Output {
        let key_file = self.key_file.to_str().unwrap();
        let common = ["load", "--broker", &self.address, "--key-file", key_file];
        bench(&[&common, more].concat())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn load_gets_every_result_once_at_the_rate_asked_for() {
    let broker = Broker::start();
    let rate = ["--rate", "2000", "--duration", "500ms", "--producers", "2", "--workers", "2"];
    let output = broker.load(&[&rate[..], &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The first job of each producer is due at once.
    let submitted = summary["submitted"].as_u64().unwrap();
    assert!((900..=1_002).contains(&submitted), "{summary}");
    assert_eq!(summary["results"]["lost"], 0, "{summary}");
    assert_eq!(summary["worked_twice"], 0, "{summary}");
    assert!(summary["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{summary}");
}

#[test]
fn load_at_most_is_a_table_with_a_rate() {
    let output = Broker::start().load(&["--duration", "200ms", "--payload", "1KiB"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("rate achieved"), "{}", text(&output.stdout));
}

#[test]
fn relay_gives_all_results_back() {
    assert_all_results_come_back("relay");
}

#[test]
fn redis_list_gives_all_results_back() {
    assert_all_results_come_back("redis-list");
}

#[test]
fn redis_stream_gives_all_results_back() {
    assert_all_results_come_back("redis-stream");
}

#[test]
fn beanstalkd_gives_all_results_back() {
    assert_all_results_come_back("beanstalkd");
}

#[test]
fn nats_gives_all_results_back() {
    assert_all_results_come_back("nats");
}

#[test]
fn python_manager_gives_all_results_back() {
    assert_all_results_come_back("python-manager");
}

/// Of a load whose flushes take 1 ms longer, or that it needs strace for that.
#[test]
fn flushes_take_longer_for_every_server() {
    let load =
        ["--shape", "latency", "--durability", "strict,strict-1ms", "--runs", "1", "--jobs", "50"];
    for peer in ["ganger", "relay"] {
        let output = bench(&[&["vs", peer, "--output", "json"], &load[..]].concat());
        if !Command::new("strace").arg("--version").output().is_ok_and(|out| out.status.success()) {
            assert!(!output.status.success());
            assert!(text(&output.stdout).contains("apt install strace"), "{output:?}");
            continue;
        }
        assert!(output.status.success(), "{peer}: {}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let slow = &report["series"][1];
        assert_eq!(slow["load"]["durability"], "strict-1ms");
        // Where the job's flush and its result's overlap, it is one.
        let fastest = slow["runs"][0]["figure"].as_f64().unwrap();
        assert!(fastest >= 1_000.0, "{peer}: {fastest} µs, with a flush that takes 1 ms longer");
    }
}

#[test]
fn unknown_peer_is_refused_with_the_names_there_are() {
    let output = bench(&["vs", "redis-lisp"]);
    assert!(!output.status.success());
    let text = text(&output.stderr);
    assert!(text.contains("redis-lisp") && text.contains("redis-list"), "{text}");
}

#[test]
fn data_of_servers_is_gone_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    series_of("relay", &["--shape", "best", "--durability", "strict", "--dir", path]);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}
