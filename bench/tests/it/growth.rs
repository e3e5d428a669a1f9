//! Growth as a process: every dimension is measured, and every job settled once.

use serde_json::Value;

use crate::{bench, text};

/// Runs a small sweep and returns its curves.
fn curves(more: &[&str]) -> Vec<Value> {
    let small = ["growth", "--jobs", "200", "--runs", "1", "--output", "json"];
    let output = bench(&[&small[..], more].concat());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["curves"].as_array().unwrap().clone()
}

/// The sizes of the steps of a curve, each of which was measured once.
fn sizes(curve: &Value) -> Vec<u64> {
    let steps = curve["steps"].as_array().unwrap();
    for step in steps {
        assert_eq!(step["failures"].as_array().unwrap().len(), 0, "{curve:#}");
        assert_eq!(step["runs"][0]["jobs"], 200, "{curve:#}");
        assert!(step["cpu_us"]["median"].as_f64().unwrap() > 0.0, "{curve:#}");
    }
    steps.iter().map(|step| step["size"].as_u64().unwrap()).collect()
}

#[test]
fn every_state_is_reached_and_every_job_settled() {
    let dimensions = ["--dimension", "backlog,connections,queues,delayed,leased", "--max", "100"];
    let curves = curves(&dimensions);
    let names: Vec<_> = curves.iter().map(|curve| curve["dimension"].as_str().unwrap()).collect();
    assert_eq!(names, ["backlog", "connections", "queues", "delayed", "leased"]);
    for curve in &curves {
        let steps = sizes(curve);
        assert_eq!(*steps.last().unwrap(), 100, "{curve:#}");
        // One step has no trend.
        assert_eq!(curve["trend"].is_null(), steps.len() == 1, "{curve:#}");
    }
}

#[test]
fn more_workers_than_jobs_on_their_way_get_all_of_them() {
    let curves = curves(&["--dimension", "workers,payload", "--max", "64"]);
    assert_eq!(sizes(&curves[0]), [1, 2, 4, 8, 16, 32, 64]);
    assert_eq!(sizes(&curves[1]), [16, 64]);
}

#[test]
fn lists_grow_and_every_answer_is_right() {
    let dimensions = "list-append,list-pop-first,list-pop-last,list-get,list-len";
    let curves = curves(&["--dimension", dimensions, "--max", "1000"]);
    assert_eq!(curves.len(), 5);
    for curve in &curves {
        assert_eq!(sizes(curve), [10, 100, 1_000]);
    }
}

#[test]
fn backlog_that_a_journal_has_is_reached_too() {
    let strict = ["--dimension", "backlog", "--max", "1000", "--durability", "strict"];
    assert_eq!(sizes(&curves(&strict)[0]), [1_000]);
}

#[test]
fn page_and_plot_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("growth-notes.md"), "It was cold.").unwrap();
    let (page, plot) = (path("growth.md"), path("growth.svg"));
    let files = ["--markdown", page.to_str().unwrap(), "--svg", plot.to_str().unwrap()];
    curves(&[&["--dimension", "queues", "--max", "10"], &files[..]].concat());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("(growth.svg)") && page.contains("It was cold."), "{page}");
    assert!(std::fs::read_to_string(plot).unwrap().contains("queues"));
}
