//! Many jobs at once.

use serde_json::Value;

use crate::support::{Broker, ganger, run};

const LINES: u32 = 100_000;

#[test]
fn hundred_thousand_lines_become_jobs_and_results_in_order() {
    let broker = Broker::start();
    let input: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    let rest = ["--concurrency", "64", "--prefetch", "1000", "--handler", "echo"];
    let _worker = broker.worker("q", &rest);
    assert!(broker.run_with("submit --queue q --each-line --wait", &input).ok() == input);
    let list: Value = serde_json::from_str(&broker.run("list ls -o json").ok()).unwrap();
    assert_eq!(list["lists"][0]["length"], LINES);
}

#[test]
fn ids_of_many_lines_are_all_different_and_in_order() {
    let broker = Broker::start();
    let input: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    let out = broker.run_with("submit --queue q --each-line", &input).ok();
    let number = |id: &str| id.split_once('-').unwrap().1.parse::<u32>().unwrap();
    assert!(out.lines().map(number).eq(0..LINES));
    broker.until("q", "ready", LINES.into());
}

#[test]
fn demonstration_loses_nothing() {
    let done = run(ganger(["demo", "--jobs", "3000"]));
    assert!(done.err.contains("SIGKILL"), "{}", done.err);
    assert!(done.ok().contains("3,000 jobs, 3,000 results, each checked: none lost, none twice"));
}
