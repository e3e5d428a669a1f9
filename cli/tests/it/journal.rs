//! The journal's verbs, on the folder of a broker that was killed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Broker, Done, ganger, run};

fn journal(verb: &str, paths: &[&Path]) -> Done {
    let mut command = ganger(["journal", verb, "-o", "json"]);
    command.args(paths);
    run(command)
}

/// A folder with the journal of a broker that took three jobs and was killed.
fn abandoned() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config =
        format!("data = {:?}\n[journal]\nany_filesystem = true\n", data.display().to_string());
    let broker = Broker::start_with(&config);
    broker.run_with("submit --queue q --each-line", "a\nb\nc\n").ok();
    let held = journal("stat", &[&data]);
    assert!(held.err.contains("is writing to"), "{held:?}");
    drop(broker);
    (folder, data)
}

#[test]
fn sound_journal_is_verified_dumped_and_counted() {
    let (_folder, data) = abandoned();
    let summary: Value = serde_json::from_str(&journal("verify", &[&data]).ok()).unwrap();
    let records = summary["records"].as_u64().unwrap();
    let dumped = journal("dump", &[&data]).ok();
    let lines: Vec<Value> =
        dumped.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, records);
    assert_eq!(dumped.matches("\"Submitted\"").count(), 1, "{dumped}");
    assert_eq!(journal("segments", &[&data]).ok().matches("seg-0000000001").count(), 1);
}

#[test]
fn damage_is_named_and_the_rest_can_be_saved() {
    let (folder, data) = abandoned();
    let segment = data.join("seg-0000000001");
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    // In the first frame of records, behind its header.
    file.write_all_at(b"X", 4096 + 200).unwrap();
    let error = journal("verify", &[&data]).failed(1);
    assert!(error.contains("seg-0000000001, bytes 4096 to"), "{error}");
    assert!(error.contains("ganger journal salvage"), "{error}");

    let saved = folder.path().join("saved");
    let done = journal("salvage", &[&data, &saved]);
    assert!(done.err.contains("record 1 is lost"), "{done:?}");
    assert_eq!(done.code, 8);
    let lost: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(lost["lost"][0]["from"], 1);
    journal("verify", &[&saved]).ok();
}

#[test]
fn folder_that_is_no_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = journal("verify", &[&missing]).failed(3);
    assert!(error.contains("there is no folder") && error.contains("--data"), "{error}");
    fs::write(folder.path().join("seg-0000000001"), b"no segment").unwrap();
    let error = journal("verify", &[folder.path()]).failed(1);
    assert!(error.contains("FORMAT"), "{error}");
}
