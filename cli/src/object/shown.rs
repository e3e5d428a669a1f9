//! Objects, holders and types as rows and as JSON.

use ganger_shared::admin::{HolderInfo, ListInfo, ObjectDetails, ObjectInfo, WaiterInfo};
use ganger_shared::object::{Method, ObjectType};
use ganger_shared::{By, Durability, Name, Time};
use serde::Serialize;
use serde_json::{Value, json};

use super::LIST;
use crate::output::{self, Cell, Column, Tone};

/// An object of any type.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: Name,
    pub(super) typeid: Name,
    /// Unknown of lists, as is the revision.
    durability: Option<Durability>,
    revision: Option<u64>,
    pub(super) items: u64,
    bytes: u64,
    holders: u64,
    waiting: u64,
}

impl From<ObjectInfo> for Row {
    fn from(info: ObjectInfo) -> Self {
        let ObjectInfo { name, typeid, durability, revision, .. } = info;
        let ObjectInfo { items, bytes, holders, waiting, .. } = info;
        let (durability, revision) = (Some(durability), Some(revision));
        Self { name, typeid, durability, revision, items, bytes, holders, waiting }
    }
}

impl From<ListInfo> for Row {
    fn from(info: ListInfo) -> Self {
        let ListInfo { name, length, bytes, durability, .. } = info;
        let typeid = Name::new(LIST).expect("a type of the table has a name");
        let (durability, revision) = (Some(durability), None);
        Self { name, typeid, durability, revision, items: length, bytes, holders: 0, waiting: 0 }
    }
}

pub(super) const COLUMNS: &[Column<Row>] = &[
    Column { head: "OBJECT", cell: |o| Cell::text(&o.name) },
    Column { head: "TYPE", cell: |o| Cell::text(&o.typeid) },
    Column { head: "ITEMS", cell: |o| Cell::Number(o.items) },
    Column { head: "BYTES", cell: |o| Cell::Bytes(o.bytes) },
    Column { head: "HOLDERS", cell: |o| Cell::Number(o.holders) },
    Column { head: "WAITING", cell: |o| Cell::Number(o.waiting) },
    Column { head: "DURABILITY", cell: |o| o.durability.map_or(Cell::Nothing, Cell::text) },
];

/// Who has to do with an object: a holder, or somebody who waits.
pub(super) enum Party {
    Holder(HolderInfo),
    Waiter(WaiterInfo),
}

impl Party {
    pub(super) const fn holds(&self) -> bool {
        matches!(self, Self::Holder(_))
    }
}

/// First who holds, then who waits.
pub(super) fn parties(details: ObjectDetails) -> Vec<Party> {
    let holders = details.holders.into_iter().map(Party::Holder);
    holders.chain(details.waiters.into_iter().map(Party::Waiter)).collect()
}

pub(super) const PARTIES: &[Column<Party>] = &[
    Column {
        head: "WHAT",
        cell: |p| match p {
            Party::Holder(h) if h.count > 1 => Cell::Text(format!("holds {} times", h.count)),
            Party::Holder(_) => Cell::text("holds"),
            Party::Waiter(_) => Cell::text("waits"),
        },
    },
    Column {
        head: "WHO",
        cell: |p| match p {
            Party::Holder(HolderInfo { name, .. }) | Party::Waiter(WaiterInfo { name, .. }) => {
                Cell::text(name)
            }
        },
    },
    Column {
        head: "SESSION",
        cell: |p| match p {
            Party::Holder(HolderInfo { session, .. })
            | Party::Waiter(WaiterInfo { session, .. }) => Cell::text(session),
        },
    },
    Column {
        head: "FOR",
        cell: |p| match p {
            Party::Holder(HolderInfo { job: Some(job), .. }) => Cell::Text(format!("job {job}")),
            Party::Holder(HolderInfo { by, .. }) | Party::Waiter(WaiterInfo { by, .. }) => {
                Cell::Text(for_whom(*by))
            }
        },
    },
    Column {
        head: "TOKEN",
        cell: |p| match p {
            Party::Holder(HolderInfo { token, .. }) => Cell::text(token),
            Party::Waiter(_) => Cell::Nothing,
        },
    },
    Column {
        head: "METHOD",
        cell: |p| match p {
            Party::Holder(_) => Cell::Nothing,
            Party::Waiter(WaiterInfo { method, .. }) => Cell::text(method),
        },
    },
    Column {
        head: "SINCE",
        cell: |p| match p {
            Party::Holder(HolderInfo { since, .. }) | Party::Waiter(WaiterInfo { since, .. }) => {
                Cell::Time(*since)
            }
        },
    },
    Column {
        head: "UNTIL",
        cell: |p| match p {
            Party::Holder(_) => Cell::Nothing,
            Party::Waiter(WaiterInfo { until, .. }) => until_when(*until),
        },
    },
];

/// A moment that comes; one beyond the calendar is none.
fn until_when(until: Time) -> Cell {
    if output::rfc3339(until).is_some() { Cell::Time(until) } else { Cell::Nothing }
}

pub(super) const fn tone(party: &Party) -> Tone {
    match party {
        Party::Holder(_) => Tone::Plain,
        Party::Waiter(_) => Tone::Faint,
    }
}

fn for_whom(by: By) -> String {
    match by {
        By::Session => "session".to_owned(),
        By::Holder(number) => format!("holder {number}"),
        By::Lease(lease) => format!("lease {lease}"),
    }
}

pub(super) fn party(party: &Party) -> Value {
    match party {
        Party::Holder(holder) => json!({
            "what": "holds",
            "name": holder.name,
            "session": holder.session,
            "by": for_whom(holder.by),
            "job": holder.job,
            // As ids are: there are readers of JSON that round such numbers.
            "token": holder.token.to_string(),
            "count": holder.count,
            "since": output::rfc3339(holder.since),
        }),
        Party::Waiter(waiter) => json!({
            "what": "waits",
            "name": waiter.name,
            "session": waiter.session,
            "by": for_whom(waiter.by),
            "method": waiter.method,
            "since": output::rfc3339(waiter.since),
            "until": output::rfc3339(waiter.until),
        }),
    }
}

pub(super) const TYPES: &[Column<ObjectType>] = &[
    Column { head: "TYPE", cell: |t| Cell::text(t.typeid) },
    Column { head: "MADE WITH", cell: |t| some(t.made_with) },
    Column { head: "WHAT IT IS", cell: |t| Cell::text(t.about) },
];

pub(super) const METHODS: &[Column<Method>] = &[
    Column { head: "METHOD", cell: |m| Cell::text(m.name) },
    Column { head: "ARGUMENTS", cell: |m| some(m.args) },
    Column { head: "RETURNS", cell: |m| Cell::text(m.returns) },
    Column { head: "COST", cell: |m| Cell::text(m.cost) },
];

fn some(text: &str) -> Cell {
    if text.is_empty() { Cell::Nothing } else { Cell::text(text) }
}

pub(super) fn method(method: &Method) -> Value {
    let Method { name, args, returns, takes: _, cost } = method;
    json!({ "name": name, "args": args, "returns": returns, "cost": cost })
}

/// A type and its methods.
pub(super) fn object_type(found: &ObjectType) -> Value {
    let ObjectType { typeid, about, made_with, methods } = found;
    let methods: Vec<Value> = methods.iter().map(method).collect();
    json!({ "typeid": typeid, "about": about, "made_with": made_with, "methods": methods })
}
