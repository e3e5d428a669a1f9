//! The operator's verbs.

use serde_json::Value;

use crate::support::{Broker, ganger, run};

#[test]
fn bulk_verbs_need_yes_where_nobody_can_be_asked() {
    let broker = Broker::start();
    broker.run_with("submit --queue q --each-line", "a\nb\n").ok();
    let error = broker.run("queue purge q").failed(2);
    assert!(error.contains("cancels 2 waiting jobs") && error.contains("--yes"), "{error}");
    broker.until("q", "ready", 2);
    assert_eq!(broker.run("queue purge q --yes -o json").ok(), "{\"v\":1,\"count\":2}\n");
    broker.until("q", "ready", 0);

    broker.run("list append l x").ok();
    broker.run("list purge l").failed(2);
    broker.run("list purge l --yes").ok();
    assert_eq!(broker.run("results l").ok(), "");
    broker.run("dead purge --queue q").failed(2);
}

#[test]
fn queue_is_removed_once_nothing_is_in_it() {
    let broker = Broker::start();
    broker.run("submit --queue q x").ok();
    let error = broker.run("queue rm q").failed(6);
    assert!(error.contains("queue q holds 1 jobs, 0 of them dead letters; purge both"), "{error}");
    broker.run("queue purge q --yes").ok();
    assert_eq!(broker.run("queue rm q -o json").ok(), "{\"v\":1,\"count\":1}\n");
    broker.run("queue show q").failed(3);
    assert!(!broker.run("list ls -o json").ok().contains("q.results"));
    broker.run("queue rm q").failed(3);
}

#[test]
fn lists_are_made_where_only_operators_may() {
    let broker = Broker::start_with("create = \"operator-only\"\ndurability = \"memory\"");
    let error = broker.run("list append hosts alpha").failed(3);
    assert!(error.contains("hosts") && error.contains("ganger list create hosts"), "{error}");
    assert_eq!(broker.run("list create hosts -o json").ok(), "{\"v\":1,\"count\":1}\n");
    assert_eq!(broker.run("list create hosts -o json").ok(), "{\"v\":1,\"count\":0}\n");
    broker.run("list append hosts alpha").ok();
    assert_eq!(broker.run("results hosts").ok(), "alpha\n");
    let error = broker.run("list create kept --durability strict").failed(7);
    assert!(error.contains("durability strict is not available"), "{error}");
}

#[test]
fn unknown_queue_is_not_found_and_the_like_is_suggested() {
    let broker = Broker::start();
    broker.run("submit --queue thumbs x").ok();
    let error = broker.run("queue show thumsb").failed(3);
    assert!(error.contains("thumsb") && error.contains("did you mean thumbs?"), "{error}");
    let error = broker.run("job show 0123456789abcdef-1").failed(3);
    assert!(error.contains("0123456789abcdef-1"), "{error}");
}

#[test]
fn stranger_is_not_authorised() {
    let broker = Broker::start();
    let other = Broker::start();
    let mut command = ganger(["status", "--broker", &broker.address, "--key-file"]);
    command.arg(&other.key);
    let error = run(command).failed(4);
    assert!(error.contains("--key-file"), "{error}");
}

#[test]
fn full_or_paused_queue_refuses_and_says_so() {
    let broker = Broker::start();
    broker.run("queue set q --jobs-max 2").ok();
    let done =
        broker.run_with("submit --queue q --each-line --when-full refuse --batch 1", "a\nb\nc\n");
    assert_eq!(done.out.lines().count(), 2);
    let error = done.failed(8);
    assert!(error.contains("line 3") && error.contains("2 of 2 jobs"), "{error}");
    broker.run("submit --queue q x").failed(7);

    broker.run("queue set r").ok();
    broker.run("queue pause r --submits --reason holiday").ok();
    let error = broker.run("submit --queue r x").failed(7);
    assert!(error.contains("holiday") && error.contains("ganger queue resume r"), "{error}");
}

#[test]
fn settings_that_are_not_named_stay() {
    let broker = Broker::start();
    broker.run("queue set q --lease 2m --dead-on exit-2,bad").ok();
    broker.run("queue set q --jobs-max 7 --bytes-max 1MiB").ok();
    let queue: Value = serde_json::from_str(&broker.run("queue show q -o json").ok()).unwrap();
    let settings = &queue["settings"];
    assert_eq!(settings["lease_ms"], 120_000);
    assert_eq!(settings["dead_on"].to_string(), r#"["exit-2","bad"]"#);
    assert_eq!((&settings["jobs_max"], &settings["bytes_max"]), (&7.into(), &1_048_576.into()));
}

#[test]
fn status_says_why_jobs_wait_in_every_format() {
    let broker = Broker::start();
    broker.run("submit --queue q x").ok();
    let status: Value = serde_json::from_str(&broker.run("status -o json").ok()).unwrap();
    assert_eq!(status["broker"]["waiting"], 1);
    assert!(status["broker"]["started"].as_str().unwrap().ends_with('Z'));
    let why = status["queues"][0]["why_jobs_wait"].as_str().unwrap();
    assert!(why.contains("no worker") && why.contains("ganger worker --queue q"), "{why}");
    let table = broker.run("status -o table");
    assert!(table.err.contains(why), "{}", table.err);
    assert!(table.ok().contains("no workers"));
    assert_eq!(broker.run("queue ls").ok().split('\t').next(), Some("q"));
    assert!(broker.run("session ls").ok().contains("connected"));
    assert_eq!(broker.run("list ls -o json").ok().matches("\"name\"").count(), 1);
}
