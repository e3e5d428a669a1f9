//! Jobs handed in, and what becomes of them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Broker, Running, run};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn waited_results_come_in_the_order_of_the_input() {
    let broker = Broker::start();
    let _worker = broker.worker("q", &["--concurrency", "8", "--handler", "echo"]);
    let input: String = (0..500).map(|n| format!("line {n}\n")).collect();
    assert_eq!(broker.run_with("submit --queue q --each-line --wait", &input).ok(), input);
}

#[test]
fn waited_results_as_json_name_line_job_and_status() {
    let broker = Broker::start();
    let _worker = broker.worker("q", &["--handler", "echo"]);
    let out = broker.run_with("submit --queue q --each-line --wait -o ndjson", "a\nb\n").ok();
    let mut lines = json_lines(&out);
    lines.sort_by_key(|line| line["line"].as_u64());
    for (line, (number, result)) in lines.iter().zip([(1, "a"), (2, "b")]) {
        assert_eq!((&line["v"], &line["line"]), (&1.into(), &number.into()));
        assert_eq!((&line["status"], &line["result"]), (&"done".into(), &result.into()));
    }
    let document = broker.run_with("submit --queue q --each-line --wait -o json", "a\nb\n").ok();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn ids_come_out_and_can_be_waited_for_shown_and_cancelled() {
    let broker = Broker::start();
    let ids = broker.run_with("submit --queue q --each-line", "a\nb\nc\n").ok();
    let all: Vec<&str> = ids.lines().collect();
    assert_eq!(all.len(), 3);
    let job: Value =
        serde_json::from_str(&broker.run(&format!("job show {} -o json", all[1])).ok()).unwrap();
    assert_eq!((&job["state"], &job["payload"]), (&"ready".into(), &"b".into()));
    assert_eq!(broker.run(&format!("job cancel {} -q", all[1])).ok(), "");
    let _worker = broker.worker("q", &["--handler", "echo"]);
    let done = broker.run_with("job wait -", &ids);
    assert_eq!((done.code, done.out.as_str()), (8, "a\n\nc\n"), "{}", done.err);
    assert!(done.err.contains("cancelled"), "{}", done.err);
    assert_eq!(broker.run(&format!("job wait {}", all[1])).code, 10);
}

#[test]
fn lines_of_json_choose_their_options() {
    let broker = Broker::start();
    let input =
        "{\"payload\":\"late\"}\n{\"payload\":{\"n\":1},\"priority\":9,\"handler\":\"h\"}\n";
    let ids = broker.run_with("submit --queue q --ndjson", input).ok();
    let second = ids.lines().nth(1).unwrap();
    let job = broker.run(&format!("job show {second} -o json")).ok();
    let job: Value = serde_json::from_str(&job).unwrap();
    assert_eq!(job["payload"], "{\"n\":1}");
    assert_eq!((&job["options"]["priority"], &job["options"]["handler"]), (&9.into(), &"h".into()));
    let peeked = broker.run("queue peek q -n 1 -o ndjson").ok();
    assert!(peeked.contains(second), "the more urgent one is next: {peeked}");
}

#[test]
fn bad_line_stops_the_input_and_earlier_jobs_stand() {
    let broker = Broker::start();
    let done = broker.run_with("submit --queue q --ndjson", "{\"payload\":1}\nnonsense\n");
    assert_eq!(done.out.lines().count(), 1);
    let error = done.failed(8);
    assert!(error.contains("1 jobs were accepted") && error.contains("line 2"), "{error}");
    let error = broker.run_with("submit --queue q --ndjson", "nonsense\n").failed(2);
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn payload_comes_from_text_file_or_standard_input() {
    let broker = Broker::start();
    let _worker = broker.worker("q", &["--handler", "echo"]);
    let file = broker.folder.path().join("letter");
    std::fs::write(&file, "from a file").unwrap();
    assert_eq!(broker.run("submit --queue q --wait text").ok(), "text\n");
    let words = format!("submit --queue q --wait @{}", file.display());
    assert_eq!(broker.run(&words).ok(), "from a file\n");
    assert_eq!(broker.run_with("submit --queue q --wait -", "a\nb").ok(), "a\nb\n");
    let error = broker.run("submit --queue q @/nonexistent").failed(2);
    assert!(error.contains("/nonexistent"), "{error}");
}

#[test]
fn failed_job_is_a_dead_letter_until_it_is_retried() {
    let broker = Broker::start();
    let fail = &["--exec", "echo broken >&2; exit 3"];
    let mut worker = broker.worker("q", fail);
    let error = broker.run("submit --queue q --retries 0 --wait x").failed(11);
    assert!(error.contains("out of retries") && error.contains("broken"), "{error}");
    let dead = json_lines(&broker.run("dead ls -o ndjson").ok());
    assert_eq!(dead[0]["failure"]["kind"], "exit-3");
    worker.kill();

    let _worker = broker.worker("q", &["--handler", "echo"]);
    assert_eq!(broker.run("dead retry --queue q -o json").ok(), "{\"v\":1,\"count\":1}\n");
    let job = dead[0]["job"].as_str().unwrap();
    assert_eq!(broker.run(&format!("job wait {job}")).ok(), "x\n");
    assert_eq!(broker.run("dead ls").ok(), "");
}

#[test]
fn wait_that_takes_too_long_times_out_and_the_job_goes_on() {
    // A disk that is slow just then must not be what takes too long.
    let broker = Broker::start_with("durability = \"memory\"");
    let error = broker.run("submit --queue q --wait --timeout 300ms x").failed(124);
    assert!(error.contains("the job goes on"), "{error}");
    let _worker = broker.worker("q", &["--handler", "echo"]);
    assert_eq!(broker.run("results q.results --wait 1m").ok(), "x\n");
}

#[test]
fn interrupted_wait_says_that_the_job_goes_on() {
    let broker = Broker::start();
    broker.run("queue set q").ok();
    broker.run("queue pause q").ok();
    let mut command = broker.command("submit --queue q --wait x");
    let mut waiting = Running::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut said = BufReader::new(waiting.0.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("is paused") && line.contains("ganger queue resume q"), "{line}");
    let mut kill = Command::new("kill");
    kill.args(["-INT", &waiting.0.id().to_string()]);
    run(kill).ok();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("the job goes on"), "{line}");
    assert_eq!(waiting.0.wait().unwrap().code(), Some(130));
    broker.run("queue resume q").ok();
    let _worker = broker.worker("q", &["--handler", "echo"]);
    assert_eq!(broker.run("results q.results --wait 1m").ok(), "x\n");
}

#[test]
fn job_of_a_killed_worker_runs_elsewhere() {
    let broker = Broker::start();
    let mut worker = broker.worker("q", &["--exec", "read _; exec tail -f /dev/null"]);
    let mut command = broker.command("submit --queue q --wait hello");
    let waiting = Running::start(command.stdout(Stdio::piped()));
    broker.until("q", "leased", 1);
    worker.kill();
    let _worker = broker.worker("q", &["--handler", "echo"]);
    let mut waiting = waiting;
    let mut result = String::new();
    BufReader::new(waiting.0.stdout.take().unwrap()).read_line(&mut result).unwrap();
    assert_eq!((result.as_str(), waiting.0.wait().unwrap().code()), ("hello\n", Some(0)));
}
