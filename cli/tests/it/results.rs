//! Lists read, followed and taken.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Broker, Running};

#[test]
fn items_are_read_from_either_end() {
    let broker = Broker::start();
    broker.run("list append hosts a b c d").ok();
    assert_eq!(broker.run("results hosts").ok(), "a\nb\nc\nd\n");
    assert_eq!(broker.run("results hosts --from 1 --count 2").ok(), "b\nc\n");
    assert_eq!(broker.run("results hosts --from -1").ok(), "d\n");
    assert_eq!(
        broker.run("results hosts --from -1 -o json").ok(),
        "{\"v\":1,\"results\":[{\"index\":3,\"result\":\"d\"}]}\n"
    );
}

#[test]
fn popped_items_are_gone() {
    let broker = Broker::start();
    broker.run_with("list append hosts --each-line", "a\nb\nc\n").ok();
    assert_eq!(broker.run("results hosts --pop --count 2").ok(), "a\nb\n");
    assert_eq!(broker.run("results hosts").ok(), "c\n");
    assert_eq!(broker.run("results hosts --pop").ok(), "c\n");
    let error = broker.run("results hosts --pop --wait 20ms").failed(124);
    assert!(error.contains("0 of 1"), "{error}");
}

#[test]
fn followed_items_come_as_they_are_appended() {
    let broker = Broker::start();
    broker.run("list append hosts a").ok();
    let mut command = broker.command("results hosts --follow --count 3 -o ndjson");
    let mut following = Running::start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(following.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), r#"{"v":1,"index":0,"result":"a"}"#);
    broker.run("list append hosts b c d").ok();
    assert_eq!(lines.next().unwrap().unwrap(), r#"{"v":1,"index":1,"result":"b"}"#);
    assert_eq!(lines.next().unwrap().unwrap(), r#"{"v":1,"index":2,"result":"c"}"#);
    assert!(lines.next().is_none());
    assert_eq!(following.0.wait().unwrap().code(), Some(0));
}
