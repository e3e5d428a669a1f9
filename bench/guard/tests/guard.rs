//! Every phase in every form does what it says, and is one that the guard compares.

use std::process::Command;

#[test]
fn every_phase_runs_and_has_a_count() {
    let counts = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/counts")).unwrap();
    let written = counts.lines().filter(|line| !line.starts_with('#'));
    let written: Vec<Vec<&str>> = written.map(|l| l.split_whitespace().take(2).collect()).collect();
    let mut known = Vec::new();
    for phase in ["submit", "assign", "settle", "append", "recovery"] {
        for form in ["runs", "single"] {
            known.push(vec![phase, form]);
            let folder = tempfile::tempdir().unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-guard"));
            let output =
                command.args([phase, form, "256"]).current_dir(folder.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{phase} {form}: {said}");
        }
    }
    assert_eq!(written, known, "the phases in bench/guard/counts");
}
