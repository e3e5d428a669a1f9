//! A chord: many jobs side by side, and one that runs once all of them are done.
//!
//! The text is this project's own documents. A job for each page counts its words; together with its
//! end, in one step, the count goes into a shared list. The job that adds them up is submitted at once,
//! behind the others, and nobody polls: the broker lets it go when the last page is done. So the list is
//! complete when it reads it, although pages fail now and then and are tried again.
//!
//! ```text
//! $ cargo run -p ganger-examples --example chord
//! submitted 24 pages, and the sum behind them
//! sum: 24 pages have 21950 words, the longest is protocol.md
//! every page was counted once, although 5 attempts failed
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::path::Path;

use anyhow::ensure;
use ganger_broker::Broker;
use ganger_worker::{Client, Ctx, Done, JobError, Objects, Worker};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Page {
    name: String,
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sum {
    pages: usize,
    words: usize,
    longest: String,
}

/// Counts the words of a page. The first attempt at every fifth page fails after the work: its count must
/// not show.
async fn count(page: Page, ctx: Ctx) -> Result<Done<usize>, JobError> {
    let words = page.text.split_whitespace().count();
    if page.name.len().is_multiple_of(5) && ctx.attempt() == 1 {
        ctx.counter("failed")?.add(1).await?;
        return Err(JobError::retry("hiccup", &page.name));
    }
    Ok(ctx.finish(words).append("counts", &(page.name, words)))
}

/// Adds up. When this runs, every page is counted.
async fn sum(_: (), ctx: Ctx) -> Result<Sum, JobError> {
    let counts = ctx.typed_list::<(String, usize)>("counts")?.slice(0, None).await?;
    let longest = counts.iter().max_by_key(|(_, words)| *words);
    Ok(Sum {
        pages: counts.len(),
        words: counts.iter().map(|(_, words)| words).sum(),
        longest: longest.map(|(name, _)| name.clone()).unwrap_or_default(),
    })
}

fn main() -> anyhow::Result<()> {
    ganger_worker::block_on(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await?;
        let connect = || Client::over(broker.connect_pipe(), broker.key().clone());
        let mut workers = Vec::new();
        for _ in 0..3 {
            let worker = Worker::new(connect().await?).queue("pages").concurrency(2);
            let worker = worker.handle("count", count).handle("sum", sum);
            workers.push(ganger_worker::spawn(worker.run()));
        }

        let client = connect().await?;
        let queue = client.queue("pages")?;
        let pages = pages()?;
        let encoded = pages.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>()?;
        let brief = std::time::Duration::from_millis(20);
        let counted = queue.submit_many(encoded).handler("count").backoff(brief, brief).await?;
        let sum = queue.submit_json(&()).handler("sum").after(&counted).notify().await?;
        println!("submitted {} pages, and the sum behind them", counted.count());

        let Sum { pages: found, words, longest } = sum.result_json().await?;
        println!("sum: {found} pages have {words} words, the longest is {longest}");
        let direct: usize = pages.iter().map(|page| page.text.split_whitespace().count()).sum();
        ensure!((found, words) == (pages.len(), direct), "a direct count finds {direct} words");
        let failed = client.counter("failed")?.get().await?;
        ensure!(failed > 0, "no attempt failed");
        println!("every page was counted once, although {failed} attempts failed");

        for worker in workers {
            worker.cancel().await;
        }
        broker.stop().await?;
        Ok(())
    })
}

/// What is written in Markdown at the top of the project and in `docs`.
fn pages() -> anyhow::Result<Vec<Page>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = Vec::new();
    for folder in [project.clone(), project.join("docs")] {
        for entry in WalkDir::new(folder).max_depth(1).sort_by_file_name() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                pages.push(Page { name, text: std::fs::read_to_string(entry.path())? });
            }
        }
    }
    Ok(pages)
}
