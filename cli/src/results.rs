//! `ganger results`: items of a list, read, followed or taken.

use std::time::{Duration, Instant};

use ganger_shared::JobId;
use ganger_worker::error::exit;
use ganger_worker::{Error, Item, List, Page};
use serde::Serialize;

use crate::args::{Format, ResultsArgs};
use crate::exit::{Failure, Result};
use crate::link;
use crate::output::{self, Output, Shown};
use crate::sink::Sink;

/// Items asked for at once: 1,024; a page of the largest allowed would not fit a frame, and then the
/// broker sends fewer.
const PAGE: u32 = 1_024;

/// How long one pop waits while it waits for ever: an hour, then it asks again.
const LONG: Duration = Duration::from_secs(3_600);

/// Runs the command.
pub(crate) async fn run(args: ResultsArgs) -> Result {
    let client = link::connect(&args.common).await?;
    let list = client.list(&args.list)?;
    let mut out = Writer::new(Output::new(&args.common.show).format);
    let read = if args.pop {
        pop(&list, &args, &mut out).await
    } else if args.follow {
        follow(&list, &args, &mut out).await
    } else {
        range(&list, &args, &mut out).await
    };
    match read {
        Ok(()) => {}
        Err(Ended::Broker(error)) => {
            out.finish().await?;
            return Err(link::explained(&client, error).await);
        }
        Err(Ended::Failure(failure)) => return Err(failure),
    }
    let count = out.finish().await?;
    client.close().await;
    let wanted = args.count.unwrap_or(1);
    if args.wait.is_some() && count < wanted {
        let sentence = format!("timed out: {count} of {wanted} results came to list {}", args.list);
        return Err(Failure::new(exit::TIMED_OUT, sentence));
    }
    Ok(())
}

/// Why reading ended early.
enum Ended {
    Broker(Error),
    Failure(Failure),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// How many more are wanted, at most a page.
fn page_of(count: Option<u64>, written: u64) -> u32 {
    let left = count.map_or(u64::MAX, |count| count - written);
    u32::try_from(left).unwrap_or(u32::MAX).min(PAGE)
}

/// Takes items from the front until there are none, or as many as are wanted.
async fn pop(list: &List, args: &ResultsArgs, out: &mut Writer) -> Result<(), Ended> {
    let deadline = args.wait.map(|wait| Instant::now() + wait);
    loop {
        let max = page_of(args.count, out.count);
        if max == 0 {
            return Ok(());
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Without --count, --wait is for the first item.
        let patient = args.count.is_some() || out.count == 0;
        let wait = match left {
            _ if args.follow => LONG,
            Some(left) if patient => left,
            Some(_) | None => Duration::ZERO,
        };
        let Page { items, returned, .. } = list.pop(max, wait).await?;
        if returned {
            output::note("the broker was away for too long: what it gave last may come once more");
        }
        if items.is_empty() && !args.follow {
            return Ok(());
        }
        out.write(&items)?;
        // Taken items are the reader's from here on: nothing of them stays behind in a buffer.
        out.flush().await?;
    }
}

/// Reads items as they come.
async fn follow(list: &List, args: &ResultsArgs, out: &mut Writer) -> Result<(), Ended> {
    let mut items = list.follow(args.from.unwrap_or(0));
    while page_of(args.count, out.count) > 0 {
        // Written when nothing more is there at once.
        let next = match futures_lite::future::poll_once(items.next()).await {
            Some(next) => next?,
            None => {
                out.flush().await?;
                items.next().await?
            }
        };
        let Some(item) = next else { return Ok(()) };
        out.write(&[item])?;
        if out.sink.is_full() {
            out.flush().await?;
        }
    }
    Ok(())
}

/// Reads what is there, and waits for what is not where that is asked for.
async fn range(list: &List, args: &ResultsArgs, out: &mut Writer) -> Result<(), Ended> {
    let mut from = args.from.unwrap_or(0);
    loop {
        let count = page_of(args.count, out.count);
        if count == 0 {
            return Ok(());
        }
        let page = list.range(from, count).await?;
        let Some(last) = page.items.last() else { break };
        from = i64::try_from(last.index + 1).unwrap_or(i64::MAX);
        out.write(&page.items)?;
        out.flush().await?;
    }
    let enough = args.count.is_none() && out.count > 0;
    let Some(wait) = args.wait.filter(|_| !enough) else { return Ok(()) };
    let deadline = Instant::now() + wait;
    let mut items = list.follow(from);
    while out.count < args.count.unwrap_or(1) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(next) = ganger_rt::timeout(left, items.next()).await else { return Ok(()) };
        let Some(item) = next? else { return Ok(()) };
        out.write(&[item])?;
        out.flush().await?;
    }
    Ok(())
}

/// One item as JSON.
#[derive(Serialize)]
struct Shape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u32>,
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    #[serde(flatten)]
    result: Shown<'a>,
}

/// Writes items.
struct Writer {
    format: Format,
    sink: Sink,
    count: u64,
}

impl Writer {
    fn new(format: Format) -> Self {
        let mut sink = Sink::new(None);
        if format == Format::Json {
            let head = format!("{{\"v\":{},\"results\":[", output::VERSION);
            sink.raw().extend_from_slice(head.as_bytes());
        }
        Self { format, sink, count: 0 }
    }

    fn write(&mut self, items: &[Item]) -> Result {
        for item in items {
            let shape = |v| Shape {
                v,
                index: item.index,
                job: item.job,
                result: Shown::result(&item.bytes),
            };
            let written = match self.format {
                Format::Table | Format::Plain => {
                    self.sink.line(&item.bytes);
                    Ok(())
                }
                Format::Ndjson => {
                    let buffer = self.sink.raw();
                    let written =
                        serde_json::to_writer(&mut *buffer, &shape(Some(output::VERSION)));
                    buffer.push(b'\n');
                    written
                }
                Format::Json => {
                    let buffer = self.sink.raw();
                    if self.count > 0 {
                        buffer.push(b',');
                    }
                    serde_json::to_writer(&mut *buffer, &shape(None))
                }
            };
            written.map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
            self.count += 1;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result {
        self.sink.flush().await
    }

    async fn finish(&mut self) -> Result<u64> {
        if self.format == Format::Json {
            self.sink.raw().extend_from_slice(b"]}\n");
        }
        self.flush().await?;
        Ok(self.count)
    }
}
