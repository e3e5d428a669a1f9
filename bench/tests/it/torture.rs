//! Torture as a process: a good run passes, a bad one is found, and a history is judged alike by all.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{bench, text};

/// Few clients for a short time; enough for thousands of jobs.
const SMALL: [&str; 8] =
    ["--seconds", "0.7", "--submitters", "3", "--readers", "2", "--output", "json"];

/// The exit code and the summary of a run.
fn torture(out: &Path, more: &[&str]) -> (bool, Value) {
    let output = bench(&[&["torture", "--out", out.to_str().unwrap()], &SMALL[..], more].concat());
    let summary = serde_json::from_slice(&output.stdout);
    (output.status.success(), summary.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

#[test]
fn broker_that_nobody_kills_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let (passed, summary) = torture(dir.path(), &["--seed", "7"]);
    assert!(passed, "{summary:#}");
    let counts = &summary["runs"][0]["counts"];
    assert!(counts["acknowledged"].as_u64().unwrap() > 100, "{summary:#}");
    assert!(counts["ordered"].as_u64().unwrap() > 50, "{summary:#}");
    assert!(summary["runs"][0]["peak_rss_bytes"].as_u64().unwrap() > 1 << 20, "{summary:#}");
    assert_eq!(summary["runs"][0]["seed"], 7);
}

#[test]
fn broker_that_is_killed_keeps_its_promises() {
    for durability in ["strict", "relaxed"] {
        let dir = tempfile::tempdir().unwrap();
        let (passed, summary) =
            torture(dir.path(), &["--kills", "3", "--durability", durability, "--workers", "3"]);
        assert!(passed, "{summary:#}");
        assert_eq!(summary["runs"][0]["counts"]["kills"], 3, "{summary:#}");
        assert!(summary["runs"][0]["recovery_ms"]["p99"].as_f64().unwrap() > 0.0, "{summary:#}");
    }
}

/// The test of the test: a broker that keeps nothing across a kill must not pass.
#[test]
fn broker_that_forgets_what_it_acknowledged_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    // Workers that are too few for the jobs: the broker dies with some of them.
    let kills = ["--kills", "2", "--durability", "memory", "--workers", "1", "--patience", "4"];
    let (passed, summary) = torture(dir.path(), &kills);
    assert!(!passed, "{summary:#}");
    assert_eq!(summary["runs"][0]["counts"]["kills"], 2, "{summary:#}");
    assert!(summary["runs"][0]["complaints"][0].as_str().unwrap().contains(" lost"), "{summary:#}");
}

#[test]
fn connections_that_break_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (passed, summary) =
        torture(dir.path(), &["--network", "--scenario", "cut-answers,close-at-once"]);
    assert!(passed, "{summary:#}");
    for run in summary["runs"].as_array().unwrap() {
        assert!(run["silence_ms"]["faults"].as_u64().unwrap() > 5, "{summary:#}");
    }
    assert!(dir.path().join("close-at-once/history.jsonl").exists());
}

#[test]
fn history_is_judged_alike_by_all_and_a_changed_one_is_found() {
    let dir = tempfile::tempdir().unwrap();
    assert!(torture(dir.path(), &[]).0);
    let history = dir.path().join("history.jsonl");
    let check = || bench(&["torture", "check", history.to_str().unwrap(), "--output", "json"]);
    let output = check();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let verdict = fs::read_to_string(dir.path().join("verdict.json")).unwrap();
    assert_eq!(text(&output.stdout).trim(), verdict.trim());

    // Without what was read, all results are missing.
    let lines = fs::read_to_string(&history).unwrap();
    let others = lines.lines().filter(|line| !line.contains(r#""event":"read""#));
    fs::write(&history, others.fold(String::new(), |text, line| text + line + "\n")).unwrap();
    let output = check();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("verdict.json says something else"));
    fs::remove_file(dir.path().join("verdict.json")).unwrap();
    let output = check();
    assert!(text(&output.stderr).contains(" unread"), "{}", text(&output.stderr));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |arguments: &[&str], words: &str| {
        let output = bench(&[&["torture"], arguments].concat());
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    };
    refused(&[], "--out <DIR>");
    refused(&["--out", "x", "--network", "--scenario", "strom"], "storm");
    refused(&["--out", "x", "--network", "--kills", "3"], "cannot be used with");
    refused(&["check", "/nowhere/history.jsonl"], "/nowhere/history.jsonl cannot be read");
}
