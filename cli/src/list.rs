//! `ganger list`: shared lists as such. Their items are read with `ganger results`.

use std::io;
use std::sync::Arc;

use ganger_shared::admin::{AdminAnswer, AdminVerb, ListInfo};
use ganger_shared::{Block, JobOptions, Name};
use ganger_worker::Client;

use crate::args::{Common, ListVerb};
use crate::exit::{Failure, Result};
use crate::lines::{self, Batching, Form};
use crate::link::{self, admin, strange};
use crate::output::{self, Cell, Column, Output, Tone, grouped};
use crate::queue;

/// Items in one append; they go in as a whole.
const ITEMS_AT_ONCE: u32 = 1_024;

/// Runs the command.
pub(crate) async fn run(common: &Common, verb: ListVerb) -> Result {
    let client = link::connect(common).await?;
    let out = Output::new(&common.show);
    let quiet = common.show.quiet;
    match verb {
        ListVerb::Ls => {
            let lists = all(&client).await?;
            out.list("lists", &lists, COLUMNS, output::json, tone)?;
        }
        ListVerb::Create { list, durability } => {
            let verb = AdminVerb::ListSet { list: list.clone(), durability };
            let count = queue::count(&client, verb).await?;
            let how = if count == 0 { "exists already" } else { "is set" };
            out.done(quiet, &format!("list {list} {how}; `ganger list ls` shows it"), count)?;
        }
        ListVerb::Append { list, items, each_line } => {
            let count = if each_line {
                append_lines(&client, &list).await?
            } else {
                client.list(&list)?.append_block(items.iter().collect()).await?;
                items.len() as u64
            };
            out.done(quiet, &format!("{} items are in list {list}", grouped(count)), count)?;
        }
        ListVerb::Purge { list, consent } => {
            let lists = all(&client).await?;
            // One that does not exist is refused by the broker.
            let length = lists.iter().find(|info| info.name == list).map_or(0, |info| info.length);
            let what = format!("forgets {} items of list {list}", grouped(length));
            queue::confirm(&consent, &what)?;
            let verb = AdminVerb::ListPurge { list: list.clone() };
            let count = queue::count(&client, verb).await?;
            out.done(
                quiet,
                &format!("{} items of list {list} were forgotten", grouped(count)),
                count,
            )?;
        }
    }
    client.close().await;
    Ok(())
}

/// Every list.
pub(crate) async fn all(client: &Client) -> Result<Vec<ListInfo>> {
    match admin(client, AdminVerb::ListList).await? {
        AdminAnswer::Lists(lists) => Ok(lists),
        _ => Err(strange()),
    }
}

async fn append_lines(client: &Client, list: &Name) -> Result<u64> {
    let batching = Batching {
        form: Form::Text,
        // Items have no options; those of a job stand in for them.
        options: Arc::new(JobOptions::new(list.clone())),
        count_max: ITEMS_AT_ONCE,
        payload_max: client.terms().payload_bytes_max as usize,
    };
    let batches = lines::read(io::stdin(), batching)
        .map_err(|error| Failure::io("cannot read standard input", &error))?;
    let proxy = client.list(list)?;
    let mut count = 0;
    while let Ok(batch) = batches.recv().await {
        let before = |failure: Failure| match count {
            0 => failure,
            count => failure.after(&format!("{count} items were appended, then")),
        };
        let items: Block = match batch {
            Ok(batch) => batch.payloads,
            Err(error) => {
                let sentence = format!("line {} of standard input {}", error.line, error.text);
                return Err(before(Failure::usage(sentence)));
            }
        };
        let more = u64::from(items.count());
        proxy.append_block(items).await.map_err(|error| before(error.into()))?;
        count += more;
    }
    Ok(count)
}

const COLUMNS: &[Column<ListInfo>] = &[
    Column { head: "LIST", cell: |l| Cell::text(&l.name) },
    Column { head: "ITEMS", cell: |l| Cell::Number(l.length) },
    Column { head: "START", cell: |l| Cell::Number(l.start) },
    Column { head: "BYTES", cell: |l| Cell::Bytes(l.bytes) },
    Column { head: "UNCONFIRMED", cell: |l| Cell::Number(l.unconfirmed) },
    Column { head: "FOLLOWERS", cell: |l| Cell::Number(l.followers) },
    Column { head: "ITEMS MAX", cell: |l| Cell::Number(l.items_max) },
    Column { head: "BYTES MAX", cell: |l| Cell::Bytes(l.bytes_max) },
];

const fn tone(list: &ListInfo) -> Tone {
    let full = list.length >= list.items_max || list.bytes >= list.bytes_max;
    if full { Tone::Warn } else { Tone::Plain }
}
