//! The benchmark as a process: every peer that is installed gives every result back.

#![expect(clippy::unwrap_used, reason = "a test that finds something else fails")]

use std::process::{Command, Output};

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
    assert!(output.status.success(), "{peer}: {}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["series"].as_array().unwrap().clone()
}

fn is_installed(peer: &str) -> bool {
    let listing = text(&bench(&["peers"]).stdout);
    let line = listing.lines().find(|line| line.starts_with(peer)).unwrap();
    !line.contains("is not installed")
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
        assert!(series.len() >= 8, "{peer} has {} series", series.len());
        for series in series {
            assert_eq!(series["runs"].as_array().unwrap().len(), 1, "{series}");
            assert_eq!(series["failures"].as_array().unwrap().len(), 0, "{series}");
        }
    }
}

/// Fails once the broker has a journal, so that `Ganger::lacks` goes then.
#[test]
fn ganger_says_which_durability_it_does_not_offer() {
    for series in series_of("ganger", &["--durability", "strict", "--shape", "latency,best"]) {
        assert!(series["unavailable"].as_str().unwrap().contains("not available yet"), "{series}");
        assert_eq!(series["failures"].as_array().unwrap().len(), 0, "{series}");
    }
}

#[test]
fn ganger_gives_all_results_back() {
    let series = series_of("ganger", &["--payload", "16,64KiB"]);
    assert!(series.len() >= 8, "ganger has {} series", series.len());
    for series in series {
        assert_eq!(series["runs"].as_array().unwrap().len(), 1, "{series}");
        assert_eq!(series["failures"].as_array().unwrap().len(), 0, "{series}");
    }
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
