//! `ganger session`: who is connected.

use ganger_shared::admin::{AdminAnswer, AdminVerb, SessionInfo};
use serde_json::Value;

use crate::args::{Common, SessionVerb};
use crate::exit::Result;
use crate::link::{self, admin, strange};
use crate::output::{self, Cell, Column, Output, Tone};

/// Runs the command.
pub(crate) async fn run(common: &Common, verb: SessionVerb) -> Result {
    let client = link::connect(common).await?;
    match verb {
        SessionVerb::Ls => match admin(&client, AdminVerb::SessionList).await? {
            AdminAnswer::Sessions(sessions) => {
                Output::new(&common.show).list("sessions", &sessions, COLUMNS, json, tone)?;
            }
            _ => return Err(strange()),
        },
    }
    client.close().await;
    Ok(())
}

const COLUMNS: &[Column<SessionInfo>] = &[
    Column { head: "SESSION", cell: |s| Cell::text(s.session) },
    Column { head: "NAME", cell: |s| Cell::text(&s.name) },
    Column { head: "STATE", cell: |s| Cell::text(if s.connected { "connected" } else { "away" }) },
    Column { head: "SEEN", cell: |s| Cell::Time(s.seen) },
    Column { head: "RUNNING", cell: |s| Cell::Number(s.leases) },
    Column { head: "SUBSCRIPTIONS", cell: |s| Cell::Number(s.subscriptions) },
];

const fn tone(session: &SessionInfo) -> Tone {
    if session.connected { Tone::Plain } else { Tone::Faint }
}

fn json(session: &SessionInfo) -> Value {
    let mut value = output::json(session);
    value["seen"] = output::json(&output::rfc3339(session.seen));
    value
}
