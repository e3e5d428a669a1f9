//! `ganger status`: the broker and its queues on one screen.

use ganger_shared::admin::{AdminAnswer, AdminVerb, QueueInfo, Status};
use ganger_shared::time::millis;
use serde_json::Value;

use crate::args::{Common, Format};
use crate::exit::Result;
use crate::link::{self, admin, strange};
use crate::output::{self, Cell, Column, Output};
use crate::queue;

/// Runs the command.
pub(crate) async fn run(common: &Common) -> Result {
    let client = link::connect(common).await?;
    let AdminAnswer::Status(status) = admin(&client, AdminVerb::Status).await? else {
        return Err(strange());
    };
    let queues = queue::all(&client).await?;
    let out = Output::new(&common.show);
    match out.format {
        Format::Table => {
            out.one(&status, FIELDS, &Value::Null)?;
            if !queues.is_empty() {
                output::print("\n")?;
                out.list("queues", &queues, queue::COLUMNS, queue::json, queue::tone)?;
            }
        }
        Format::Plain => out.one(&status, FIELDS, &Value::Null)?,
        Format::Json | Format::Ndjson => out.document(&[
            ("broker", json(&status)),
            ("queues", queues.iter().map(queue::json).collect()),
        ])?,
    }
    if out.format == Format::Table {
        tell_what_waits(&queues);
    }
    client.close().await;
    Ok(())
}

fn tell_what_waits(queues: &[QueueInfo]) {
    for queue in queues.iter().filter(|queue| queue.ready > 0) {
        if let Some(why) = queue::why_jobs_wait(queue) {
            output::warn(&why);
        }
    }
}

const FIELDS: &[Column<Status>] = &[
    Column { head: "Version", cell: |s| Cell::text(&s.version) },
    Column { head: "Up", cell: |s| Cell::Millis(millis(s.now.since(s.started))) },
    Column { head: "Durability", cell: |s| Cell::text(s.durability) },
    Column { head: "Sessions", cell: |s| Cell::Number(s.sessions) },
    Column { head: "Queues", cell: |s| Cell::Number(s.queues) },
    Column { head: "Waiting", cell: |s| Cell::Number(s.waiting) },
    Column { head: "Running", cell: |s| Cell::Number(s.leased) },
    Column { head: "Dead", cell: |s| Cell::Number(s.dead) },
    Column { head: "Submitted", cell: |s| Cell::Number(s.submitted) },
    Column { head: "Done", cell: |s| Cell::Number(s.acked) },
    Column { head: "Failures", cell: |s| Cell::Number(s.nacked) },
    Column { head: "Crashes", cell: |s| Cell::Number(s.crashed) },
    Column { head: "Memory", cell: |s| Cell::Bytes(s.payload_bytes) },
    Column { head: "Memory max", cell: |s| Cell::Bytes(s.payload_bytes_max) },
];

fn json(status: &Status) -> Value {
    let mut value = output::json(status);
    for (name, time) in [("started", status.started), ("now", status.now)] {
        value[name] = output::json(&output::rfc3339(time));
    }
    value
}
