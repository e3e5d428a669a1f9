//! BLAKE3 of a directory tree by three worker processes, one of which is killed in the middle.
//!
//! One job per file of this project's sources; its result is the file's digest. When a third of them
//! are done, one worker gets a SIGKILL: it cannot finish, give back or say anything. The broker sees
//! its connection end, waits a second in case it comes back, and hands what it had to the others.
//!
//! The digest of the tree is that of the lines `b3sum` would print for its files, in sorted order. It
//! is compared with one that is computed without Ganger.
//!
//! ```text
//! $ cargo run -p ganger-examples --example blake3_tree
//! 163 files, 3 workers
//! worker 1 was killed after 54 files: signal: 9 (SIGKILL)
//! 163 digests, one per file; 9 jobs of worker 1 were run by the others
//! tree 0f82...d501: the same as without workers
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io, thread};

use anyhow::bail;
use async_process::{Child, Command};
use ganger_broker::Broker;
use ganger_shared::Name;
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_worker::{Client, Ctx, Options, Worker, key_file};
use walkdir::{DirEntry, WalkDir};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match &args[..] {
        [] => ganger_worker::block_on(master()),
        [address, key] => ganger_worker::block_on(worker(address, Path::new(key))),
        _ => bail!("this example takes no arguments"),
    }
}

/// The handler; an io error has the job tried again. `ganger-worker --handler blake3` does the same
/// without a program. This one is slow, as some disks are, so that there is a middle to be killed in.
fn digest(file: PathBuf, _: Ctx) -> io::Result<String> {
    thread::sleep(Duration::from_millis(5));
    Ok(blake3::hash(&fs::read(file)?).to_string())
}

async fn worker(address: &str, key: &Path) -> anyhow::Result<()> {
    let client = Client::connect(Options::new(address, key_file::read(key)?)).await?;
    Worker::new(client).queue("tree").prefetch(8).blocking("tree", digest).run().await?;
    Ok(())
}

async fn master() -> anyhow::Result<()> {
    // The workers inherit this, and paths are relative to it.
    env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    let broker = Broker::builder().listen("127.0.0.1:0").key_file(&key).in_memory().start().await?;
    let address = broker.addr().to_string();
    let start = |_| -> io::Result<Child> {
        let mut worker = Command::new(env::current_exe()?);
        worker.arg(&address).arg(&key).kill_on_drop(true).spawn()
    };
    let mut workers = (0..3).map(start).collect::<Result<Vec<_>, _>>()?;

    let files = source_files()?;
    println!("{} files, {} workers", files.len(), workers.len());
    let client = Client::over(broker.connect_pipe(), broker.key().clone()).await?;
    let payloads = files.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>()?;
    let submitted = client.submit_many("tree", payloads).notify().await?;

    // Results are also appended to a list of the queue, where one can watch them come.
    let list = client.queue("tree")?.results()?;
    let mut results = list.follow(0);
    let third = files.len() / 3;
    for _ in 0..third {
        results.next().await?;
    }
    workers[1].kill()?;
    let status = workers[1].status().await?;
    assert_eq!(status.signal(), Some(9), "worker 1 should have lived until it was killed");
    println!("worker 1 was killed after {third} files: {status}");

    let endings = submitted.into_endings().expect("notify was asked for");
    let digests = endings.results().await?;
    let length = list.len().await?;
    assert_eq!((digests.len(), length), (files.len(), files.len() as u64), "one result per file");
    let rescued = crashed(&client).await?;
    println!("{length} digests, one per file; {rescued} jobs of worker 1 were run by the others");

    let digests = digests.iter().map(|digest| serde_json::from_slice(digest));
    let tree = tree_digest(&files, &digests.collect::<Result<Vec<_>, _>>()?);
    let direct = files.iter().map(|file| Ok(blake3::hash(&fs::read(file)?).to_string()));
    let direct = tree_digest(&files, &direct.collect::<io::Result<Vec<_>>>()?);
    assert_eq!(tree, direct, "some digest is wrong");
    println!("tree {tree}: the same as without workers");

    drop(workers); // which ends the other two
    client.close().await;
    broker.stop().await?;
    Ok(())
}

/// How many leases have ended with their worker, as the broker counts them.
async fn crashed(client: &Client) -> anyhow::Result<u64> {
    match client.admin(AdminVerb::QueueShow { queue: Name::new("tree")? }).await? {
        AdminAnswer::Queue(queue) => Ok(queue.crashed),
        answer => bail!("not about a queue: {answer:?}"),
    }
}

fn tree_digest(files: &[PathBuf], digests: &[String]) -> blake3::Hash {
    let mut tree = blake3::Hasher::new();
    for (file, digest) in files.iter().zip(digests) {
        tree.update(format!("{digest}  {}\n", file.display()).as_bytes());
    }
    tree.finalize()
}

/// The sources of this project, from its top: every file that is neither hidden nor built.
fn source_files() -> anyhow::Result<Vec<PathBuf>> {
    let is_source = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || name == "target")
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(".").sort_by_file_name().into_iter().filter_entry(is_source) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push(entry.path().strip_prefix(".")?.to_owned());
        }
    }
    Ok(files)
}
