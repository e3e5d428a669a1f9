//! Commands that run while something is held.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::support::{Broker, Done, Running, run};

/// `ganger` with a shell command that says when it runs.
fn guarded(broker: &Broker, words: &str, script: &str) -> Command {
    let mut command = broker.command(words);
    command.args(["--", "sh", "-c", script]);
    command
}

/// Runs it until its first line of output, and returns that.
fn started(mut command: Command) -> (Running, String) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (running, line)
}

/// Lets a command go on that waits for a line.
fn go_on(running: &mut Running) -> ChildStdin {
    let mut stdin = running.0.stdin.take().unwrap();
    stdin.write_all(b"\n").unwrap();
    stdin
}

fn run_guarded(broker: &Broker, words: &str, script: &str) -> Done {
    run(guarded(broker, words, script))
}

fn send(signal: &str, running: &Running) {
    let mut kill = Command::new("kill");
    kill.args([signal, &running.0.id().to_string()]);
    run(kill).ok();
}

fn holders(broker: &Broker, name: &str) -> Value {
    let out = broker.run(&format!("object holders {name} -o json")).ok();
    serde_json::from_str(&out).unwrap()
}

/// Echoes a line, then waits for one.
const HOLD: &str = "echo held; read _";

#[test]
fn command_has_the_token_and_its_own_status() {
    let broker = Broker::start();
    let first = run_guarded(&broker, "lock deploy", "echo $GANGER_LOCK_TOKEN").ok();
    let second = run_guarded(&broker, "lock deploy", "echo $GANGER_LOCK_TOKEN").ok();
    let token = |text: &str| text.trim().parse::<u64>().unwrap();
    assert!(token(&first) < token(&second), "{first} {second}");
    assert_eq!(run_guarded(&broker, "lock deploy", "exit 42").failed(42), "");
    assert_eq!(run_guarded(&broker, "lock deploy", "kill -9 $$").failed(137), "");
    assert_eq!(run_guarded(&broker, "lock reads --rlock", "exit 3").failed(3), "");
    assert!(run_guarded(&broker, "lock reads", ":").failed(6).contains("reads is a rlock/1"));
    let error = broker.run("lock deploy -- /nonexistent/command").failed(127);
    assert!(error.contains("/nonexistent/command cannot be run"), "{error}");
    broker.run("lock deploy -- /").failed(126);
    let free = broker.run("object holders deploy");
    assert!(free.err.contains("nobody holds deploy"), "{free:?}");
    assert_eq!(free.ok(), "");
}

#[test]
fn lock_that_is_not_free_in_time_names_who_holds_it() {
    let broker = Broker::start();
    let (mut holder, line) = started(guarded(&broker, "lock deploy", HOLD));
    assert_eq!(line, "held\n");
    let found = holders(&broker, "deploy");
    let name = found["holders"][0]["name"].as_str().unwrap();
    assert!(name.ends_with(&format!(":{}", holder.0.id())), "{name}");
    let error = run_guarded(&broker, "lock deploy --wait 1ms", "echo never").failed(124);
    assert!(error.contains(&format!("deploy was not free within 1 ms: held by {name}")), "{error}");
    assert!(broker.run("object holders deploy").ok().starts_with("holds\t"));

    // The second one waits its turn.
    let next = guarded(&broker, "lock deploy", "echo next").stdout(Stdio::piped()).spawn().unwrap();
    while holders(&broker, "deploy")["waiters"].as_array().unwrap().is_empty() {}
    let table = broker.run("object holders deploy -o table").ok();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_eq!(broker.run("object holders deploy -o ndjson").ok().lines().count(), 2);
    let _stdin = go_on(&mut holder);
    assert_eq!(holder.0.wait().unwrap().code(), Some(0));
    assert_eq!(next.wait_with_output().unwrap().stdout, b"next\n");
}

#[test]
fn semaphore_lets_as_many_in_as_it_has_units() {
    let broker = Broker::start();
    let (_first, _) = started(guarded(&broker, "semaphore encoders -n 2", HOLD));
    let (mut second, _) = started(guarded(&broker, "semaphore encoders -n 2", HOLD));
    let error = run_guarded(&broker, "semaphore encoders -n 2 --wait 0s", ":").failed(124);
    assert_eq!(error.matches("token").count(), 2, "{error}");
    let _stdin = go_on(&mut second);
    assert_eq!(second.0.wait().unwrap().code(), Some(0));
    run_guarded(&broker, "semaphore encoders -n 2", ":").ok();
}

#[test]
fn lock_of_a_killed_process_is_free() {
    let broker = Broker::start();
    let (mut holder, _) = started(guarded(&broker, "lock deploy", HOLD));
    holder.kill();
    assert_eq!(run_guarded(&broker, "lock deploy --wait 1m", "echo mine").ok(), "mine\n");
}

#[test]
fn signals_reach_the_command_and_the_lock_is_released_afterwards() {
    let broker = Broker::start();
    for (signal, name, code) in [("-TERM", "TERM", 5), ("-INT", "INT", 6)] {
        let script = format!("trap 'exit {code}' {name}; echo held; while :; do read _; done");
        let (mut holder, _) = started(guarded(&broker, "lock deploy", &script));
        send(signal, &holder);
        assert_eq!(holder.0.wait().unwrap().code(), Some(code));
        run_guarded(&broker, "lock deploy --wait 0s", ":").ok();
    }
    // It ends with its output, and that is closed after the first line.
    let script = "echo held; exec tail -f /dev/null >&2";
    let (mut holder, _) = started(guarded(&broker, "lock deploy", script));
    send("-TERM", &holder);
    assert_eq!(holder.0.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn command_goes_on_with_a_warning_when_the_broker_is_gone() {
    let broker = Broker::start();
    let (mut holder, _) = started(guarded(&broker, "lock deploy", "echo held; read _; exit 9"));
    let mut said = BufReader::new(holder.0.stderr.take().unwrap());
    drop(broker);
    let mut line = String::new();
    while !line.contains("deploy may be lost") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended without a warning");
    }
    let _stdin = go_on(&mut holder);
    assert_eq!(holder.0.wait().unwrap().code(), Some(9));
}
