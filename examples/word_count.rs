//! Word count: map over chunks of real text, collect the results from a shared list, reduce.
//!
//! The text is this project's own documents. Each chunk is a job; three workers, each with a
//! connection of its own, count the words of the chunks that they get. The result of a job is
//! appended to the queue's results list in the same step that ends the job, so that the program can
//! take the counts from there in whatever order they come: none is missing, none is there twice.
//!
//! ```text
//! $ cargo run -p ganger-examples --example word_count
//! submitted 45 chunks of 7 documents
//! 45 results from wordcount.results, 10931 words, 2209 of them different
//!   764 the
//!   ...
//! the sum of the parts is what one direct count finds
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use ganger_broker::Broker;
use ganger_worker::{Client, Ctx, JobError, Worker};
use walkdir::WalkDir;

/// How often each word was seen.
type Counts = BTreeMap<String, u64>;

const CHUNK_LINES: usize = 50;

fn count_words(text: &str) -> Counts {
    let mut counts = Counts::new();
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    for word in words {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

/// The handler.
async fn count(chunk: String, _: Ctx) -> Result<Counts, JobError> {
    Ok(count_words(&chunk))
}

fn main() -> anyhow::Result<()> {
    ganger_worker::block_on(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await?;
        let connect = || Client::over(broker.connect_pipe(), broker.key().clone());
        let mut workers = Vec::new();
        for _ in 0..3 {
            let worker = Worker::new(connect().await?).queue("wordcount");
            workers.push(ganger_worker::spawn(worker.handle("wordcount", count).run()));
        }

        let documents = documents()?;
        let (jobs, counts) = count_in_parts(&connect().await?, &documents).await?;
        let words: u64 = counts.values().sum();
        let different = counts.len();
        println!(
            "{jobs} results from wordcount.results, {words} words, {different} of them different"
        );
        let mut by_count: Vec<_> = counts.iter().collect();
        by_count.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (word, count) in by_count.into_iter().take(5) {
            println!("  {count:5} {word}");
        }
        assert_eq!(counts, count_words(&documents.join("\n")), "words were lost or counted twice");
        println!("the sum of the parts is what one direct count finds");

        for worker in workers {
            worker.cancel().await;
        }
        broker.stop().await?;
        Ok(())
    })
}

/// Map and reduce: how many jobs it took, and the counts.
async fn count_in_parts(client: &Client, documents: &[String]) -> anyhow::Result<(u64, Counts)> {
    let mut chunks = Vec::new();
    for document in documents {
        let lines: Vec<&str> = document.lines().collect();
        for chunk in lines.chunks(CHUNK_LINES) {
            chunks.push(serde_json::to_vec(&chunk.join("\n"))?);
        }
    }
    let queue = client.queue("wordcount")?;
    let jobs = queue.submit_many(chunks).await?.count();
    println!("submitted {jobs} chunks of {} documents", documents.len());

    let results = queue.results()?;
    let mut counts = Counts::new();
    let mut taken = 0;
    while taken < jobs {
        let page = results.pop(100, Duration::from_secs(10)).await?;
        ensure!(!page.items.is_empty(), "no further result for 10 s, {taken} of {jobs} are here");
        for item in page.items {
            let part: Counts = serde_json::from_slice(&item.bytes)?;
            for (word, count) in part {
                *counts.entry(word).or_default() += count;
            }
            taken += 1;
        }
    }
    ensure!(results.is_empty().await?, "more results than jobs");
    Ok((jobs, counts))
}

/// The licences and everything written in Markdown at the top of the project and in `docs`.
fn documents() -> anyhow::Result<Vec<String>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = Vec::new();
    for folder in [project.clone(), project.join("docs")] {
        for entry in WalkDir::new(folder).max_depth(1).sort_by_file_name() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if name.ends_with(".md") || name.starts_with("LICENSE") {
                documents.push(std::fs::read_to_string(entry.path())?);
            }
        }
    }
    Ok(documents)
}
