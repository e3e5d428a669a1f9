//! The classic: a manager owns a list, and five worker processes append to it and see it grow.
//!
//! The manager is a broker inside this program; the workers are this program again, started with
//! three arguments. They share no memory: what they know of the list, they ask the broker through
//! a proxy. An append answers with the length of the list right after it, so no two workers ever
//! see the same one, however they interleave.
//!
//! ```text
//! $ cargo run -p ganger-examples --example shared_list
//! manager: my_list is at 127.0.0.1:40467
//! worker 0: connected, the list has length 0
//! worker 3: connected, the list has length 0
//! ...
//! worker 3: appended, the list has length 4
//! worker 2: appended, the list has length 5
//! manager: all workers have finished, and this is my_list:
//!   Result from worker 1
//!   ...
//! manager: every worker's result is there, once
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use async_process::{Child, Command};
use ganger_broker::{Broker, Registration};
use ganger_worker::{Client, Options, key_file};

const WORKERS: usize = 5;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [] => ganger_worker::block_on(manager()),
        [address, key, id] => ganger_worker::block_on(worker(address, Path::new(key), id)),
        _ => bail!("this example takes no arguments"),
    }
}

async fn manager() -> anyhow::Result<()> {
    // The key proves to either side that the other one belongs here. The broker makes the file, which
    // only its owner can read.
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    // The registry: what there is from the start, and what clients may do with it.
    let registered = Registration::new("list/1".parse()?).expose(&["append", "pop", "len"]);
    let broker = Broker::builder()
        .listen("127.0.0.1:0")
        .key_file(&key)
        .in_memory()
        .register("my_list".parse()?, registered)
        .start()
        .await?;
    let client = Client::over(broker.connect_pipe(), broker.key().clone()).await?;
    let list = client.list("my_list")?;
    println!("manager: my_list is at {}", broker.addr());

    let address = broker.addr().to_string();
    let start = |id: usize| -> std::io::Result<Child> {
        let mut worker = Command::new(std::env::current_exe()?);
        worker.arg(&address).arg(&key).arg(id.to_string()).kill_on_drop(true).spawn()
    };
    let mut workers = (0..WORKERS).map(start).collect::<Result<Vec<_>, _>>()?;
    for worker in &mut workers {
        let status = worker.status().await?;
        ensure!(status.success(), "a worker failed: {status}");
    }

    println!("manager: all workers have finished, and this is my_list:");
    let mut results = Vec::new();
    for item in list.pop(100, Duration::ZERO).await?.items {
        let result = String::from_utf8(item.bytes.to_vec())?;
        println!("  {result}");
        results.push(result);
    }
    results.sort();
    let expected: Vec<String> = (0..WORKERS).map(result_from).collect();
    assert_eq!(results, expected, "a result is missing, or there twice");
    println!("manager: every worker's result is there, once");

    client.close().await;
    broker.stop().await?;
    Ok(())
}

fn result_from(id: impl std::fmt::Display) -> String {
    format!("Result from worker {id}")
}

async fn worker(address: &str, key: &Path, id: &str) -> anyhow::Result<()> {
    let client = Client::connect(Options::new(address, key_file::read(key)?)).await?;
    let list = client.list("my_list")?;
    println!("worker {id}: connected, the list has length {}", list.len().await?);
    ganger_rt::sleep(Duration::from_millis(300)).await; // stands for the work
    let length = list.append(result_from(id)).await?;
    println!("worker {id}: appended, the list has length {length}");
    client.close().await;
    Ok(())
}
