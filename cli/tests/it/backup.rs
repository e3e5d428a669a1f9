//! A broker's data, copied while it works, and put back.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::{Broker, Done, ganger, run};

fn copy(verb: &str, from: &Path, to: &Path) -> Done {
    let mut command = ganger([verb, "-o", "json"]);
    command.arg(from).arg(to);
    run(command)
}

fn config(data: &Path) -> String {
    let data = data.display().to_string();
    format!(
        "data = {data:?}\ndurability = \"strict\"\n[journal]\nany_filesystem = true\ncompact_after = \"64KiB\"\n"
    )
}

#[test]
fn backup_of_a_busy_broker_has_every_job_that_was_accepted_before() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("backup"));
    let broker = Broker::start_with(&config(&data));
    let payload = "x".repeat(2_000);
    let kept: String = (0..500).map(|job| format!("{job}\n")).collect();
    let filler: String = (0..500).map(|_| format!("{payload}\n")).collect();
    let stop = AtomicBool::new(false);
    let summary = std::thread::scope(|scope| {
        // Jobs come and go at full speed. Compaction meanwhile is the matter of the journal's own tests.
        let _worker = broker.worker("noise", &["--handler", "echo", "--concurrency", "8"]);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    broker.run_with("submit --queue noise --results none --each-line", &filler);
                }
            });
        }
        let accepted = broker.run_with("submit --queue kept --each-line", &kept);
        let copied = copy("backup", &data, &out);
        stop.store(true, Ordering::Relaxed);
        accepted.ok();
        copied.ok()
    });
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(summary["records"].as_u64() > Some(0));
    drop(broker);

    let restored = folder.path().join("restored");
    let said: Value = serde_json::from_str(&copy("restore", &out, &restored).ok()).unwrap();
    assert_eq!((&said["last"], &said["bytes"]), (&summary["last"], &summary["bytes"]));
    let broker = Broker::start_with(&config(&restored));
    broker.until("kept", "ready", 500);
}

#[test]
fn damage_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("backup"));
    let broker = Broker::start_with(&config(&data));
    broker.run_with("submit --queue q --each-line", "a\nb\nc\n").ok();
    copy("backup", &data, &out).ok();
    drop(broker);
    for (verb, from) in [("backup", &data), ("restore", &out)] {
        let segment = from.join("seg-0000000001");
        let file = OpenOptions::new().write(true).open(&segment).unwrap();
        file.write_all_at(b"X", 4096 + 200).unwrap();
        let to = folder.path().join("to");
        let error = copy(verb, from, &to).failed(1);
        assert!(error.contains(&format!("{}, bytes 4096 to", segment.display())), "{error}");
        assert!(error.contains("try: ganger journal salvage"), "{error}");
        assert!(!to.join("FORMAT").exists());
    }
}

#[test]
fn folder_that_has_something_is_never_copied_into() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("backup"));
    let missing = copy("restore", &out, &data).failed(3);
    assert!(
        missing.contains("there is no folder") && missing.contains("ganger backup"),
        "{missing}"
    );
    let broker = Broker::start_with(&config(&data));
    copy("backup", &data, &out).ok();
    let again = copy("backup", &data, &out).failed(6);
    assert!(again.contains("backup, which is not empty"), "{again}");
    assert!(again.contains("try: name a folder that is not there yet"), "{again}");
    let in_use = copy("restore", &out, &data).failed(6);
    assert!(in_use.contains("is in use by process"), "{in_use}");
    drop(broker);
    let not_empty = copy("restore", &out, &data).failed(6);
    assert!(not_empty.contains("data, which is not empty"), "{not_empty}");
    // An empty one that is there is fine.
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    copy("restore", &out, &empty).ok();
    drop(Broker::start_with(&config(&empty)));
}
